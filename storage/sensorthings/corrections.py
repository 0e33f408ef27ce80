"""Changes and corrections of observations, each a version that is kept in `observation_version`.

What is kept by hand is changed or deleted itself, and what it said before stays in its history.
What a gateway signed stays as it is: a correction is a version beside it. Observations that are
new are `kept_observations`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from device_protocol.reading import Quality
from standards_mapping.sensorthings.entity import instant, period
from standards_mapping.sensorthings.errors import ConflictError, QueryError, UnknownTargetError
from standards_mapping.sensorthings.model import ENTITY_TYPES, ObservationId
from storage import audit
from storage.batches import notify_latest
from storage.database import Connection, query
from storage.sensorthings.kept_observations import (
    Stream,
    check_result,
    jsonb,
    number_of,
    other_of,
    stream_by_hand,
)
from storage.sensorthings.ownership import Author, Owner, check_council, owner_of, tenant_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    """What an observation says, or said."""

    value: float | None
    result: Any
    quality: int
    started: datetime | None
    parameters: Mapping[str, Any] | None
    deleted: bool = False


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
    after = _changed(key, values, stream, before)
    if after == before:
        return
    await _note(conn, key, before, after, actor=author.actor, reason=reason)
    await conn.execute(
        "UPDATE observation SET value = %s WHERE datastream_id = %s AND time = %s",
        (after.value, key.datastream, key.time),
    )
    await _put_extra(conn, key, after)
    await _touched(conn, key)
    await _audit(conn, author, stream.council_id, "change", key)


def _changed(
    key: ObservationId, values: Mapping[str, Any], stream: Stream, before: _Version
) -> _Version:
    """Return what an observation says once these values of a draft replace what it said."""
    start, end = values.get("phenomenonTime") or (before.started or key.time, key.time)
    if end != key.time:
        raise ConflictError(
            "the end of phenomenonTime is what identifies an Observation: delete it and create"
            " another"
        )
    result = values.get("result", before.result if before.value is None else before.value)
    check_result(result, stream)
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
    return _Version(
        value=number_of(result),
        result=other_of(result),
        quality=quality,
        started=None if start == end else start,
        parameters=parameters,
    )


async def delete(conn: Connection, author: Author, key: ObservationId) -> None:
    """Delete an observation that is kept by hand; what it said stays in its history.

    Raises:
        UnknownTargetError, ForbiddenError, ConflictError: as `change`.
    """
    stream = await _unsigned(conn, author, key, "deleted")
    before = await _version(conn, key)
    gone = _Version(value=None, result=None, quality=0, started=None, parameters=None, deleted=True)
    await _note(conn, key, before, gone, actor=author.actor, reason="deleted")
    for table in ("observation", "observation_extra"):
        await conn.execute(
            query(f"delete_one_{table}"), {"datastream_id": key.datastream, "time": key.time}
        )
    await _touched(conn, key)
    await _audit(conn, author, stream.council_id, "delete", key)


async def correct(
    conn: Connection,
    author: Author,
    datastream: int,
    *,
    corrects: str,
    values: Mapping[str, Any],
    now: datetime,
) -> ObservationId:
    """Keep a correction beside an observation that a gateway signed; return that one's id.

    The result stays what was signed. The observation is flagged as corrected, and its parameters
    tell the newest correction.

    corrects: the id of that observation, as it was sent. values: the draft of the correction.

    Raises:
        UnknownTargetError: there is no such observation in the datastream.
        QueryError: no reason is given, or the result does not suit the datastream.
        ForbiddenError: it is another council's.
        ConflictError: it is kept by hand and can be changed itself.
    """
    key, owner = await _signed(conn, author, datastream, corrects)
    reason = (values.get("parameters") or {}).get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise QueryError("a correction needs parameters/reason: why the signed result is wrong")
    before = await _version(conn, key)
    result = values["result"]
    if isinstance(result, float) != (before.value is not None):
        raise QueryError("a correction is of the same type as the result that it corrects")
    said = _Version(
        value=number_of(result),
        result=other_of(result),
        quality=before.quality,
        started=before.started,
        parameters=None,
    )
    version = await _note(conn, key, before, said, actor=author.actor, reason=reason)
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
    await _audit(conn, author, owner.council_id, "correct", key, detail={"version": version})
    return key


async def _signed(
    conn: Connection, author: Author, datastream: int, corrects: str
) -> tuple[ObservationId, Owner]:
    """Return the id that a correction is of, and whose it is, once the author may correct it."""
    key = ObservationId.parse(corrects)
    owner = await owner_of(conn, ENTITY_TYPES["Datastream"], datastream)
    if owner is None or key is None or key.datastream != datastream:
        raise UnknownTargetError(
            f"Datastream {datastream} has no Observation {corrects[:80]!r} to correct"
        )
    check_council(author, owner.council_id, f"Datastream {datastream}")
    if owner.device is None:
        raise ConflictError(f"Observation {key} is kept by hand: change it itself, with PATCH")
    return key, owner


async def _unsigned(conn: Connection, author: Author, key: ObservationId, done: str) -> Stream:
    """Return the datastream of an observation that the author may change or delete."""
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


async def _note(
    conn: Connection,
    key: ObservationId,
    before: _Version,
    after: _Version,
    *,
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
        await _add_version(conn, key, 1, before, actor="", reason="")
        last = 1
    await _add_version(conn, key, last + 1, after, actor=actor, reason=reason)
    return int(last) + 1


async def _add_version(
    conn: Connection, key: ObservationId, number: int, said: _Version, *, actor: str, reason: str
) -> None:
    await conn.execute(
        query("add_observation_version"),
        {
            "datastream_id": key.datastream,
            "time": key.time,
            "version": number,
            "value": said.value,
            "result": jsonb(said.result),
            "quality": said.quality,
            "started": said.started,
            "parameters": jsonb(said.parameters),
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
            "result": jsonb(said.result),
            "started": said.started,
            "parameters": jsonb(said.parameters),
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


async def _audit(
    conn: Connection,
    author: Author,
    council_id: int,
    act: str,
    key: ObservationId,
    *,
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
