"""Certifying a gateway's key, by its token or by the certificate it has: one transaction each.

Every function is called inside a transaction of the caller's; nothing holds before its commit,
and after a refusal the caller rolls back. How requests come and answers go is `enrolment.est`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509

from device_protocol.keys import VerifyingKey
from enrolment.authority import Authority
from enrolment.csr import read_request
from enrolment.refusal import Reason, RefusedError
from storage import certificates, invitations, registry
from storage.database import Connection
from storage.invitations import TokenRefusedError

_TOKEN_REASONS: Final[dict[str, Reason]] = {
    "unknown": "token-unknown",
    "wrong-council": "token-wrong-council",
    "wrong-device": "token-wrong-device",
    "revoked-gateway": "gateway-revoked",
    "suspended-gateway": "gateway-suspended",
    "withdrawn": "token-withdrawn",
    "expired": "token-expired",
    "spent": "token-spent",
}


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate for a gateway. repeated: it was issued, to the same key, before."""

    certificate: x509.Certificate
    repeated: bool


async def enrol(
    conn: Connection,
    authority: Authority,
    *,
    tenant: str,
    device: str,
    token_sha256: bytes,
    request: bytes,
    now: datetime,
) -> Certified:
    """Spend a token on a key and certify it; with the same key once more, repeat the answer.

    So an answer lost on its way strands nobody: the gateway asks again with the key it kept.
    request: a PKCS #10 request in base64, looked at only once the token holds.

    Raises:
        RefusedError: token-*, gateway-*, request-* or key-taken.
    """
    try:
        token = await invitations.redeem(
            conn, tenant=tenant, device=device, token_sha256=token_sha256, now=now
        )
        key = read_request(request)
        kid = VerifyingKey(key).kid
        if token.used_kid is not None:
            if token.used_kid == kid and (held := await _issued(conn, device, kid, now)):
                return Certified(held, repeated=True)
            raise RefusedError("token-spent")
        certificate = authority.issue_gateway(tenant, device, key)
        await _add(conn, device, certificate, "simpleenroll")
        await invitations.spend(conn, token_id=token.token_id, kid=kid, now=now)
    except TokenRefusedError as error:
        raise RefusedError(_TOKEN_REASONS[error.reason]) from error
    return Certified(certificate, repeated=False)


async def recognise(conn: Connection, *, tenant: str, device: str, held: x509.Certificate) -> None:
    """Return if `held` is a certificate the registry knows of a gateway that may work.

    The gateway's row stays locked until the transaction ends: it is not suspended meanwhile.

    Raises:
        RefusedError: gateway-* or certificate-unknown.
    """
    try:
        gateway = await registry.lock_gateway(conn, device)
    except registry.UnknownGatewayError as error:
        raise RefusedError("certificate-unknown", "no such gateway") from error
    if gateway.status == "revoked":
        raise RefusedError("gateway-revoked")
    if gateway.status == "suspended":
        raise RefusedError("gateway-suspended")
    kid = VerifyingKey.from_public(held.public_key()).kid
    kept = await certificates.certificate_of(conn, device=device, kid=kid)
    if gateway.tenant != tenant or kept != held:
        raise RefusedError("certificate-unknown", "not as it was issued")


async def renew(
    conn: Connection,
    authority: Authority,
    *,
    tenant: str,
    device: str,
    held: x509.Certificate,
    request: bytes,
    now: datetime,
) -> Certified:
    """Certify a gateway's next key on the strength of the certificate it has.

    held: that certificate, proved to be a gateway's of this council. request: as of `enrol`. A
    key certified before is answered as before, unless it is the one of `held`.

    Raises:
        RefusedError: gateway-*, certificate-unknown, request-*, key-not-fresh or key-taken.
    """
    await recognise(conn, tenant=tenant, device=device, held=held)
    key = read_request(request)
    verifying = VerifyingKey(key)
    if verifying == VerifyingKey.from_public(held.public_key()):
        raise RefusedError("key-not-fresh")
    before = await _issued(conn, device, verifying.kid, now)
    if before is not None:
        return Certified(before, repeated=True)
    certificate = authority.issue_gateway(tenant, device, key)
    await _add(conn, device, certificate, "simplereenroll")
    return Certified(certificate, repeated=False)


async def _issued(
    conn: Connection, device: str, kid: bytes, now: datetime
) -> x509.Certificate | None:
    """Return the gateway's certificate for a key, if it still counts."""
    held = await certificates.certificate_of(conn, device=device, kid=kid)
    return held if held is not None and held.not_valid_after_utc > now else None


async def _add(
    conn: Connection, device: str, certificate: x509.Certificate, issued_by: str
) -> None:
    try:
        await certificates.add_certificate(
            conn, device=device, certificate=certificate, issued_by=issued_by
        )
    except registry.TakenError as error:
        raise RefusedError("key-taken", str(error)) from error
