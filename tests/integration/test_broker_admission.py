"""Who a broker lets in at all: the certificate decides, and only TLS 1.3 is spoken.

The CONNECT packet is written by hand (MQTT 3.1.1, section 3.1), because a client library
reports a refusal in one of many ways; the broker's own answer has one.
"""

import asyncio
import dataclasses
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from broker_config.embedded import Endpoint
from broker_config.files import BrokerKind
from enrolment import policy
from enrolment.authority import Authority, CredentialFiles, KeyKind, build_certificate
from enrolment.files import (
    PrivateKey,
    read_certificate,
    read_key,
    write_certificate,
    write_key,
)
from tests.integration.fix_brokers import City

MINE, FOREIGN = "k7q2m9xd4t", "z9f4j2tv7p"
ACCEPTED = b"\x20\x02\x00\x00"  # CONNACK, no session present, return code 0
NOT_AUTHORIZED = b"\x20\x02\x00\x05"
SECONDS = 10


def connect_packet(client_id: str) -> bytes:
    name = client_id.encode()
    variable = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(name).to_bytes(2, "big") + name
    return b"\x10" + bytes([len(variable)]) + variable


async def answer(endpoint: Endpoint, context: ssl.SSLContext | None, client_id: str) -> bytes:
    """Return the broker's first bytes after CONNECT; none if it closes the connection."""
    try:
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection(
                endpoint.host, endpoint.port, ssl=context
            )
            try:
                writer.write(connect_packet(client_id))
                await writer.drain()
                return await reader.read(4)
            finally:
                writer.transport.abort()
    except (ssl.SSLError, ConnectionError):
        return b""


def endpoints(city: City) -> list[Endpoint]:
    """Every listener there is: three on Mosquitto, one on NATS."""
    tenants = city.broker.network.tenants
    listeners = [city.broker.council_endpoint(tenant) for tenant in tenants]
    return list(dict.fromkeys([*listeners, city.broker.service_endpoint(tenants[0])]))


def context_for(city: City, credential: CredentialFiles | None) -> ssl.SSLContext:
    """A context that refuses nothing itself, so that every refusal is the broker's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=city.authority.service_root())
    if credential is not None:
        context.load_cert_chain(credential.certificate, credential.key)
    return context


def store(directory: Path, certificate: x509.Certificate, key: PrivateKey) -> CredentialFiles:
    credential = CredentialFiles.named(directory / "presented")
    write_certificate(credential.certificate, certificate)
    write_key(credential.key, key)
    return credential


def issue(
    authority_directory: Path, profile: policy.Profile, directory: Path, now: datetime
) -> CredentialFiles:
    """A certificate for anything, signed by the root of Camden in that authority."""
    root = authority_directory / "councils" / "camden"
    key = KeyKind.P256.generate()
    certificate = build_certificate(
        profile,
        key.public_key(),
        read_key(root / "root.key"),
        read_certificate(root / "root.pem"),
        now,
    )
    return store(directory, certificate, key)


def utc_now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize("device", [MINE, "w3n8b5rc6h", FOREIGN])
async def test_enrolled_gateway_is_admitted(city: City, device: str) -> None:
    endpoint = city.broker.council_endpoint(city.tenant_of(device))
    context = context_for(city, city.gateways[device].credential)
    assert await answer(endpoint, context, device) == ACCEPTED


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_server_certificate_is_good_for_this_machine(city: City, host: str) -> None:
    endpoint = city.broker.council_endpoint("camden")
    context = context_for(city, city.gateways[MINE].credential)
    assert context.check_hostname
    named = Endpoint(host, endpoint.port, endpoint.mqtt_version)
    assert await answer(named, context, MINE) == ACCEPTED


async def test_no_certificate_is_refused(city: City) -> None:
    for endpoint in endpoints(city):
        assert await answer(endpoint, context_for(city, None), MINE) == b""


async def test_plaintext_is_refused(city: City) -> None:
    for endpoint in endpoints(city):
        assert not (await answer(endpoint, None, MINE)).startswith(b"\x20")


async def test_tls_1_2_is_refused(city: City) -> None:
    context = context_for(city, city.gateways[MINE].credential)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    for endpoint in endpoints(city):
        assert await answer(endpoint, context, MINE) == b""


async def test_another_authoritys_certificate_is_refused(city: City, tmp_path: Path) -> None:
    Authority(tmp_path / "authority", "Test city").council_root("camden")
    profile = policy.gateway("camden", MINE)
    credential = issue(tmp_path / "authority", profile, tmp_path, utc_now())
    for endpoint in endpoints(city):
        assert await answer(endpoint, context_for(city, credential), MINE) == b""


async def test_self_signed_certificate_is_refused(city: City, tmp_path: Path) -> None:
    key = KeyKind.P256.generate()
    profile = policy.gateway("camden", MINE)
    certificate = build_certificate(profile, key.public_key(), key, None, utc_now())
    credential = store(tmp_path, certificate, key)
    for endpoint in endpoints(city):
        assert await answer(endpoint, context_for(city, credential), MINE) == b""


async def test_expired_certificate_is_refused(city: City, tmp_path: Path) -> None:
    profile = policy.gateway("camden", MINE)
    last_week = utc_now() - profile.lifetime
    credential = issue(city.directory / "authority", profile, tmp_path, last_week)
    endpoint = city.broker.council_endpoint("camden")
    assert await answer(endpoint, context_for(city, credential), MINE) == b""


async def test_gateway_is_refused_at_every_listener_but_its_councils(city: City) -> None:
    own = city.broker.council_endpoint("camden")
    others = [endpoint for endpoint in endpoints(city) if endpoint != own]
    assert len(others) == (2 if city.broker.kind is BrokerKind.MOSQUITTO else 0)
    context = context_for(city, city.gateways[MINE].credential)
    for endpoint in others:
        assert await answer(endpoint, context, MINE) == b""


async def test_certificate_that_signs_key_sets_opens_no_connection(city: City) -> None:
    signer = city.authority.key_set_signer("camden")
    for endpoint in endpoints(city):
        assert await answer(endpoint, context_for(city, signer), "signer") == b""


async def test_brokers_own_certificate_opens_no_connection(city: City) -> None:
    server = city.authority.broker_server()
    for endpoint in endpoints(city):
        assert await answer(endpoint, context_for(city, server), "server") == b""


async def test_gateway_never_added_to_the_description_is_nobody(city: City) -> None:
    """Mosquitto lets it in without any right; NATS has no user of that name."""
    files = city.enrol("camden", "d0d0d0d0d0")
    endpoint = city.broker.council_endpoint("camden")
    said = await answer(endpoint, context_for(city, files.credential), "d0d0d0d0d0")
    expected = ACCEPTED if city.broker.kind is BrokerKind.MOSQUITTO else NOT_AUTHORIZED
    assert said == expected


OUTSIDE = {  # subject's organisation and alternative name, each honest or not
    "subject": ("leeds", x509.DNSName(f"{FOREIGN}.camden")),
    "dns": ("camden", x509.DNSName(f"{FOREIGN}.leeds")),
    "email": ("camden", x509.RFC822Name(f"{FOREIGN}.leeds")),
    "uri": ("camden", x509.UniformResourceIdentifier(f"{FOREIGN}.leeds")),
    "their-service": ("camden", x509.DNSName("ingest.leeds._services")),
    "own-service": ("camden", x509.DNSName("ingest.camden._services")),
}


@pytest.mark.parametrize("form", OUTSIDE)
async def test_dishonest_council_authority_cannot_name_anyone_outside_its_council(
    city: City, tmp_path: Path, form: str
) -> None:
    """The certificate is signed by Camden's genuine root, by somebody who ignores our policy."""
    organisation, name = OUTSIDE[form]
    profile = dataclasses.replace(
        policy.gateway("camden", MINE),
        common_name=FOREIGN,
        organisation=organisation,
        names=(name,),
    )
    credential = issue(city.directory / "authority", profile, tmp_path, utc_now())
    for endpoint in endpoints(city):
        assert await answer(endpoint, context_for(city, credential), FOREIGN) in (
            b"",
            NOT_AUTHORIZED,
        )
