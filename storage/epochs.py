"""Epochs that gateways announced, and how far each was received: the replay state at rest.

Kept here are the statements; what the numbers mean is `device_protocol.receiver`, and keys come
and go sealed under the service key (`ingest.epoch_keys`).
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from storage.database import Connection, query


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEpoch:
    """An accepted announcement (message K). Times are Unix seconds.

    sealed_key: epoch key and base IV under the service key. closes_at: exp + max_delay.
    key_set_version: of the recipients it was sealed for; None if no key set can have it.
    previous: counter and last seq of the epoch before it (field 8), where the gateway said so.
    """

    epoch_id: bytes
    gateway_id: int
    group: str
    counter: int
    announcement_sha256: bytes
    content_algorithm: int
    sealed_key: bytes
    received_at: int
    closes_at: int
    key_set_version: int | None
    previous: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an epoch was received: highest seq, 1..contiguous all stored, messages stored."""

    epoch_id: bytes
    highest_seq: int
    contiguous_seq: int
    received_messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEpochRow:
    """An epoch that still takes messages, as it was stored."""

    epoch_id: bytes
    gateway_id: int
    tenant: str
    device: str
    group: str
    counter: int
    content_algorithm: int
    sealed_key: bytes
    closes_at: int
    highest_seq: int
    contiguous_seq: int
    received_messages: int
    final_seq: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestAnnouncement:
    """The highest counter taken from a gateway and group, and the SHA-256 of its message K."""

    tenant: str
    device: str
    group: str
    counter: int
    announcement_sha256: bytes


async def insert_epochs(conn: Connection, epochs: Sequence[NewEpoch]) -> frozenset[bytes]:
    """Store announcements, note how their predecessors ended; return the ids refused.

    An id is refused when any gateway ever used it, or the counter is taken: uniqueness over all
    time is known only here.
    """
    refused = set()
    for epoch in epochs:
        cursor = await conn.execute(
            query("insert_epoch"),
            {
                "epoch_id": epoch.epoch_id,
                "gateway_id": epoch.gateway_id,
                "group": epoch.group,
                "counter": epoch.counter,
                "announcement_sha256": epoch.announcement_sha256,
                "content_algorithm": epoch.content_algorithm,
                "sealed_key": epoch.sealed_key,
                "received_at": epoch.received_at,
                "closes_at": epoch.closes_at,
                "key_set_version": epoch.key_set_version,
            },
        )
        if cursor.rowcount == 0:
            refused.add(epoch.epoch_id)
        elif epoch.previous is not None:
            counter, last_seq = epoch.previous
            await conn.execute(
                "UPDATE epoch SET final_seq = %s"
                " WHERE gateway_id = %s AND recipient_group = %s AND counter = %s",
                (last_seq, epoch.gateway_id, epoch.group, counter),
            )
    return frozenset(refused)


async def advance_epochs(conn: Connection, progress: Sequence[Progress]) -> None:
    """Store how far epochs have come; part of the transaction that stores their messages."""
    if not progress:
        return
    await conn.execute(
        query("advance_epochs"),
        {
            "epoch_ids": [row.epoch_id for row in progress],
            "highest": [row.highest_seq for row in progress],
            "contiguous": [row.contiguous_seq for row in progress],
            "received": [row.received_messages for row in progress],
        },
    )


async def open_epochs(
    conn: Connection, now: int, gateway_ids: Sequence[int] | None = None
) -> list[OpenEpochRow]:
    """Return the epochs that still take messages at `now` (Unix seconds), oldest first.

    gateway_ids: of these gateways alone.
    """
    cursor = await conn.execute(
        query("open_epochs"), {"now": now, "gateway_ids": _listed(gateway_ids)}
    )
    return [
        OpenEpochRow(
            epoch_id=epoch_id,
            gateway_id=gateway_id,
            tenant=tenant,
            device=device,
            group=group,
            counter=counter,
            content_algorithm=content_algorithm,
            sealed_key=sealed_key,
            closes_at=closes_at,
            highest_seq=highest_seq,
            contiguous_seq=contiguous_seq,
            received_messages=received_messages,
            final_seq=final_seq,
        )
        for (
            epoch_id,
            gateway_id,
            tenant,
            device,
            group,
            counter,
            content_algorithm,
            sealed_key,
            closes_at,
            highest_seq,
            contiguous_seq,
            received_messages,
            final_seq,
        ) in await cursor.fetchall()
    ]


async def newest_announcements(
    conn: Connection, gateway_ids: Sequence[int] | None = None
) -> list[NewestAnnouncement]:
    """Return the newest announcement of every gateway, or of these, and group, open or not."""
    cursor = await conn.execute(
        query("newest_announcements"), {"gateway_ids": _listed(gateway_ids)}
    )
    return [
        NewestAnnouncement(
            tenant=tenant,
            device=device,
            group=group,
            counter=counter,
            announcement_sha256=announcement_sha256,
        )
        for tenant, device, group, counter, announcement_sha256 in await cursor.fetchall()
    ]


async def recent_messages(
    conn: Connection, now: int, window: int, gateway_ids: Sequence[int] | None = None
) -> AsyncIterator[tuple[bytes, int, bytes]]:
    """Yield epoch id, seq and hash of the last `window` seqs of every epoch open at `now`.

    gateway_ids: of these gateways alone.
    """
    async with conn.cursor(name="recent_messages") as cursor:
        cursor.itersize = 10_000
        await cursor.execute(
            query("recent_messages"),
            {"now": now, "window": window, "gateway_ids": _listed(gateway_ids)},
        )
        async for epoch_id, seq, message_hash in cursor:
            yield epoch_id, seq, message_hash


async def close_open_epochs(conn: Connection) -> int:
    """Close every epoch now; return how many were open.

    Run after a restore from backup and before the first message: an old snapshot of the replay
    state would otherwise take messages a second time (envelope, section 8). They end in the past,
    so that they are closed for an ingest, too, whose clock is behind the database's.
    """
    cursor = await conn.execute("UPDATE epoch SET closes_at = received_at WHERE closes_at > now()")
    return cursor.rowcount


def _listed(gateway_ids: Sequence[int] | None) -> list[int] | None:
    return None if gateway_ids is None else list(gateway_ids)
