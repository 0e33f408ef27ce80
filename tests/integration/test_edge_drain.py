"""Sealer and spool against a model: whatever happens in whatever order, no reading is lost.

Random schedules of putting, sealing, acknowledging, outages, new epochs, restarts and a full
disk. Within one life of the agent no reading is sealed twice unless its epoch ended first, and
what is deleted is exactly what was acknowledged, or dropped and owned up to.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from device_protocol.reading import Reading
from device_protocol.senml import decode_cbor
from edge_agent.clock import Clock
from edge_agent.spool.rows import Priority, Span
from edge_agent.spool.store import Spool
from tests.integration.edge_spool.spools import ALL, NOW, gap_record, reading
from tests.unit.edge_agent.conftest import FakeTime
from tests.unit.edge_agent.delivery.test_sealer import Bench

STEPS = 120
BATCH = 12
SMALL = 5 * 4096


class Agent:
    """What stands in the model beside the real sealer and spool.

    stored, acknowledged: numbers in the readings. sealed: those sealed in the present epoch.
    """

    def __init__(self, directory: Path, clock: Clock, quota_bytes: int) -> None:
        self.path = directory / "spool.sqlite"
        self.quota_bytes = quota_bytes
        self.bench = Bench(directory, clock, batch_readings=BATCH, window_messages=6)
        self.stored: list[tuple[Priority, int]] = []
        self.acknowledged: set[int] = set()
        self.arrived: set[int] = set()
        self.sealed: set[int] = set()
        self.outstanding: dict[int, list[int]] = {}
        self.released: list[Span] = []
        self.dropped = 0
        self.spool = self.open()
        self.begin()

    def open(self) -> Spool:
        return Spool(self.path, quota_bytes=self.quota_bytes, gap_record=gap_record)

    def begin(self) -> None:
        self.bench.begin()
        self.outstanding.clear()
        self.sealed = set(self.acknowledged)
        if not self.bench.sealer.described:
            self.bench.describe()

    def put(self, chosen: random.Random) -> None:
        added: list[tuple[Priority, Reading]] = []
        for _ in range(chosen.randrange(1, 30)):
            priority = chosen.choices(list(Priority), weights=[4, 5, 1])[0]
            number = len(self.stored) + 1
            self.stored.append((priority, number))
            added.append((priority, reading(number, float(number))))
        self.spool.write(added, self.released, NOW)
        self.released = []

    def seal(self, chosen: random.Random) -> None:
        sealer = self.bench.sealer
        if not sealer.has_room:
            return
        wanted = [*sealer.lanes.alarms(), *sealer.lanes.live()]
        wanted += sealer.lanes.backlog() if chosen.random() < 0.7 else []
        waiting = self.spool.read(wanted, chosen.randrange(1, BATCH + 1))
        if not waiting:
            return
        outgoing = sealer.seal_readings(waiting)
        payload = decode_cbor(self.bench.open(outgoing).payload)
        numbers = [int(float(str(each.value))) for each in payload if each.name.endswith("no2")]
        assert self.sealed.isdisjoint(numbers), "sealed twice in one epoch"
        self.sealed |= set(numbers)
        self.arrived |= set(numbers)
        self.outstanding[outgoing.seq] = numbers

    def acknowledge(self, chosen: random.Random) -> None:
        if not self.outstanding:
            return
        upto = chosen.choice(list(self.outstanding))
        progress = self.bench.acknowledge(upto)
        self.released += progress.released
        for seq in [seq for seq in self.outstanding if seq <= upto]:
            self.acknowledged |= set(self.outstanding.pop(seq))

    def outage(self, _: random.Random) -> None:
        self.bench.sealer.lanes.split(self.spool.highest)

    def new_epoch(self, _: random.Random) -> None:
        self.bench.sealer.end("key set")
        self.begin()

    def restart(self, chosen: random.Random) -> None:
        self.dropped += self.spool.dropped
        self.spool.close()
        self.released = []  # were only in memory: those rows are sealed again, which is harmless
        self.spool = self.open()
        self.bench.sealer.close()
        self.bench.sealer = self.bench.new_sealer()
        if chosen.random() < 0.5:
            self.outage(chosen)
        self.acknowledged = {number for number in self.acknowledged if number not in self.waiting()}
        self.begin()

    def waiting(self) -> set[int]:
        rows = self.spool.read(ALL, 1_000_000)
        return {int(float(row.reading.result)) for row in rows if row.reading.name == "no2"}

    def check(self) -> None:
        waiting = self.waiting()
        everything = {number for _, number in self.stored}
        gone = everything - waiting
        assert len(gone - self.acknowledged - self.arrived) <= self.dropped + self.spool.dropped
        if self.quota_bytes > SMALL:
            assert gone <= self.arrived, "deleted and never sealed"


STEPS_OF: dict[Callable[[Agent, random.Random], None], int] = {
    Agent.put: 6,
    Agent.seal: 12,
    Agent.acknowledge: 5,
    Agent.outage: 1,
    Agent.new_epoch: 1,
    Agent.restart: 1,
}


@pytest.mark.parametrize("quota_bytes", [1 << 30, SMALL])
@pytest.mark.parametrize("seed", range(4))
def test_no_schedule_loses_or_doubles_a_reading(
    tmp_path: Path, seed: int, quota_bytes: int
) -> None:
    time = FakeTime()
    clock = Clock(tmp_path / "clock", wall=lambda: time.wall, monotonic=lambda: time.monotonic)
    chosen = random.Random(seed)  # noqa: S311  # no secret
    agent = Agent(tmp_path, clock, quota_bytes)
    steps = chosen.choices(list(STEPS_OF), weights=list(STEPS_OF.values()), k=STEPS)
    for step in steps:
        step(agent, chosen)
        agent.check()
    for _ in range(1_000):
        agent.seal(chosen)
        agent.acknowledge(chosen)
        agent.spool.write([], agent.released, NOW)
        agent.released = []
        if not agent.waiting():
            break
    assert agent.waiting() == set(), "all that was left has been delivered"
    lost = {number for _, number in agent.stored} - agent.arrived
    dropped = agent.dropped + agent.spool.dropped
    assert len(lost) <= dropped
    assert bool(dropped) == (quota_bytes == SMALL)
    agent.spool.close()
