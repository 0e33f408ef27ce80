"""A new council's recipients, first key set (message R) and first, empty, revocation list.

The enrolment service makes all that follow. Without these a council could not be served before it
has started, and a broker would lock the council out for want of a list.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from command_line.network import recipient_keys
from command_line.network.directory import NetworkDirectory
from device_protocol.errors import RejectionError
from device_protocol.key_set import certificate_chain, open_key_set, sign_key_set
from enrolment.authority import Authority
from enrolment.duties import CouncilFacts, key_sets_due, next_number
from storage import recipients, registry
from storage.certificates import put_revocation_list, revocation_lists
from storage.database import Connection

MAIN: Final = "main"
REGION: Final = "region"
RECIPIENT_LIFETIME: Final = timedelta(days=400)
BACKDATED: Final = timedelta(minutes=5)
"""A gateway's clock may be a little behind the centre's."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a council has now. anything: whether something of it is new."""

    key_set_version: int
    anything: bool


async def make(
    conn: Connection,
    authority: Authority,
    directory: NetworkDirectory,
    *,
    tenant: str,
    actor: str,
) -> Made:
    """Make what the council still lacks of the three, in the caller's transaction.

    A key set or list that another root has signed, which was lost or stolen, counts for nothing.

    Raises:
        CredentialError: a key cannot be read.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    anything = await _add_recipients(conn, directory, tenant=tenant, actor=actor, now=now)
    anchor = authority.council_certificate(tenant)
    message = (await registry.newest_key_sets(conn)).get(tenant)
    version = _version_in_force(message, tenant, anchor, now)
    if version is None:
        version = await _sign_key_set(conn, authority, tenant=tenant, now=now)
        anything = True
    held = (await revocation_lists(conn)).get(tenant)
    if held is None or not _is_signed_by(held.message, anchor):
        number = next_number(held, now)
        await _issue_revocation_list(conn, authority, tenant=tenant, number=number, now=now)
        anything = True
    return Made(version, anything)


async def _add_recipients(
    conn: Connection, directory: NetworkDirectory, *, tenant: str, actor: str, now: datetime
) -> bool:
    """List the region's keys for the council if it has none of them; return whether it had none.

    A key that another council's gateways no longer seal to is on its way out, and left out.
    """
    rows = await recipients.recipients(conn)
    if any(row.tenant == tenant and row.role == REGION for row in rows):
        return False
    retired = {row.kid for row in rows if row.retired_at is not None}
    for file in recipient_keys.read_all(directory.recipients):
        if file.key.kid not in retired:
            await recipients.add_recipient(
                conn,
                tenant=tenant,
                group=MAIN,
                role=REGION,
                cose_key=file.key.cose_key,
                valid_from=now - BACKDATED,
                valid_until=now + RECIPIENT_LIFETIME,
                actor=actor,
            )
    return True


async def _sign_key_set(
    conn: Connection, authority: Authority, *, tenant: str, now: datetime
) -> int:
    [council] = [each for each in await registry.councils(conn) if each.tenant == tenant]
    facts = CouncilFacts(
        tenant=tenant,
        suites=council.suites,
        recipients=await recipients.recipients(conn, tenant),
        revoked=(),
        revocation_list=None,
        key_set=None,
    )
    [due] = key_sets_due([facts], now)
    signer, chain = authority.sign_as_key_set_signer(tenant)
    version = await registry.next_key_set_version(conn, tenant)
    key_set = due.key_set(version, now, chain[0].not_valid_after_utc)
    message = sign_key_set(key_set, tenant=tenant, signer=signer, chain=certificate_chain(chain))
    await registry.add_key_set(conn, tenant=tenant, key_set=key_set, message=message)
    return version


def _version_in_force(
    message: bytes | None, tenant: str, anchor: x509.Certificate, now: datetime
) -> int | None:
    if message is None:
        return None
    try:
        held = open_key_set(message, tenant=tenant, anchor=anchor, now=int(now.timestamp()))
    except RejectionError:
        return None
    return held.version


def _is_signed_by(revocation_list: bytes, anchor: x509.Certificate) -> bool:
    signer = anchor.public_key()
    return isinstance(signer, ec.EllipticCurvePublicKey) and x509.load_der_x509_crl(
        revocation_list
    ).is_signature_valid(signer)


async def _issue_revocation_list(
    conn: Connection, authority: Authority, *, tenant: str, number: int, now: datetime
) -> None:
    message = authority.issue_revocation_list(tenant, number=number, revoked=(), now=now)
    signed = x509.load_der_x509_crl(message)
    await put_revocation_list(
        conn,
        tenant=tenant,
        number=number,
        this_update=signed.last_update_utc,
        next_update=signed.next_update_utc or now,
        message=message,
    )
