"""Settings sent to the real agent over real brokers: kept if they work, taken back if not."""

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from device_protocol import topics
from edge_agent.agent import run
from edge_agent.settings import AgentSettings
from edge_agent.settings import RemoteSettings as Trial
from tests.integration.fix_brokers import City
from tests.integration.fix_uplink import HOST, Gateway, Tasks, centre_of
from tests.simulators.centre import Centre, Heard, configuration_of

DEVICE = "k7q2m9xd4t"
HEALTH = f"urn:dev:kerbstone:{DEVICE}:health"
COMPUTER = "urn:dev:example:computer"


class Council:
    """A gateway, its centre, and the council that changes the gateway's settings."""

    def __init__(self, city: City, directory: Path) -> None:
        self.city = city
        self.gateway = Gateway(city, directory)
        self.gateway.configure(sensors=HOST)
        self.centre: Centre = centre_of(city)

    def settings(self, trial_seconds: float) -> AgentSettings:
        return replace(self.gateway.settings, remote=Trial(trial_seconds=trial_seconds))

    async def send(self, message: bytes) -> None:
        """Publish a message C as the centre does, or as whoever holds the broker could."""
        async with self.city.service_client("camden") as client:
            topic = topics.configuration("camden", DEVICE)
            await client.publish(topic, message, qos=1, retain=True)

    def signed(self, version: int, *, signed_by: str = "", **settings: float) -> bytes:
        named = {name.replace("__", "."): value for name, value in settings.items()}
        wanted = {
            f"sensor.{COMPUTER}.interval_seconds" if name == "interval" else name: value
            for name, value in named.items()
        }
        return configuration_of(
            self.city.authority, "camden", DEVICE, wanted, version=version, signed_by=signed_by
        )

    async def until_told(self, name: str, value: float) -> None:
        """Wait until the gateway's last word on `name` at the centre is `value`."""
        await self.centre.until(lambda heard: last_word(heard, name) == value)


def last_word(heard: Heard, name: str) -> object:
    said = heard.results(f"{HEALTH}:{name}")
    return said[max(said)] if said else None


@pytest.fixture
def council(own_city: City, tmp_path: Path) -> Council:
    return Council(own_city, tmp_path)


def logged(caplog: pytest.LogCaptureFixture, message: str) -> Callable[[object], bool]:
    """Return whether the agent has logged this since now."""
    before = caplog.messages.count(message)
    return lambda _: caplog.messages.count(message) > before


async def test_settings_that_work_are_kept_and_no_others_take_their_place(
    council: Council, tasks: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    tasks.start(council.centre.run())
    agent = tasks.start(run(council.settings(60)))
    await council.until_told("configuration_version", 0)
    await council.send(council.signed(7, interval=30))
    await council.until_told("configuration_version", 7)
    for message, said in (
        (council.signed(6, interval=5), "old configuration refused"),
        (council.signed(8, interval=5, signed_by="leeds"), "configuration refused"),
    ):
        refused = logged(caplog, said)
        await council.send(message)
        await council.gateway.until_facts(refused)
    await tasks.stop(agent)
    again = logged(caplog, "configuration refused")  # what is retained comes at every start
    tasks.start(run(council.settings(60)))
    await council.gateway.until_facts(again)
    await council.gateway.until_facts(lambda facts: facts["configuration"] == 7)
    assert last_word(council.centre.heard, "configuration_refused") == 0
    described = council.centre.heard.descriptions[-1].things[0].sensors
    (computer,) = (sensor for sensor in described if sensor.urn == COMPUTER)
    assert {stream.period_seconds for stream in computer.datastreams} == {30, None}
    assert not council.centre.heard.refusals


async def test_settings_under_which_the_gateway_cannot_report_are_taken_back_by_itself(
    council: Council, tasks: Tasks, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    tasks.start(council.centre.run())
    tasks.start(run(council.settings(2)))
    await council.until_told("configuration_version", 0)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        reverted = logged(caplog, "configuration reverted")
        await council.send(council.signed(1, broker__port=nobody.getsockname()[1]))
        await council.gateway.until_facts(lambda facts: facts["configuration_on_trial"] == 1)
        await council.until_told("configuration_refused", 1)
        assert reverted(None)
    heard = len(council.centre.heard.records)
    await council.centre.until(lambda found: len(found.records) > heard)
    await council.send(council.signed(2, uplink__batch_seconds=0.5))
    await council.until_told("configuration_version", 2)
    assert last_word(council.centre.heard, "configuration_refused") == 1
    assert not council.centre.heard.refusals
