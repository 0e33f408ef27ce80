"""How a region's gateways come back when its broker has died: real agents, TLS, a real Mosquitto.

All agents share one process and one gate: a proxy before the broker that writes down every
attempt to connect, also those that find nobody. An agent is back when the centre has heard its
announcement over the new connection. What the rate can be at most follows from the waits alone:
`crest_per_second`.
"""

import asyncio
import logging
import math
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiomqtt
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.edge.centre import key_set_of
from bench.edge.place import GROUP, TENANT
from bench.errors import BenchError
from bench.machine import describe_machine
from broker_config.embedded import EmbeddedBroker, start_broker
from broker_config.files import BrokerKind
from broker_config.network import Council, Gateway, Network, Service
from device_protocol import topics
from device_protocol.keys import RecipientKey
from edge_agent.agent import run
from edge_agent.settings import (
    AgentSettings,
    BrokerSettings,
    HealthSettings,
    StatusSettings,
    ThingSettings,
    TrustSettings,
    UplinkSettings,
)
from enrolment.authority import Authority, enrol_locally
from runtime.backoff import FullJitter
from runtime.tls import client_context

FIRST_RETRY_SECONDS: Final = UplinkSettings().first_retry_seconds
CREST: Final = 1.57
"""How much more often than once in `first_retry_seconds` an agent tries, at the worst moment.

Attempts k follow each other after waits from 0 to B, 2B, 4B, ... At time t <= B the first come
at the rate 1/B, the second at t/2B times that, the third at t^2/16B^2, the fourth at t^3/384B^3;
together, at t = B, 1.57/B. Later it is less: the first attempts are over, the others stretch.
"""
_TAIL: Final = 5.0  # standard deviations of a Poisson number: once in three million seconds
_PATIENCE_SECONDS: Final = 300.0
_WINDOW_SECONDS: Final = 1.0
_REGION: Final = 10_000  # gateways, for which the rate is told, too
_ASK_AGAIN_SECONDS: Final = 0.1
_BACKLOG: Final = 1024
_CHUNK_BYTES: Final = 65_536


def crest_per_second(gateways: int, first_retry_seconds: float) -> float:
    """Return how many attempts a second are to be expected at the worst moment of an outage."""
    return CREST * gateways / first_retry_seconds


def bound_per_second(gateways: int, first_retry_seconds: float) -> int:
    """Return the attempts that no second will have more of, as good as certainly."""
    crest = crest_per_second(gateways, first_retry_seconds)
    return math.ceil(crest + _TAIL * math.sqrt(crest))


def attempts(backoff: FullJitter, first_retry_seconds: float, until: float) -> Iterator[float]:
    """Yield when one agent tries during an outage that outlasts `until`, in seconds from the loss.

    As `edge_agent.delivery.uplink` does.
    """
    backoff.reset()
    backoff.widen(first_retry_seconds)
    at = backoff.next()
    while at < until:
        yield at
        at += backoff.next()


def peak(moments: Sequence[float], window_seconds: float = _WINDOW_SECONDS) -> int:
    """Return how many of `moments` lie in the fullest window, wherever it begins."""
    ordered = sorted(moments)
    first = most = 0
    for last, moment in enumerate(ordered):
        while ordered[first] <= moment - window_seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


@dataclass
class Storm:
    """What was seen, in seconds since the broker died.

    attempts: of all agents to connect. returns: by device, when the centre heard from it again.
    """

    attempts: list[float] = field(default_factory=list)
    returns: dict[str, float] = field(default_factory=dict)


def measure(
    agents: int = 200,
    *,
    first_retry_seconds: float = FIRST_RETRY_SECONDS,
    outage_seconds: float = 5.0,
) -> dict[str, Any]:
    """Let `agents` lose their broker for `outage_seconds`; return how they came back.

    Raises:
        BenchError: some did not.
        BrokerError: there is no Mosquitto.
    """
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="kerbstone-storm-") as directory:
        storm = asyncio.run(
            come_back(
                agents,
                Path(directory),
                uplink=UplinkSettings(first_retry_seconds=first_retry_seconds),
                outage_seconds=outage_seconds,
            )
        )
    returns = sorted(storm.returns.values())
    return {
        "machine": machine,
        "agents": agents,
        "first_retry_seconds": first_retry_seconds,
        "outage_seconds": outage_seconds,
        "seconds_until_half_were_back": round(returns[len(returns) // 2], 1),
        "seconds_until_all_were_back": round(returns[-1], 1),
        "attempts": len(storm.attempts),
        "peak_attempts_per_s": peak(storm.attempts),
        "peak_returns_per_s": peak(returns),
        "expected_crest_per_s": round(crest_per_second(agents, first_retry_seconds), 1),
        "bound_per_s": bound_per_second(agents, first_retry_seconds),
        f"expected_crest_per_s_of_{_REGION}": round(crest_per_second(_REGION, first_retry_seconds)),
    }


async def come_back(
    agents: int, directory: Path, *, uplink: UplinkSettings, outage_seconds: float
) -> Storm:
    """Connect `agents`, kill their broker, start it again, and wait until all are back.

    Raises:
        BenchError: they did not connect, or not come back, in five minutes.
    """
    devices = [f"storm-{number}" for number in range(agents)]
    authority = Authority(directory / "authority", "Storm")
    certificates = authority.broker_certificates((TENANT,))
    with (
        start_broker(
            BrokerKind.MOSQUITTO, _network(devices), directory / "broker", certificates
        ) as broker,
        _quiet(),
    ):
        heard = _Centre(broker, authority)
        try:
            async with _gate(broker) as gate, asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(heard.run(), name="centre")]
                running += [
                    tasks.create_task(
                        run(_settings(authority, directory, device, gate.port, uplink)), name=device
                    )
                    for device in devices
                ]
                await heard.all_of(devices)
                storm = await _break(broker, gate, heard, devices, outage_seconds)
                for task in running:
                    task.cancel()
        except BaseExceptionGroup as group:  # what the task group makes of it
            if (void := group.subgroup(BenchError)) is not None:
                raise void.exceptions[0] from group
            raise
    return storm


async def _break(
    broker: EmbeddedBroker,
    gate: "_Gate",
    heard: "_Centre",
    devices: Sequence[str],
    outage_seconds: float,
) -> Storm:
    await asyncio.to_thread(broker.kill)
    died = heard.begin_anew()
    gate.attempts.clear()
    await asyncio.sleep(outage_seconds)
    await asyncio.to_thread(broker.start)
    await heard.all_of(devices)
    return Storm(
        [at - died for at in gate.attempts],
        {device: at - died for device, at in heard.announced.items()},
    )


class _Centre:
    """Somebody to seal for, who hears who is there. It connects past the gate.

    announced: by device, when it last announced itself over a live connection.
    """

    def __init__(self, broker: EmbeddedBroker, authority: Authority) -> None:
        self.announced: dict[str, float] = {}
        self._endpoint = broker.service_endpoint(TENANT)
        self._ca_file = authority.service_root()
        self._credential = authority.service_client("ingest", "")
        self._key_set = key_set_of(
            authority, RecipientKey.from_private(X25519PrivateKey.generate())
        )
        self._changed = asyncio.Event()
        self._since = 0.0

    def begin_anew(self) -> float:
        """Forget who was there; what an older connection still brings does not count."""
        self.announced.clear()
        self._since = time.monotonic()
        return self._since

    async def run(self) -> None:
        """Listen, and connect again as soon as there is a broker."""
        while True:
            with suppress(aiomqtt.MqttError):
                await self._listen()
            await asyncio.sleep(_ASK_AGAIN_SECONDS)

    async def all_of(self, devices: Sequence[str]) -> None:
        """Wait until each of them has announced itself.

        Raises:
            BenchError: one has not in five minutes.
        """
        with _in_time(lambda: f"{len(self.announced)} of {len(devices)} gateways came"):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while not self.announced.keys() >= set(devices):
                    self._changed.clear()
                    await self._changed.wait()

    async def _listen(self) -> None:
        context = client_context(
            ca_file=self._ca_file,
            certificate_file=self._credential.certificate,
            key_file=self._credential.key,
        )
        async with aiomqtt.Client(
            self._endpoint.host,
            self._endpoint.port,
            identifier="storm-centre",
            tls_context=context,
        ) as client:
            connected_at = time.monotonic()
            await client.subscribe(f"snaas/{topics.VERSION}/{TENANT}/+/k/{GROUP}", qos=1)
            await client.publish(topics.key_set(TENANT), self._key_set, qos=1, retain=True)
            async for message in client.messages:
                if not message.retain and connected_at > self._since:
                    device = topics.parse(message.topic.value).device
                    self.announced.setdefault(device, time.monotonic())
                    self._changed.set()


@dataclass
class _Gate:
    """Where agents connect to. attempts: when, by the monotonic clock."""

    port: int = 0
    attempts: list[float] = field(default_factory=list)


@asynccontextmanager
async def _gate(broker: EmbeddedBroker) -> AsyncIterator[_Gate]:
    """Pass connections on to the broker as long as it is there."""
    gate = _Gate()
    endpoint, host = broker.council_endpoint(TENANT), "127.0.0.1"
    connections: set[asyncio.Task[None]] = set()

    async def pass_both_ways(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection(host, endpoint.port)
            ways = (_pass_on(reader, inner_writer), _pass_on(inner_reader, writer))
            await asyncio.gather(*ways)
        except OSError:
            return
        finally:
            writer.close()

    def let_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gate.attempts.append(time.monotonic())
        task = asyncio.create_task(pass_both_ways(reader, writer), name="connection")
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(let_in, host, 0, backlog=_BACKLOG)
    gate.port = server.sockets[0].getsockname()[1]
    try:
        yield gate
    finally:
        server.close()
        for task in connections:
            task.cancel()
        if connections:
            await asyncio.wait(connections)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                writer.write(chunk)
                await writer.drain()
    finally:
        writer.close()


@contextmanager
def _in_time(said: Callable[[], str]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise BenchError(f"{said()} in {_PATIENCE_SECONDS:.0f} s") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep hundreds of agents from saying each that the broker is gone, which is the point.

    aiomqtt then asks the event loop, too, to watch sockets that were closed meanwhile.
    """
    loggers = [logging.getLogger(name) for name in ("edge_agent", "asyncio")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _network(devices: Sequence[str]) -> Network:
    return Network(
        name="Storm",
        host="localhost",
        councils=(Council(tenant=TENANT, gss="E09000007", name="Camden"),),
        gateways=tuple(Gateway(TENANT, device) for device in devices),
        services=(Service("ingest", (TENANT,)),),
    )


def _settings(
    authority: Authority, directory: Path, device: str, port: int, uplink: UplinkSettings
) -> AgentSettings:
    """Enrol a gateway and return what it is told: to be quiet but for its connection."""
    own = directory / device
    files = enrol_locally(authority, TENANT, device, own)
    return AgentSettings(
        tenant=TENANT,
        device=device,
        group=GROUP,
        state_directory=own / "state",
        broker=BrokerSettings(
            host="localhost",
            port=port,
            ca_file=files.service_root,
            certificate_file=files.credential.certificate,
            key_file=files.credential.key,
        ),
        trust=TrustSettings(council_root_file=files.council_root),
        uplink=uplink,
        health=HealthSettings(interval_seconds=3600.0),
        status=StatusSettings(interval_seconds=60.0),
        thing=(
            ThingSettings(
                urn=f"urn:dev:bench:{device}",
                name=device,
                description="One of many gateways.",
                longitude=-0.1,
                latitude=51.5,
                place_name="Here",
            ),
        ),
    )
