"""Enrolling by the token of an invitation: who gets a certificate, and who not."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from device_protocol.first_boot import draw_token
from device_protocol.keys import VerifyingKey
from enrolment import policy
from enrolment.authority import KeyKind
from enrolment.files import read_certificate, read_key
from enrolment.issuing import is_as
from storage import certificates, registry
from tests.integration.conftest import SERVERS
from tests.integration.enrolment.counts import refusals, status_of
from tests.integration.enrolment_service import PKCS10, Enrolment, certificates_in, request_for

# One edition of the database is enough: what `storage` promises holds on both.
pytestmark = pytest.mark.parametrize("database_server", SERVERS[:1], indirect=True, scope="session")


@pytest.mark.parametrize("kind", KeyKind)
async def test_invited_gateway_is_certified_and_registered(
    service: Enrolment, kind: KeyKind
) -> None:
    invitation = await service.invite(f"good-{kind.value}")
    key = kind.generate()
    answer = await service.enrol(invitation, key)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    [certificate] = certificates_in(answer)
    assert certificate.public_key() == key.public_key()
    assert is_as(certificate, policy.gateway("camden", invitation.device))
    certificate.verify_directly_issued_by(service.authority.council_certificate("camden"))
    [row] = await registry.gateways(service.conn, invitation.device)
    assert [held.kid for held in row.keys] == [VerifyingKey.from_public(key.public_key()).kid]
    assert row.status == "active"


async def test_whatever_a_request_wishes_for_is_ignored(service: Enrolment) -> None:
    """It would be another council's gateway, a server, an authority, and live for ever."""
    invitation = await service.invite("wishes")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "leeds"),
            x509.NameAttribute(NameOID.COMMON_NAME, "z9f4j2tv7p"),
        ]
    )
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("ingest._services")]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    answer = await service.post(
        service.est("simpleenroll"),
        base64.b64encode(request.public_bytes(Encoding.DER)),
        auth=(invitation.device, invitation.token),
    )
    [certificate] = certificates_in(answer)
    assert is_as(certificate, policy.gateway("camden", invitation.device))
    assert b"leeds" not in certificate.public_bytes(Encoding.DER)
    assert b"_services" not in certificate.public_bytes(Encoding.DER)


async def test_answer_that_was_lost_is_repeated(service: Enrolment) -> None:
    invitation = await service.invite("lost-answer")
    key = KeyKind.ED25519.generate()
    first = await service.enrol(invitation, key)
    second = await service.enrol(invitation, key)
    assert second.status_code == 200
    assert certificates_in(second) == certificates_in(first)


async def test_two_at_once_with_one_token_get_one_certificate(service: Enrolment) -> None:
    invitation = await service.invite("race")
    answers = await asyncio.gather(
        *(service.enrol(invitation, KeyKind.ED25519.generate()) for _ in range(6))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 403, 403, 403, 403, 403]
    [row] = await registry.gateways(service.conn, invitation.device)
    assert len(row.keys) == 1


async def test_spent_token_is_refused_to_another_key(service: Enrolment) -> None:
    invitation = await service.invite("spent")
    assert (await service.enrol(invitation, KeyKind.ED25519.generate())).status_code == 200
    before = refusals("simpleenroll", "token-spent")
    answer = await service.enrol(invitation, KeyKind.ED25519.generate())
    assert answer.status_code == 403
    assert "used with another key" in answer.text
    assert refusals("simpleenroll", "token-spent") == before + 1


async def test_expired_token_is_refused(service: Enrolment) -> None:
    invitation = await service.invite("expired", lifetime=timedelta(seconds=-1))
    answer = await service.enrol(invitation, KeyKind.ED25519.generate())
    assert answer.status_code == 403
    assert "expired" in answer.text
    assert await status_of(service, invitation.device) == "invited"


async def test_withdrawn_token_is_refused_and_the_newer_one_holds(service: Enrolment) -> None:
    old = await service.invite("withdrawn")
    new = await service.invite("withdrawn", renew=True)
    assert new.device == old.device
    assert (await service.enrol(old, KeyKind.ED25519.generate())).status_code == 403
    assert (await service.enrol(new, KeyKind.ED25519.generate())).status_code == 200


async def test_token_of_another_council_is_refused(service: Enrolment) -> None:
    invitation = await service.invite("theirs", "leeds")
    answer = await service.enrol(invitation, KeyKind.ED25519.generate(), "camden")
    assert answer.status_code == 403
    assert refusals("simpleenroll", "token-wrong-council") >= 1
    assert (await service.enrol(invitation, KeyKind.ED25519.generate(), "leeds")).status_code == 200


async def test_token_of_another_device_is_refused(service: Enrolment) -> None:
    mine, theirs = await service.invite("mine"), await service.invite("not-mine")
    auth = (mine.device, theirs.token)
    body = request_for(KeyKind.ED25519.generate())
    answer = await service.post(service.est("simpleenroll"), body, auth=auth)
    assert answer.status_code == 403
    assert await status_of(service, theirs.device) == "invited"


async def test_key_of_another_gateway_is_refused_and_costs_no_token(service: Enrolment) -> None:
    key = KeyKind.ED25519.generate()
    assert (await service.enrol(await service.invite("key-1"), key)).status_code == 200
    second = await service.invite("key-2")
    answer = await service.enrol(second, key)
    assert answer.status_code == 403
    assert "make a new one" in answer.text
    assert (await service.enrol(second, KeyKind.ED25519.generate())).status_code == 200


async def test_invited_again_a_gateway_enrols_anew_but_not_with_its_old_key(
    service: Enrolment,
) -> None:
    device, credential = await service.gateway("again")
    invitation = await service.invite("again", renew=True)
    assert invitation.device == device
    assert (await service.enrol(invitation, read_key(credential.key))).status_code == 403
    assert (await service.enrol(invitation, KeyKind.ED25519.generate())).status_code == 200


async def test_enrolling_anew_ends_everything_the_gateway_held_before(service: Enrolment) -> None:
    """Whoever keeps a copy of its old keys can neither sign, nor renew, nor ask where it stands."""
    device, first = await service.gateway("anew")
    key = KeyKind.ED25519.generate()
    [certificate] = certificates_in(await service.renew(first, key))
    second = service.keep("anew-2", key, certificate)
    [row] = await registry.gateways(service.conn, device)
    assert [signer.superseded for signer in row.keys] == [False, False]  # a renewal ends nothing
    invitation = await service.invite("anew", renew=True)
    assert (await service.renew(second, KeyKind.ED25519.generate())).status_code == 200

    key = KeyKind.ED25519.generate()
    answer = await service.enrol(invitation, key)
    [certificate] = certificates_in(answer)
    fresh = service.keep("anew-3", key, certificate)
    assert certificates_in(await service.enrol(invitation, key)) == [certificate]

    [row] = await registry.gateways(service.conn, device)
    kid = VerifyingKey.from_public(certificate.public_key()).kid
    assert [signer.kid for signer in row.keys if not signer.superseded] == [kid]
    assert len(row.keys) == 4
    site = f"{service.url}/enrolment/camden/site.json"
    before = refusals("simplereenroll", "certificate-unknown")
    for old in (first, second):
        assert (await service.renew(old, KeyKind.ED25519.generate())).status_code == 403
        assert (await service.get(site, old)).status_code == 403
    assert refusals("simplereenroll", "certificate-unknown") == before + 2
    assert (await service.renew(fresh, read_key(second.key))).status_code == 403
    assert (await service.get(site, fresh)).status_code == 200
    assert (await service.renew(fresh, KeyKind.ED25519.generate())).status_code == 200
    revoked = await certificates.revoked_certificates(
        service.conn, tenant="camden", now=datetime.now(UTC)
    )
    serials = {read_certificate(old.certificate).serial_number for old in (first, second)}
    assert serials <= {each.serial for each in revoked if each.superseded}
    assert certificate.serial_number not in {each.serial for each in revoked}


@pytest.mark.parametrize("status", ["suspended", "revoked"])
async def test_gateway_that_is_stopped_cannot_enrol(service: Enrolment, status: str) -> None:
    device, _ = await service.gateway(f"stopped-{status}")
    invitation = await service.invite(f"stopped-{status}", renew=True)
    await registry.set_gateway_status(
        service.conn,
        device=device,
        status=status,  # type: ignore[arg-type]
        actor="operator test",
    )
    answer = await service.enrol(invitation, KeyKind.ED25519.generate())
    assert answer.status_code == 403
    assert status in answer.text


async def test_who_shows_nothing_is_asked_for_a_token(service: Enrolment) -> None:
    body = request_for(KeyKind.ED25519.generate())
    answer = await service.post(service.est("simpleenroll"), body)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize(
    "authorization",
    ["Basic", "Basic ????", "Basic dXNlcg==", "Basic /////w==", "Basic OjA=", "Bearer x"],
)
async def test_damaged_credentials_are_refused(service: Enrolment, authorization: str) -> None:
    headers = PKCS10 | {"Authorization": authorization}
    answer = await service.post(service.est("simpleenroll"), b"", headers=headers)
    assert answer.status_code == 401


async def test_guessing_is_stopped_and_others_go_on(service: Enrolment) -> None:
    invitation = await service.invite("guessed")
    body = request_for(KeyKind.ED25519.generate())
    guesser = "127.0.0.2"
    answers = []
    for _ in range(11):
        auth = (invitation.device, draw_token())
        url = service.est("simpleenroll")
        answers.append(await service.post(url, body, auth=auth, address=guesser))
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 600
    assert refusals("simpleenroll", "guessing") >= 1
    key = KeyKind.ED25519.generate()
    assert (await service.enrol(invitation, key, address=guesser)).status_code == 429
    assert (await service.enrol(invitation, key, address="127.0.0.3")).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"AAAA", 400),
        (b"\xff\xfe", 400),
        (b"-----BEGIN CERTIFICATE REQUEST-----", 400),
        (b"A" * 16_385, 413),
        (b"A" * 5_000_000, 413),
    ],
    ids=["empty", "not DER", "not base64", "PEM", "just too large", "much too large"],
)
async def test_malformed_or_oversized_request_is_refused_and_costs_no_token(
    service: Enrolment, body: bytes, status: int
) -> None:
    invitation = await service.invite("malformed", renew=True)
    auth = (invitation.device, invitation.token)
    try:
        answer = await service.post(service.est("simpleenroll"), body, auth=auth)
        assert answer.status_code == status
    except httpx.WriteError:
        assert status == 413  # hung up on while still talking
    assert (await service.enrol(invitation, KeyKind.ED25519.generate())).status_code == 200


async def test_request_of_another_type_is_refused(service: Enrolment) -> None:
    invitation = await service.invite("type")
    answer = await service.post(
        service.est("simpleenroll"),
        request_for(KeyKind.ED25519.generate()),
        auth=(invitation.device, invitation.token),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 415
