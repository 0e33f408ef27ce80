"""The agent keeps its certificate young, says so when it cannot, and is mended by an invitation."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_agent.agent import run
from edge_agent.clock import Clock
from edge_agent.credentials.enrolment import enrol
from edge_agent.credentials.identity import IdentityDirectory
from edge_agent.credentials.keystore import Keystore
from edge_agent.credentials.renewal import Renewal
from edge_agent.health.facts import Facts
from edge_agent.health.status import read_status
from edge_agent.settings import (
    AgentSettings,
    BrokerSettings,
    EnrolmentSettings,
    HealthSettings,
    SpoolSettings,
    StatusSettings,
    ThingSettings,
    TrustSettings,
)
from enrolment.authority import Authority
from tests.simulators.est_server import Answer, EstServer, est_server

DEVICE = "k7q2m9xd4t"
LIFE = timedelta(seconds=60)
NOTHING_YET: dict[str, Any] = {"spool": {"readings": 0}}


class Hours:
    """An authority's clock that can be put back, so that what it signs is old at once."""

    def __init__(self) -> None:
        self.behind = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) - self.behind

    def timestamp(self) -> float:
        return self().timestamp()


@pytest.fixture
def hours() -> Hours:
    return Hours()


@pytest.fixture
def service(tmp_path: Path, hours: Hours) -> Iterator[EstServer]:
    authority = Authority(tmp_path / "authority", "Test", gateway_lifetime=LIFE, clock=hours)
    with est_server(authority) as running:
        yield running


def settings_for(directory: Path, url: str, device: str = DEVICE) -> AgentSettings:
    current = directory / "current"
    return AgentSettings(
        tenant="camden",
        device=device,
        state_directory=directory,
        broker=BrokerSettings(
            host="localhost",
            port=8883,
            ca_file=current / "region-root.pem",
            certificate_file=current / "gateway.pem",
            key_file=current / "gateway.key",
        ),
        trust=TrustSettings(council_root_file=current / "council-root.pem"),
        enrolment=EnrolmentSettings(url=url, directory=directory),
        thing=(
            ThingSettings(
                urn="urn:dev:example:lamp-1",
                name="Lamp 1",
                description="A lamp post.",
                longitude=-0.13,
                latitude=51.52,
                place_name="Gower Street",
            ),
        ),
    )


class Gateway:
    """The renewal task of one gateway, and what it has done."""

    def __init__(self, settings: AgentSettings, ahead: timedelta = timedelta()) -> None:
        self.facts = Facts(started_at=0.0)
        self.new_identities = 0
        clock = Clock(
            settings.state_directory / "clock", wall=lambda: time.time() + ahead.total_seconds()
        )
        self.keystore = Keystore(settings, clock)
        self._renewal = Renewal(
            settings,
            keystore=self.keystore,
            clock=clock,
            facts=self.facts,
            on_new_identity=self._count,
            settle_seconds=0.01,
        )

    def _count(self) -> None:
        self.new_identities += 1

    async def run(self) -> None:
        await self._renewal.run()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not holds():  # noqa: ASYNC110  # facts have no event
                await asyncio.sleep(0.02)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "identity"


@asynccontextmanager
async def running(gateway: Gateway) -> AsyncIterator[Gateway]:
    """Let the task run; it never ends by itself."""
    task = asyncio.create_task(gateway.run())
    try:
        yield gateway
        assert not task.done(), task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def kid(gateway: Gateway) -> bytes:
    return gateway.keystore.load().signer.kid


def enrol_long_ago(service: EstServer, hours: Hours, directory: Path, age: timedelta) -> Gateway:
    """Return a gateway that enrolled so long ago."""
    hours.behind = age
    enrol(service.invite(DEVICE), directory, clock=Clock(directory / "clock", wall=hours.timestamp))
    hours.behind = timedelta()
    return Gateway(settings_for(directory, service.url))


async def test_an_invitation_left_in_the_directory_is_followed(
    service: EstServer, directory: Path
) -> None:
    gateway = Gateway(settings_for(directory, service.url))
    service.lost.add("simpleenroll")
    IdentityDirectory(directory).keep_invitation(service.invite(DEVICE))
    async with running(gateway):
        await gateway.until(lambda: gateway.facts.renewals.get("failed", 0) >= 1)
        assert "does not answer" in gateway.facts.renewal_problem
        service.lost.clear()
        await gateway.until(lambda: gateway.new_identities == 1)
        assert len(service.certificates) == 1
        assert IdentityDirectory(directory).invitation() is None
        assert kid(gateway)


async def test_without_certificate_and_invitation_it_is_said_what_is_missing(
    service: EstServer, directory: Path
) -> None:
    gateway = Gateway(settings_for(directory, service.url))
    async with running(gateway):
        await gateway.until(lambda: "there is no certificate" in gateway.facts.renewal_problem)


async def test_two_thirds_through_its_life_a_certificate_is_replaced_once(
    service: EstServer, hours: Hours, directory: Path
) -> None:
    gateway = enrol_long_ago(service, hours, directory, LIFE * 0.68)
    before = kid(gateway)
    async with running(gateway):
        await gateway.until(lambda: gateway.new_identities == 1)
        assert kid(gateway) != before
        ends = service.certificates[-1].not_valid_after_utc.timestamp()
        await gateway.until(lambda: gateway.facts.certificate_not_after == ends)
        assert gateway.facts.renewals == {"renewed": 1}
        assert gateway.facts.renewal_problem == ""
        assert service.asked.count("simplereenroll") == 1


async def test_a_young_certificate_is_left_alone(service: EstServer, directory: Path) -> None:
    enrol(service.invite(DEVICE), directory)
    gateway = Gateway(settings_for(directory, service.url))
    async with running(gateway):
        await gateway.until(lambda: gateway.facts.certificate_not_after is not None)
        assert "simplereenroll" not in service.asked


async def test_what_keeps_a_renewal_from_happening_is_said_until_it_happens(
    service: EstServer, hours: Hours, directory: Path
) -> None:
    gateway = enrol_long_ago(service, hours, directory, LIFE * 0.68)
    before = kid(gateway)
    service.instead["simplereenroll"] = Answer(503, b"The registry is away.")
    async with running(gateway):
        await gateway.until(lambda: gateway.facts.renewals.get("failed", 0) >= 3)
        assert "The registry is away." in gateway.facts.renewal_problem
        assert kid(gateway) == before
        service.instead.clear()
        await gateway.until(lambda: gateway.new_identities == 1)
        assert gateway.facts.renewal_problem == ""


async def test_an_ended_certificate_says_what_it_needs_and_is_mended_by_that(
    service: EstServer, hours: Hours, directory: Path
) -> None:
    gateway = enrol_long_ago(service, hours, directory, LIFE * 2)
    before = kid(gateway)
    service.instead["simplereenroll"] = Answer(403, b"The certificate is not valid now.")
    async with running(gateway):
        await gateway.until(lambda: gateway.facts.renewals.get("failed", 0) >= 1)
        assert "needs a new invitation" in gateway.facts.renewal_problem
        assert "The certificate is not valid now." in gateway.facts.renewal_problem
        IdentityDirectory(directory).keep_invitation(service.invite(DEVICE))
        await gateway.until(lambda: gateway.new_identities == 1)
        assert kid(gateway) != before
        assert gateway.facts.renewal_problem == ""


async def test_an_invitation_that_cannot_be_followed_does_not_stop_renewals(
    service: EstServer, hours: Hours, directory: Path
) -> None:
    gateway = enrol_long_ago(service, hours, directory, LIFE * 0.68)
    IdentityDirectory(directory).first_boot_file.write_text("what?")
    async with running(gateway):
        await gateway.until(lambda: gateway.new_identities == 1)
        await gateway.until(lambda: "not a first-boot file" in gateway.facts.renewal_problem)


async def test_an_agent_that_has_not_enrolled_yet_collects_and_goes_on_by_itself(
    service: EstServer, directory: Path
) -> None:
    settings = replace(
        settings_for(directory, service.url),
        health=HealthSettings(interval_seconds=1.0),
        spool=SpoolSettings(commit_seconds=0.1),
        status=StatusSettings(interval_seconds=0.1),
    )
    IdentityDirectory(directory).keep_invitation(service.invite(DEVICE))
    service.lost.add("simpleenroll")
    task = asyncio.create_task(run(settings))

    async def until(holds: Callable[[dict[str, Any]], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds(read_status(settings).facts or NOTHING_YET):  # noqa: ASYNC110  # a file
                await asyncio.sleep(0.05)

    try:
        await until(lambda facts: facts["spool"]["readings"] > 0)
        assert "No such file" in (read_status(settings).facts or {})["connection_error"]
        service.lost.clear()
        await until(lambda facts: facts.get("renewals", {}).get("renewed") == 1)
        await until(lambda facts: facts.get("certificate_not_after") is not None)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert len(service.certificates) == 1


async def test_a_clock_that_is_ahead_does_not_make_it_renew_for_ever(
    service: EstServer, directory: Path
) -> None:
    enrol(service.invite(DEVICE), directory)
    gateway = Gateway(settings_for(directory, service.url), ahead=LIFE * 0.8)
    async with running(gateway):
        await gateway.until(lambda: "this clock, or the service's" in gateway.facts.renewal_problem)
        assert gateway.facts.renewals == {"renewed": 1}
        assert service.asked.count("simplereenroll") == 1
