"""Observations that are kept by hand, and corrections of signed ones.

Stored as ingest stores them: `storage.batches` writes the rows and logs their hours for the
rollups. Every version of what was ever changed is kept in `observation_version`. What a gateway
signed stays as it is: a correction is a version beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from psycopg.types.json import Jsonb

from device_protocol.reading import Quality
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    """What an observation says, or said."""

    value: float | None
    result: Any
    quality: int
    started: datetime | None
    parameters: Mapping[str, Any] | None
    deleted: bool = False


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
    _check_result(result, stream)
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
    values = [_number(fresh[time].result) for time in times]
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
    extras = [Extra(stream.id, time, row.quality, _other(row.result)) for time, row in told]
    await conn.execute(query("create_staging"))
    await make_room(conn, observations)
    conflicts = await store_observations(conn, observations, extras)
    contradicted = {conflict.time for conflict in conflicts}
    await _tell(conn, stream.id, [(at, row) for at, row in told if at not in contradicted])
    stored = [time for time in times if time not in contradicted]
    if stored:
        row = fresh[stored[-1]]
        newest = Latest(stored[-1], _number(row.result), _other(row.result), row.quality)
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
                "parameters": [_jsonb(row.parameters) for _, row in told],
            },
        )


async def change(
    conn: Connection,
    author: Author,
    key: ObservationId,
    values: Mapping[str, Any],
    reason: str,
) -> None:
    """Change an observation that is kept by hand; the version before stays in its history.

    Raises:
        UnknownTargetError: there is none of that id.
        ForbiddenError: it is another council's.
        ConflictError: it is signed, or its time, which is its id, would change.
    """
    stream = await _unsigned(conn, author, key, "changed")
    before = await _version(conn, key)
    start, end = values.get("phenomenonTime") or (before.started or key.time, key.time)
    if end != key.time:
        raise ConflictError(
            "the end of phenomenonTime is what identifies an Observation: delete it and create"
            " another"
        )
    result = values.get("result", before.result if before.value is None else before.value)
    _check_result(result, stream)
    quality, parameters = before.quality, before.parameters
    if "resultQuality" in values:
        quality = values["resultQuality"] or 0
    if "parameters" in values:
        parameters = values["parameters"]
    if "validTime" in values or "parameters" in values:
        parameters = _valid(values, parameters, before)
    told = values.get("resultTime")
    if told is not None and told != key.time:
        parameters = {**(parameters or {}), "resultTime": instant(told)}
    after = _Version(
        value=_number(result),
        result=_other(result),
        quality=quality,
        started=None if start == end else start,
        parameters=parameters,
    )
    if after == before:
        return
    await _note(conn, key, before, after, author.actor, reason)
    await conn.execute(
        "UPDATE observation SET value = %s WHERE datastream_id = %s AND time = %s",
        (after.value, key.datastream, key.time),
    )
    await _put_extra(conn, key, after)
    await _touched(conn, key)
    await _audit(conn, author, stream.council_id, "change", key)


async def delete(conn: Connection, author: Author, key: ObservationId) -> None:
    """Delete an observation that is kept by hand; what it said stays in its history.

    Raises:
        UnknownTargetError, ForbiddenError, ConflictError: as `change`.
    """
    stream = await _unsigned(conn, author, key, "deleted")
    before = await _version(conn, key)
    gone = _Version(value=None, result=None, quality=0, started=None, parameters=None, deleted=True)
    await _note(conn, key, before, gone, author.actor, "deleted")
    for table in ("observation", "observation_extra"):
        await conn.execute(
            query(f"delete_one_{table}"), {"datastream_id": key.datastream, "time": key.time}
        )
    await _touched(conn, key)
    await _audit(conn, author, stream.council_id, "delete", key)


async def correct(  # noqa: PLR0917  # what a correction consists of
    conn: Connection,
    author: Author,
    datastream: int,
    corrects: str,
    values: Mapping[str, Any],
    now: datetime,
) -> ObservationId:
    """Keep a correction beside an observation that a gateway signed; return that one's id.

    The result stays what was signed. The observation is flagged as corrected, and its parameters
    tell the newest correction.

    Raises:
        UnknownTargetError: there is no such observation in the datastream.
        QueryError: no reason is given, or the result does not suit the datastream.
        ForbiddenError: it is another council's.
        ConflictError: it is kept by hand and can be changed itself.
    """
    key = ObservationId.parse(corrects)
    owner = await owner_of(conn, ENTITY_TYPES["Datastream"], datastream)
    if owner is None or key is None or key.datastream != datastream:
        raise UnknownTargetError(
            f"Datastream {datastream} has no Observation {corrects[:80]!r} to correct"
        )
    check_council(author, owner.council_id, f"Datastream {datastream}")
    if owner.device is None:
        raise ConflictError(f"Observation {key} is kept by hand: change it itself, with PATCH")
    reason = (values.get("parameters") or {}).get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise QueryError("a correction needs parameters/reason: why the signed result is wrong")
    before = await _version(conn, key)
    result = values["result"]
    if isinstance(result, float) != (before.value is not None):
        raise QueryError("a correction is of the same type as the result that it corrects")
    said = _Version(
        value=_number(result),
        result=_other(result),
        quality=before.quality,
        started=before.started,
        parameters=None,
    )
    version = await _note(conn, key, before, said, author.actor, reason)
    told = {
        "result": result,
        "version": version,
        "at": instant(now),
        "reason": reason,
    }
    after = _Version(
        value=before.value,
        result=before.result,
        quality=before.quality | Quality.CORRECTED,
        started=before.started,
        parameters={**(before.parameters or {}), "corrected": told},
    )
    await _put_extra(conn, key, after)
    await _touched(conn, key)
    await _audit(conn, author, owner.council_id, "correct", key, {"version": version})
    return key


async def _unsigned(conn: Connection, author: Author, key: ObservationId, done: str) -> Stream:
    owner = await owner_of(conn, ENTITY_TYPES["Datastream"], key.datastream)
    if owner is not None and owner.device is not None:
        check_council(author, owner.council_id, f"Observation {key}")
        await _version(conn, key)
        raise ConflictError(
            f"Observation {key} was signed by gateway {owner.device} and is never {done}. Its"
            f" correction is kept beside it: POST to Datastreams({key.datastream})/Observations"
            f' a result with the parameters {{"corrects": "{key}", "reason": …}}'
        )
    if owner is None:
        raise UnknownTargetError(f"there is no Observation with the id {key}")
    return await stream_by_hand(conn, author, key.datastream)


async def _version(conn: Connection, key: ObservationId) -> _Version:
    """Return what an observation says now, and lock it."""
    cursor = await conn.execute(
        query("observation_as_it_is"), {"datastream_id": key.datastream, "time": key.time}
    )
    row = await cursor.fetchone()
    if row is None:
        raise UnknownTargetError(f"there is no Observation with the id {key}")
    value, result, quality, started, parameters = row
    return _Version(
        value=value, result=result, quality=quality, started=started, parameters=parameters
    )


async def _note(  # noqa: PLR0917  # what a version says
    conn: Connection,
    key: ObservationId,
    before: _Version,
    after: _Version,
    actor: str,
    reason: str,
) -> int:
    """Add a version, and before the first of them what there was; return its number."""
    cursor = await conn.execute(
        "SELECT coalesce(max(version), 0) FROM observation_version"
        " WHERE datastream_id = %s AND time = %s",
        (key.datastream, key.time),
    )
    [(last,)] = await cursor.fetchall()
    if last == 0:
        await _add_version(conn, key, 1, before, "", "")
        last = 1
    await _add_version(conn, key, last + 1, after, actor, reason)
    return int(last) + 1


async def _add_version(  # noqa: PLR0917  # a row of the table
    conn: Connection, key: ObservationId, number: int, said: _Version, actor: str, reason: str
) -> None:
    await conn.execute(
        query("add_observation_version"),
        {
            "datastream_id": key.datastream,
            "time": key.time,
            "version": number,
            "value": said.value,
            "result": _jsonb(said.result),
            "quality": said.quality,
            "started": said.started,
            "parameters": _jsonb(said.parameters),
            "deleted": said.deleted,
            "actor": actor,
            "reason": reason,
        },
    )


async def _put_extra(conn: Connection, key: ObservationId, said: _Version) -> None:
    await conn.execute(
        query("put_observation_extra"),
        {
            "datastream_id": key.datastream,
            "time": key.time,
            "quality": int(said.quality),
            "result": _jsonb(said.result),
            "started": said.started,
            "parameters": _jsonb(said.parameters),
        },
    )


async def _touched(conn: Connection, key: ObservationId) -> None:
    """Let rollups, exports and the newest value be worked out anew."""
    hour = key.time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    await conn.execute(
        "INSERT INTO rollup_log (bucket, datastream_id) VALUES (%s, %s)", (hour, key.datastream)
    )
    await conn.execute(query("renew_latest"), {"datastream_id": key.datastream})
    await notify_latest(conn)


async def _audit(  # noqa: PLR0917  # what an entry says
    conn: Connection,
    author: Author,
    council_id: int,
    act: str,
    key: ObservationId,
    detail: Mapping[str, object] | None = None,
) -> None:
    await audit.record(
        conn,
        actor=author.actor,
        tenant=await tenant_of(conn, council_id),
        action=f"sensorthings.{act}",
        subject=f"Observations('{key}')",
        detail=detail,
    )


def _check_result(result: object, stream: Stream) -> None:
    """Refuse a result of another type than its datastream's."""
    if stream.unit == "bool":
        if not isinstance(result, bool):
            raise QueryError(f"result: Datastream {stream.id} takes true or false")
    elif stream.observation_type.endswith(_NUMERIC) and not isinstance(result, float):
        raise QueryError(f"result: Datastream {stream.id} takes numbers ({stream.unit})")


def _valid(
    values: Mapping[str, Any], parameters: Mapping[str, Any] | None, before: _Version
) -> dict[str, Any] | None:
    """Return changed parameters with the validTime: as it is told now, else as it was."""
    kept = dict(parameters or {})
    if "validTime" not in values:
        kept = {"validTime": (before.parameters or {}).get("validTime")} | kept
    elif values["validTime"] is not None:
        kept["validTime"] = period(*values["validTime"])
    else:
        kept.pop("validTime", None)
    if kept.get("validTime") is None:
        kept.pop("validTime", None)
    return kept or None


def _number(result: object) -> float | None:
    return result if isinstance(result, float) else None


def _other(result: Any) -> Any:
    return None if isinstance(result, float) else result


def _jsonb(value: Any) -> Jsonb | None:
    return None if value is None else Jsonb(value)


def _taken(key: ObservationId) -> ConflictError:
    return ConflictError(
        f"Observation {key} is there already with another result: change it with PATCH"
    )
