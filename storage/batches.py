"""What one batch of messages leaves behind: observations, signed batches, latest values.

Observations go by binary COPY straight into `observation` while none of them is expected to be
there already; else, and when that fails, into a staging table of the connection and from there
into `observation`, which ignores what it holds. While a publisher follows, one row more tells
which were stored (`storage.publication`). Everything here runs inside the caller's transaction,
except that `latest` has its own.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from operator import attrgetter
from typing import Final, LiteralString, TypeAlias

import numpy as np
import numpy.typing as npt
from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from storage import binary_copy
from storage.database import Connection, query
from storage.optimism import Optimism
from storage.partitions import ensure_months
from storage.quarantine import Reported

LATEST_CHANNEL: Final = "kerbstone"

Result: TypeAlias = bool | str | None
"""A result that is not a number; None where the value says it all."""

_SECOND: Final = 1_000_000  # in microseconds
_SIGNED_FIELDS: Final = attrgetter(
    "epoch_id",
    "seq",
    "message_hash",
    "gateway_id",
    "signer_kid",
    "content_format",
    "signed",
    "readings",
    "first_time",
    "last_time",
)


@dataclass(frozen=True, slots=True)
class Observations:
    """Columns of equal length, sorted by key, each (datastream, time) once.

    datastream_ids: int32. times: int64, Unix microseconds. values: float64, in the datastream's
    unit; NaN where the result is not a number and `Extra` holds it.
    """

    datastream_ids: npt.NDArray[np.int32]
    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True)
class Extra:
    """What an observation has beside its value: a quality bit mask, a non-numeric result."""

    datastream_id: int
    time: int
    quality: int
    result: Result


@dataclass(frozen=True, slots=True)
class Conflict:
    """A staged observation that was not stored because another result is there already."""

    datastream_id: int
    time: int
    stored: Reported | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedBatch:
    """The signed part (COSE_Sign1) of one message; times of its readings in Unix microseconds."""

    epoch_id: bytes
    seq: int
    message_hash: bytes
    gateway_id: int
    signer_kid: bytes
    content_format: int
    signed: bytes
    readings: int
    first_time: int | None
    last_time: int | None
    received_at: int


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest observation of one datastream; time in Unix microseconds."""

    time: int
    value: float | None
    result: Result
    quality: int


@dataclass(frozen=True, slots=True)
class Begun:
    """A transaction that has begun. id: to ask `is_committed` about later.

    followed: whether somebody publishes what it stores, and is to be told.
    """

    id: int
    followed: bool


async def prepare(conn: Connection) -> None:
    """Make the staging table of this connection; once, before the first `store_observations`.

    The server is also told to notice within a minute if we vanish: until then it would keep our
    last transaction open, and `is_committed` without an answer. Where it can, it is to compress
    evidence the quicker way (lz4: half the work for a sixth more bytes).
    """
    await conn.execute(query("create_staging"))
    await conn.execute(query("compress_quickly"))
    await conn.execute("SET tcp_keepalives_idle = 30")
    await conn.execute("SET tcp_keepalives_interval = 10")
    await conn.execute("SET tcp_keepalives_count = 3")


async def make_room(conn: Connection, observations: Observations) -> None:
    """Make sure there are partitions for these observations; before their transaction begins."""
    if not len(observations):
        return
    months = np.unique(observations.times.astype("datetime64[us]").astype("datetime64[M]"))
    firsts: list[date] = months.astype("datetime64[D]").astype(object).tolist()
    await ensure_months(conn, firsts)


async def store_observations(
    conn: Connection,
    observations: Observations,
    extras: Sequence[Extra],
    optimism: Optimism | None = None,
    *,
    followed: bool | None = None,
) -> list[Conflict]:
    """Store observations and log their hours for the rollups; return those that contradict.

    Exact repetitions are ignored. Of a contradiction the stored result stays. `optimism` decides
    whether to try them straight, and learns what came of it; without it they are staged.
    followed: as `begun` told of the transaction; without it that is asked. Needs `prepare`.
    """
    if not len(observations):
        return []
    if followed is None:
        followed = (await begun(conn)).followed
    if optimism is not None and optimism.justified():
        if await _store_straight(conn, observations, extras, followed=followed):
            optimism.succeeded()
            return []
        optimism.failed(len(observations))
    inserted = await _store_staged(conn, observations, extras, followed=followed)
    if optimism is not None:
        optimism.staged(len(observations), repetitions=inserted < len(observations))
    if inserted == len(observations):
        return []
    return await _conflicts(conn, observations, extras)


async def _store_straight(
    conn: Connection, observations: Observations, extras: Sequence[Extra], *, followed: bool
) -> bool:
    """Store observations none of which is there yet; else undo it all and return False.

    Where another transaction is about to store one of them, this waits for its end. Keys come
    sorted, so that two such writers rarely wait for each other; when they do, the server ends one
    with an error that counts among the outages.
    """
    ids, times = observations.datastream_ids, observations.times
    try:
        async with conn.transaction():  # inside the caller's: a savepoint
            await copy(conn, query("copy_observations"), copy_payload(observations))
            if extras:
                await copy(conn, query("copy_extras"), binary_copy.extras(map(_extra_row, extras)))
    except UniqueViolation:
        return False
    await copy(conn, query("copy_rollup_log"), binary_copy.touched_hours(ids, times))
    if followed:
        await copy(conn, query("copy_unpublished"), binary_copy.unpublished_batch(ids, times))
    return True


async def _store_staged(
    conn: Connection, observations: Observations, extras: Sequence[Extra], *, followed: bool
) -> int:
    """Store those observations that are not there yet; return how many."""
    await copy(conn, query("copy_staging"), copy_payload(observations))
    cursor = await conn.execute(
        query("store_staged"),
        {
            "datastream_ids": [extra.datastream_id for extra in extras],
            "times": [_datetime(extra.time) for extra in extras],
            "qualities": [extra.quality for extra in extras],
            "results": [_json(extra.result) for extra in extras],
            "followed": followed,
        },
        prepare=False,  # planned for as many rows as are staged now, not for some earlier batch's
    )
    [(inserted,)] = await cursor.fetchall()
    return int(inserted)


async def copy(conn: Connection, statement: LiteralString, payload: bytes) -> None:
    """Send the payload of a COPY … FROM STDIN."""
    async with conn.cursor() as cursor, cursor.copy(statement) as writer:
        await writer.write(payload)


def _extra_row(extra: Extra) -> binary_copy.ExtraRow:
    result = None if extra.result is None else json.dumps(extra.result)
    return extra.datastream_id, extra.time, extra.quality, result


async def _conflicts(
    conn: Connection, observations: Observations, extras: Sequence[Extra]
) -> list[Conflict]:
    """Return the staged observations whose stored result is another one."""
    staged = {(extra.datastream_id, extra.time): extra.result for extra in extras}
    first, last = int(observations.times.min()), int(observations.times.max())
    cursor = await conn.execute(
        query("staged_repetitions"),
        {
            "first": _datetime(first),
            "last": _datetime(last),
            "datastream_ids": [extra.datastream_id for extra in extras],
            "times": [_datetime(extra.time) for extra in extras],
        },
    )
    found = []
    for datastream_id, time, same_value, value, result in await cursor.fetchall():
        reported = staged.get((datastream_id, time))
        if not same_value or result != reported:
            found.append(Conflict(datastream_id, time, value if result is None else result))
    return found


def copy_payload(observations: Observations) -> bytes:
    """Return observations as a binary COPY of (datastream_id, time, value); NaN becomes null."""
    return binary_copy.observations(
        observations.datastream_ids, observations.times, observations.values
    )


async def insert_signed_batches(conn: Connection, batches: Sequence[SignedBatch]) -> None:
    """Keep the signed part of messages: evidence, and the replay window of their epochs."""
    if batches:
        rows = ((*_SIGNED_FIELDS(batch), batch.received_at * _SECOND) for batch in batches)
        await copy(conn, query("copy_signed_batch"), binary_copy.signed_batches(rows))


async def begun(conn: Connection) -> Begun:
    """Return the current transaction."""
    cursor = await conn.execute(query("begun_transaction"))
    [(transaction, followed)] = await cursor.fetchall()
    return Begun(transaction, followed)


async def timeline(conn: Connection) -> str:
    """Return which history the server writes: another one since a replica was promoted.

    Transaction ids mean something within one history only: a promoted replica gives those that
    it had not heard of to other transactions.

    Raises:
        psycopg.OperationalError: the server is still a replica.
    """
    cursor = await conn.execute("SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)")
    row = await cursor.fetchone()
    if row is None:
        raise RuntimeError("SELECT without FROM returned no row")
    return str(row[0])


async def is_committed(conn: Connection, transaction: int) -> bool | None:
    """Return whether a transaction of this `timeline` committed; None while it is under way.

    Asked after a connection was lost between COMMIT and its answer. The server remembers at
    least the last two hundred million transactions.
    """
    cursor = await conn.execute("SELECT pg_xact_status(%s::text::xid8)", (str(transaction),))
    row = await cursor.fetchone()
    status = None if row is None else row[0]
    return None if status == "in progress" else status == "committed"


async def upsert_latest(conn: Connection, newest: Mapping[int, Latest]) -> None:
    """Bring `latest` up to these observations; an older one never replaces a newer."""
    if not newest:
        return
    ids = sorted(newest)
    rows = [newest[datastream_id] for datastream_id in ids]
    await conn.execute(
        query("upsert_latest"),
        {
            "datastream_ids": ids,
            "times": [_datetime(row.time) for row in rows],
            "values": [row.value for row in rows],
            "results": [_json(row.result) for row in rows],
            "qualities": [row.quality for row in rows],
        },
    )


async def reconcile_latest(conn: Connection) -> None:
    """Bring `latest` up to what is stored: a process that stopped may have owed it a second."""
    await conn.execute(query("reconcile_latest"))


async def update_seen(conn: Connection, last_message_at: Mapping[int, int]) -> None:
    """Note when each gateway was last heard; Unix seconds by gateway id."""
    if not last_message_at:
        return
    ids = sorted(last_message_at)
    await conn.execute(
        query("update_seen"),
        {"gateway_ids": ids, "times": [last_message_at[gateway_id] for gateway_id in ids]},
    )


async def notify_latest(conn: Connection) -> None:
    """Tell listeners how new `latest` is now: `{"latest": "<newest updated_at>"}`."""
    cursor = await conn.execute("SELECT max(updated_at) FROM latest")
    row = await cursor.fetchone()
    if row is not None and row[0] is not None:
        payload = json.dumps({"latest": row[0].isoformat()})
        await conn.execute("SELECT pg_notify(%s, %s)", (LATEST_CHANNEL, payload))


def _json(result: Result) -> Jsonb | None:
    return None if result is None else Jsonb(result)


def _datetime(microseconds: int) -> datetime:
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
