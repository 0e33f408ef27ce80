"""The signed objects kept as evidence: which gateway signed which readings, and with which key.

Checking a signature is `device_protocol`; storing the batches is `storage.batches`.
"""

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
    """Return the last message with readings that the gateway signed, or None."""
    async with conn.cursor(row_factory=class_row(SignedBatch)) as cursor:
        await cursor.execute(query("newest_batch"), {"gateway_id": gateway_id})
        return await cursor.fetchone()


async def signed_object(conn: Connection, epoch_id: bytes, seq: int) -> bytes | None:
    """Return the COSE_Sign1 of one message, or None where there is no such message."""
    cursor = await conn.execute(
        "SELECT signed FROM signed_batch WHERE epoch_id = %s AND seq = %s", (epoch_id, seq)
    )
    row = await cursor.fetchone()
    return None if row is None else bytes(row[0])


async def public_key(conn: Connection, kid: bytes) -> bytes | None:
    """Return the COSE_Key (public members only) that a signer's `kid` names, or None."""
    cursor = await conn.execute("SELECT cose_key FROM signing_key WHERE kid = %s", (kid,))
    row = await cursor.fetchone()
    return None if row is None else bytes(row[0])
