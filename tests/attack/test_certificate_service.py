"""Getting a certificate one should not have: tokens, keys and requests at the real service.

It is open to the internet and is the only way into the network. Each row is stopped there, with a
reason that its metric counts and its log names; and genuine gateways, of the same council and of
another, enrol all the while.
"""

import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from prometheus_client import REGISTRY

from device_protocol.first_boot import draw_token
from device_protocol.keys import VerifyingKey
from enrolment import policy
from enrolment.authority import KeyKind
from enrolment.files import read_key
from enrolment.issuing import is_as
from storage import registry
from tests.attack.stage import collected
from tests.integration.conftest import DatabaseServer
from tests.integration.enrolment_service import (
    Enrolment,
    certificates_in,
    request_for,
    running_service,
)

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)

_sites = iter(range(1_000_000))


@pytest.fixture(scope="module")
async def service(
    database_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Enrolment]:
    dsn = await database_server.create()
    async with running_service(dsn, tmp_path_factory.mktemp("enrolment")) as running:
        yield running
    await database_server.drop(dsn)


@contextmanager
def refuses(operation: str, reason: str, times: int = 1) -> Iterator[None]:
    """Assert that so many requests of the block are refused for this reason, and it is logged."""
    labels = {"operation": operation, "reason": reason}

    def count() -> float:
        return REGISTRY.get_sample_value("enrolment_refusals_total", labels) or 0.0

    before = count()
    with collected("enrolment") as log:
        yield
    assert count() - before == times
    assert len([found for found in map(vars, log) if found.get("reason") == reason]) == times
    for record in log:
        assert "token" not in vars(record), "no token is ever logged"


async def flows_on(service: Enrolment) -> None:
    """Assert that gateways of both councils enrol, and that one renews."""
    for tenant in ("camden", "leeds"):
        _, credential = await service.gateway(f"site-{next(_sites)}", tenant)
    assert (await service.renew(credential, KeyKind.P256.generate(), "leeds")).status_code == 200


def key() -> Any:
    return KeyKind.ED25519.generate()


# Requests


@pytest.mark.parametrize("size", [16_385, 1_000_000])
async def test_oversized_request(service: Enrolment, size: int) -> None:
    """413, and the token is not spent."""
    invitation = await service.invite(f"oversized-{size}")
    auth = (invitation.device, invitation.token)
    with refuses("simpleenroll", "request-too-large"), suppress(httpx.WriteError):
        # A client that still talks when it is answered may see the connection end instead.
        answer = await service.post(service.est("simpleenroll"), b"A" * size, auth=auth)
        assert answer.status_code == 413
    assert (await service.enrol(invitation, key())).status_code == 200
    await flows_on(service)


def malformed() -> dict[str, tuple[str, bytes]]:
    """Return requests that are none, by name: reason and body."""
    genuine = base64.b64decode(request_for(key()))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "k7q2m9xd4t")])
    built = x509.CertificateSigningRequestBuilder().subject_name(name)
    rsa = built.sign(generate_private_key(65_537, 2048), hashes.SHA256())
    return {
        "no base64": ("request-encoding", b"?" * 300),
        "PEM": ("request-encoding", b"-----BEGIN CERTIFICATE REQUEST-----\n"),
        "empty": ("request-malformed", b""),
        "cut": ("request-malformed", base64.b64encode(genuine[:-20])),
        "lies about lengths": ("request-malformed", base64.b64encode(b"0\x84\xff\xff\xff\xff")),
        "of another kind of key": ("request-key", base64.b64encode(rsa.public_bytes(Encoding.DER))),
        "signed by another key": (
            "request-signature",
            base64.b64encode(genuine[:-1] + bytes([genuine[-1] ^ 1])),
        ),
    }


@pytest.mark.parametrize("form", malformed())
async def test_malformed_request(service: Enrolment, form: str) -> None:
    """400, and the token is not spent."""
    reason, body = malformed()[form]
    invitation = await service.invite(f"malformed {form}")
    auth = (invitation.device, invitation.token)
    with refuses("simpleenroll", reason):
        answer = await service.post(service.est("simpleenroll"), body, auth=auth)
        assert answer.status_code == 400
    assert (await service.enrol(invitation, key())).status_code == 200
    await flows_on(service)


async def test_request_for_another_name(service: Enrolment) -> None:
    """Not refused but ignored: the certificate says who was invited, whatever was asked for."""
    invitation = await service.invite("vain")
    body = request_for(KeyKind.P256.generate(), subject="ingest._services")
    auth = (invitation.device, invitation.token)
    answer = await service.post(service.est("simpleenroll"), body, auth=auth)
    [certificate] = certificates_in(answer)
    assert is_as(certificate, policy.gateway("camden", invitation.device))
    await flows_on(service)


# Tokens


async def test_token_used_again(service: Enrolment) -> None:
    """token-spent: a photographed sheet gives no second key a certificate."""
    invitation = await service.invite("photographed")
    assert (await service.enrol(invitation, key())).status_code == 200
    with refuses("simpleenroll", "token-spent", 3):
        for _ in range(3):
            answer = await service.enrol(invitation, key())
            assert answer.status_code == 403
            assert "tell the council" in answer.text
    [row] = await registry.gateways(service.conn, invitation.device)
    assert len(row.keys) == 1
    await flows_on(service)


async def test_token_found_too_late(service: Enrolment) -> None:
    """token-expired after 72 hours, token-withdrawn once a newer one was made."""
    late = await service.invite("late", lifetime=timedelta(seconds=-1))
    with refuses("simpleenroll", "token-expired"):
        assert (await service.enrol(late, key())).status_code == 403
    older = await service.invite("older")
    newer = await service.invite("older", renew=True)
    with refuses("simpleenroll", "token-withdrawn"):
        assert (await service.enrol(older, key())).status_code == 403
    assert (await service.enrol(newer, key())).status_code == 200
    await flows_on(service)


async def test_token_guessed(service: Enrolment) -> None:
    """429 after ten wrong ones from an address; 128 random bits would do without."""
    invitation = await service.invite("guessed")
    body, url, guesser = request_for(key()), service.est("simpleenroll"), "127.0.0.9"
    with refuses("simpleenroll", "token-unknown", 10), refuses("simpleenroll", "guessing", 5):
        statuses = []
        for _ in range(15):
            auth = (invitation.device, draw_token())
            answer = await service.post(url, body, auth=auth, address=guesser)
            statuses.append(answer.status_code)
        assert statuses == [401] * 10 + [429] * 5
    assert int(answer.headers["retry-after"]) > 0
    with refuses("simpleenroll", "guessing"):  # even were it right at last
        assert (await service.enrol(invitation, key(), address=guesser)).status_code == 429
    assert (await service.enrol(invitation, key())).status_code == 200
    await flows_on(service)


async def test_token_of_another_council(service: Enrolment) -> None:
    """token-wrong-council: Leeds' invitation buys nothing in Camden, and is not spent by it."""
    invitation = await service.invite("theirs", "leeds")
    with refuses("simpleenroll", "token-wrong-council"):
        assert (await service.enrol(invitation, key(), "camden")).status_code == 403
    assert (await service.enrol(invitation, key(), "leeds")).status_code == 200
    await flows_on(service)


async def test_token_of_another_device(service: Enrolment) -> None:
    """token-wrong-device: it makes nobody else's gateway."""
    mine, theirs = await service.invite("mine"), await service.invite("not mine")
    auth = (theirs.device, mine.token)
    with refuses("simpleenroll", "token-wrong-device"):
        answer = await service.post(service.est("simpleenroll"), request_for(key()), auth=auth)
        assert answer.status_code == 403
    for invitation in (mine, theirs):
        assert (await service.enrol(invitation, key())).status_code == 200
    await flows_on(service)


# Keys and certificates


@pytest.mark.parametrize("tenant", ["camden", "leeds"])
async def test_duplicate_key(service: Enrolment, tenant: str) -> None:
    """key-taken: one key is one gateway, in the whole region; the token is not spent."""
    _, credential = await service.gateway(f"first {tenant}")
    invitation = await service.invite(f"second {tenant}", tenant)
    with refuses("simpleenroll", "key-taken"):
        answer = await service.enrol(invitation, read_key(credential.key), tenant)
        assert answer.status_code == 403
    assert (await service.enrol(invitation, key(), tenant)).status_code == 200
    await flows_on(service)


async def test_renewal_by_a_stolen_gateway(service: Enrolment) -> None:
    """gateway-revoked: a thief of the key cannot outlive the revocation by renewing."""
    device, credential = await service.gateway("stolen")
    await registry.set_gateway_status(
        service.conn, device=device, status="revoked", actor="operator test", reason="stolen"
    )
    with refuses("simplereenroll", "gateway-revoked"):
        assert (await service.renew(credential, key())).status_code == 403
    [row] = await registry.gateways(service.conn, device)
    held = VerifyingKey.from_public(read_key(credential.key).public_key()).kid
    assert [each.kid for each in row.keys] == [held]
    await flows_on(service)


async def test_renewal_at_another_council(service: Enrolment) -> None:
    """certificate-foreign: Camden's gateway becomes no gateway of Leeds."""
    _, credential = await service.gateway("wanderer")
    with refuses("simplereenroll", "certificate-foreign"):
        assert (await service.renew(credential, key(), "leeds")).status_code == 403
    assert (await service.renew(credential, key())).status_code == 200
    await flows_on(service)
