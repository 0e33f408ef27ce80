"""How observations are read: by walking the key of each datastream concerned, then merging.

No statement made here scans `observation` to find its first rows. Everything else is read by
`page`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from psycopg import sql

from standards_mapping.sensorthings.expression import Expression, Logic, conjuncts, paths
from standards_mapping.sensorthings.model import EntityType, ObservationId, resolve
from standards_mapping.sensorthings.skiptoken import Place
from storage.sensorthings.filter import Scope, SortKey, compile_condition, sort_keys, where
from storage.sensorthings.guarded import source_of
from storage.sensorthings.keyset import comes_after
from storage.sensorthings.operand import Bound, Sql
from storage.sensorthings.schema import (
    CANDIDATES,
    FEATURE_AT,
    FEATURE_PERIODS,
    OBSERVATIONS_OF,
    OBSERVED_WITHIN,
)
from storage.sensorthings.select import (
    ENTITY,
    Select,
    Wanted,
    key_columns,
    name_of,
    named,
    outer,
    place_columns,
    read_columns,
)

_STREAM: Final = sql.Identifier("s")
_PERIOD: Final = sql.Identifier("p")
_BEGAN: Final = sql.SQL("{}.started").format(ENTITY)

_BY_TIME: Final = SortKey(
    sql.SQL("{}.time").format(ENTITY),
    descending=False,
    nullable=False,
    cast="timestamptz",
    told="time",
)
_BY_STREAM: Final = SortKey(
    sql.SQL("{}.id").format(_STREAM), descending=False, nullable=False, cast="int", told="stream"
)

_ONE_KEY: Final = (
    sql.SQL("{stream}.id = %(stream)s::int"),
    sql.SQL("{observation}.time = %(moment)s::timestamptz"),
)
# The bounds, for constants, leave out other months at once; the array is one condition on the key.
_MANY_KEYS: Final = (
    sql.SQL("{stream}.id = ANY (%(streams)s::int[])"),
    sql.SQL(
        "{observation}.time BETWEEN %(first)s::timestamptz AND %(last)s::timestamptz"
        " AND {observation}.time = ANY (ARRAY("
        "SELECT told.moment FROM unnest(%(streams)s::int[], %(moments)s::timestamptz[])"
        " AS told (stream, moment) WHERE told.stream = {stream}.id))"
    ),
)

_NARROWED: Final = sql.SQL(
    "(SELECT n.*, CASE WHEN count(*) OVER () >= {limit} THEN {farthest}(n.first_time) OVER () END"
    " AS reach FROM ({chosen}) AS n) AS {stream}"
)
_WITHIN_DESCENDING: Final = sql.SQL("{key} >= COALESCE({stream}.reach, '-infinity')")
_WITHIN_ASCENDING: Final = sql.SQL("{key} <= COALESCE({stream}.reach, 'infinity')")


def observation_keys(keys: Sequence[ObservationId]) -> dict[str, Any]:
    """Return the parameters by which a statement keeps to observations; another for one alone."""
    if len(keys) == 1:
        return {"stream": keys[0].datastream, "moment": keys[0].time}
    moments = [key.time for key in keys]
    return {
        "streams": [key.datastream for key in keys],
        "moments": moments,
        "first": min(moments),
        "last": max(moments),
    }


class Observations:
    """Reads observations: the datastreams concerned as `s`, and of each a walk along its key.

    Where features of interest decide what is wanted, each datastream comes once for every period
    `p` in which its observations had the same one. Where they are only told, they are looked up
    for the observations found.
    """

    def __init__(self, wanted: Wanted, bound: Bound) -> None:
        self._wanted = wanted
        self._bound = bound
        source = source_of("Datastream", guarded=bound.guarded)
        self._streams = Select([], [sql.SQL("{} AS {}").format(source, _STREAM)])
        self._walk = Select([], [])
        self._reached: dict[tuple[str, ...], sql.Identifier] = {("Datastream",): _STREAM}
        self._split_by_feature()
        self._choose()
        if wanted.filter is not None:
            self._filter(conjuncts(wanted.filter))

    def counting(self) -> Select:
        """Return the SELECT of how many there are."""
        walk = self._walk.compose(fence=self._bound.guarded)
        self._streams.tables.append(_lateral(walk))
        self._streams.columns.append(sql.SQL("count(*)"))
        return self._streams

    def page(self) -> Select:
        """Return the SELECT of a page, its keys among its columns; limit and offset are left."""
        wanted, walk = self._wanted, self._walk
        scope = Scope(wanted.entity_type, ENTITY, self._bound, self._reached)
        walk.keys += sort_keys(wanted.orderby, scope, self._bound)
        walk.tables += scope.joins
        if wanted.after is not None:
            self._start_after(wanted.after)
        walk.keys.append(_BY_TIME)
        limit = None if wanted.limit is None else wanted.skip + wanted.limit
        if limit is not None and self._is_by_time() and not self._by_period:
            self._narrow(limit)
        read = read_columns(wanted)
        looked_up = "FeatureOfInterest" in wanted.links and not self._by_period
        told = [*read, _BEGAN] if looked_up else read
        walk.columns += [*named("c", told), *key_columns(walk.keys)]
        streams = self._streams
        streams.tables.append(_lateral(walk.compose(limit=limit)))
        streams.keys += _merged(walk.keys)
        streams.columns += [sql.SQL("c.{}").format(name_of("c", at)) for at in range(len(read))]
        if looked_up:
            at = len(read) - len(wanted.links) + wanted.links.index("FeatureOfInterest")
            began = sql.SQL("c.{}").format(name_of("c", len(read)))
            streams.columns[at] = FEATURE_AT.format(periods=self._periods, began=began)
        names = [outer(number) for number in range(len(walk.keys))]
        streams.columns += place_columns(walk.keys, names)
        if wanted.has_parents:
            streams.columns += key_columns(streams.keys)
        return streams

    def _is_by_time(self) -> bool:
        """Whether the observations of several datastreams are asked for by time before all else."""
        of_one = self._wanted.parent == ("Datastream", "Observations")
        return bool(self._wanted.orderby) and not of_one and self._walk.keys[0].told == "time"

    def _narrow(self, limit: int) -> None:
        """Keep to the datastreams whose first observation is among the first `limit` of all.

        None of the others has one on the page. Each is asked for one observation only, not for a
        page of them. Where so many were found, no observation on the page lies beyond their last
        one's time (`reach`): no walk goes further.
        """
        key = self._walk.keys[0]
        first = Select(key_columns(self._walk.keys), self._walk.tables, self._walk.conditions)
        first.keys = self._walk.keys
        chosen = self._streams
        chosen.tables.append(_lateral(first.compose(limit=1)))
        chosen.columns += [sql.SQL("{}.*").format(_STREAM), sql.SQL("c.k0 AS first_time")]
        chosen.keys = _merged(self._walk.keys)
        narrowed = _NARROWED.format(
            chosen=chosen.compose(limit=limit),
            limit=sql.Literal(limit),
            farthest=sql.SQL("min" if key.descending else "max"),
            stream=_STREAM,
        )
        self._streams = Select([], [narrowed])
        within = _WITHIN_DESCENDING if key.descending else _WITHIN_ASCENDING
        self._walk.conditions.append(within.format(key=key.key, stream=_STREAM))

    def _uses(self, link: str) -> bool:
        wanted = self._wanted
        expressions = [order.expression for order in wanted.orderby]
        if wanted.filter is not None:
            expressions.append(wanted.filter)
        return any(path.segments[0] == link for found in expressions for path in paths(found))

    def _split_by_feature(self) -> None:
        in_expressions = self._uses("FeatureOfInterest")
        feature: Sql = sql.SQL("NULL::int")
        within: Sql = sql.SQL("true")
        self._periods = FEATURE_PERIODS.format(datastream=_STREAM)
        self._by_period = in_expressions or self._wanted.parent == (
            "FeatureOfInterest",
            "Observations",
        )
        if self._by_period:
            self._streams.tables.append(
                sql.SQL("CROSS JOIN LATERAL {} AS {}").format(self._periods, _PERIOD)
            )
            feature = sql.SQL("{}.feature_of_interest_id").format(_PERIOD)
            within = OBSERVED_WITHIN.format(
                row=sql.Identifier("o"), period=_PERIOD, datastream=_STREAM
            )
        if in_expressions:
            alias = self._bound.alias()
            self._streams.tables.append(
                sql.SQL("LEFT JOIN {} AS {} ON {}.id = {}").format(
                    source_of("FeatureOfInterest", guarded=self._bound.guarded),
                    alias,
                    alias,
                    feature,
                )
            )
            self._reached["FeatureOfInterest",] = alias
        source = OBSERVATIONS_OF.format(datastream=_STREAM, feature=feature, within=within)
        self._walk.tables.append(sql.SQL("{} AS {}").format(source, ENTITY))

    def _choose(self) -> None:
        """Keep to the parent and the keys wanted."""
        conditions, parent = self._streams.conditions, self._wanted.follows
        match self._wanted.parent:
            case ("Datastream", _):
                conditions.append(sql.SQL("{}.id = {}").format(_STREAM, parent))
            case ("FeatureOfInterest", _):
                conditions.append(CANDIDATES.format(datastream=_STREAM, feature=parent))
                conditions.append(sql.SQL("{}.feature_of_interest_id = {}").format(_PERIOD, parent))
        keys = [key for key in self._wanted.keys or () if isinstance(key, ObservationId)]
        if keys:
            chosen = _ONE_KEY if len(keys) == 1 else _MANY_KEYS
            self._bound.values.update(observation_keys(keys))
            conditions.append(chosen[0].format(stream=_STREAM))
            self._walk.conditions.append(chosen[1].format(stream=_STREAM, observation=ENTITY))

    def _filter(self, parts: tuple[Expression, ...]) -> None:
        """Decide by datastream what can be, before any observation is read."""
        entity_type = self._wanted.entity_type
        of_stream = [part for part in parts if self._only_of_stream(part)]
        others = [part for part in parts if part not in of_stream]
        if any(_through_many(entity_type, part) for part in others):
            of_stream, others = [], list(parts)  # they must be about the same linked entities
        if of_stream:
            scope = Scope(entity_type, None, self._bound, self._reached)
            found, joins = where(compile_condition(_all(of_stream), scope, self._bound), scope)
            self._streams.conditions.append(found)
            self._streams.tables += joins
        if others:
            scope = Scope(entity_type, ENTITY, self._bound, self._reached)
            found, joins = where(compile_condition(_all(others), scope, self._bound), scope)
            self._walk.conditions.append(found)
            self._walk.tables += joins

    def _only_of_stream(self, part: Expression) -> bool:
        used = {path.segments[0] for path in paths(part)}
        return bool(used) and used <= {"Datastream", "FeatureOfInterest"}

    def _start_after(self, place: Place) -> None:
        keys = [*self._walk.keys, _BY_STREAM, _BY_TIME]
        if self._walk.keys or not isinstance(place.key, ObservationId):
            self._walk.conditions.append(comes_after(keys, place, self._bound))
            return
        number = self._bound.constant("after_stream", place.key.datastream, "int")
        moment = self._bound.constant("after_time", place.key.time, "timestamptz")
        self._streams.conditions.append(sql.SQL("{}.id >= {}").format(_STREAM, number))
        template = sql.SQL("{e}.time > CASE WHEN {s}.id = {id} THEN {t} ELSE '-infinity' END")
        self._walk.conditions.append(template.format(e=ENTITY, s=_STREAM, id=number, t=moment))


def _merged(walked: Sequence[SortKey]) -> list[SortKey]:
    """Return the keys by which the observations of several walks are sorted."""
    keys = [replace(key, key=outer(number)) for number, key in enumerate(walked)]
    return [*keys[:-1], _BY_STREAM, keys[-1]]


def _lateral(inner: sql.Composed) -> sql.Composed:
    return sql.SQL("CROSS JOIN LATERAL ({}) AS c").format(inner)


def _all(parts: Sequence[Expression]) -> Expression:
    return parts[0] if len(parts) == 1 else Logic("and", tuple(parts))


def _through_many(entity_type: EntityType, part: Expression) -> bool:
    """Whether a condition follows a link to many."""
    return any(
        link.many
        for path in paths(part)
        for link in resolve(entity_type, path.segments).navigations
    )
