"""The enrolment service over real TLS and a real database: who gets a certificate, and who not."""

import asyncio
import base64
import contextlib
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from prometheus_client import REGISTRY

from broker_config.files import BrokerKind
from device_protocol.first_boot import FirstBoot, draw_token
from device_protocol.keys import VerifyingKey
from edge_agent.clock import Clock
from edge_agent.credentials.enrolment import KeyKind as KeyKindName
from edge_agent.credentials.enrolment import enrol
from edge_agent.credentials.est import UntrustedError
from edge_agent.credentials.renewal import renew
from enrolment import policy, tls
from enrolment.authority import Authority, CredentialFiles, KeyKind
from enrolment.est import create_app
from enrolment.files import read_certificate, read_key
from enrolment.issuing import build_certificate, is_as
from enrolment.network_file import NetworkFile
from storage import certificates, registry
from storage.database import open_pool
from storage.network_view import gateway_facts
from tests.integration.conftest import SERVERS, DatabaseServer
from tests.integration.fix_enrolment import (
    PASSPHRASE,
    PKCS10,
    Enrolment,
    certificates_in,
    command,
    request_for,
    running_service,
)
from tests.integration.region import eventually

# One edition of the database is enough: what `storage` promises holds on both.
pytestmark = pytest.mark.parametrize("database_server", SERVERS[:1], indirect=True, scope="session")


@pytest.fixture(scope="module")
async def service(
    database_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Enrolment]:
    """One service for all tests of this module; each invites sites of its own."""
    dsn = await database_server.create()
    async with running_service(dsn, tmp_path_factory.mktemp("enrolment")) as running:
        yield running
    await database_server.drop(dsn)


def refusals(operation: str, reason: str) -> float:
    labels = {"operation": operation, "reason": reason}
    return REGISTRY.get_sample_value("enrolment_refusals_total", labels) or 0.0


async def status_of(service: Enrolment, device: str) -> str:
    [facts] = await gateway_facts(service.conn, device=device)
    return facts.status


# What anybody may ask


async def test_roots_are_handed_out_as_rfc_7030_says(service: Enrolment) -> None:
    answer = await service.get(service.est("cacerts"))
    assert answer.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    assert answer.headers["content-transfer-encoding"] == "base64"
    assert b"\n" not in answer.content
    roots = {certificate.subject.rfc4514_string() for certificate in certificates_in(answer)}
    assert roots == {
        "CN=camden IoT root,O=camden",
        "CN=Test region service root,O=Test region",
        "CN=Test region region root,O=Test region",
    }


async def test_attributes_say_which_keys_are_taken(service: Enrolment) -> None:
    answer = await service.get(service.est("csrattrs"))
    assert answer.headers["content-type"] == "application/csrattrs"
    listing = await command(
        "openssl", "asn1parse", "-inform", "DER", given=base64.b64decode(answer.content)
    )
    assert [
        line.rpartition(":")[2] for line in listing.decode().split("\n") if "OBJECT" in line
    ] == [
        "ED25519",
        "id-ecPublicKey",
        "prime256v1",
        "ecdsa-with-SHA256",
    ]


async def test_network_is_described_to_anybody(service: Enrolment) -> None:
    answer = await service.get(f"{service.url}/enrolment/leeds/network.json")
    assert answer.json() == {
        "network": "Test region",
        "tenant": "leeds",
        "name": "Leeds",
        "group": "main",
        "broker": {"host": "broker.example.org", "port": 8885, "mqtt_version": "5"},
    }


@pytest.mark.parametrize("tenant", ["bath", "..", "%2e%2e", "Camden", "camden%00"])
async def test_council_that_is_not_there_is_not_found_nor_made(
    service: Enrolment, tenant: str
) -> None:
    before = sorted((service.directory / "authority").rglob("*"))
    for operation in ("cacerts", "csrattrs"):
        assert (await service.get(service.est(operation, tenant))).status_code == 404
    assert (await service.get(f"{service.url}/enrolment/{tenant}/network.json")).status_code == 404
    assert sorted((service.directory / "authority").rglob("*")) == before


async def test_council_added_later_is_served_without_a_restart(service: Enrolment) -> None:
    other = Authority(service.directory / "authority", "Test region", passphrase=PASSPHRASE)
    other.council_root("bromley")
    await registry.add_council(service.conn, gss="E09000006", tenant="bromley", name="Bromley")
    device, credential = await service.gateway("late-1", "bromley")
    async with asyncio.timeout(15):
        while True:  # until its root is trusted, a handshake with a certificate of it fails
            try:
                answer = await service.renew(credential, KeyKind.P256.generate(), "bromley")
                break
            except (httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError):
                await asyncio.sleep(0.1)
    assert answer.status_code == 200, answer.text
    assert await status_of(service, device) == "active"


# Enrolling by a token


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


# Requests


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


# Renewing by mutual TLS


async def test_gateway_renews_with_a_fresh_key(service: Enrolment) -> None:
    device, credential = await service.gateway("renewing")
    key = KeyKind.P256.generate()
    answer = await service.renew(credential, key)
    assert answer.status_code == 200
    [certificate] = certificates_in(answer)
    assert is_as(certificate, policy.gateway("camden", device))
    assert certificates_in(await service.renew(credential, key)) == [certificate]
    newer = service.keep("renewing-2", key, certificate)
    assert (await service.renew(newer, KeyKind.ED25519.generate())).status_code == 200


async def test_same_key_is_no_renewal(service: Enrolment) -> None:
    _, credential = await service.gateway("same-key")
    answer = await service.renew(credential, read_key(credential.key))
    assert answer.status_code == 400
    assert "new key" in answer.text


async def test_key_of_another_gateway_is_no_renewal(service: Enrolment) -> None:
    _, mine = await service.gateway("renew-1")
    _, theirs = await service.gateway("renew-2")
    assert (await service.renew(mine, read_key(theirs.key))).status_code == 403


@pytest.mark.parametrize("status", ["suspended", "revoked"])
async def test_gateway_that_is_stopped_cannot_renew(service: Enrolment, status: str) -> None:
    device, credential = await service.gateway(f"renew-{status}")
    await registry.set_gateway_status(
        service.conn,
        device=device,
        status=status,  # type: ignore[arg-type]
        actor="operator test",
    )
    answer = await service.renew(credential, KeyKind.ED25519.generate())
    assert answer.status_code == 403
    assert status in answer.text
    site = await service.get(f"{service.url}/enrolment/camden/site.json", credential)
    assert site.status_code == 403


async def test_renewing_needs_a_certificate(service: Enrolment) -> None:
    invitation = await service.invite("no-certificate")
    body = request_for(KeyKind.ED25519.generate())
    auth = (invitation.device, invitation.token)
    answer = await service.post(service.est("simplereenroll"), body, auth=auth)
    assert answer.status_code == 403


async def test_certificate_of_another_council_renews_nothing(service: Enrolment) -> None:
    _, credential = await service.gateway("abroad", "leeds")
    before = refusals("simplereenroll", "certificate-foreign")
    answer = await service.renew(credential, KeyKind.ED25519.generate(), "camden")
    assert answer.status_code == 403
    assert refusals("simplereenroll", "certificate-foreign") == before + 1
    assert (await service.renew(credential, KeyKind.ED25519.generate(), "leeds")).status_code == 200


async def test_certificate_the_registry_never_saw_renews_nothing(service: Enrolment) -> None:
    """Even a council's root in wrong hands makes no gateway."""
    device, _ = await service.gateway("forged")
    key = KeyKind.ED25519.generate()
    forged = service.authority.issue_gateway("camden", device, key.public_key())
    credential = service.keep("forged-2", key, forged)
    answer = await service.renew(credential, KeyKind.ED25519.generate())
    assert answer.status_code == 403
    assert "not in the registry" in answer.text


async def test_signers_certificate_renews_nothing(service: Enrolment) -> None:
    """TLS itself refuses one that is for no client."""
    signer = service.authority.key_set_signer("camden")
    key = read_key(signer.key, PASSPHRASE)
    credential = service.keep("signer", key, read_certificate(signer.certificate))
    await refused_by_tls(service, credential)


async def test_self_signed_certificate_is_refused_by_tls(service: Enrolment) -> None:
    device, _ = await service.gateway("self-signed")
    key = KeyKind.P256.generate()
    own = build_certificate(
        policy.gateway("camden", device), key.public_key(), key, None, datetime.now(UTC)
    )
    await refused_by_tls(service, service.keep("self-signed-2", key, own))


async def test_expired_certificate_is_refused_by_tls(service: Enrolment) -> None:
    device, _ = await service.gateway("too-old")
    then = Authority(
        service.directory / "authority",
        "Test region",
        passphrase=PASSPHRASE,
        gateway_lifetime=timedelta(seconds=60),
        clock=lambda: datetime.now(UTC) - timedelta(seconds=61),
    )
    key = KeyKind.ED25519.generate()
    expired = then.issue_gateway("camden", device, key.public_key())
    await refused_by_tls(service, service.keep("too-old-2", key, expired))


async def refused_by_tls(service: Enrolment, credential: CredentialFiles) -> None:
    """Expect no handshake, for renewing nor anything else, and that it is counted."""
    before = REGISTRY.get_sample_value("enrolment_handshakes_refused_total") or 0.0
    with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
        await service.renew(credential, KeyKind.ED25519.generate())
    assert REGISTRY.get_sample_value("enrolment_handshakes_refused_total") == before + 1


async def test_gateway_is_told_where_it_stands(service: Enrolment) -> None:
    device, credential = await service.gateway("lamp-7")
    answer = await service.get(f"{service.url}/enrolment/camden/site.json", credential)
    assert answer.json() == {
        "device": device,
        "site": "lamp-7",
        "label": "Post lamp-7",
        "place_name": "",
        "longitude": -0.14,
        "latitude": 51.54,
    }
    stranger = await service.get(f"{service.url}/enrolment/camden/site.json")
    assert stranger.status_code == 403


async def test_a_gateway_renews_only_so_often(service: Enrolment) -> None:
    _, credential = await service.gateway("eager")
    for _ in range(20):
        assert (await service.renew(credential, KeyKind.ED25519.generate())).status_code == 200
    answer = await service.renew(credential, KeyKind.ED25519.generate())
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


# The service itself


async def test_tls_1_2_is_let_in_and_nothing_older(service: Enrolment) -> None:
    connecting = ("openssl", "s_client", "-connect", f"localhost:{service.port}")
    assert b"New, TLSv1.3" in await command(*connecting)
    assert b"New, TLSv1.2" in await command(*connecting, "-tls1_2")
    with pytest.raises(AssertionError, match="SSL"):
        await command(*connecting, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")


async def test_resumed_session_is_checked_like_a_new_one(service: Enrolment) -> None:
    """The gateway is revoked between two connections of one TLS 1.2 session."""
    device, credential = await service.gateway("resuming")
    context = service.tls(credential)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    first, session = await asyncio.to_thread(site_over, service, context, None)
    await registry.set_gateway_status(
        service.conn, device=device, status="revoked", actor="operator test"
    )
    second, resumed = await asyncio.to_thread(site_over, service, context, session)
    assert (first, second) == (200, 403)
    assert resumed is not None


def site_over(
    service: Enrolment, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[int, ssl.SSLSession | None]:
    """Ask for site.json, if there is a session under it; return status and session."""
    with (
        socket.create_connection(("localhost", service.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=session) as tls,
    ):
        assert tls.session_reused is (session is not None)
        tls.sendall(b"GET /enrolment/camden/site.json HTTP/1.0\r\nHost: localhost\r\n\r\n")
        return int(tls.recv(100).split(b" ")[1]), tls.session


async def test_own_certificate_is_renewed_without_a_restart(service: Enrolment) -> None:
    """Its file is lost, which is renewed as one that is due."""
    before = await served(service)
    (service.directory / "authority/enrolment-server.pem").unlink()
    async with asyncio.timeout(15):
        while True:
            if await served(service) != before:
                return
            await asyncio.sleep(0.1)


async def test_damaged_files_end_nothing(
    service: Enrolment, caplog: pytest.LogCaptureFixture
) -> None:
    """As while somebody replaces the service root: the service waits for what is whole."""
    before = await served(service)
    own = service.directory / "authority/enrolment-server.pem"
    whole = own.read_bytes()

    async def warned(times: int) -> None:
        async with asyncio.timeout(15):
            while True:
                said = [each.message for each in caplog.records]
                if said.count("certificates not taken up") >= times:
                    return
                await asyncio.sleep(0.1)

    own.write_bytes(b"half")
    await warned(1)
    assert await served(service) == before
    own.write_bytes(whole)
    root = service.directory / "authority/councils/camden/root.pem"
    kept = root.read_bytes()
    root.write_bytes(b"")
    await warned(2)
    assert await served(service) == before
    root.write_bytes(kept)


async def served(service: Enrolment) -> bytes | None:
    """Connect, trusting the region root alone; return the certificate that is shown."""
    _, writer = await asyncio.open_connection("localhost", service.port, ssl=service.tls())
    shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return shown


async def test_slow_speaker_is_hung_up_on(
    service: Enrolment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "MAX_CONNECTION_SECONDS", 0.3)
    reader, writer = await asyncio.open_connection("localhost", service.port, ssl=service.tls())
    writer.write(b"POST /.well-known/est/camden/simpleenroll HTTP/1.1\r\nHost: x\r\n")
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_who_never_begins_a_handshake_is_hung_up_on(
    database_server: DatabaseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", 0.2)
    dsn = await database_server.create()
    async with running_service(dsn, tmp_path) as impatient:
        reader, writer = await asyncio.open_connection("127.0.0.1", impatient.port)
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()
        assert (await impatient.get(impatient.est("cacerts"))).status_code == 200
    await database_server.drop(dsn)


async def test_endless_head_is_refused(service: Enrolment) -> None:
    reader, writer = await asyncio.open_connection("localhost", service.port, ssl=service.tls())
    writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000)
    async with asyncio.timeout(10):
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_who_goes_away_in_mid_request_troubles_nobody(
    service: Enrolment, caplog: pytest.LogCaptureFixture
) -> None:
    invitation = await service.invite("gone")
    credentials = base64.b64encode(f"{invitation.device}:{invitation.token}".encode())
    _, writer = await asyncio.open_connection("localhost", service.port, ssl=service.tls())
    before = answered("simpleenroll")
    writer.write(
        b"POST /.well-known/est/camden/simpleenroll HTTP/1.1\r\nHost: x\r\n"
        b"Content-Type: application/pkcs10\r\nContent-Length: 1000\r\n"
        b"Authorization: Basic " + credentials + b"\r\n\r\nMIIB"
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await eventually(lambda: answered("simpleenroll") > before)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert (await service.enrol(invitation, KeyKind.ED25519.generate())).status_code == 200


def answered(operation: str) -> float:
    name = "enrolment_request_duration_seconds_count"
    return REGISTRY.get_sample_value(name, {"operation": operation}) or 0.0


async def test_while_the_registry_is_away_gateways_are_asked_to_come_again(
    service: Enrolment,
) -> None:
    async with open_pool("host=127.0.0.1 port=1", application_name="kerbstone test") as pool:
        pool.timeout = 0.1
        app = create_app(
            service.authority,
            pool,
            NetworkFile(service.settings.network_file, BrokerKind.NATS),
            guesses=service.settings.guesses,
            gateway_lifetime=timedelta(days=7),
        )
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="https://x") as client:
            answer = await client.post(
                "/.well-known/est/camden/simpleenroll",
                content=request_for(KeyKind.ED25519.generate()),
                auth=("k7q2m9xd4t", draw_token()),
                headers=PKCS10,
            )
            roots = await client.get("/.well-known/est/camden/cacerts")
            network = await client.get("/enrolment/camden/network.json")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert roots.status_code == 200
    assert network.json()["broker"] == {
        "host": "broker.example.org",
        "port": 8883,
        "mqtt_version": "3.1.1",
    }


async def test_description_that_is_damaged_leaves_the_last_good_one(
    service: Enrolment, tmp_path: Path
) -> None:
    path = tmp_path / "network.toml"
    held = NetworkFile(path, BrokerKind.MOSQUITTO)
    assert held.council("camden") is None
    good = service.settings.network_file.read_text()
    path.write_text(good)
    found = held.council("camden")
    assert found is not None
    path.write_text("name = ")
    assert held.council("camden") == found
    path.write_text(good.replace("8884", "9999"))
    changed = held.council("camden")
    assert changed is not None
    assert changed.port == 9999
    assert held.council("bath") is None


async def test_no_log_line_and_no_answer_holds_a_token(
    service: Enrolment, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    invitation = await service.invite("canary")
    wrong = draw_token()
    said = []
    for token in (wrong, invitation.token, invitation.token, invitation.token.lower() + "x"):
        body = request_for(KeyKind.ED25519.generate())
        url = service.est("simpleenroll")
        answer = await service.post(url, body, auth=(invitation.device, token))
        said.append(answer.text)
    ours = [vars(record) for record in caplog.records if record.name == "enrolment.est"]
    assert {row["msg"] for row in ours} == {"enrolment refused", "certificate handed out"}
    logged = [vars(record) for record in caplog.records if not record.name.startswith("http")]
    everything = (json.dumps(logged, default=str) + "".join(said)).upper()
    for token in (wrong, invitation.token):
        assert token[:5] not in everything
        assert token[-6:] not in everything


# Our own client


@pytest.mark.parametrize("kind", ["ed25519", "p-256"])
async def test_gateway_follows_its_invitation_and_renews(
    service: Enrolment, tmp_path: Path, kind: KeyKindName
) -> None:
    invitation = await service.invite(f"edge-{kind}")
    region_root = read_certificate(service.authority.region_root())
    first_boot = FirstBoot(
        url=service.est("").rstrip("/"),
        tenant="camden",
        device=invitation.device,
        token=invitation.token,
        region_root_sha256=region_root.fingerprint(hashes.SHA256()),
    )
    enrolled = await asyncio.to_thread(enrol, first_boot, tmp_path, kind=kind)
    first = read_certificate(enrolled.current.certificate_file)
    assert enrolled.current.document("site.json")["site"] == f"edge-{kind}"
    assert enrolled.current.document("network.json")["broker"]["port"] == 8884
    clock = Clock(tmp_path / "clock")
    await asyncio.to_thread(renew, tmp_path, first_boot.url, kind=kind, clock=clock)
    second = read_certificate(enrolled.current.certificate_file)
    for certificate in (first, second):
        assert is_as(certificate, policy.gateway("camden", invitation.device))
    assert second.public_key() != first.public_key()
    [row] = await registry.gateways(service.conn, invitation.device)
    assert len(row.keys) == 2


async def test_gateway_refuses_a_service_of_another_region(
    service: Enrolment, tmp_path: Path
) -> None:
    """The token is not said: it is still good afterwards."""
    invitation = await service.invite("edge-elsewhere")
    first_boot = FirstBoot(
        url=service.est("").rstrip("/"),
        tenant="camden",
        device=invitation.device,
        token=invitation.token,
        region_root_sha256=bytes(32),
    )
    before = answered("simpleenroll")
    with pytest.raises(UntrustedError):
        await asyncio.to_thread(enrol, first_boot, tmp_path)
    assert answered("simpleenroll") == before
    assert (await service.enrol(invitation, KeyKind.ED25519.generate())).status_code == 200
