"""What the enrolment service tells whoever asks: roots, keys it takes, the network."""

import asyncio
import base64

import httpx
import pytest

from enrolment.authority import Authority, KeyKind
from storage import registry
from tests.integration.conftest import SERVERS
from tests.integration.enrolment.counts import status_of
from tests.integration.enrolment_service import PASSPHRASE, Enrolment, certificates_in, command

# One edition of the database is enough: what `storage` promises holds on both.
pytestmark = pytest.mark.parametrize("database_server", SERVERS[:1], indirect=True, scope="session")


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
