"""Settings asked of gateways (message C), their signed messages, and what became of them.

Signing is `enrolment`'s business. A gateway tries settings by itself and reports what it runs
under, and what it refused, as readings of its own health; from these the state of each request is
worked out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from storage import audit, registry
from storage.database import Connection, query

State = Literal["requested", "signed", "in force", "refused", "superseded", "expired"]
"""requested: not signed yet. signed: on its way, or being tried. superseded: by a later version."""


class UnknownConfigurationError(LookupError):
    """The gateway was never asked for this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsigned:
    """A request that waits for its signature."""

    device: str
    tenant: str
    version: int
    settings: Mapping[str, Any]
    requested_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationState:
    """A request and what became of it."""

    version: int
    settings: Mapping[str, Any]
    requested_at: datetime
    requested_by: str
    state: State


async def request_configuration(
    conn: Connection,
    *,
    device: str,
    settings: Mapping[str, object],
    actor: str,
    lifetime: timedelta,
) -> int:
    """Ask a gateway to run under `settings`; return the request's version, which rises.

    lifetime: how long the gateway may take it up.

    Raises:
        UnknownGatewayError: no such device.
        RevokedForGoodError: it was revoked.
        TypeError: `settings` hold what JSON cannot say.
    """
    async with conn.transaction():
        gateway = await registry.lock_gateway(conn, device)
        if gateway.status == "revoked":
            raise registry.RevokedForGoodError(f"gateway {device!r} was revoked")
        cursor = await conn.execute(
            query("request_configuration"),
            {
                "gateway_id": gateway.id,
                "settings": Jsonb(dict(settings)),
                "actor": actor,
                "lifetime": lifetime,
            },
        )
        row = await cursor.fetchone()
        if row is None:
            raise RuntimeError("request_configuration returned no row")
        version = int(row[0])
        await audit.record(
            conn,
            actor=actor,
            tenant=gateway.tenant,
            action="gateway.configure",
            subject=device,
            detail={"version": version, "settings": dict(settings)},
        )
        await registry.announce(conn, device)
    return version


async def unsigned(conn: Connection) -> list[Unsigned]:
    """Return each gateway's newest request if it still waits for its signature.

    Expired ones and those of revoked gateways are never signed.
    """
    async with conn.cursor(row_factory=class_row(Unsigned)) as cursor:
        await cursor.execute(query("unsigned_configurations"))
        return await cursor.fetchall()


async def put_signed(
    conn: Connection, *, device: str, version: int, message: bytes, signed_at: datetime
) -> None:
    """Keep a signed message C; ingest publishes it at once.

    Raises:
        UnknownConfigurationError: the gateway was never asked for this version.
    """
    async with conn.transaction():
        cursor = await conn.execute(
            "UPDATE gateway_configuration SET message = %s, signed_at = %s"
            " FROM gateway WHERE gateway.id = gateway_id AND device = %s AND version = %s",
            (message, signed_at, device, version),
        )
        if cursor.rowcount == 0:
            raise UnknownConfigurationError(f"gateway {device!r}: no version {version}")
        await registry.announce(conn, device)


async def newest_configurations(
    conn: Connection, device: str | None = None
) -> dict[tuple[str, str], bytes]:
    """Return the newest signed message C of each gateway, or of `device`, by (tenant, device).

    Expired ones are left out.
    """
    cursor = await conn.execute(query("newest_configurations"), {"device": device})
    return {(tenant, device): message for tenant, device, message in await cursor.fetchall()}


async def configuration_states(conn: Connection, device: str) -> list[ConfigurationState]:
    """Return everything asked of a gateway and what became of it, newest first."""
    async with conn.cursor(row_factory=class_row(ConfigurationState)) as cursor:
        await cursor.execute(query("configuration_states"), {"device": device})
        return await cursor.fetchall()
