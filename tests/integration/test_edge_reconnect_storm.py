"""Gateways whose broker dies come back one after another, by waits drawn from wide bounds."""

import gc
from pathlib import Path
from random import Random

import pytest

from bench.storm import attempts, bound_per_second, come_back, crest_per_second, peak
from edge_agent.settings import UplinkSettings
from runtime.backoff import FullJitter

AGENTS = 30
FIRST_SECONDS, LONGEST_SECONDS = 2.0, 6.0


class RecordedJitter(FullJitter):
    """Waits as ever, and remembers from what bounds they were drawn."""

    made: list["RecordedJitter"]

    def __init__(self, base_seconds: float, cap_seconds: float) -> None:
        super().__init__(base_seconds, cap_seconds)
        self.drawn: list[tuple[float, float]] = []
        self.made.append(self)

    def next(self) -> float:
        bound = min(self._bound_seconds, self._cap_seconds)
        wait = super().next()
        self.drawn.append((bound, wait))
        return wait


# paho leaves it to the collector to close a socket whose handshake was cut short.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
)
async def test_every_agent_comes_back_after_a_wait_from_the_whole_of_a_wide_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RecordedJitter.made = []
    monkeypatch.setattr("edge_agent.delivery.uplink.FullJitter", RecordedJitter)
    storm = await come_back(
        AGENTS,
        tmp_path,
        uplink=UplinkSettings(first_retry_seconds=FIRST_SECONDS, retry_seconds=LONGEST_SECONDS),
        outage_seconds=1.0,
    )
    assert len(storm.returns) == AGENTS
    reconnects = RecordedJitter.made[::2]  # the other of each agent is for refused publications
    assert len(reconnects) == AGENTS
    waits = [made.drawn for made in reconnects]
    assert all(waits)
    for drawn in waits:
        bounds = [bound for bound, _ in drawn]
        expected = [FIRST_SECONDS, 2 * FIRST_SECONDS] + [LONGEST_SECONDS] * len(bounds)
        assert bounds == expected[: len(bounds)]
        assert all(0 <= wait <= bound for bound, wait in drawn)
    assert len({wait for drawn in waits for _, wait in drawn}) > AGENTS / 2
    assert len(storm.attempts) >= AGENTS
    gc.collect()  # the sockets told of above, here and not in another test


def test_ten_thousand_gateways_never_try_more_often_in_a_second_than_is_told() -> None:
    random = Random(20_260_601)  # noqa: S311  # to be the same each time
    tries = [
        at
        for _ in range(10_000)
        for at in attempts(FullJitter(1.0, 120.0, random.random), 30.0, until=180.0)
    ]
    assert crest_per_second(10_000, 30.0) == pytest.approx(523, abs=1)
    assert 0.8 * crest_per_second(10_000, 30.0) < peak(tries) <= bound_per_second(10_000, 30.0)


def test_the_fullest_second_is_found_wherever_it_begins() -> None:
    assert peak([]) == 0
    assert peak([0.0, 0.9, 1.2, 1.8, 3.0]) == 3
    assert peak([0.0, 1.0, 2.0]) == 1
