"""Renewing by mutual TLS: who gets another certificate, and who not."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prometheus_client import REGISTRY

from enrolment import policy
from enrolment.authority import Authority, CredentialFiles, KeyKind
from enrolment.files import read_certificate, read_key
from enrolment.issuing import build_certificate, is_as
from storage import registry
from tests.integration.conftest import SERVERS
from tests.integration.enrolment.counts import refusals
from tests.integration.enrolment_service import PASSPHRASE, Enrolment, certificates_in, request_for

# One edition of the database is enough: what `storage` promises holds on both.
pytestmark = pytest.mark.parametrize("database_server", SERVERS[:1], indirect=True, scope="session")


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
