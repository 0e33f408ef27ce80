"""What an agent's adapters are given, and a client that pushes to them."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edge_agent.adapter import Harvest, Surroundings
from edge_agent.clock import Clock, ClockQuality
from edge_agent.input_settings import ListenerSettings
from edge_agent.inputs.fields import FieldSettings
from edge_agent.inputs.listener import Post, port_of, posts
from edge_agent.sensors.http_push import HttpPushSettings, harvests
from edge_agent.sources import Sources

POST = b"POST /push HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"


@dataclass
class Gateway:
    """What an agent's adapters are given, and a client of the port they listen on."""

    surroundings: Surroundings
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def send(self, request: bytes, *, more: bytes = b"") -> tuple[int, str, dict[str, str]]:
        """Return status, body and headers of the answer to raw bytes; `more` after a while."""
        reader, writer = await self.connect()
        writer.write(request)
        if more:
            await writer.drain()
            writer.write(more)
        try:
            return await answer(reader)
        finally:
            writer.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        port = await port_of(self.surroundings)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.writers.append(writer)
        return reader, writer

    async def post(
        self, body: bytes, path: str = "/push", **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        lines = [f"POST {path} HTTP/1.1", "Host: gateway", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return await self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def read(self, path: str, take: Callable[[Post], None]) -> None:
        """Give what is pushed to `path` to `take`."""

        async def reading() -> None:
            async with aclosing(posts(self.surroundings, path)) as found:
                async for post in found:
                    take(post)
                    del post

        self.tasks.append(asyncio.create_task(reading()))

    def collect(self, settings: HttpPushSettings) -> list[Harvest]:
        """Return what the adapter will have yielded, all of it stored at once."""
        taken: list[Harvest] = []

        async def collecting() -> None:
            async with aclosing(harvests(settings, self.surroundings)) as found:
                async for harvest in found:
                    taken.append(harvest)
                    assert harvest.stored is not None
                    harvest.stored()

        self.tasks.append(asyncio.create_task(collecting()))
        return taken

    async def stop_reading(self) -> None:
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)

    async def hang_up(self) -> None:
        for writer in self.writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def answer(reader: asyncio.StreamReader) -> tuple[int, str, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    if head.startswith("HTTP/1.1 100"):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    headers = {
        name.lower(): value for name, value in re.findall(r"^([\w-]+): (.*)\r$", head, re.MULTILINE)
    }
    body = await reader.readexactly(int(headers["content-length"]))
    return int(head.split()[1]), body.decode().strip(), headers


@asynccontextmanager
async def running(directory: Path, **settings: Any) -> AsyncIterator[Gateway]:
    async with Sources() as shared:
        gateway = Gateway(
            Surroundings(
                Clock(directory / "clock", source=lambda: ClockQuality.NETWORK),
                directory,
                sources=shared,
                listener=ListenerSettings(port=0, **settings),
            )
        )
        try:
            yield gateway
        finally:
            await gateway.stop_reading()
    await gateway.hang_up()


def station(path: str, **changes: Any) -> HttpPushSettings:
    fields = {
        "pm10": ("SDS_P1|P1", "pm10", "ug/m3", ""),
        "pm2.5": ("SDS_P2|P2", "pm25", "ug/m3", ""),
        "temperature": ("BME280_temperature|temperature", "air_temperature", "Cel", ""),
        "pressure": ("BME280_pressure|pressure", "air_pressure", "hPa", "Pa"),
    }
    values: dict[str, Any] = {
        "urn": "urn:dev:example:station",
        "thing": "urn:dev:example:lamp-1",
        "name": "Station",
        "description": "An airRohr.",
        "push_path": path,
        "form": "sensor-community",
        "fields": MappingProxyType(
            {
                name: FieldSettings(
                    name=name,
                    title=name,
                    description=name,
                    observed_property=observed,
                    unit=unit,
                    from_unit=from_unit,
                    path=names,
                )
                for name, (names, observed, unit, from_unit) in fields.items()
            }
        ),
    }
    return HttpPushSettings(**(values | changes))
