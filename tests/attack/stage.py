"""Where attacks are played: a city's real broker, ingest and database, and whoever behaves well.

`Stage.refuses` is what every attack is judged by: the running centre counts exactly the expected
refusals in its metric and its table, and names the code in its security log. `Stage.flows_on` is
the other half: readings of the same gateway, of its neighbour and of another council's gateway are
stored and acknowledged while and after it is attacked.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiomqtt

from broker_config.embedded import Endpoint
from broker_config.files import BrokerKind
from device_protocol import topics
from device_protocol.acknowledgement import Acknowledgement
from device_protocol.epoch import Epoch
from device_protocol.errors import DuplicateError, RejectionError
from device_protocol.keys import SigningKey
from enrolment.files import read_key
from storage.database import Connection
from tests.integration.fix_brokers import City
from tests.integration.region import DEVICE, LEEDS, OTHER, Region, metric, now
from tests.simulators.gateway import Message, description, public, reading
from tests.simulators.rogue_broker import Passing, RogueBroker
from tests.simulators.rogue_gateway import RogueGateway

TENANT = "camden"
SECURITY_CODES = range(200, 600)
REASONS: dict[str, type[RejectionError]] = {}
_PATIENCE_SECONDS = 3.0
_FIRST_TIME = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=30)
_moments = itertools.count()
_counters = itertools.count(now() * 1000)


def _collect(kind: type[RejectionError]) -> None:
    if kind.code:
        REASONS[kind.reason] = kind
    for narrower in kind.__subclasses__():
        _collect(narrower)


_collect(RejectionError)


def next_counter() -> int:
    """Return a counter above all that were used."""
    return next(_counters)


class Honest:
    """A gateway that behaves well: keeps what is not acknowledged, and takes only genuine word."""

    def __init__(self, gateway: RogueGateway, client: aiomqtt.Client) -> None:
        self.gateway = gateway
        self.client = client
        self.heard: list[Acknowledgement] = []
        self.refused: list[RejectionError] = []
        self._epoch: Epoch | None = None
        self._changed = asyncio.Event()

    @property
    def sensor(self) -> str:
        return f"urn:dev:{self.gateway.device}:air"

    @property
    def contiguous(self) -> int:
        """Return up to which sequence number the running epoch is acknowledged."""
        return max((each.contiguous_seq for each in self.heard), default=0)

    async def listen(self) -> None:
        """Take acknowledgements until cancelled."""
        async for message in self.client.messages:
            try:
                self.heard.append(self.gateway.open(bytes(message.payload)))  # type: ignore[arg-type]
            except RejectionError as refusal:
                self.refused.append(refusal)
            self._changed.set()

    async def begin(self, **announced: Any) -> Message:
        """Begin an epoch; return its announcement once the centre has taken it."""
        announcement = self.gateway.announce(now(), counter=next_counter(), **announced)
        self.heard.clear()
        while True:
            await self.publish(announcement)
            try:
                await self.until(lambda: bool(self.heard), within=_PATIENCE_SECONDS)
            except TimeoutError:
                continue  # perhaps the centre has only now come to know this gateway
            return announcement

    async def describe(self) -> None:
        described = description(thing=f"urn:dev:{self.gateway.device}", sensor=self.sensor)
        await self.publish(self.gateway.describe(described))
        await self.acknowledged()

    def report(self, *results: float) -> Message:
        """Return the next message, with one reading for each result, each of a new time."""
        return self.gateway.report(
            [reading(result, sensor=self.sensor, time=next_time()) for result in results]
        )

    async def publish(self, message: Message, *, retain: bool | None = None) -> None:
        kept = "/k/" in message.topic if retain is None else retain
        await self.client.publish(message.topic, message.payload, qos=1, retain=kept, timeout=10)

    async def acknowledged(self, *, within: float = 20) -> None:
        """Return once everything sealed in this epoch is acknowledged."""
        epoch = self.gateway.epoch
        assert epoch is not None
        await self.until(lambda: self.contiguous >= epoch.last_seq, within=within)

    async def until(self, holds: Any, *, within: float = 20) -> None:
        async with asyncio.timeout(within):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


def next_time() -> datetime:
    """Return the time of a new reading: within the last days, another at every call."""
    return _FIRST_TIME + timedelta(seconds=next(_moments))


@dataclass
class Stage:
    """A city with ingest running, and what it has written to its security log."""

    city: City
    region: Region
    log: list[logging.LogRecord]
    described: set[str]

    def __post_init__(self) -> None:
        self._ingest = contextlib.AsyncExitStack()

    @property
    def conn(self) -> Connection:
        return self.region.conn

    async def start_ingest(self) -> None:
        """Connect the centre, or connect it again."""
        await self._ingest.enter_async_context(
            self.region.ingest(batch_max_wait_seconds=0.02, inbox_max_messages=500)
        )

    async def stop_ingest(self) -> None:
        await self._ingest.aclose()

    # Those who behave well

    @contextlib.asynccontextmanager
    async def honest(
        self, device: str = DEVICE, *, via: Endpoint | None = None
    ) -> AsyncIterator[Honest]:
        """Connect a gateway, at `via` or at the real broker, with its epoch begun."""
        files = self.city.gateways[device].credential
        tenant = self.city.tenant_of(device)
        gateway = RogueGateway(
            tenant,
            device,
            [public(self.region.recipient)],
            signer=SigningKey.from_private(read_key(files.key)),
        )
        endpoint = via or self.city.broker.council_endpoint(tenant)
        async with self.city.client(endpoint, files, device) as client:
            await client.subscribe(topics.acknowledgement(tenant, device, "main"), qos=1)
            honest = Honest(gateway, client)
            task = asyncio.create_task(honest.listen(), name=f"listen {device}")
            try:
                await honest.begin()
                if device not in self.described:
                    await honest.describe()
                    self.described.add(device)
                yield honest
            finally:
                task.cancel()
                await asyncio.wait([task])

    @contextlib.asynccontextmanager
    async def rogue(self) -> AsyncIterator[tuple[RogueBroker, Honest]]:
        """Turn Camden's broker hostile, with an honest gateway behind it."""
        async with (
            RogueBroker.between(self.city, TENANT) as broker,
            self.honest(via=broker.endpoint) as victim,
        ):
            yield broker, victim

    async def flows_on(self, same: Honest | None = None) -> None:
        """Assert that readings of `same`, of its neighbour and of another council are stored.

        Each is acknowledged by the centre and found in the database exactly once.
        """
        async with contextlib.AsyncExitStack() as stack:
            others = [
                await stack.enter_async_context(self.honest(device))
                for device in (OTHER, LEEDS)
                if same is None or device != same.gateway.device
            ]
            for honest in [same, *others] if same else others:
                await self.stores(honest)

    async def stores(self, honest: Honest, *, within: float = 20) -> None:
        """Assert that a new reading of a gateway is stored once, and acknowledged."""
        time = next_time()
        await honest.publish(honest.gateway.report([reading(7, sensor=honest.sensor, time=time)]))
        await honest.acknowledged(within=within)
        assert await self.stored_at(honest.sensor, time) == [7.0]

    async def stored_at(self, sensor: str, time: datetime) -> list[float]:
        """Return the results stored for a sensor and time."""
        cursor = await self.conn.execute(
            "SELECT value FROM observation JOIN datastream ON datastream.id = datastream_id"
            " JOIN sensor ON sensor.id = sensor_id WHERE sensor.urn = %s AND time = %s",
            (sensor, time),
        )
        return [value for (value,) in await cursor.fetchall()]

    async def observations(self) -> int:
        return await self.region.count("observation")

    # What the centre says of an attack

    @contextlib.asynccontextmanager
    async def refuses(
        self,
        reason: str,
        times: int = 1,
        *,
        at: tuple[str, str] = (TENANT, DEVICE),
        at_least: bool = False,
    ) -> AsyncIterator[None]:
        """Assert that the centre refuses, for this reason, exactly so many messages of the block.

        at_least: more may be refused too. at: tenant and device under which its table counts
        them. Counted in the metric and, but for
        duplicates, in the table that the status page shows; named in the security log where the
        envelope's section 8 wants it.
        """
        kind = REASONS[reason]
        before = refused(reason)
        in_table = await self.in_table(reason, *at)
        logged = len(self.logged(kind.code))
        yield
        await eventually(lambda: refused(reason) - before >= times, f"{times} refusals as {reason}")
        if at_least:
            times = int(refused(reason) - before)
        assert refused(reason) - before == times
        if kind is not DuplicateError:
            await self._until_in_table(reason, at, in_table + times)
            if kind.code in SECURITY_CODES:
                assert len(self.logged(kind.code)) - logged == times

    def logged(self, code: int) -> list[dict[str, Any]]:
        """Return the facts of the security log's lines with this code."""
        return [vars(record) for record in self.log if vars(record).get("code") == code]

    async def in_table(self, reason: str, tenant: str, device: str) -> int:
        """Return how many refusals the database has counted."""
        cursor = await self.conn.execute(
            "SELECT coalesce(sum(n), 0) FROM refusal"
            " WHERE reason = %s AND tenant = %s AND device = %s",
            (reason, tenant, device),
        )
        [(count,)] = await cursor.fetchall()
        return int(count)

    async def _until_in_table(self, reason: str, at: tuple[str, str], count: int) -> None:
        async def is_there() -> bool:
            return await self.in_table(reason, *at) >= count

        await eventually(is_there, f"{count} refusals as {reason} of {at} in the table")
        assert await self.in_table(reason, *at) == count


def refused(reason: str) -> float:
    """Return how many messages this process's ingest has refused or quarantined for a reason."""
    return sum(
        metric("ingest_envelopes_total", outcome=outcome, reason=reason)
        for outcome in ("refused", "quarantined")
    )


async def eventually(
    holds: Callable[[], bool] | Callable[[], Awaitable[bool]], what: str, *, within: float = 20
) -> None:
    """Return once it holds; fail naming what never came."""
    try:
        async with asyncio.timeout(within):
            while True:
                found = holds()
                if found if isinstance(found, bool) else await found:
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"did not come within {within:.0f} s: {what}") from None


def passing(message: Message, *, retain: bool = False) -> Passing:
    """Return a sealed message as it passes through a broker."""
    return Passing(message.topic, message.payload, retain)


@contextlib.contextmanager
def collected(name: str) -> Iterator[list[logging.LogRecord]]:
    """Collect what a logger is told."""
    records: list[logging.LogRecord] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    collector = Collector()
    logger = logging.getLogger(name)
    level = logger.level
    logger.addHandler(collector)
    logger.setLevel(logging.INFO)
    try:
        yield records
    finally:
        logger.setLevel(level)
        logger.removeHandler(collector)


def on_nats(city: City) -> bool:
    return city.broker.kind is BrokerKind.NATS
