"""Beats keep their distance, whatever happens between them."""

from edge_agent.clock import Clock
from edge_agent.inputs.rhythm import Rhythm
from tests.unit.edge_agent.conftest import FakeTime


async def test_beats_do_not_drift_and_missed_ones_are_not_made_up_for(
    clock: Clock, fake_time: FakeTime
) -> None:
    begin = fake_time.monotonic
    beats: list[float] = []

    async def sleep(seconds: float) -> None:
        assert seconds >= 0
        fake_time.advance(seconds)

    rhythm = Rhythm(clock, 10.0, sleep)
    for work_seconds in (3.0, 9.0, 0.0, 12.0, 1.0, 35.0, 1.0, 1.0):
        await rhythm.beat()
        beats.append(fake_time.monotonic - begin)
        fake_time.advance(work_seconds)
    assert beats == [0.0, 10.0, 20.0, 30.0, 42.0, 50.0, 85.0, 90.0]
