"""What storing a batch costs the database and the process that stores it.

Run as `python -m bench.store`; `--json` for figures alone. Batches of ready-made rows go in
through `storage.batches`, without broker, cryptography and checks, next to what the database
could do at best: a plain COPY, and a COPY by way of a staging table. `--grow ROWS` keeps storing
instead and says what a batch costs as the table grows.
"""

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.machine import cpu_seconds, describe_machine
from device_protocol.reading import Reading
from device_protocol.senml import CONTENT_FORMAT_SENML_CBOR, encode_cbor
from storage import batches, epochs, registry
from storage.batches import Observations, SignedBatch
from storage.database import Connection, connect, query
from storage.embedded import EmbeddedDatabase, remove
from storage.epochs import NewEpoch, Progress
from storage.migration import migrate
from storage.optimism import Optimism

EDITIONS: Final = ("plain", "timescaledb")
MESSAGES: Final = 500
"""In a batch, as ingest stores them."""

STREAMS_PER_GATEWAY: Final = 10
_START: Final = datetime(2024, 3, 1, tzinfo=UTC)
_SECOND: Final = 1_000_000
_WARM_UP: Final = 2  # batches
_STEPS: Final = 20


@dataclass(frozen=True, slots=True)
class Load:
    """What arrives, in time order: each stream reports once a `period_seconds`.

    streams: of gateways with ten each. readings: in each message.
    """

    streams: int
    period_seconds: int
    readings: int

    def __str__(self) -> str:
        return f"{self.streams:5} streams, {self.readings:3} a message"

    @property
    def gateways(self) -> int:
        """How many gateways report."""
        return max(1, self.streams // STREAMS_PER_GATEWAY)

    @property
    def rows(self) -> int:
        """How many readings a batch holds."""
        return MESSAGES * self.readings

    def batch(self, number: int) -> Observations:
        """Return the rows of a batch, sorted by key."""
        index = np.arange(number * self.rows, (number + 1) * self.rows, dtype=np.int64)
        step, stream = np.divmod(index, self.streams)
        times = (round(_START.timestamp()) + step * self.period_seconds) * _SECOND
        order = np.lexsort((times, stream))
        values = np.random.default_rng(number).integers(0, 10_000, len(index)) / 10
        return Observations((stream[order] + 1).astype(np.int32), times[order], values)


LOADS: Final = (Load(80, 60, 100), Load(80, 60, 10), Load(5_000, 300, 100), Load(5_000, 300, 10))


@dataclass(frozen=True, slots=True)
class Cost:
    """Rows a second, and CPU seconds that a million rows take in the server and in the client."""

    rows_per_s: int
    server: float
    client: float


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch ready to store. payload: its observations as a binary COPY."""

    observations: Observations
    payload: bytes
    signed: Sequence[SignedBatch]
    progress: Sequence[Progress]


class City:
    """Gateways with one open epoch each, and the batches they send."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self._epoch_ids = [secrets.token_bytes(8) for _ in range(load.gateways)]
        self._gateway_ids: list[int] = []
        self._message = encode_cbor(_readings(load.readings))

    async def register(self, conn: Connection) -> None:
        """Put the gateways and their epochs into the registry."""
        await registry.add_council(conn, gss="E09000007", tenant="camden", name="Camden")
        for number in range(self.load.gateways):
            await registry.add_gateway(conn, tenant="camden", device=f"bench-{number}")
        ids = {row.device: row.id for row in await registry.gateways(conn)}
        self._gateway_ids = [ids[f"bench-{number}"] for number in range(self.load.gateways)]
        await epochs.insert_epochs(conn, [self._epoch(n) for n in range(self.load.gateways)])

    def batches(self, count: int) -> Iterator[Batch]:
        """Yield the next batches, made ahead of what is measured."""
        for number in range(count):
            observations = self.load.batch(number)
            first, last = int(observations.times.min()), int(observations.times.max())
            signed = [self._signed(number, m, first, last) for m in range(MESSAGES)]
            newest = {batch.epoch_id: batch.seq for batch in signed}
            progress = [
                Progress(
                    epoch_id=epoch_id, highest_seq=seq, contiguous_seq=seq, received_messages=seq
                )
                for epoch_id, seq in newest.items()
            ]
            yield Batch(observations, batches.copy_payload(observations), signed, progress)

    def _signed(self, number: int, message: int, first: int, last: int) -> SignedBatch:
        position = number * MESSAGES + message
        gateway = position % self.load.gateways
        return SignedBatch(
            epoch_id=self._epoch_ids[gateway],
            seq=position // self.load.gateways + 1,
            message_hash=secrets.token_bytes(8),
            gateway_id=self._gateway_ids[gateway],
            signer_kid=self._epoch_ids[gateway],
            content_format=CONTENT_FORMAT_SENML_CBOR,
            signed=self._message + secrets.token_bytes(64),
            readings=self.load.readings,
            first_time=first,
            last_time=last,
            received_at=last // _SECOND,
        )

    def _epoch(self, number: int) -> NewEpoch:
        return NewEpoch(
            epoch_id=self._epoch_ids[number],
            gateway_id=self._gateway_ids[number],
            group="main",
            counter=1,
            announcement_sha256=secrets.token_bytes(32),
            content_algorithm=24,
            sealed_key=secrets.token_bytes(73),
            received_at=int(time.time()),
            closes_at=int(time.time()) + 86_400,
            key_set_version=1,
            previous=None,
        )


def _readings(count: int) -> list[Reading]:
    values = np.random.default_rng(0).integers(0, 10_000, count) / 10
    return [
        Reading(
            sensor="urn:dev:bench:bench-gateway-0:air",
            name=f"no2-{number % STREAMS_PER_GATEWAY}",
            phenomenon_time=_START + number // STREAMS_PER_GATEWAY * timedelta(minutes=1),
            result=float(value),
            unit="ug/m3",
        )
        for number, value in enumerate(values)
    ]


# Ways to store


class Copied:
    """A COPY into `observation`: nothing is told apart, nothing else is kept."""

    async def store(self, conn: Connection, batch: Batch) -> None:
        """Store a batch."""
        async with conn.transaction():
            await batches.copy(conn, query("copy_observations"), batch.payload)


class Staged:
    """A COPY by way of the staging table: the rate that `kerbstone bench ingest` calls raw."""

    async def store(self, conn: Connection, batch: Batch) -> None:
        """Store a batch."""
        async with conn.transaction():
            await batches.copy(conn, query("copy_staging"), batch.payload)
            await conn.execute(
                "INSERT INTO observation (datastream_id, time, value)"
                " SELECT datastream_id, time, value FROM staged_observation ON CONFLICT DO NOTHING"
            )


class Everything:
    """All that ingest does for a batch, with or without trying it straight.

    followed: whether word is left for a publisher.
    """

    def __init__(self, optimism: Optimism | None, *, followed: bool = False) -> None:
        self._optimism = optimism
        self._followed = followed

    async def store(self, conn: Connection, batch: Batch) -> None:
        """Store a batch."""
        async with conn.transaction():
            await batches.begun(conn)
            await batches.store_observations(
                conn, batch.observations, [], self._optimism, followed=self._followed
            )
            await batches.insert_signed_batches(conn, batch.signed)
            await epochs.advance_epochs(conn, batch.progress)


Way = Copied | Staged | Everything


def _repeating(batch: Batch, before: Batch | None, share: float) -> Batch:
    """Return a batch with this share of the rows before it as well; at 1, those alone."""
    if before is None or share == 0:
        return batch
    if share == 1:
        return replace(batch, observations=before.observations)
    old, new = before.observations, batch.observations
    chosen = np.random.default_rng(len(old)).random(len(old)) < share
    ids = np.concatenate([new.datastream_ids, old.datastream_ids[chosen]])
    times = np.concatenate([new.times, old.times[chosen]])
    values = np.concatenate([new.values, old.values[chosen]])
    order = np.lexsort((times, ids))
    return replace(batch, observations=Observations(ids[order], times[order], values[order]))


def ways() -> dict[str, tuple[Way, float]]:
    """Return what is compared: each way, and the share of rows that are redelivered."""
    return {
        "plain copy": (Copied(), 0),
        "staged copy": (Staged(), 0),
        "straight, with everything": (Everything(Optimism()), 0),
        "straight, for a publisher": (Everything(Optimism(), followed=True), 0),
        "staged, with everything": (Everything(None), 0),
        "1 % redelivered": (Everything(Optimism()), 0.01),
        "100 % redelivered": (Everything(Optimism()), 1),
    }


# Measuring


async def compare(
    server: EmbeddedDatabase, load: Load, count: int, tell: Callable[[str], None]
) -> dict[str, Cost]:
    """Return what each way costs, in a database of its own."""
    found = {}
    for number, (name, (way, share)) in enumerate(ways().items()):
        database = f"way_{load.streams}_{load.readings}_{number}"
        async with _opened(server, database) as conn:
            city = City(load)
            await city.register(conn)
            fresh = list(city.batches(count + _WARM_UP))
            pairs = pairwise([None, *fresh])
            sent = [_repeating(batch, before, share) for before, batch in pairs if batch]
            await _cost(conn, way, sent[:_WARM_UP])
            found[name] = await _cost(conn, way, sent[_WARM_UP:])
            tell(f"{server.edition_hint.value:12}{load}  {name:27}{_line(found[name])}")
    return found


async def _cost(conn: Connection, way: Way, sent: Sequence[Batch]) -> Cost:
    rows = sum(len(batch.observations) for batch in sent)
    pid = conn.info.backend_pid
    server, client, began = cpu_seconds(pid), time.process_time(), time.perf_counter()
    for batch in sent:
        await batches.make_room(conn, batch.observations)
        await way.store(conn, batch)
    seconds = time.perf_counter() - began
    client = time.process_time() - client
    after = cpu_seconds(pid)
    spent = float("nan") if server is None or after is None else after - server
    return Cost(round(rows / seconds), round(spent * 1e6 / rows, 2), round(client * 1e6 / rows, 2))


async def grow(server: EmbeddedDatabase, load: Load, rows: int) -> AsyncIterator[tuple[int, Cost]]:
    """Yield what a batch costs while a table grows, in twenty steps: rows so far, cost."""
    async with _opened(server, f"grow_{load.streams}") as conn:
        city = City(load)
        await city.register(conn)
        way = Everything(Optimism())
        count = max(1, rows // load.rows // _STEPS)
        generated = city.batches(count * _STEPS)
        for step in range(_STEPS):
            sent = list(islice(generated, count))
            yield (step + 1) * count * load.rows, await _cost(conn, way, sent)


@asynccontextmanager
async def _opened(server: EmbeddedDatabase, name: str) -> AsyncIterator[Connection]:
    dsn = server.create_database(name)
    await migrate(dsn)
    async with await connect(dsn, autocommit=True, application_name="kerbstone bench") as conn:
        await batches.prepare(conn)
        await conn.execute("CHECKPOINT")
        yield conn


@contextmanager
def _server(edition: str) -> Iterator[EmbeddedDatabase]:
    with tempfile.TemporaryDirectory(prefix="kerbstone-bench-") as directory:
        data = Path(directory) / "database"
        server = EmbeddedDatabase.start(data, timescaledb=edition == "timescaledb")
        try:
            yield server
        finally:
            server.stop()
            remove(data)


def measure(
    *,
    editions: Sequence[str] = EDITIONS,
    loads: Sequence[Load] = LOADS,
    rows: int = 1_000_000,
    tell: Callable[[str], None] = lambda _line: None,
) -> dict[str, Any]:
    """Return the cost of each way for each edition and load."""
    results: dict[str, Any] = {"machine": describe_machine(), "editions": {}}
    for edition in editions:
        with _server(edition) as server:
            found = results["editions"][edition] = []
            for load in loads:
                costs = asyncio.run(compare(server, load, max(1, rows // load.rows), tell))
                found.append(
                    {"load": asdict(load), "ways": {name: asdict(c) for name, c in costs.items()}}
                )
    return results


def measure_growth(
    *,
    editions: Sequence[str] = EDITIONS,
    loads: Sequence[Load] = (LOADS[0], LOADS[2]),
    rows: int,
    tell: Callable[[str], None] = lambda _line: None,
) -> dict[str, Any]:
    """Return what a batch costs at twenty sizes of the table, for each edition and load.

    rise: the mean cost in the server of the last three steps over that of the first three.
    """
    results: dict[str, Any] = {"machine": describe_machine(), "editions": {}}
    for edition in editions:
        with _server(edition) as server:
            found = results["editions"][edition] = []
            for load in loads:
                steps = asyncio.run(_grown(server, load, rows, edition, tell))
                servers = [cost.server for _, cost in steps]
                rise = sum(servers[-3:]) / sum(servers[:3])
                tell(
                    f"{edition:12}{load.streams:6}  cost at the end over cost at first: {rise:.2f}"
                )
                found.append(
                    {
                        "load": asdict(load),
                        "rise": round(rise, 3),
                        "steps": [{"rows": at, **asdict(cost)} for at, cost in steps],
                    }
                )
    return results


async def _grown(
    server: EmbeddedDatabase, load: Load, rows: int, edition: str, tell: Callable[[str], None]
) -> list[tuple[int, Cost]]:
    steps = []
    async for at, cost in grow(server, load, rows):
        tell(f"{edition:12}{load}{at:12,}{_line(cost)}")
        steps.append((at, cost))
    return steps


def _line(cost: Cost) -> str:
    return f"{cost.rows_per_s:10,} rows/s{cost.server:7.2f} s server{cost.client:7.2f} s client"


def main(arguments: Sequence[str]) -> None:
    """Measure as the command line says, and print figures or JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.store", description=__doc__)
    parser.add_argument("--edition", choices=EDITIONS, action="append", help="default: both")
    parser.add_argument("--rows", type=int, default=1_000_000, help="for each way")
    parser.add_argument("--streams", type=int, help="only the load of so many datastreams")
    parser.add_argument("--readings", type=int, help="only the load with so many in a message")
    parser.add_argument("--grow", type=int, metavar="ROWS", help="store so many and watch the cost")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(arguments)
    loads = [
        load
        for load in LOADS
        if chosen.streams in (None, load.streams)
        and (chosen.readings or (100 if chosen.grow else load.readings)) == load.readings
    ]
    if not loads:
        parser.error("there is no such load: 80 or 5000 streams, 100 or 10 readings")
    tell = (lambda _line: None) if chosen.json else (lambda line: print(line, flush=True))
    editions = chosen.edition or EDITIONS
    if chosen.grow:
        found = measure_growth(editions=editions, loads=loads, rows=chosen.grow, tell=tell)
    else:
        found = measure(editions=editions, loads=loads, rows=chosen.rows, tell=tell)
    if chosen.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
