"""Where the entities of OGC 18-088 are kept: their rows, their properties, their links, in SQL.

Everything here is text of our own. Only what the reader may see is in a source: `storage.access`
says who reads more than what is open; a Thing awaiting approval is not there, nor what hangs on
it alone. An observation is about the place its Thing was at
as its interval began, told by the Thing's historical locations (`FEATURE_PERIODS`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, LiteralString, TypeAlias

from psycopg import sql

Source: TypeAlias = sql.SQL | sql.Composed

FEATURE_PERIODS: Final = sql.SQL("""(
    SELECT COALESCE(h.feature_id, {datastream}.feature_of_interest_id) AS feature_of_interest_id,
           COALESCE(h.started, '-infinity') AS started,
           COALESCE(h.ended, 'infinity') AS ended,
           COALESCE(h.started + h.length, '-infinity') AS earliest,
           CASE WHEN h.by_hand THEN 'infinity' ELSE COALESCE(h.ended + h.length, 'infinity') END
               AS latest,
           h.by_hand AND (h.started IS NOT NULL OR h.ended IS NOT NULL) AS told_by_each
      FROM (SELECT) AS always
      LEFT JOIN LATERAL (
          SELECT CASE WHEN row_number() OVER moves > 1 THEN h.time END AS started,
                 lead(h.time) OVER moves AS ended,
                 CASE WHEN mean.by_hand THEN interval '0' ELSE mean.length END AS length,
                 mean.by_hand,
                 (SELECT min(f.id)
                    FROM historical_location_location l
                    JOIN feature_of_interest f ON f.location_id = l.location_id
                   WHERE l.historical_location_id = h.id) AS feature_id
            FROM historical_location h,
                 (SELECT {datastream}.averaging_seconds * interval '1 second' AS length,
                         EXISTS (SELECT
                                   FROM sensor
                                  WHERE sensor.id = {datastream}.sensor_id
                                    AND sensor.gateway_id IS NULL) AS by_hand) AS mean
           WHERE h.thing_id = {datastream}.thing_id
          WINDOW moves AS (ORDER BY h.time, h.id)
      ) AS h ON true
)""")
"""Which feature of interest a datastream's observations have: those whose interval began from
`started` to before `ended`.

Without gaps: what was observed before the first known place counts as observed there. Their `time`
is from `earliest` to before `latest`, by which a walk finds them; where each tells when its own
interval began, as what is kept by hand does (`told_by_each`), others are found there, too.
"""

_OF_PERIOD: Final = """(
    {row}.time >= {period}.earliest AND {row}.time < {period}.latest
    AND CASE WHEN {period}.told_by_each THEN (
            SELECT began >= {period}.started AND began < {period}.ended
              FROM COALESCE(
                   (SELECT own.started
                      FROM observation_extra own
                     WHERE own.datastream_id = {row}.datastream_id AND own.time = {row}.time),
                   {row}.time - {datastream}.averaging_seconds * interval '1 second') AS began)
        ELSE true END
)"""

OF_PERIOD: Final = sql.SQL(_OF_PERIOD)
"""Whether an observation is of one of its datastream's periods.

Nothing is looked up of what gateways report, which is nearly all there is.
"""

_UNTIL: Final = """{row}.time <= CASE
    WHEN {period}.told_by_each AND {period}.ended < 'infinity' THEN COALESCE(
        (SELECT lasting.time
           FROM observation_extra lasting
          WHERE lasting.datastream_id = {datastream}.id
            AND lasting.started < {period}.ended
            AND lasting.time > {period}.ended
                             + {datastream}.averaging_seconds * interval '1 second'
          ORDER BY lasting.time DESC
          LIMIT 1),
        {period}.ended + {datastream}.averaging_seconds * interval '1 second')
    ELSE 'infinity' END"""

OBSERVED_WITHIN: Final = sql.SQL(_OF_PERIOD + " AND " + _UNTIL)
"""The same for a walk along one period, which ends at the newest observation that began in it.

Otherwise a walk over what is kept by hand would look at all that came later, one by one.
"""

_DATASTREAM: Final = sql.SQL("readable_datastream")

SOURCES: Final[Mapping[str, Source]] = {
    "Thing": sql.SQL("""(
        SELECT t.id, t.name, t.description,
               t.properties || jsonb_build_object('urn', t.urn, 'council', c.gss) AS properties
          FROM readable_thing t
          JOIN council c ON c.id = t.council_id
    )"""),
    "Location": sql.SQL("""(
        SELECT l.*
          FROM location l
         WHERE EXISTS (SELECT
                         FROM thing_location tl
                         JOIN readable_thing t ON t.id = tl.thing_id
                        WHERE tl.location_id = l.id)
            OR EXISTS (SELECT
                         FROM historical_location_location hl
                         JOIN historical_location h ON h.id = hl.historical_location_id
                         JOIN readable_thing t ON t.id = h.thing_id
                        WHERE hl.location_id = l.id)
            OR NOT EXISTS (SELECT FROM thing_location WHERE location_id = l.id)
           AND NOT EXISTS (SELECT FROM historical_location_location WHERE location_id = l.id)
    )"""),
    "HistoricalLocation": sql.SQL("""(
        SELECT h.*
          FROM historical_location h
          JOIN readable_thing t ON t.id = h.thing_id
    )"""),
    "Datastream": _DATASTREAM,
    "Sensor": sql.SQL("""(
        SELECT s.id, s.name, s.description, s.encoding_type, s.metadata,
               s.properties || jsonb_build_object('urn', s.urn) AS properties
          FROM sensor s
         WHERE EXISTS (SELECT
                         FROM readable_datastream d
                        WHERE d.sensor_id = s.id)
            OR s.gateway_id IS NULL AND NOT EXISTS (SELECT FROM datastream WHERE sensor_id = s.id)
    )"""),
    "ObservedProperty": sql.SQL("""(
        SELECT o.id, o.name, o.definition, o.description,
               o.properties || jsonb_build_object('key', o.key) AS properties
          FROM observed_property o
    )"""),
    # Whole, for conditions on linked observations; pages of observations go by `OBSERVATIONS_OF`.
    "Observation": sql.SQL("""(
        SELECT o.datastream_id, o.time, o.value, x.result, COALESCE(x.quality, 0) AS quality,
               COALESCE(x.started, o.time - d.averaging_seconds * interval '1 second') AS started,
               x.parameters, p.feature_of_interest_id, d.thing_id,
               d.feature_of_interest_id AS newest_feature_id
          FROM {datastream} AS d
         CROSS JOIN LATERAL {periods} AS p
          JOIN observation o ON o.datastream_id = d.id AND {within}
          LEFT JOIN observation_extra x ON x.datastream_id = o.datastream_id AND x.time = o.time
    )""").format(
        datastream=_DATASTREAM,
        periods=FEATURE_PERIODS.format(datastream=sql.Identifier("d")),
        within=OF_PERIOD.format(
            row=sql.Identifier("o"), period=sql.Identifier("p"), datastream=sql.Identifier("d")
        ),
    ),
    "FeatureOfInterest": sql.SQL("""(
        SELECT f.*
          FROM feature_of_interest f
         WHERE EXISTS (SELECT
                         FROM readable_datastream d
                        WHERE d.feature_of_interest_id = f.id)
            OR EXISTS (SELECT
                         FROM historical_location_location hl
                         JOIN historical_location h ON h.id = hl.historical_location_id
                         JOIN readable_thing t ON t.id = h.thing_id
                        WHERE hl.location_id = f.location_id)
            OR f.location_id IS NULL
           AND NOT EXISTS (SELECT FROM datastream WHERE feature_of_interest_id = f.id)
    )"""),
}
"""A FROM item for each entity type; the caller gives it an alias."""

OBSERVATIONS_OF: Final = sql.SQL("""(
    SELECT o.datastream_id, o.time, o.value, x.result, COALESCE(x.quality, 0) AS quality,
           COALESCE(x.started, o.time - {datastream}.averaging_seconds * interval '1 second')
               AS started,
           x.parameters, {feature} AS feature_of_interest_id
      FROM observation o
      LEFT JOIN observation_extra x ON x.datastream_id = o.datastream_id AND x.time = o.time
     WHERE o.datastream_id = {datastream}.id AND {within}
)""")
"""The same columns as the source of Observation, of one datastream: a walk along its key."""

FEATURE_AT: Final = sql.SQL("""(
    SELECT p.feature_of_interest_id
      FROM {periods} AS p
     WHERE p.started <= {began} AND {began} < p.ended
)""")
"""The feature of interest of an observation whose interval `began` then.

Evaluated only for what is on the page.
"""

CANDIDATES: Final = sql.SQL("""(
    {datastream}.feature_of_interest_id = {feature}
    OR {datastream}.thing_id IN (
        SELECT h.thing_id
          FROM feature_of_interest f
          JOIN historical_location_location l ON l.location_id = f.location_id
          JOIN historical_location h ON h.id = l.historical_location_id
         WHERE f.id = {feature})
)""")
"""Whether a datastream can have observations of a feature at all; its periods tell when."""


@dataclass(frozen=True, slots=True)
class Column:
    """How a property is read: expressions over {e}, and how their values make its value."""

    read: tuple[LiteralString, ...]
    combine: Callable[..., Any]


def _one(value: Any) -> Any:
    return value


def _bounds(start: datetime | None, end: datetime | None) -> tuple[datetime, datetime] | None:
    return None if start is None or end is None else (start, end)


def _result(value: float | None, result: Any) -> Any:
    return result if value is None else value


def _plain(column: LiteralString) -> Column:
    return Column((column,), _one)


VALID_TIME: Final = "({e}.parameters ->> 'validTime')"
"""The validTime of an observation as the text that `kept_observations` keeps, or null."""


def _valid(number: Literal[1, 2]) -> LiteralString:
    """Return the start (1) or end (2) of validTime; null where there is none."""
    which: LiteralString = "1" if number == 1 else "2"
    return (
        "CASE WHEN " + VALID_TIME + " ~ '^[12][0-9-]{{9}}T[0-9:.]+Z(/[12][0-9-]{{9}}T[0-9:.]+Z)?$'"
        " THEN NULLIF(split_part(" + VALID_TIME + ", '/', " + which + "), '')::timestamptz END"
    )


GEOMETRY_IN: Final = """(
    CASE WHEN {place} ->> 'type' = 'Feature' THEN {place} -> 'geometry' ELSE {place} END)"""
"""The geometry of a `location` or `feature`, which may be a Feature around one."""

OBSERVED_AREA: Final = """(
    SELECT CASE WHEN west = east AND south = north THEN jsonb_build_object(
                    'type', 'Point', 'coordinates', jsonb_build_array(west, south))
                WHEN west = east OR south = north THEN jsonb_build_object(
                    'type', 'LineString', 'coordinates', jsonb_build_array(
                        jsonb_build_array(west, south), jsonb_build_array(east, north)))
                WHEN west < east THEN jsonb_build_object(
                    'type', 'Polygon', 'coordinates', jsonb_build_array(jsonb_build_array(
                        jsonb_build_array(west, south), jsonb_build_array(east, south),
                        jsonb_build_array(east, north), jsonb_build_array(west, north),
                        jsonb_build_array(west, south))))
           END
      FROM (SELECT min((position ->> 0)::float8) AS west, max((position ->> 0)::float8) AS east,
                   min((position ->> 1)::float8) AS south, max((position ->> 1)::float8) AS north
              FROM (SELECT l.location_id FROM thing_location l WHERE l.thing_id = {thing}
                    UNION
                    SELECT l.location_id
                      FROM historical_location h
                      JOIN historical_location_location l ON l.historical_location_id = h.id
                     WHERE h.thing_id = {thing}) AS been
              JOIN location ON location.id = been.location_id
             CROSS JOIN LATERAL jsonb_path_query({geometry} -> 'coordinates',
                   'strict $.** ? (@.type() == "array" && @[0].type() == "number")') AS position
           ) AS box)""".replace("{geometry}", GEOMETRY_IN.replace("{place}", "location.location"))
"""The box around every place a Thing has been at; a box without extent is a point or a line.

Those places are what its observations are about (clause 8.2.4).
"""

_FIRST: Final = """(SELECT o.time FROM observation o
    WHERE o.datastream_id = {e}.id ORDER BY o.time LIMIT 1)"""
_LAST: Final = """(SELECT o.time FROM observation o
    WHERE o.datastream_id = {e}.id ORDER BY o.time DESC LIMIT 1)"""
_NAMED: Final = {"name": _plain("{e}.name"), "description": _plain("{e}.description")}
_PROPERTIES: Final = {"properties": _plain("{e}.properties")}
_ENCODED: Final = _NAMED | {"encodingType": _plain("{e}.encoding_type")}

COLUMNS: Final[Mapping[str, Mapping[str, Column]]] = {
    "Thing": _NAMED | _PROPERTIES,
    "Location": _ENCODED | {"location": _plain("{e}.location")} | _PROPERTIES,
    "HistoricalLocation": {"time": _plain("{e}.time")},
    "Datastream": _NAMED
    | {
        "unitOfMeasurement": _plain("{e}.unit"),
        "observationType": _plain("{e}.observation_type"),
        "phenomenonTime": Column(
            ("(" + _FIRST + " - {e}.averaging_seconds * interval '1 second')", _LAST), _bounds
        ),
        "resultTime": Column((_FIRST, _LAST), _bounds),
        "observedArea": _plain(OBSERVED_AREA.replace("{thing}", "{e}.thing_id")),
    }
    | _PROPERTIES,
    "Sensor": _ENCODED | {"metadata": _plain("{e}.metadata")} | _PROPERTIES,
    "ObservedProperty": {
        "name": _plain("{e}.name"),
        "definition": _plain("{e}.definition"),
        "description": _plain("{e}.description"),
    }
    | _PROPERTIES,
    "Observation": {
        "phenomenonTime": Column(("{e}.started", "{e}.time"), _bounds),
        "result": Column(("{e}.value", "{e}.result"), _result),
        "resultTime": _plain("{e}.time"),
        "resultQuality": _plain("{e}.quality"),
        "validTime": Column((_valid(1), "coalesce(" + _valid(2) + ", " + _valid(1) + ")"), _bounds),
        "parameters": _plain("{e}.parameters"),
    },
    "FeatureOfInterest": _ENCODED | {"feature": _plain("{e}.feature")} | _PROPERTIES,
}
"""Properties that are kept; those of the model that are missing here are always null."""

TO_ONE: Final[Mapping[tuple[str, str], LiteralString]] = {
    ("HistoricalLocation", "Thing"): "{e}.thing_id",
    ("Datastream", "Thing"): "{e}.thing_id",
    ("Datastream", "Sensor"): "{e}.sensor_id",
    ("Datastream", "ObservedProperty"): "{e}.observed_property_id",
    ("Observation", "Datastream"): "{e}.datastream_id",
    ("Observation", "FeatureOfInterest"): "{e}.feature_of_interest_id",
}
"""For a link to one entity: where its key is."""

TO_MANY: Final[Mapping[tuple[str, str], LiteralString]] = {
    ("Thing", "Locations"): """{child}.id = ANY (ARRAY(
        SELECT l.location_id FROM thing_location l WHERE l.thing_id = {parent}))""",
    ("Thing", "HistoricalLocations"): "{child}.thing_id = {parent}",
    ("Thing", "Datastreams"): "{child}.thing_id = {parent}",
    ("Location", "Things"): """{child}.id = ANY (ARRAY(
        SELECT l.thing_id FROM thing_location l WHERE l.location_id = {parent}))""",
    ("Location", "HistoricalLocations"): """{child}.id = ANY (ARRAY(
        SELECT l.historical_location_id
          FROM historical_location_location l WHERE l.location_id = {parent}))""",
    ("HistoricalLocation", "Locations"): """{child}.id = ANY (ARRAY(
        SELECT l.location_id
          FROM historical_location_location l WHERE l.historical_location_id = {parent}))""",
    ("Datastream", "Observations"): "{child}.datastream_id = {parent}",
    ("Sensor", "Datastreams"): "{child}.sensor_id = {parent}",
    ("ObservedProperty", "Datastreams"): "{child}.observed_property_id = {parent}",
    ("FeatureOfInterest", "Observations"): """(
        {child}.feature_of_interest_id = {parent}
        AND ({child}.newest_feature_id = {parent}
             OR {child}.thing_id = ANY (ARRAY(
                SELECT h.thing_id
                  FROM feature_of_interest f
                  JOIN historical_location_location l ON l.location_id = f.location_id
                  JOIN historical_location h ON h.id = l.historical_location_id
                 WHERE f.id = {parent}))))""",
}
"""For a link to many: when a row of the child's source belongs to the parent's key.

By an array, not EXISTS: then the rows of a child are found by their key, and not all looked at.
Which datastreams a feature's observations can be in, as in `CANDIDATES`, follows; it is said too,
so that of the others it is not worked out where their Things were when.
"""
