"""New observations that are kept by hand, and the datastreams that take them.

One statement stores them with all that ingest would do: their hours are logged for the rollups,
and the latest value follows. What becomes of an observation afterwards, by hand or beside a
signature, is `corrections`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from psycopg.types.json import Jsonb

from standards_mapping.sensorthings.entity import instant, period
from standards_mapping.sensorthings.errors import (
    ConflictError,
    QueryError,
    SensorThingsError,
    UnknownTargetError,
)
from standards_mapping.sensorthings.model import ObservationId
from storage import audit
from storage.batches import LATEST_CHANNEL
from storage.database import Connection, query
from storage.partitions import ensure_months
from storage.sensorthings.ownership import Author, check_council

_ACTION: Final = "sensorthings.observe"
_NUMERIC: Final = ("OM_Measurement", "OM_CountObservation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A datastream that is kept by hand, as far as its observations need it.

    tenant: short name of its council. has_feature: it is known what its observations are about.
    is_readable: to whoever may write for its council.
    """

    id: int
    council_id: int
    unit: str
    observation_type: str
    tenant: str
    has_feature: bool
    is_readable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An observation that is to be stored. started: None where it is of an instant."""

    time: datetime
    started: datetime | None
    result: float | bool | str
    quality: int = 0
    parameters: Mapping[str, Any] | None = None


async def stream_by_hand(conn: Connection, author: Author, datastream: int) -> Stream:
    """Return a datastream that the author may create observations in.

    Raises:
        UnknownTargetError: there is none of that id.
        ForbiddenError: it is another council's.
        ConflictError: a gateway reports it.
    """
    cursor = await conn.execute(query("kept_stream"), {"id": datastream})
    row = await cursor.fetchone()
    if row is None:
        raise UnknownTargetError(f"there is no Datastream with the id {datastream}")
    council_id, device, unit, observation_type, tenant, has_feature, is_readable = row
    check_council(author, council_id, f"Datastream {datastream}")
    if device is not None:
        raise ConflictError(
            f"Datastream {datastream} takes readings that gateway {device} signs, and no"
            ' others. To correct one send parameters with {"corrects": its id, "reason": …}; to'
            " keep results by hand create a Datastream with a Sensor of its own."
        )
    return Stream(
        id=datastream,
        council_id=council_id,
        unit=unit,
        observation_type=observation_type,
        tenant=tenant,
        has_feature=has_feature,
        is_readable=is_readable,
    )


def row_of(values: Mapping[str, Any], stream: Stream, now: datetime) -> Row:
    """Return what an Observation's draft stores; without a phenomenonTime it is of `now`.

    A validTime, and a resultTime other than the end of its phenomenonTime, are kept in its
    parameters.

    Raises:
        QueryError: the result does not suit the datastream.
    """
    start, end = values.get("phenomenonTime") or (now, now)
    result = values["result"]
    check_result(result, stream)
    parameters = dict(values.get("parameters") or {})
    told = values.get("resultTime")
    if told is not None and told != end:
        parameters["resultTime"] = instant(told)
    if values.get("validTime") is not None:
        parameters["validTime"] = period(*values["validTime"])
    return Row(
        time=end,
        started=None if start == end else start,
        result=result,
        quality=values.get("resultQuality") or 0,
        parameters=parameters or None,
    )


async def store(
    conn: Connection, author: Author, stream: Stream, rows: Sequence[Row | SensorThingsError]
) -> list[ObservationId | SensorThingsError]:
    """Store rows; return for each, in order, its id or why it is not kept.

    One that is there already with the same result counts as stored: a request may be repeated.
    """
    answers: list[ObservationId | SensorThingsError] = []
    fresh: dict[int, Row] = {}
    for row in rows:
        if not isinstance(row, Row):
            answers.append(row)
            continue
        key = ObservationId.of(stream.id, row.time)
        earlier = fresh.setdefault(key.microseconds, row)
        answers.append(key if earlier.result == row.result else _taken(key))
    if not fresh:
        return answers
    contradicted = await _insert(conn, author, stream, fresh)
    return [
        _taken(answer)
        if isinstance(answer, ObservationId) and answer.microseconds in contradicted
        else answer
        for answer in answers
    ]


async def _insert(
    conn: Connection, author: Author, stream: Stream, fresh: Mapping[int, Row]
) -> set[int]:
    """Store rows by time in microseconds; return the times at which another result stands."""
    rows = [fresh[time] for time in sorted(fresh)]
    await ensure_months(conn, {row.time.astimezone(UTC).date() for row in rows})
    cursor = await conn.execute(
        query("store_kept"),
        {
            "datastream_id": stream.id,
            "times": [row.time for row in rows],
            "values": [number_of(row.result) for row in rows],
            "qualities": [row.quality for row in rows],
            "results": [jsonb(other_of(row.result)) for row in rows],
            "started": [row.started for row in rows],
            "parameters": [jsonb(row.parameters) for row in rows],
            "actor": author.actor,
            "tenant": stream.tenant,
            "action": _ACTION,
            "subject": f"Datastreams({stream.id})",
            "channel": LATEST_CHANNEL,
        },
    )
    [(inserted, _)] = await cursor.fetchall()
    if inserted == len(rows):
        return set()
    contradicted = await _contradicted(conn, stream, rows)
    told = [(at, row) for at, row in fresh.items() if at not in contradicted]
    await _tell(conn, stream.id, [(at, row) for at, row in told if row.started or row.parameters])
    await audit.record(
        conn,
        actor=author.actor,
        tenant=stream.tenant,
        action=_ACTION,
        subject=f"Datastreams({stream.id})",
        detail={"observations": len(told)},
    )
    return contradicted


async def _contradicted(conn: Connection, stream: Stream, rows: Sequence[Row]) -> set[int]:
    """Return the times, in microseconds, at which another result stands than these rows have."""
    cursor = await conn.execute(
        query("kept_results"),
        {
            "datastream_id": stream.id,
            "times": [row.time for row in rows],
            "first": rows[0].time,
            "last": rows[-1].time,
        },
    )
    stored = {time: (value, other) for time, value, other in await cursor.fetchall()}
    return {
        ObservationId.of(stream.id, row.time).microseconds
        for row in rows
        if stored.get(row.time) != (number_of(row.result), other_of(row.result))
    }


async def _tell(conn: Connection, datastream: int, told: Sequence[tuple[int, Row]]) -> None:
    """Keep the intervals and parameters of rows that were stored."""
    if told:
        await conn.execute(
            query("tell_observations"),
            {
                "datastream_id": datastream,
                "times": [row.time for _, row in told],
                "started": [row.started for _, row in told],
                "parameters": [jsonb(row.parameters) for _, row in told],
            },
        )


def check_result(result: object, stream: Stream) -> None:
    """Return if a result is of its datastream's type.

    Raises:
        QueryError: it is of another.
    """
    if stream.unit == "bool":
        if not isinstance(result, bool):
            raise QueryError(f"result: Datastream {stream.id} takes true or false")
    elif stream.observation_type.endswith(_NUMERIC) and not isinstance(result, float):
        raise QueryError(f"result: Datastream {stream.id} takes numbers ({stream.unit})")


def number_of(result: object) -> float | None:
    """Return a result as the `value` of its row; None where it is no number."""
    return result if isinstance(result, float) else None


def other_of(result: Any) -> Any:
    """Return a result that is no number as `observation_extra` has it; None for a number."""
    return None if isinstance(result, float) else result


def jsonb(value: Any) -> Jsonb | None:
    """Return a value for a column of JSON; None is null, not the JSON null."""
    return None if value is None else Jsonb(value)


def _taken(key: ObservationId) -> ConflictError:
    return ConflictError(
        f"Observation {key} is there already with another result: change it with PATCH"
    )
