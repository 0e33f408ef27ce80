"""Message C from the council's request to its outcome: database, ingest, broker, agent and back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from device_protocol.configuration import Configuration, certificate_chain, sign_configuration
from device_protocol.key_set import open_key_set
from edge_agent.agent import run
from edge_agent.settings import RemoteSettings as Trial
from enrolment.files import read_certificate
from storage import configurations, registry
from storage.database import Connection
from tests.integration.fix_brokers import City
from tests.integration.fix_uplink import Gateway, Tasks
from tests.integration.region import DEVICE, Region, make_region, now
from tests.simulators.centre import key_set_of

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


@pytest.fixture
async def region(
    own_city: City, dsn: str, tmp_path: Path, connection: Connection
) -> AsyncIterator[Region]:
    """A running ingest whose council has told its gateways for whom to seal."""
    (tmp_path / "region").mkdir()
    made = await make_region(own_city, dsn, tmp_path / "region", connection)
    authority = own_city.authority
    message = key_set_of(authority, "camden", {"main": made.recipient})
    anchor = read_certificate(authority.council_root("camden"))
    key_set = open_key_set(message, tenant="camden", anchor=anchor, now=now())
    await registry.add_key_set(connection, tenant="camden", key_set=key_set, message=message)
    async with made.ingest():
        yield made


async def ask(region: Region, **wanted: float) -> int:
    """Request settings and sign them, as the council's people and the enrolment service do."""
    settings = {name.replace("__", "."): value for name, value in wanted.items()}
    version = await configurations.request_configuration(
        region.conn,
        device=DEVICE,
        settings=settings,
        actor="operator test",
        lifetime=timedelta(days=1),
    )
    signer, certificates = region.city.authority.sign_as_configuration_signer("camden")
    message = sign_configuration(
        Configuration(version, now(), now() + 86_400, settings),
        tenant="camden",
        device=DEVICE,
        signer=signer,
        chain=certificate_chain(certificates),
    )
    await configurations.put_signed(
        region.conn, device=DEVICE, version=version, message=message, signed_at=datetime.now(UTC)
    )
    return version


async def until_state(region: Region, version: int, state: str) -> None:
    async with asyncio.timeout(30):
        while True:
            states = await configurations.configuration_states(region.conn, DEVICE)
            if (version, state) in {(found.version, found.state) for found in states}:
                return
            await asyncio.sleep(0.05)


async def test_the_council_learns_what_became_of_its_settings(
    region: Region, tasks: Tasks, tmp_path: Path
) -> None:
    gateway = Gateway(region.city, tmp_path)
    settings = replace(gateway.settings, remote=Trial(trial_seconds=3))
    tasks.start(run(settings))
    good = await ask(region, uplink__batch_seconds=0.3)
    await until_state(region, good, "in force")
    unreachable = await ask(region, broker__port=1)
    await until_state(region, unreachable, "refused")
    await until_state(region, good, "in force")
    better = await ask(region, uplink__batch_seconds=0.4)
    await until_state(region, better, "in force")
    await until_state(region, good, "superseded")
    assert await region.count("quarantine") == 0
