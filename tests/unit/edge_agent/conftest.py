"""A clock that stands still, and settings of one gateway."""

from pathlib import Path

import pytest

from edge_agent.clock import Clock, ClockQuality
from edge_agent.sensors.host import HostSettings
from edge_agent.settings import (
    AgentSettings,
    BrokerSettings,
    ThingSettings,
    TrustSettings,
)

NOW = 1_900_000_000.0


class FakeTime:
    """Wall and monotonic time that pass only when told to."""

    def __init__(self) -> None:
        self.wall = NOW
        self.monotonic = 1000.0
        self.quality = ClockQuality.NETWORK

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def clock(fake_time: FakeTime, tmp_path: Path) -> Clock:
    return Clock(
        tmp_path / "clock",
        wall=lambda: fake_time.wall,
        monotonic=lambda: fake_time.monotonic,
        source=lambda: fake_time.quality,
    )


def settings_in(directory: Path) -> AgentSettings:
    return AgentSettings(
        tenant="camden",
        device="k7q2m9xd4t",
        state_directory=directory,
        broker=BrokerSettings(
            host="localhost",
            port=8883,
            ca_file=directory / "root.pem",
            certificate_file=directory / "gateway.pem",
            key_file=directory / "gateway.key",
        ),
        trust=TrustSettings(council_root_file=directory / "council.pem"),
        thing=(
            ThingSettings(
                urn="urn:dev:example:lamp-1",
                name="Lamp 1",
                description="A lamp post.",
                longitude=-0.13,
                latitude=51.52,
                place_name="Gower Street",
                properties={"height": "6 m"},
            ),
        ),
        sensor=(
            HostSettings(
                urn="urn:dev:example:lamp-1-computer",
                thing="urn:dev:example:lamp-1",
                name="Computer",
                description="The computer in the lamp.",
                properties={"room": "none"},
            ),
        ),
    )


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    return settings_in(tmp_path)
