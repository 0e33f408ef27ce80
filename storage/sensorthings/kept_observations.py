"""New observations that are kept by hand, and the datastreams that take them.

Stored as ingest stores them: `storage.batches` writes the rows and logs their hours for the
rollups. What becomes of an observation afterwards, by hand or beside a signature, is
`corrections`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
from psycopg.types.json import Jsonb

from standards_mapping.sensorthings.entity import instant, period
from standards_mapping.sensorthings.errors import (
    ConflictError,
    QueryError,
    SensorThingsError,
    UnknownTargetError,
)
from standards_mapping.sensorthings.model import ENTITY_TYPES, ObservationId
from storage import audit
from storage.batches import (
    Extra,
    Latest,
    Observations,
    make_room,
    notify_latest,
    store_observations,
    upsert_latest,
)
from storage.database import Connection, query
from storage.sensorthings.ownership import Author, check_council, owner_of, tenant_of

_NUMERIC: Final = ("OM_Measurement", "OM_CountObservation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A datastream that is kept by hand, as far as its observations need it."""

    id: int
    council_id: int
    unit: str
    observation_type: str


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
    owner = await owner_of(conn, ENTITY_TYPES["Datastream"], datastream)
    if owner is None:
        raise UnknownTargetError(f"there is no Datastream with the id {datastream}")
    check_council(author, owner.council_id, f"Datastream {datastream}")
    if owner.device is not None:
        raise ConflictError(
            f"Datastream {datastream} takes readings that gateway {owner.device} signs, and no"
            ' others. To correct one send parameters with {"corrects": its id, "reason": …}; to'
            " keep results by hand create a Datastream with a Sensor of its own."
        )
    cursor = await conn.execute(
        "SELECT unit, observation_type FROM datastream WHERE id = %s", (datastream,)
    )
    [(unit, observation_type)] = await cursor.fetchall()
    return Stream(
        id=datastream, council_id=owner.council_id, unit=unit, observation_type=observation_type
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
    contradicted = await _insert(conn, stream, fresh)
    answers = [
        _taken(answer)
        if isinstance(answer, ObservationId) and answer.microseconds in contradicted
        else answer
        for answer in answers
    ]
    await audit.record(
        conn,
        actor=author.actor,
        tenant=await tenant_of(conn, stream.council_id),
        action="sensorthings.observe",
        subject=f"Datastreams({stream.id})",
        detail={"observations": len(fresh) - len(contradicted)},
    )
    return answers


async def _insert(conn: Connection, stream: Stream, fresh: Mapping[int, Row]) -> set[int]:
    """Store rows by time in microseconds; return the times at which another result stands."""
    times = sorted(fresh)
    values = [number_of(fresh[time].result) for time in times]
    observations = Observations(
        np.full(len(times), stream.id, dtype=np.int32),
        np.array(times, dtype=np.int64),
        np.array([np.nan if value is None else value for value in values], dtype=np.float64),
    )
    told = [
        (time, fresh[time])
        for time, value in zip(times, values, strict=True)
        if value is None or fresh[time].quality or fresh[time].started or fresh[time].parameters
    ]
    extras = [Extra(stream.id, time, row.quality, other_of(row.result)) for time, row in told]
    await conn.execute(query("create_staging"))
    await make_room(conn, observations)
    conflicts = await store_observations(conn, observations, extras)
    contradicted = {conflict.time for conflict in conflicts}
    await _tell(conn, stream.id, [(at, row) for at, row in told if at not in contradicted])
    stored = [time for time in times if time not in contradicted]
    if stored:
        row = fresh[stored[-1]]
        newest = Latest(stored[-1], number_of(row.result), other_of(row.result), row.quality)
        await upsert_latest(conn, {stream.id: newest})
        await notify_latest(conn)
    return contradicted


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
