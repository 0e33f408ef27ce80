"""Ten gateways live through five generations of keys while they report, and nothing is missed.

Certificates of a minute instead of a week; everything else is as in the field: the certificate
service, a broker, ingest and the gateways' agents, which renew when they think it is time.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from broker_config.embedded import EmbeddedBroker
from device_protocol.description import Datastream
from device_protocol.first_boot import FirstBoot
from device_protocol.reading import Reading
from edge_agent import agent
from edge_agent.credentials.enrolment import enrol
from edge_agent.health.status import read_status
from edge_agent.sensors import ADAPTERS, Adapter, Harvest, Surroundings
from edge_agent.sensors.host import HostSettings
from edge_agent.settings import (
    AgentSettings,
    BrokerSettings,
    EnrolmentSettings,
    HealthSettings,
    SpoolSettings,
    StatusSettings,
    ThingSettings,
    TrustSettings,
    UplinkSettings,
)
from ingest import service as ingest
from tests.end_to_end.network import TENANT, beside, broker_of, ingest_of, invitations
from tests.integration.conftest import SERVERS
from tests.integration.enrolment_service import Enrolment, running_service

GATEWAYS = 10
RENEWALS = 5
LIFE_SECONDS = 60
SOAK_SECONDS = LIFE_SECONDS * RENEWALS  # two thirds would do
READING_SECONDS = 0.5
SENSOR = "urn:dev:example:counter-"


@dataclass
class Street:
    """What the gateways really measured: a number that rises, by sensor and time."""

    measured: dict[str, dict[datetime, float]] = field(default_factory=lambda: defaultdict(dict))
    closed: bool = False

    def datastreams(self, settings: HostSettings) -> tuple[Datastream, ...]:
        return (
            Datastream(
                name="cpu_load",
                title="Count",
                description=f"Rises by one every {settings.interval_seconds} s.",
                observed_property="cpu_load",
                unit="1",
                period_seconds=1,
            ),
        )

    async def harvests(
        self, settings: HostSettings, surroundings: Surroundings
    ) -> AsyncGenerator[Harvest, None]:
        measured = self.measured[settings.urn]
        while not self.closed:
            now = surroundings.clock.now()
            measured[now] = float(len(measured))
            reading = Reading(
                sensor=settings.urn,
                name="cpu_load",
                phenomenon_time=now,
                result=measured[now],
                unit="/",
            )
            yield Harvest((reading,))
            await asyncio.sleep(settings.interval_seconds)
        await asyncio.Event().wait()


@pytest.fixture
def street(monkeypatch: pytest.MonkeyPatch) -> Street:
    """Let every gateway's computer be a counter."""
    street = Street()
    monkeypatch.setitem(
        ADAPTERS, "host", Adapter(HostSettings, street.datastreams, street.harvests)
    )
    return street


def agent_of(first_boot: FirstBoot, broker: EmbeddedBroker, directory: Path) -> AgentSettings:
    endpoint = broker.council_endpoint(TENANT)
    current = directory / "current"
    thing = f"urn:dev:example:lamp-{first_boot.device}"
    return AgentSettings(
        tenant=TENANT,
        device=first_boot.device,
        state_directory=directory / "state",
        broker=BrokerSettings(
            host=endpoint.host,
            port=endpoint.port,
            ca_file=current / "region-root.pem",
            certificate_file=current / "gateway.pem",
            key_file=current / "gateway.key",
        ),
        trust=TrustSettings(council_root_file=current / "council-root.pem"),
        enrolment=EnrolmentSettings(url=first_boot.url, directory=directory),
        spool=SpoolSettings(commit_seconds=0.5),
        uplink=UplinkSettings(batch_seconds=1.0, reannounce_seconds=5.0, retry_seconds=2.0),
        health=HealthSettings(interval_seconds=3600.0),
        status=StatusSettings(interval_seconds=1.0),
        thing=(
            ThingSettings(
                urn=thing,
                name="Lamp",
                description="A lamp post.",
                longitude=-0.13,
                latitude=51.52,
                place_name="Gower Street",
            ),
        ),
        sensor=(
            HostSettings(
                urn=f"{SENSOR}{first_boot.device}",
                thing=thing,
                name="Counter",
                description="Counts.",
                interval_seconds=READING_SECONDS,
            ),
        ),
    )


def renewals(settings: AgentSettings) -> int:
    facts = read_status(settings).facts
    return int(facts["renewals"].get("renewed", 0)) if facts else 0


async def stored(region: Enrolment) -> dict[str, dict[datetime, float]]:
    cursor = await region.conn.execute(
        "SELECT s.urn, o.time, o.value FROM observation o"
        " JOIN datastream d ON d.id = o.datastream_id JOIN sensor s ON s.id = d.sensor_id"
        " WHERE starts_with(s.urn, %s)",
        (SENSOR,),
    )
    found: dict[str, dict[datetime, float]] = defaultdict(dict)
    for urn, at, value in await cursor.fetchall():
        found[urn][at.astimezone(UTC)] = value
    return found


async def count(region: Enrolment, statement: str) -> int:
    [(found,)] = await (await region.conn.execute(statement)).fetchall()
    return int(found)


def refused() -> dict[str, float]:
    """Return what ingest has refused by reason."""
    return {
        sample.labels["reason"]: sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "ingest_envelopes_total" and sample.labels["outcome"] != "accepted"
    }


@pytest.mark.timeout(480)
@pytest.mark.parametrize("database_server", SERVERS[:1], indirect=True, scope="session")
async def test_ten_gateways_renew_five_times_and_no_reading_is_lost_or_doubled(
    dsn: str, tmp_path: Path, street: Street, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = time.monotonic()
    async with running_service(
        dsn, tmp_path / "region", gateway_lifetime_seconds=LIFE_SECONDS
    ) as region:
        first_boots = await invitations(region, GATEWAYS)
        devices = [each.device for each in first_boots]
        with broker_of(region, devices, tmp_path) as broker:
            settings = [
                agent_of(each, broker, tmp_path / "gateways" / each.device) for each in first_boots
            ]
            for each, own in zip(first_boots, settings, strict=True):
                assert own.enrolment.directory is not None
                await asyncio.to_thread(enrol, each, own.enrolment.directory)
            centre = ingest.run(await ingest_of(region, broker, tmp_path))
            async with beside(centre, *(agent.run(each) for each in settings)):
                await until_renewed(settings)
                street.closed = True
                await until_stored(region, street)
        certificates = await count(region, "SELECT count(*) FROM gateway_certificate")
        kinds = await count(region, "SELECT count(*) FROM signing_key")
        quarantined = await count(region, "SELECT count(*) FROM quarantine")
        found = await stored(region)
    with capsys.disabled():
        print(  # noqa: T201 - the counts are part of the proof
            f"\n  {certificates} certificates, {kinds} keys, "
            f"{sum(map(len, found.values())):,} readings of "
            f"{sum(map(len, street.measured.values())):,}, refused {refused()}, "
            f"{time.monotonic() - begun:.0f} s"
        )
    assert found == street.measured
    assert len(found) == GATEWAYS
    assert GATEWAYS * (1 + RENEWALS) <= certificates <= GATEWAYS * (2 + RENEWALS)
    assert kinds == certificates
    assert quarantined == 0


async def until_renewed(settings: list[AgentSettings]) -> None:
    async with asyncio.timeout(SOAK_SECONDS):
        while min(map(renewals, settings)) < RENEWALS:  # noqa: ASYNC110  # files of the agents
            await asyncio.sleep(1)


async def until_stored(region: Enrolment, street: Street) -> None:
    async with asyncio.timeout(60):
        while await stored(region) != street.measured:  # noqa: ASYNC110  # a table
            await asyncio.sleep(0.5)
