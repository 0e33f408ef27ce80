"""Certificates of gateways, and each council's newest revocation list (RFC 5280, section 5).

What a certificate may say, and signing one or a list, is `enrolment`'s business.
"""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from psycopg.rows import class_row

from device_protocol.keys import VerifyingKey
from storage import audit, registry
from storage.database import Connection, query


class SuspendedError(ValueError):
    """The gateway is suspended: it gets no certificate until it is resumed."""


class SupersededError(ValueError):
    """A revocation list is not newer than the one that is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """A certificate that a revocation list names. hold: it may come back (certificateHold).

    superseded: its gateway has enrolled anew since.
    """

    serial: int
    since: datetime
    hold: bool
    superseded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationList:
    """A council's newest list. number: CRL number, rises. message: the list in DER."""

    tenant: str
    number: int
    this_update: datetime
    next_update: datetime
    message: bytes


async def add_certificate(
    conn: Connection, *, device: str, certificate: x509.Certificate, issued_by: str
) -> None:
    """Keep a certificate and let its key sign for the gateway; an invited gateway becomes active.

    issued_by: "simpleenroll", "simplereenroll" (a renewal) or "local". Keeping the very same
    certificate again changes nothing. By "simpleenroll", a new token's, whatever the gateway held
    before is worthless: its keys end at once, and its certificates are revoked. A renewal leaves
    the earlier keys as they are, because what they signed may still be on its way.

    Raises:
        UnknownGatewayError: no such device.
        RevokedForGoodError, SuspendedError: the gateway gets no certificates.
        TakenError: the key is registered already (envelope, section 4): for whomever, but for a
            key of this gateway that was registered before its certificates were kept ("local")
            and has not been superseded.
        StructureError: a key that cannot sign envelopes.
    """
    key = VerifyingKey.from_public(certificate.public_key())
    async with conn.transaction():
        gateway = await registry.lock_gateway(conn, device)
        if gateway.status == "revoked":
            raise registry.RevokedForGoodError(f"gateway {device!r} was revoked")
        if gateway.status == "suspended":
            raise SuspendedError(f"gateway {device!r} is suspended")
        if await certificate_of(conn, device=device, kid=key.kid) == certificate:
            return
        owner = await _owner(conn, key.kid)
        if owner is not None and (owner != gateway.id or issued_by != "local"):
            raise registry.TakenError(f"key {key.kid.hex()} is registered already")
        ended = []
        if issued_by == "simpleenroll":
            ended = await registry.supersede_signing_keys(conn, gateway)
        await registry.add_signing_key(
            conn,
            device=device,
            key=key,
            valid_from=certificate.not_valid_before_utc,
            valid_until=certificate.not_valid_after_utc,
        )
        renewed = issued_by == "simplereenroll"
        again = issued_by == "simpleenroll" and await _has_certificates(conn, gateway.id)
        await conn.execute(
            query("add_certificate"),
            {
                "gateway_id": gateway.id,
                "serial": certificate.serial_number,
                "kid": key.kid,
                "not_before": certificate.not_valid_before_utc,
                "not_after": certificate.not_valid_after_utc,
                "issued_by": issued_by,
                "certificate": certificate.public_bytes(Encoding.DER),
            },
        )
        await conn.execute(
            query("activate_gateway"), {"gateway_id": gateway.id, "renewed": renewed}
        )
        await audit.record(
            conn,
            actor=audit.gateway_actor(device),
            tenant=gateway.tenant,
            action="gateway.renew" if renewed else "gateway.enrol",
            subject=device,
            detail={
                "kid": key.kid.hex(),
                "serial": f"{certificate.serial_number:x}",
                "not_after": certificate.not_valid_after_utc.isoformat(),
                "issued_by": issued_by,
            }
            | ({"again": True} if again else {})
            | ({"superseded": ", ".join(kid.hex() for kid in ended)} if ended else {}),
        )


async def certificate_of(conn: Connection, *, device: str, kid: bytes) -> x509.Certificate | None:
    """Return the newest certificate of this gateway for the key called `kid`, or None.

    None also for a key that the gateway has left behind by enrolling anew, and for a certificate
    that ended so long ago that it is kept no more (`storage.retention`).
    """
    cursor = await conn.execute(query("certificate_of"), {"device": device, "kid": kid})
    row = await cursor.fetchone()
    return None if row is None else x509.load_der_x509_certificate(row[0])


async def revoked_certificates(conn: Connection, *, tenant: str, now: datetime) -> list[Revoked]:
    """Return what a council's revocation list names at `now`, oldest certificate first.

    These are the unexpired certificates of suspended gateways, on hold, and of revoked ones, and
    those that gateways left behind by enrolling anew.
    """
    cursor = await conn.execute(query("revoked_certificates"), {"tenant": tenant, "now": now})
    return [
        Revoked(serial=int(serial), since=since, hold=hold, superseded=superseded)
        for serial, since, hold, superseded in await cursor.fetchall()
    ]


async def revocation_lists(conn: Connection) -> dict[str, RevocationList]:
    """Return the newest list of every council that has one, by short name."""
    async with conn.cursor(row_factory=class_row(RevocationList)) as cursor:
        await cursor.execute(
            "SELECT tenant, number, this_update, next_update, message"
            " FROM revocation_list JOIN council ON council.id = council_id"
        )
        return {found.tenant: found async for found in cursor}


async def put_revocation_list(
    conn: Connection,
    *,
    tenant: str,
    number: int,
    this_update: datetime,
    next_update: datetime,
    message: bytes,
) -> None:
    """Keep a list in place of the council's earlier one.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
        SupersededError: its number is not above that of the list kept.
    """
    cursor = await conn.execute(
        query("put_revocation_list"),
        {
            "council_id": await registry.find_council(conn, tenant),
            "number": number,
            "this_update": this_update,
            "next_update": next_update,
            "message": message,
        },
    )
    if cursor.rowcount == 0:
        raise SupersededError(f"{tenant} has a revocation list of number {number} or above")


async def _owner(conn: Connection, kid: bytes) -> int | None:
    """Return the id of the gateway that a signing key is registered for, if any."""
    cursor = await conn.execute("SELECT gateway_id FROM signing_key WHERE kid = %s", (kid,))
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def _has_certificates(conn: Connection, gateway_id: int) -> bool:
    cursor = await conn.execute(
        "SELECT FROM gateway_certificate WHERE gateway_id = %s LIMIT 1", (gateway_id,)
    )
    return cursor.rowcount > 0
