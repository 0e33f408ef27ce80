"""What people who run the network see of each gateway, from its invitation on.

How gateways fare at carrying readings is `storage.status_board`; what is done to them is
`storage.registry`, `storage.invitations` and `storage.configurations`.
"""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from storage.database import Connection, query


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayFacts:
    """One gateway, invited, at work or gone.

    site: None where it was not invited by site. status_at, status_reason: of the last change.
    first_reading_at: when the first message with readings still kept as evidence arrived.
    token_expires_at: of its open token, None if there is none. key_set_version: what its newest
    epoch was sealed for. configuration_wanted: version asked for last; configuration_in_force and
    configuration_refused: as it reported last, None while there is none.
    """

    device: str
    tenant: str
    council: str
    site: str | None
    label: str
    place_name: str
    longitude: float | None
    latitude: float | None
    status: str
    status_at: datetime
    status_reason: str
    created_at: datetime
    enrolled_at: datetime | None
    last_message_at: datetime | None
    first_reading_at: datetime | None
    certificate_until: datetime | None
    token_expires_at: datetime | None
    key_set_version: int | None
    configuration_wanted: int | None
    configuration_in_force: int | None
    configuration_refused: int | None


async def gateway_facts(
    conn: Connection, *, tenant: str | None = None, device: str | None = None
) -> list[GatewayFacts]:
    """Return every gateway of one council or of all, or one device, by council, site and device."""
    async with conn.cursor(row_factory=class_row(GatewayFacts)) as cursor:
        await cursor.execute(query("gateway_facts"), {"tenant": tenant, "device": device})
        return await cursor.fetchall()
