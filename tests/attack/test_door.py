"""Coming in where one does not belong: certificates, client ids and old TLS at a real broker.

These rows are stopped at the broker, in the TLS handshake wherever that is possible, and its log
names the reason. Where one broker lets somebody in without any right, the test says so, and what
then stops the messages. For every row there is a second line: ingest believes no broker, so what
a broker let through by mistake or malice is refused by its code all the same.
"""

import asyncio
import contextlib
import dataclasses
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiomqtt
import pytest
from cryptography import x509

from broker_config.broker_log import BrokerLog
from device_protocol import topics
from device_protocol.keys import SigningKey, VerifyingKey
from enrolment import policy
from enrolment.authority import Authority, CredentialFiles
from enrolment.files import read_certificate, read_key
from storage import registry
from tests.attack.door import certified, council_root, knock
from tests.attack.stage import REASONS, TENANT, Stage, eventually, next_counter, on_nats, refused
from tests.integration.region import DEVICE, LEEDS, OTHER, now
from tests.simulators.gateway import SimulatedGateway, public
from tests.simulators.rogue_broker import RogueBroker

NOT_AUTHORIZED = "20020005"  # CONNACK, return code 5

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


VERIFY_FAILED = {False: "certificate verify failed", True: "failed to verify certificate"}
"""What Mosquitto and NATS write into their logs."""


async def refused_at_the_door(stage: Stage, credential: CredentialFiles, alert: str) -> None:
    """Assert the broker's alert and its log's words, and that others come and go as before."""
    endpoint = stage.city.broker.council_endpoint(TENANT)
    answer = knock(stage.city, endpoint, credential, DEVICE)
    assert not answer.let_in
    assert answer.reason == alert
    assert answer.names(VERIFY_FAILED[on_nats(stage.city)])
    async with stage.honest() as honest:
        await stage.flows_on(honest)


async def refused_at_ingest(stage: Stage, credential: CredentialFiles, device: str) -> None:
    """Assert 203 for what the key behind a certificate signs, should a broker carry it."""
    tenant = stage.city.tenant_of(device)
    impostor = SimulatedGateway(
        tenant,
        device,
        [public(stage.region.recipient)],
        signer=SigningKey.from_private(read_key(credential.key)),
    )
    announcement = impostor.announce(now(), counter=next_counter())
    async with (
        RogueBroker.between(stage.city, TENANT) as broker,
        stage.refuses("signer", at=(tenant, device)),
    ):
        await broker.publish(*announcement)


async def test_connect_with_an_expired_certificate(stage: Stage, tmp_path: Path) -> None:
    root = council_root(stage.city.directory / "authority", TENANT)
    profile = policy.gateway(TENANT, DEVICE)
    last_week = datetime.now(UTC) - profile.lifetime - timedelta(hours=1)
    credential = certified(root, profile, tmp_path, last_week)
    await refused_at_the_door(stage, credential, "SSLV3_ALERT_CERTIFICATE_EXPIRED")
    await refused_at_ingest(stage, credential, DEVICE)


async def test_connect_with_a_foreign_certificate(stage: Stage, tmp_path: Path) -> None:
    """Another authority of the same name signs for the same gateway."""
    Authority(tmp_path / "authority", "Test city").council_root(TENANT)
    root = council_root(tmp_path / "authority", TENANT)
    credential = certified(root, policy.gateway(TENANT, DEVICE), tmp_path, datetime.now(UTC))
    await refused_at_the_door(stage, credential, "TLSV1_ALERT_UNKNOWN_CA")
    await refused_at_ingest(stage, credential, DEVICE)


async def test_connect_with_a_self_signed_certificate(stage: Stage, tmp_path: Path) -> None:
    credential = certified(None, policy.gateway(TENANT, DEVICE), tmp_path, datetime.now(UTC))
    await refused_at_the_door(stage, credential, "TLSV1_ALERT_UNKNOWN_CA")
    await refused_at_ingest(stage, credential, DEVICE)


async def test_speak_tls_1_2(stage: Stage) -> None:
    city, newest = stage.city, ssl.TLSVersion.TLSv1_2
    credential = city.gateways[DEVICE].credential
    answer = knock(city, city.broker.council_endpoint(TENANT), credential, DEVICE, newest=newest)
    assert (answer.let_in, answer.reason) == (False, "TLSV1_ALERT_PROTOCOL_VERSION")
    words = "client offered only unsupported versions" if on_nats(city) else "unsupported protocol"
    assert answer.names(words)
    async with stage.honest() as honest:
        await stage.flows_on(honest)


async def test_connect_with_a_revoked_certificate(stage: Stage) -> None:
    """The revocation list on Mosquitto, the list of users on NATS; 201 at ingest within a second.

    The rest of what it sends is kept aside, so that a person can look at it.
    """
    device, city = "d0d0d0d0d0", stage.city
    everybody = city.broker.network.with_gateway(TENANT, device)
    files = city.enrol(TENANT, device)
    await asyncio.to_thread(city.broker.reload, everybody, city.revocation_list(TENANT))
    await register(stage, device)
    async with stage.honest(device) as stolen:
        await stage.stores(stolen)
        left = [stolen.report(1), stolen.report(2)]
    began = time.monotonic()
    await registry.set_gateway_status(
        stage.conn, device=device, status="revoked", actor="operator test", reason="stolen"
    )
    async with RogueBroker.between(city, TENANT) as broker:
        held = await stage.region.count("quarantine WHERE reason = 'revoked'")
        async with stage.refuses("revoked", len(left), at=(TENANT, device)):
            await asyncio.sleep(max(0.0, began + 0.9 - time.monotonic()))
            for message in left:
                await broker.publish(*message)
        assert await stage.region.count("quarantine WHERE reason = 'revoked'") == held + 2
    without = everybody.without_gateway(device)
    await asyncio.to_thread(city.broker.reload, without, city.revocation_list(TENANT, device))
    endpoint = city.broker.council_endpoint(TENANT)
    answer = knock(city, endpoint, files.credential, device)
    assert not answer.let_in
    if on_nats(city):
        assert answer.reason == NOT_AUTHORIZED
        assert answer.names("authentication error")
    else:
        assert answer.reason == "SSLV3_ALERT_CERTIFICATE_REVOKED"
        assert answer.names(VERIFY_FAILED[False])
    async with stage.honest() as honest:
        await stage.flows_on(honest)


async def register(stage: Stage, device: str) -> None:
    """Enter a gateway into the registry, as enrolling does."""
    certificate = read_certificate(stage.city.gateways[device].credential.certificate)
    await registry.add_gateway(stage.conn, tenant=TENANT, device=device)
    await registry.add_signing_key(
        stage.conn,
        device=device,
        key=VerifyingKey.from_public(certificate.public_key()),
        valid_from=certificate.not_valid_before_utc,
        valid_until=certificate.not_valid_after_utc,
    )


# Names that belong to another council


FORMS = {  # what Camden's authority, dishonest or robbed, may write about Leeds' gateway
    "subject": ("leeds", f"{LEEDS}.camden"),
    "alternative-name": ("camden", f"{LEEDS}.leeds"),
    "service": ("camden", "ingest.leeds._services"),
}


SPOOFED = {
    False: ("certificate verify failed",),
    True: ("is not permitted by any constraint", "authentication error"),
}


@pytest.mark.parametrize("form", FORMS)
async def test_spoof_a_name_of_another_council(stage: Stage, tmp_path: Path, form: str) -> None:
    """Camden's root may name nobody outside Camden: the broker's TLS library refuses the chain."""
    organisation, name = FORMS[form]
    profile = dataclasses.replace(
        policy.gateway(TENANT, DEVICE),
        common_name=LEEDS,
        organisation=organisation,
        names=(x509.DNSName(name),),
    )
    root = council_root(stage.city.directory / "authority", TENANT)
    credential = certified(root, profile, tmp_path, datetime.now(UTC))
    for tenant in (TENANT, "leeds"):
        endpoint = stage.city.broker.council_endpoint(tenant)
        answer = knock(stage.city, endpoint, credential, LEEDS)
        assert not answer.let_in
        assert answer.names(*SPOOFED[on_nats(stage.city)])
    await refused_at_ingest(stage, credential, LEEDS)
    async with stage.honest() as honest:
        await stage.flows_on(honest)


async def test_spoof_a_common_name_of_another_council(stage: Stage, tmp_path: Path) -> None:
    """A device id of Leeds, certified as Camden's: at most a gateway of Camden without rights.

    Mosquitto lets it in, mute; NATS knows no such user. What it publishes reaches nobody.
    """
    city = stage.city
    root = council_root(city.directory / "authority", TENANT)
    credential = certified(root, policy.gateway(TENANT, LEEDS), tmp_path, datetime.now(UTC))
    endpoint = city.broker.council_endpoint(TENANT)
    answer = knock(city, endpoint, credential, LEEDS)
    assert answer.let_in is not on_nats(city)
    before = refused_in_all()
    with contextlib.suppress(aiomqtt.MqttError):
        async with city.client(endpoint, credential, LEEDS) as impostor:
            for tenant in (TENANT, "leeds"):
                topic = topics.data(tenant, LEEDS, "main")
                with contextlib.suppress(aiomqtt.MqttError):
                    await impostor.publish(topic, b"forged", qos=1, timeout=5)
    async with stage.honest() as honest:
        await stage.flows_on(honest)
    assert refused_in_all() == before, "nothing of it has reached the centre"
    await refused_at_ingest(stage, credential, LEEDS)


def refused_in_all() -> float:
    return sum(refused(reason) for reason in REASONS)


async def test_steal_a_client_id(stage: Stage) -> None:
    """A neighbour comes under the victim's client id: it hears none of the victim's messages.

    Mosquitto takes the id from the certificate, so the thief is itself again, says the log. NATS
    believes the id and ends the victim's session, which comes again and has lost nothing: what
    was not acknowledged is sent again.
    """
    city = stage.city
    endpoint, thief = city.broker.council_endpoint(TENANT), city.gateways[OTHER].credential
    async with stage.honest() as victim, stage.honest(OTHER) as neighbour:
        waiting, again = victim.report(1), neighbour.gateway.announcement()
    log = BrokerLog(city.broker.kind, city.broker.log)
    mark, before = log.mark(), await stage.observations()
    async with city.client(endpoint, thief, DEVICE) as client:
        for device in (OTHER, DEVICE):
            with contextlib.suppress(aiomqtt.MqttError):
                topic = topics.acknowledgement(TENANT, device, "main")
                await client.subscribe(topic, qos=1, timeout=5)
        async with RogueBroker.between(city, TENANT) as broker, asyncio.timeout(10):
            await broker.publish(*waiting)
            await until_stored(stage, before + 1)  # and acknowledged to the victim
            await broker.publish(*again)
            heard = await anext(client.messages)
    assert heard.topic.value == topics.acknowledgement(TENANT, OTHER, "main")
    if not on_nats(city):
        assert f"as CN={OTHER}," in log.said(mark)
        assert f"as CN={DEVICE}," not in log.said(mark)
    async with stage.honest() as victim:
        await stage.flows_on(victim)


async def until_stored(stage: Stage, count: int) -> None:
    async def is_stored() -> bool:
        return await stage.observations() == count

    await eventually(is_stored, f"{count} observations")


async def test_take_over_a_session_as_the_keeper(stage: Stage) -> None:
    """Where client ids are free, on Mosquitto, one certificate is let in: not a gateway's."""
    city = stage.city
    if on_nats(city):
        assert city.broker.council_endpoint(TENANT) == city.broker.service_endpoint(TENANT)
    else:
        free = dataclasses.replace(
            city.broker.council_endpoint(TENANT), port=city.broker.network.keeper_port
        )
        for credential in (city.gateways[OTHER].credential, city.service(TENANT)):
            answer = knock(city, free, credential, f"CN={DEVICE},O={TENANT}")
            assert (answer.let_in, answer.reason) == (False, "TLSV1_ALERT_UNKNOWN_CA")
            assert answer.names(VERIFY_FAILED[False])
    async with stage.honest() as victim:
        await stage.flows_on(victim)
