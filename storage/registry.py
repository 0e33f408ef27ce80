"""Who and what there is: councils, gateways, their keys, their key sets and their datastreams.

Provisioning writes here, ingest reads here and follows changes. What a gateway describes is
written by `storage.descriptions`.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from psycopg import sql

from device_protocol.key_set import KeySet
from device_protocol.keys import VerifyingKey
from storage.database import Connection, connect, query

CHANNEL: Final = "kerbstone_registry"

Status = Literal["active", "suspended", "revoked"]


class UnknownCouncilError(LookupError):
    """No council has this short name."""


class UnknownGatewayError(LookupError):
    """No gateway has this device id."""


class TakenError(ValueError):
    """A device id belongs to another council, or a key to another gateway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeyRow:
    """A key that may sign for a gateway, from valid_from until its certificate's notAfter."""

    kid: bytes
    cose_key: bytes
    valid_from: int
    valid_until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRow:
    """A gateway as ingest must know it. description_sha256: of the last one taken whole."""

    id: int
    council_id: int
    tenant: str
    device: str
    status: str
    keys: tuple[SigningKeyRow, ...]
    description_sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRow:
    """A datastream and the sensor it belongs to; unit is a key of the unit table."""

    gateway_id: int
    sensor: str
    short_name: str
    datastream_id: int
    unit: str
    valid_minimum: float | None
    valid_maximum: float | None


async def add_council(conn: Connection, *, gss: str, tenant: str, name: str) -> int:
    """Return the id of the council with this GSS code, made or renamed as needed.

    Raises:
        psycopg.errors.UniqueViolation: the short name belongs to another GSS code.
    """
    cursor = await conn.execute(query("add_council"), {"gss": gss, "tenant": tenant, "name": name})
    row = await cursor.fetchone()
    if row is None:
        raise RuntimeError("add_council returned no row")
    await _announce(conn, "")
    return int(row[0])


async def add_gateway(conn: Connection, *, tenant: str, device: str, label: str = "") -> int:
    """Return the id of this gateway, made if it is new.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
        TakenError: the device belongs to another council.
    """
    cursor = await conn.execute("SELECT id FROM council WHERE tenant = %s", (tenant,))
    council = await cursor.fetchone()
    if council is None:
        raise UnknownCouncilError(f"no council is called {tenant!r}")
    cursor = await conn.execute(
        query("add_gateway"), {"council_id": council[0], "device": device, "label": label}
    )
    row = await cursor.fetchone()
    if row is None:
        raise TakenError(f"device {device!r} belongs to another council than {tenant!r}")
    await _announce(conn, device)
    return int(row[0])


async def add_signing_key(
    conn: Connection,
    *,
    device: str,
    key: VerifyingKey,
    valid_from: datetime,
    valid_until: datetime,
) -> None:
    """Let `key` sign for a gateway in this time; its certificate's notAfter is the end.

    Raises:
        UnknownGatewayError: no such device.
        TakenError: the key's kid is registered for another gateway (envelope, section 4).
    """
    cursor = await conn.execute("SELECT id FROM gateway WHERE device = %s", (device,))
    gateway = await cursor.fetchone()
    if gateway is None:
        raise UnknownGatewayError(f"no gateway is called {device!r}")
    cursor = await conn.execute(
        query("add_signing_key"),
        {
            "kid": key.kid,
            "gateway_id": gateway[0],
            "algorithm": key.algorithm,
            "cose_key": key.cose_key,
            "valid_from": valid_from,
            "valid_until": valid_until,
        },
    )
    if cursor.rowcount == 0:
        raise TakenError(f"key {key.kid.hex()} is registered for another gateway")
    await conn.execute(
        "UPDATE gateway SET certificate_not_after = greatest(certificate_not_after, %s)"
        " WHERE id = %s",
        (valid_until, gateway[0]),
    )
    await _announce(conn, device)


async def set_gateway_status(conn: Connection, *, device: str, status: Status) -> None:
    """Suspend, revoke or readmit a gateway; ingest refuses it within a second of the commit.

    Raises:
        UnknownGatewayError: no such device.
    """
    cursor = await conn.execute(
        "UPDATE gateway SET status = %s WHERE device = %s", (status, device)
    )
    if cursor.rowcount == 0:
        raise UnknownGatewayError(f"no gateway is called {device!r}")
    await _announce(conn, device)


async def next_key_set_version(conn: Connection, tenant: str) -> int:
    """Return one more than the newest key set version of this council, 1 for the first.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
    """
    cursor = await conn.execute(
        "SELECT (SELECT coalesce(max(version), 0) + 1 FROM key_set WHERE council_id = council.id)"
        "  FROM council WHERE tenant = %s",
        (tenant,),
    )
    row = await cursor.fetchone()
    if row is None:
        raise UnknownCouncilError(f"no council is called {tenant!r}")
    return int(row[0])


async def add_key_set(conn: Connection, *, tenant: str, key_set: KeySet, message: bytes) -> None:
    """Keep a signed recipient key set (message R); ingest publishes it at once.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
        psycopg.errors.UniqueViolation: the council has this version already.
    """
    cursor = await conn.execute(
        query("add_key_set"),
        {
            "tenant": tenant,
            "version": key_set.version,
            "message": message,
            "issued_at": key_set.issued_at,
            "soft_expiry": key_set.soft_expiry,
            "hard_expiry": key_set.hard_expiry,
        },
    )
    if cursor.rowcount == 0:
        raise UnknownCouncilError(f"no council is called {tenant!r}")
    await _announce(conn, "")


async def newest_key_sets(conn: Connection) -> dict[str, bytes]:
    """Return the newest message R of every council that has one, by short name."""
    cursor = await conn.execute(query("newest_key_sets"))
    return dict(await cursor.fetchall())


async def tenants(conn: Connection) -> list[str]:
    """Return the short names of all councils."""
    cursor = await conn.execute("SELECT tenant FROM council")
    return [tenant for (tenant,) in await cursor.fetchall()]


async def gateways(conn: Connection, device: str | None = None) -> list[GatewayRow]:
    """Return every gateway with its keys, or the one called `device`."""
    cursor = await conn.execute(query("gateways"), {"device": device})
    rows: dict[int, GatewayRow] = {}
    keys: dict[int, list[SigningKeyRow]] = {}
    for row in await cursor.fetchall():
        gateway_id, council_id, tenant, name, status, sha256, kid, cose_key, start, end = row
        held = keys.setdefault(gateway_id, [])
        if kid is not None:
            held.append(
                SigningKeyRow(kid=kid, cose_key=cose_key, valid_from=start, valid_until=end)
            )
        rows[gateway_id] = GatewayRow(
            id=gateway_id,
            council_id=council_id,
            tenant=tenant,
            device=name,
            status=status,
            keys=tuple(held),
            description_sha256=sha256 or b"",
        )
    return list(rows.values())


async def streams(conn: Connection, device: str | None = None) -> list[StreamRow]:
    """Return every datastream with its sensor's gateway, or those of the gateway `device`."""
    cursor = await conn.execute(query("streams"), {"device": device})
    return [
        StreamRow(
            gateway_id=gateway_id,
            sensor=sensor,
            short_name=short_name,
            datastream_id=datastream_id,
            unit=unit,
            valid_minimum=valid_minimum,
            valid_maximum=valid_maximum,
        )
        for (
            gateway_id,
            sensor,
            short_name,
            datastream_id,
            unit,
            valid_minimum,
            valid_maximum,
        ) in await cursor.fetchall()
    ]


async def changes(dsn: str, *, application_name: str) -> AsyncGenerator[str, None]:
    """Yield "" at once, then the device of each change to the registry, "" for any or many.

    Never ends by itself.

    Raises:
        psycopg.OperationalError: the server cannot be reached, or was lost; changes may have been
            missed, which is why the first value after coming back is again "".
    """
    conn = await connect(dsn, autocommit=True, application_name=application_name)
    async with conn:
        await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
        yield ""
        async for notification in conn.notifies():
            yield notification.payload


async def _announce(conn: Connection, device: str) -> None:
    """Tell listeners at commit that something about `device`, or anything at all, changed."""
    await conn.execute("SELECT pg_notify(%s, %s)", (CHANNEL, device))
