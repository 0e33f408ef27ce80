"""A council, its invitations and certificates as the store has them, without any service."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from device_protocol.first_boot import token_sha256
from device_protocol.keys import VerifyingKey
from storage import certificates, invitations, registry
from storage.database import Connection
from storage.invitations import Invitation
from storage.site_list import Site

ACTOR = "operator test"
DAY = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


async def add_councils(conn: Connection) -> None:
    """Make camden and leeds."""
    await registry.add_council(conn, gss="E09000007", tenant="camden", name="Camden")
    await registry.add_council(conn, gss="E08000035", tenant="leeds", name="Leeds")


async def invite(conn: Connection, *sites: str, tenant: str = "camden") -> list[Invitation]:
    """Invite a gateway to each site."""
    return await invitations.invite(
        conn, tenant=tenant, sites=[Site(site=site) for site in sites], actor=ACTOR
    )


def certificate(
    device: str, *, key: Ed25519PrivateKey | None = None, days: float = 7, begins: float = 0
) -> x509.Certificate:
    """Return a certificate of a new key, valid for `days` from `begins` days on from now."""
    key = key or Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    start = now().replace(microsecond=0) + begins * DAY
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + days * DAY)
        .sign(key, None)
    )


def kid_of(found: x509.Certificate) -> bytes:
    return VerifyingKey.from_public(found.public_key()).kid


async def enrol(conn: Connection, invitation: Invitation, tenant: str = "camden") -> bytes:
    """Redeem an invitation as the certificate service does; return the kid of the new key."""
    issued = certificate(invitation.device)
    async with conn.transaction():
        token = await invitations.redeem(
            conn,
            tenant=tenant,
            device=invitation.device,
            token_sha256=token_sha256(invitation.token),
            now=now(),
        )
        await invitations.spend(conn, token_id=token.token_id, kid=kid_of(issued), now=now())
        await certificates.add_certificate(
            conn, device=invitation.device, certificate=issued, issued_by="simpleenroll"
        )
    return kid_of(issued)


async def enrolled(conn: Connection, site: str, tenant: str = "camden") -> str:
    """Invite and enrol a gateway at a site; return its device id."""
    [invitation] = await invite(conn, site, tenant=tenant)
    await enrol(conn, invitation, tenant)
    return invitation.device
