"""Three days without a network: all of it arrives, in order, and what is new does not wait.

The three days pass on a fast clock into the real spool; then a real agent drains it over a real
broker while its own readings go on.
"""

import asyncio
import random
import time
from pathlib import Path

import pytest

from device_protocol.reading import Reading
from device_protocol.receiver import Announcement, OpenedMessage
from device_protocol.senml import Record, decode_cbor
from edge_agent.agent import run
from edge_agent.clock import Clock
from edge_agent.settings import SpoolSettings
from edge_agent.spool.group_commit import open_spool
from edge_agent.spool.rows import Priority
from tests.integration.edge_spool.spools import scribble
from tests.integration.fix_brokers import City
from tests.integration.fix_uplink import DEVICE, HOST, Gateway, Tasks
from tests.simulators.centre import Centre, registered

HOURS = 72
SECONDS_BETWEEN = 10.0
STREET = "urn:dev:example:street"
COMPUTER = "urn:dev:example:computer"
GATEWAY = f"urn:dev:kerbstone:{DEVICE}:health"
NAMES = {"alarm": Priority.ALARM, "normal": Priority.NORMAL, "low": Priority.LOW}


class TimedCentre(Centre):
    """A centre that notes when each message came, and acknowledges ten times a second at most.

    Each acknowledgement waits for the broker's, and would hold up the next message.
    """

    def __init__(self, city: City) -> None:
        super().__init__(
            lambda: city.service_client("camden"),
            authority=city.authority,
            tenant="camden",
            devices=[registered("camden", DEVICE, city.gateways[DEVICE])],
        )
        self.arrivals: list[tuple[float, list[Record]]] = []
        self._acknowledged_at = 0.0

    async def _acknowledge(self, device: str, group: str, epoch_id: bytes) -> None:
        if time.monotonic() - self._acknowledged_at >= 0.1:
            self._acknowledged_at = time.monotonic()
            await super()._acknowledge(device, group, epoch_id)

    def _keep(self, device: str, accepted: Announcement | OpenedMessage) -> None:
        super()._keep(device, accepted)
        if isinstance(accepted, OpenedMessage) and accepted.content_format != 60:
            self.arrivals.append((time.time(), list(decode_cbor(accepted.payload))))

    def came_of(self, sensor: str) -> list[Record]:
        """Return a sensor's records in the order of their coming."""
        return [
            record
            for _, records in self.arrivals
            for record in records
            if record.name.startswith(f"{sensor}:")
        ]

    def delays(self, sensor: str, until: float) -> list[float]:
        """Return how old a sensor's readings were when they came, up to a moment."""
        return sorted(
            at - record.time_microseconds / 1e6
            for at, records in self.arrivals
            if at <= until
            for record in records
            if record.name.startswith(f"{sensor}:")
        )


async def offline(gateway: Gateway, count: int) -> None:
    """Let `count` readings of all priorities wait, the last of them taken just now."""
    begun = time.time() - count * SECONDS_BETWEEN
    passed = 0.0
    clock = Clock(gateway.directory / "fast", wall=lambda: begun + passed, monotonic=lambda: passed)
    state = gateway.settings.state_directory
    state.mkdir()
    chosen = random.Random(72)  # noqa: S311  # no secret
    settings = SpoolSettings(commit_readings=500, commit_seconds=60)
    async with open_spool(
        state / "spool.sqlite", settings, clock=clock, gap_record=lambda _: pytest.fail("full")
    ) as spool:
        task = asyncio.create_task(spool.run())
        for number in range(count):
            passed += SECONDS_BETWEEN
            name = chosen.choices(list(NAMES), weights=[1, 60, 39])[0]
            reading = Reading(
                sensor=STREET,
                name=name,
                phenomenon_time=clock.now(),
                result=float(number),
                unit="dB",
            )
            await spool.put([reading], NAMES[name])
            if number % 500 == 0:
                await asyncio.sleep(0)  # let it commit
        await spool.put([], Priority.NORMAL, at_once=True)
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
def broker_kind() -> str:
    """One broker: nothing here is about brokers."""
    return "mosquitto"


@pytest.fixture
def gateway(own_city: City, tmp_path: Path) -> Gateway:
    return Gateway(own_city, tmp_path)


@pytest.fixture
def centre(own_city: City) -> TimedCentre:
    return TimedCentre(own_city)


def with_host_only(gateway: Gateway, *, drain_readings_per_second: int) -> None:
    """Let the gateway measure nothing but its own computer, ten times a second."""
    gateway.configure(sensors=HOST, drain_readings_per_second=drain_readings_per_second)
    text = gateway.path.read_text()
    replay, host = text.index("[[sensor]]"), text.rindex("[[sensor]]")
    text = text[:replay] + text[host:]
    gateway.path.write_text(text.replace("commit_seconds = 0.1", "commit_seconds = 1"))


async def test_three_days_offline_are_delivered_whole_in_order_and_live_readings_do_not_wait(
    gateway: Gateway, centre: TimedCentre, tasks: Tasks, capsys: pytest.CaptureFixture[str]
) -> None:
    with_host_only(gateway, drain_readings_per_second=0)
    count = round(HOURS * 3600 / SECONDS_BETWEEN)
    await offline(gateway, count)
    tasks.start(centre.run())
    begun = time.time()
    tasks.start(run(gateway.settings))
    await centre.until(lambda _: len(centre.came_of(STREET)) >= count, 120)
    drained = time.time()
    await gateway.until_facts(lambda facts: facts["spool"]["readings"] < 100)
    street = centre.came_of(STREET)
    assert sorted(float(record.value) for record in street) == list(map(float, range(count)))  # type: ignore[arg-type]
    priorities = [NAMES[record.name.rpartition(":")[2]] for record in street]
    assert priorities == sorted(priorities, reverse=True)
    for name in NAMES:
        times = [each.time_microseconds for each in street if each.name.endswith(name)]
        assert times == sorted(times)
        assert len(times) > count // 200
    delays = centre.delays(COMPUTER, drained)
    assert len(delays) > 20, "live readings came while the backlog drained"
    assert delays[-1] < 5.0
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{count} readings of {HOURS} h drained in {drained - begun:.1f} s; "
            f"delay of live ones meanwhile: median {delays[len(delays) // 2]:.2f} s, "
            f"worst {delays[-1]:.2f} s"
        )


async def test_a_backlog_goes_at_its_pace_and_live_readings_beside_it(
    gateway: Gateway, centre: TimedCentre, tasks: Tasks
) -> None:
    with_host_only(gateway, drain_readings_per_second=200)
    await offline(gateway, 500)
    tasks.start(centre.run())
    tasks.start(run(gateway.settings))
    await centre.until(lambda _: len(centre.came_of(STREET)) >= 500)
    carrying = [
        (at, [each for each in records if each.name.startswith(f"{STREET}:")])
        for at, records in centre.arrivals
    ]
    paced = [
        (at, len([each for each in records if not each.name.endswith("alarm")]))
        for at, records in carrying
        if records
    ]
    lasted = paced[-1][0] - paced[0][0]
    went = sum(count for _, count in paced)
    assert lasted >= (went - 50) / 200 - 0.1
    assert centre.delays(COMPUTER, paced[-1][0])[-1] < 5.0
    assert len(centre.delays(COMPUTER, paced[-1][0])) > 10


async def test_a_spool_that_the_card_has_damaged_is_owned_up_to_at_the_centre(
    gateway: Gateway, centre: TimedCentre, tasks: Tasks
) -> None:
    with_host_only(gateway, drain_readings_per_second=0)
    await offline(gateway, 2_000)
    path = gateway.settings.state_directory / "spool.sqlite"
    scribble(path)
    tasks.start(centre.run())
    tasks.start(run(gateway.settings))
    await centre.until(
        lambda heard: (
            bool(heard.results(f"{GATEWAY}:spool_salvaged"))
            and bool(heard.results(f"{GATEWAY}:spool_dropped"))
        )
    )
    (salvaged,) = centre.heard.results(f"{GATEWAY}:spool_salvaged").values()
    (missing,) = centre.heard.results(f"{GATEWAY}:spool_dropped").values()
    await centre.until(lambda _: len(centre.came_of(STREET)) == salvaged)
    assert float(str(salvaged)) + float(str(missing)) == 2_000
    assert float(str(missing)) > 0
