"""The parts of a secure network, put together by a test: invitations, the broker, ingest."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from broker_config.embedded import EmbeddedBroker, start_broker
from broker_config.network import Council, Gateway, Network, Service
from device_protocol.first_boot import FirstBoot
from device_protocol.keys import RecipientKey
from ingest import settings as ingest_settings
from storage.recipients import add_recipient
from tests.integration.enrolment_service import Enrolment

TENANT = "camden"
ACTOR = "operator test"


@contextlib.asynccontextmanager
async def beside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `works` for the length of the block; none may end by itself."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
        assert not any(task.done() for task in tasks), tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def invitations(region: Enrolment, count: int) -> list[FirstBoot]:
    """Invite so many gateways."""
    root = x509.load_pem_x509_certificate(region.authority.region_root().read_bytes())
    invited = [await region.invite(f"Lamp {number}") for number in range(count)]
    return [
        FirstBoot(
            url=f"{region.url}/.well-known/est/{TENANT}",
            tenant=TENANT,
            device=each.device,
            token=each.token,
            region_root_sha256=root.fingerprint(hashes.SHA256()),
        )
        for each in invited
    ]


def broker_of(region: Enrolment, devices: list[str], directory: Path) -> EmbeddedBroker:
    """Start the council's broker for these gateways."""
    network = Network(
        name="Test region",
        host="localhost",
        councils=(Council(tenant=TENANT, gss="E09000007", name="Camden"),),
        gateways=tuple(Gateway(TENANT, device) for device in devices),
        services=(Service("ingest", (TENANT,)),),
    )
    lists = {
        TENANT: region.authority.issue_revocation_list(
            TENANT, number=1, revoked=(), now=datetime.now(UTC) - timedelta(seconds=1)
        )
    }
    certificates = region.authority.broker_certificates((TENANT,))
    return start_broker("mosquitto", network, directory / "broker", certificates, lists)


async def ingest_of(
    region: Enrolment, broker: EmbeddedBroker, directory: Path
) -> ingest_settings.IngestSettings:
    """Return ingest's settings, its key listed as the council's recipient."""
    key = X25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "recipient.pem").write_bytes(pem)
    (directory / "service.key").write_text(secrets.token_hex(32))
    now = datetime.now(UTC)
    await add_recipient(
        region.conn,
        tenant=TENANT,
        group="main",
        role="region",
        cose_key=RecipientKey.from_private(key).cose_key,
        valid_from=now - timedelta(minutes=1),
        valid_until=now + timedelta(days=1),
        actor=ACTOR,
    )
    endpoint = broker.service_endpoint(TENANT)
    credential = region.authority.service_client("ingest")
    return ingest_settings.IngestSettings(
        dsn=region.settings.dsn,
        service_key_file=directory / "service.key",
        recipient_key_files=(directory / "recipient.pem",),
        broker=(
            ingest_settings.BrokerSettings(
                name="city",
                host=endpoint.host,
                port=endpoint.port,
                mqtt_version="5",
                client_id="ingest",
                ca_file=region.authority.region_root(),
                certificate_file=credential.certificate,
                key_file=credential.key,
            ),
        ),
    )
