"""The signed objects kept as evidence: which gateway signed which readings, and with which key.

Checking a signature is `device_protocol`; storing the batches is `storage.batches`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from storage.database import Connection, query


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedBatch:
    """A message that a gateway signed, with all that its signature covers (envelope, section 5).

    signed: the COSE_Sign1, untagged, as the gateway made it. first_time, last_time: of its
    readings.
    """

    tenant: str
    device: str
    recipient_group: str
    counter: int
    epoch_id: bytes
    seq: int
    signer_kid: bytes
    content_format: int
    readings: int
    first_time: datetime | None
    last_time: datetime | None
    received_at: datetime
    signed: bytes


async def newest_batch(conn: Connection, gateway_id: int) -> SignedBatch | None:
    """Return the last message with readings that the gateway signed.

    None where there is none, or not all of its readings may be read.
    """
    async with conn.cursor(row_factory=class_row(SignedBatch)) as cursor:
        await cursor.execute(query("newest_batch"), {"gateway_id": gateway_id})
        return await cursor.fetchone()


async def signed_object(conn: Connection, epoch_id: bytes, seq: int) -> bytes | None:
    """Return the COSE_Sign1 of one message; None where there is none that the reader may see."""
    cursor = await conn.execute(
        "SELECT signed FROM signed_batch"
        " WHERE epoch_id = %s AND seq = %s AND all_readable(gateway_id)",
        (epoch_id, seq),
    )
    row = await cursor.fetchone()
    return None if row is None else bytes(row[0])


async def public_key(conn: Connection, kid: bytes) -> bytes | None:
    """Return the COSE_Key (public members only) that a signer's `kid` names, or None."""
    cursor = await conn.execute("SELECT cose_key FROM signing_key WHERE kid = %s", (kid,))
    row = await cursor.fetchone()
    return None if row is None else bytes(row[0])


@dataclass(frozen=True, slots=True)
class RegisteredKey:
    """A signer's public key as registered, and the device that it was registered for."""

    device: str
    cose_key: bytes


@dataclass(frozen=True, slots=True)
class EpochCount:
    """An epoch whose stored messages are not those that its progress says.

    messages, highest_seq, contiguous: as noted, and as found.
    """

    device: str
    group: str
    counter: int
    noted: tuple[int, int, int]
    found: tuple[int, int, int]


async def count_batches(conn: Connection) -> int:
    """Return how many signed messages are kept."""
    cursor = await conn.execute("SELECT count(*) FROM signed_batch")
    [(found,)] = await cursor.fetchall()
    return int(found)


async def batches_after(
    conn: Connection, after: tuple[bytes, int], limit: int
) -> list[SignedBatch]:
    """Return the next messages by epoch id and seq; begin with (b"", 0)."""
    epoch_id, seq = after
    async with conn.cursor(row_factory=class_row(SignedBatch), binary=True) as cursor:
        values = {"epoch_id": epoch_id, "seq": seq, "limit": limit}
        await cursor.execute(query("batches_after"), values)
        return await cursor.fetchall()


async def sampled_batches(conn: Connection, wanted: int) -> list[tuple[bytes, int]]:
    """Return epoch id and seq of messages drawn by chance; all where there are no more."""
    cursor = await conn.execute(
        "SELECT epoch_id, seq FROM signed_batch ORDER BY random() LIMIT %s", (wanted,)
    )
    return [(bytes(epoch_id), seq) for epoch_id, seq in await cursor.fetchall()]


async def batches_of(conn: Connection, keys: Sequence[tuple[bytes, int]]) -> list[SignedBatch]:
    """Return these messages."""
    async with conn.cursor(row_factory=class_row(SignedBatch), binary=True) as cursor:
        values = {"epoch_ids": [key[0] for key in keys], "seqs": [key[1] for key in keys]}
        await cursor.execute(query("batches_of"), values)
        return await cursor.fetchall()


async def registered_keys(conn: Connection) -> dict[bytes, RegisteredKey]:
    """Return every signing key that was ever registered, by kid."""
    cursor = await conn.execute(
        "SELECT kid, device, cose_key FROM signing_key JOIN gateway ON gateway.id = gateway_id"
    )
    return {
        bytes(kid): RegisteredKey(device, bytes(cose_key))
        for kid, device, cose_key in await cursor.fetchall()
    }


async def stored_results(
    conn: Connection, keys: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], float | bool | str | None]:
    """Return what is stored at each (datastream, Unix microseconds); those without are left out."""
    if not keys:
        return {}
    times = [time for _, time in keys]
    cursor = await conn.execute(
        query("stored_results"),
        {
            "datastream_ids": [datastream_id for datastream_id, _ in keys],
            "times": times,
            "first": min(times),
            "last": max(times),
        },
        prepare=False,
        binary=True,
    )
    return {
        keys[number - 1]: value if result is None else result
        for number, value, result in await cursor.fetchall()
    }


async def noted_contradictions(
    conn: Connection, devices: Sequence[str], times: Sequence[datetime]
) -> set[tuple[str, str, datetime]]:
    """Return device, SenML name and time of readings kept out because another had their place."""
    cursor = await conn.execute(
        "SELECT device, senml_name, phenomenon_time FROM quarantine"
        " WHERE reason = 'conflicting-result' AND device = ANY (%s) AND phenomenon_time = ANY (%s)",
        (list(devices), list(times)),
    )
    return {(device, name, time) for device, name, time in await cursor.fetchall()}


async def floors(conn: Connection) -> dict[int, datetime]:
    """Return, of datastreams that observations were dropped of, the time before which."""
    cursor = await conn.execute(
        query("observation_floors"),
        {"datastream_ids": [row[0] for row in await _datastream_ids(conn)]},
    )
    return dict(await cursor.fetchall())


async def _datastream_ids(conn: Connection) -> list[tuple[int]]:
    return await (await conn.execute("SELECT id FROM datastream")).fetchall()


async def wrong_counts(conn: Connection) -> list[EpochCount]:
    """Return epochs whose messages are not those that their progress says.

    Left out are those whose evidence may have been dropped, in part or whole.
    """
    cursor = await conn.execute(query("wrong_counts"))
    return [
        EpochCount(device, group, counter, tuple(noted), tuple(found))
        for device, group, counter, noted, found in await cursor.fetchall()
    ]
