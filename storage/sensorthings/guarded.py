"""Sources that show nothing hidden to a condition that may fail on a value.

The planner is free to compute a condition before it drops the rows that the reader may not see.
That shows in no result, but in an error: a number that is too large would tell of a hidden row.
So whatever may fail is computed over sources out of which the hidden rows are gone: OFFSET 0 lets
no condition through. The others stay as quick as they were.
"""

from typing import Final

from psycopg import sql

from standards_mapping.sensorthings.expression import (
    Call,
    Expression,
    Literal,
    Logic,
    Negative,
    Not,
    Operation,
    Path,
)
from standards_mapping.sensorthings.geometry import GEOSPATIAL
from storage.sensorthings.schema import FEATURE_PERIODS, OF_PERIOD, SOURCES, Source

_COMPARISONS: Final = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})
_NEVER_FAIL: Final = frozenset(
    {
        *GEOSPATIAL,  # worked out before
        "substringof",
        "startswith",
        "endswith",
        "length",
        "indexof",
        "tolower",
        "toupper",
        "trim",
        "now",
        "mindatetime",
        "maxdatetime",
    }
)

_VISIBLE: Final = sql.SQL("(SELECT * FROM readable_datastream OFFSET 0)")
_OBSERVATION: Final = sql.SQL("""(
    SELECT d.id AS datastream_id, o.time, o.value, o.result, o.quality,
           COALESCE(o.told, o.time - d.averaging_seconds * interval '1 second') AS started,
           o.parameters, p.feature_of_interest_id, d.thing_id,
           d.feature_of_interest_id AS newest_feature_id
      FROM {datastream} AS d
     CROSS JOIN LATERAL {periods} AS p
     CROSS JOIN LATERAL (
         SELECT observation.time, observation.value, x.result, COALESCE(x.quality, 0) AS quality,
                x.started AS told, x.parameters
           FROM observation
           LEFT JOIN observation_extra x
             ON x.datastream_id = observation.datastream_id AND x.time = observation.time
          WHERE observation.datastream_id = d.id
            AND {within}
         OFFSET 0) AS o
)""").format(
    datastream=_VISIBLE,
    periods=FEATURE_PERIODS.format(datastream=sql.Identifier("d")),
    within=OF_PERIOD.format(
        row=sql.Identifier("observation"),
        period=sql.Identifier("p"),
        datastream=sql.Identifier("d"),
    ),
)


def may_fail(expression: Expression) -> bool:
    """Return whether there are values that an expression cannot be computed of."""
    match expression:
        case Literal() | Path():
            return False
        case Call(function, operands):
            return function not in _NEVER_FAIL or any(map(may_fail, operands))
        case Logic(_, operands):
            return any(map(may_fail, operands))
        case Operation(operator, left, right):
            return operator not in _COMPARISONS or may_fail(left) or may_fail(right)
        case Not(operand) | Negative(operand):
            return may_fail(operand)


def source_of(entity_type: str, *, guarded: bool) -> Source:
    """Return a FROM item for an entity type. guarded: for conditions that may fail."""
    source = SOURCES[entity_type]
    if not guarded:
        return source
    if entity_type == "Observation":
        return _OBSERVATION
    return sql.SQL("(SELECT * FROM {} AS visible OFFSET 0)").format(source)
