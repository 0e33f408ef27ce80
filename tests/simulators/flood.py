"""Gateways that send without mercy: every message again and again until the centre has stored it.

A real gateway has a bounded window and backs off; these do not, because what is tested is that the
centre survives more than it can take.
"""

import asyncio
import contextlib
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
_BURST: Final = 20
_ROUND_SECONDS: Final = 0.5


class FloodingGateway:
    """One gateway with all its messages sealed. stored: how many the centre has acknowledged."""

    def __init__(self, simulated: SimulatedGateway, messages: int, *, start: datetime) -> None:
        self._gateway = simulated
        sensor = f"urn:dev:{simulated.device}:air"
        names = [f"no2-{number}" for number in range(STREAMS)]
        self._introduction = (
            simulated.announce(now(), counter=now()),
            simulated.describe(
                description(
                    *(datastream(name) for name in names),
                    thing=f"urn:dev:{simulated.device}",
                    sensor=sensor,
                )
            ),
        )
        steps = READINGS // STREAMS
        self._messages: Sequence[Message] = [
            simulated.report(
                [
                    reading(
                        float(step),
                        name=name,
                        sensor=sensor,
                        time=start + timedelta(seconds=number * steps + step),
                    )
                    for step in range(steps)
                    for name in names
                ]
            )
            for number in range(messages)
        ]
        self._acknowledged = 0

    @property
    def stored(self) -> int:
        return max(0, self._acknowledged - 1)  # the description is the first

    @property
    def is_done(self) -> bool:
        return self.stored >= len(self._messages)

    async def run(self, connection: LoadConnection, rate: float) -> None:
        """Send until everything is stored; `rate` messages a second."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(connection.listen(self._heard))
            tasks.create_task(self._send(connection, rate))

    def _heard(self, message: bytes) -> bool:
        contiguous = self._gateway.open(message).contiguous_seq
        self._acknowledged = max(self._acknowledged, contiguous)
        return self.is_done

    async def _send(self, connection: LoadConnection, rate: float) -> None:
        clock = asyncio.get_running_loop().time
        announcement = self._introduction[0]
        while not self.is_done:
            began = clock()
            await connection.publish_on_schedule([announcement], [began])
            if not self._acknowledged:
                await connection.publish_on_schedule([self._introduction[1]], [began])
            for first in range(self.stored, len(self._messages), _BURST):
                if first < self.stored:
                    continue
                burst = self._messages[first : first + _BURST]
                due = clock() + len(burst) / rate
                await connection.publish_on_schedule(burst, [0.0] * len(burst))
                await asyncio.sleep(max(0.0, due - clock()))
            await asyncio.sleep(max(0.0, began + _ROUND_SECONDS - clock()))


@contextlib.asynccontextmanager
async def flood(
    region: Region, devices: Sequence[str], messages: int, *, rate: float
) -> AsyncIterator[list[FloodingGateway]]:
    """Let gateways send so many messages each, `rate` a second together, beside the block.

    The block ends by itself; afterwards they go on until everything is stored.
    """
    start = datetime.fromtimestamp(now() - 86_400, UTC)
    gateways = [
        FloodingGateway(region.simulated(device), messages, start=start) for device in devices
    ]
    async with contextlib.AsyncExitStack() as opened, asyncio.TaskGroup() as tasks:
        for device, gateway in zip(devices, gateways, strict=True):
            connection = await _connected(region, device)
            opened.push_async_callback(connection.close)
            tasks.create_task(gateway.run(connection, rate / len(devices)))
        yield gateways


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
