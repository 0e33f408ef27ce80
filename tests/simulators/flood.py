"""Gateways that send without mercy: new messages, and the old again and again until stored.

A real gateway has a bounded window and backs off; these do not, because what is tested is that the
centre survives more than it can take.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from bench.mqtt_load import LoadConnection
from device_protocol import topics
from runtime.tls import client_context
from tests.integration.region import Region, now
from tests.simulators.gateway import Message, SimulatedGateway, datastream, description, reading

STREAMS: Final = 10
READINGS: Final = 100  # in each message
WINDOW: Final = 1_000  # messages that wait: fewer than the centre's replay window remembers
_BURST: Final = 20
_ROUND_SECONDS: Final = 0.5


class FloodingGateway:
    """One gateway that always has `WINDOW` messages which the centre has not acknowledged.

    messages: how many it has sealed so far.
    """

    def __init__(self, simulated: SimulatedGateway, *, start: datetime) -> None:
        self._gateway = simulated
        self._sensor = f"urn:dev:{simulated.device}:air"
        self._names = [f"no2-{number}" for number in range(STREAMS)]
        self._start = start
        self._introduction = (
            simulated.announce(now(), counter=now()),
            simulated.describe(
                description(
                    *(datastream(name) for name in self._names),
                    thing=f"urn:dev:{simulated.device}",
                    sensor=self._sensor,
                )
            ),
        )
        self.messages = 0
        self._acknowledged = 0
        self._waiting: deque[Message] = deque()
        self._is_ending = False

    def finish(self) -> None:
        """Seal nothing new; `run` ends once all is stored."""
        self._is_ending = True

    @property
    def _is_done(self) -> bool:
        return self._is_ending and self._acknowledged == self.messages + 1  # the description

    async def run(self, connection: LoadConnection, rate: float) -> None:
        """Send until told to finish and all is stored; `rate` messages a second."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(connection.listen(self._heard))
            tasks.create_task(self._send(connection, rate))

    def _heard(self, message: bytes) -> bool:
        contiguous = self._gateway.open(message).contiguous_seq
        for _ in range(self._acknowledged, contiguous):
            if self._acknowledged:
                self._waiting.popleft()
            self._acknowledged += 1
        return self._is_done

    def _sealed(self) -> Message:
        steps = READINGS // STREAMS
        first = self.messages * steps
        self.messages += 1
        return self._gateway.report(
            [
                reading(
                    float(step),
                    name=name,
                    sensor=self._sensor,
                    time=self._start + timedelta(seconds=first + step),
                )
                for step in range(steps)
                for name in self._names
            ]
        )

    async def _send(self, connection: LoadConnection, rate: float) -> None:
        """Send all that waits, round after round: old messages again, and new ones behind them."""
        clock = asyncio.get_running_loop().time
        while not self._is_done:
            began = clock()
            messages = list(self._waiting)
            if not self._acknowledged:
                messages = [*self._introduction, *messages]
            while len(self._waiting) < WINDOW and not self._is_ending:
                self._waiting.append(self._sealed())
                messages.append(self._waiting[-1])
                await asyncio.sleep(0)
            for first in range(0, len(messages), _BURST):
                burst = messages[first : first + _BURST]
                due = clock() + len(burst) / rate
                await connection.publish_on_schedule(burst, [0.0] * len(burst))
                await asyncio.sleep(max(0.0, due - clock()))
            await connection.publish_on_schedule(self._introduction[:1], [0.0])
            await asyncio.sleep(max(0.0, began + _ROUND_SECONDS - clock()))


@contextlib.asynccontextmanager
async def flood(
    region: Region, devices: Sequence[str], *, rate: float
) -> AsyncIterator[list[FloodingGateway]]:
    """Let gateways send, `rate` messages a second together, for the length of the block.

    Afterwards they go on until everything is stored.
    """
    start = datetime.fromtimestamp(now() - 30 * 86_400, UTC)
    gateways = [FloodingGateway(region.simulated(device), start=start) for device in devices]
    async with contextlib.AsyncExitStack() as opened, asyncio.TaskGroup() as tasks:
        for device, gateway in zip(devices, gateways, strict=True):
            connection = await _connected(region, device)
            opened.push_async_callback(connection.close)
            tasks.create_task(gateway.run(connection, rate / len(devices)))
        yield gateways
        for gateway in gateways:
            gateway.finish()


async def _connected(region: Region, device: str) -> LoadConnection:
    city = region.city
    endpoint = city.broker.council_endpoint(city.tenant_of(device))
    credential = city.gateways[device].credential
    context = client_context(
        ca_file=city.authority.service_root(),
        certificate_file=credential.certificate,
        key_file=credential.key,
    )
    connection = await LoadConnection.open(endpoint.host, endpoint.port, device, context)
    await connection.subscribe(topics.acknowledgement(city.tenant_of(device), device, "main"))
    return connection
