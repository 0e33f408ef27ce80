"""Who and what there is: councils, gateways, their keys, their key sets and their datastreams.

Provisioning and administration write here; ingest and the enrolment service read here and follow
changes. What a gateway describes is written by `storage.descriptions`; how one comes to be
invited is `storage.invitations`, and its certificates are `storage.certificates`.

Whoever changes anything about a gateway that exists locks its row first (`lock_gateway`): so what
is done to one gateway at the same time is done one after the other, and nobody deadlocks.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from psycopg import sql
from psycopg.rows import class_row

from device_protocol.key_set import KeySet
from device_protocol.keys import VerifyingKey
from device_protocol.receiver import Policy
from storage import audit
from storage.database import Connection, connect, query

CHANNEL: Final = "kerbstone_registry"

KEYS_REMEMBERED: Final = 2 * timedelta(seconds=Policy().max_delay_seconds)
"""After its certificate's end a key counts for messages that come late (`max_delay`), then it is
known for as long again, so that what it signed is kept (204); after that it is unknown (203)."""

Status = Literal["active", "suspended", "revoked"]
"""What a gateway can be made; a new one is also "invited" until its first certificate."""

_ACTIONS: Final[dict[Status, str]] = {
    "active": "gateway.resume",
    "suspended": "gateway.suspend",
    "revoked": "gateway.revoke",
}


class UnknownCouncilError(LookupError):
    """No council has this short name."""


class UnknownGatewayError(LookupError):
    """No gateway has this device id."""


class TakenError(ValueError):
    """A device id belongs to another council, or a key to another gateway."""


class RevokedForGoodError(ValueError):
    """The gateway was revoked, which is never undone: its site is invited again instead."""


class NotEnrolledError(ValueError):
    """The gateway was invited and never enrolled: it can be revoked, not suspended or resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CouncilRow:
    """A council. suites: of the envelope, that its gateways may use (message R, field 7)."""

    id: int
    tenant: str
    gss: str
    name: str
    suites: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedGateway:
    """A gateway whose row the transaction holds. status: also "invited"."""

    id: int
    tenant: str
    device: str
    status: str
    site: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeyRow:
    """A key of a gateway, good from valid_from until its certificate's notAfter (Unix seconds).

    superseded: the gateway has enrolled anew since, and nothing signed by it counts any more.
    """

    kid: bytes
    cose_key: bytes
    valid_from: int
    valid_until: int
    superseded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRow:
    """A gateway as ingest must know it. description_sha256: of the last one taken whole.

    status: one of `Status`, or "invited".
    """

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
    await announce(conn, "")
    return int(row[0])


async def add_gateway(conn: Connection, *, tenant: str, device: str, label: str = "") -> int:
    """Return the id of this gateway, made if it is new.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
        TakenError: the device belongs to another council.
    """
    council = await find_council(conn, tenant)
    cursor = await conn.execute(
        query("add_gateway"), {"council_id": council, "device": device, "label": label}
    )
    row = await cursor.fetchone()
    if row is None:
        raise TakenError(f"device {device!r} belongs to another council than {tenant!r}")
    await announce(conn, device)
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
        TakenError: the key's kid is registered for another gateway (envelope, section 4), or the
            gateway has enrolled anew since it had it.
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
        raise TakenError(f"key {key.kid.hex()} is another gateway's, or was superseded")
    await conn.execute(
        "UPDATE gateway SET certificate_not_after = greatest(certificate_not_after, %s)"
        " WHERE id = %s",
        (valid_until, gateway[0]),
    )
    await announce(conn, device)


async def supersede_signing_keys(conn: Connection, gateway: LockedGateway) -> list[bytes]:
    """End every key a gateway has, at once and for good; return the kids of those still valid."""
    cursor = await conn.execute(
        "UPDATE signing_key SET superseded_at = now()"
        " WHERE gateway_id = %s AND superseded_at IS NULL"
        " RETURNING kid, valid_until > now()",
        (gateway.id,),
    )
    ended = [bytes(kid) for kid, valid in await cursor.fetchall() if valid]
    await conn.execute(
        "UPDATE gateway SET certificate_not_after = NULL WHERE id = %s", (gateway.id,)
    )
    await announce(conn, gateway.device)
    return ended


async def lock_gateway(conn: Connection, device: str) -> LockedGateway:
    """Return a gateway as it is now; nobody else changes it before the transaction ends.

    Raises:
        UnknownGatewayError: no such device.
    """
    async with conn.cursor(row_factory=class_row(LockedGateway)) as cursor:
        await cursor.execute(query("lock_gateway"), {"device": device})
        found = await cursor.fetchone()
    if found is None:
        raise UnknownGatewayError(f"no gateway is called {device!r}")
    return found


async def set_gateway_status(
    conn: Connection, *, device: str, status: Status, actor: str, reason: str = ""
) -> None:
    """Suspend, resume ("active") or revoke a gateway; ingest obeys within a second of the commit.

    Does nothing if it is so already. Revoking also withdraws an invitation that is still open.

    Raises:
        UnknownGatewayError: no such device.
        RevokedForGoodError: it was revoked before.
        NotEnrolledError: it never enrolled, and is to be something else than revoked.
    """
    async with conn.transaction():
        gateway = await lock_gateway(conn, device)
        if gateway.status == status:
            return
        if gateway.status == "revoked":
            raise RevokedForGoodError(f"gateway {device!r} was revoked; invite its site again")
        if gateway.status == "invited" and status != "revoked":
            raise NotEnrolledError(f"gateway {device!r} was invited and has not enrolled")
        await conn.execute(
            "UPDATE gateway SET status = %s, status_at = now(), status_reason = %s WHERE id = %s",
            (status, reason, gateway.id),
        )
        if status == "revoked":
            await conn.execute(
                "UPDATE enrolment_token SET withdrawn_at = now()"
                " WHERE gateway_id = %s AND withdrawn_at IS NULL",
                (gateway.id,),
            )
        await audit.record(
            conn,
            actor=actor,
            tenant=gateway.tenant,
            action=_ACTIONS[status],
            subject=device,
            detail={"from": gateway.status, "reason": reason},
        )
        await announce(conn, device)


async def next_key_set_version(conn: Connection, tenant: str) -> int:
    """Return the version of this council's next key set; nobody else gets it meanwhile.

    The time in Unix seconds, or one more than the newest version if that is not above it. So it
    rises even after an older backup of the database was restored, which has forgotten the
    versions that gateways have seen since. Call it in the transaction that adds the key set.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
    """
    await conn.execute("SELECT FROM council WHERE tenant = %s FOR NO KEY UPDATE", (tenant,))
    cursor = await conn.execute(query("next_key_set_version"), {"tenant": tenant})
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
    await announce(conn, "")


async def newest_key_sets(conn: Connection) -> dict[str, bytes]:
    """Return the newest message R of every council that has one, by short name."""
    cursor = await conn.execute(query("newest_key_sets"))
    return dict(await cursor.fetchall())


async def councils(conn: Connection) -> list[CouncilRow]:
    """Return every council, by name."""
    cursor = await conn.execute("SELECT id, tenant, gss, name, suites FROM council ORDER BY name")
    return [
        CouncilRow(id=council_id, tenant=tenant, gss=gss, name=name, suites=tuple(suites))
        for council_id, tenant, gss, name, suites in await cursor.fetchall()
    ]


async def find_council(conn: Connection, tenant: str) -> int:
    """Return the id of the council with this short name.

    Raises:
        UnknownCouncilError: nobody has it.
    """
    cursor = await conn.execute("SELECT id FROM council WHERE tenant = %s", (tenant,))
    row = await cursor.fetchone()
    if row is None:
        raise UnknownCouncilError(f"no council is called {tenant!r}")
    return int(row[0])


async def tenants(conn: Connection) -> list[str]:
    """Return the short names of all councils."""
    cursor = await conn.execute("SELECT tenant FROM council")
    return [tenant for (tenant,) in await cursor.fetchall()]


async def gateways(conn: Connection, device: str | None = None) -> list[GatewayRow]:
    """Return every gateway with its keys, or the one called `device`.

    Keys that ended more than `KEYS_REMEMBERED` ago are left out.
    """
    cursor = await conn.execute(
        query("gateways"), {"device": device, "remembered": KEYS_REMEMBERED}
    )
    rows: dict[int, GatewayRow] = {}
    keys: dict[int, list[SigningKeyRow]] = {}
    for row in await cursor.fetchall():
        gateway_id, council_id, tenant, name, status, sha256, kid, *key = row
        held = keys.setdefault(gateway_id, [])
        if kid is not None:
            cose_key, start, end, superseded = key
            held.append(
                SigningKeyRow(
                    kid=kid,
                    cose_key=cose_key,
                    valid_from=start,
                    valid_until=end,
                    superseded=superseded,
                )
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


async def announce(conn: Connection, device: str) -> None:
    """Tell listeners at commit that something about `device`, or anything at all, changed."""
    await conn.execute("SELECT pg_notify(%s, %s)", (CHANNEL, device))
