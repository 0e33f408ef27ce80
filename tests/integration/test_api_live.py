"""The live stream over a real database: quick, complete, and patient when the database goes."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from api.service import run
from api.settings import ApiSettings
from storage.batches import prepare
from storage.database import connect
from storage.embedded import EmbeddedDatabase, remove
from storage.migration import migrate
from tests.simulators.street import Street, seed

NO2 = ("Bloomsbury", "no2")
PATIENCE = timedelta(seconds=5)  # what operations staff are promised


@dataclass
class Listener:
    """Events as a browser sees them, in the order they came."""

    lines: AsyncIterator[str]
    last_id: str = ""
    seen: list[tuple[str, Any]] = field(default_factory=list)

    async def next(self, name: str, within_seconds: float = 10) -> Any:
        """Return the body of the next event of this name."""
        async with asyncio.timeout(within_seconds):
            while True:
                event, body = await self._event()
                self.seen.append((event, body))
                if event == name:
                    return body

    async def _event(self) -> tuple[str, Any]:
        name, data = "", b""
        async for line in self.lines:
            if line.startswith("id: "):
                self.last_id = line.removeprefix("id: ")
            elif line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data = line.removeprefix("data: ").encode()
            elif not line and name:
                return name, orjson.loads(data)
        raise AssertionError("the stream ended")


@asynccontextmanager
async def listening(base_url: str, query: str = "", last_id: str = "") -> AsyncIterator[Listener]:
    headers = {"Last-Event-ID": last_id} if last_id else {}
    async with (
        httpx.AsyncClient(timeout=httpx.Timeout(5, read=60)) as client,
        client.stream("GET", f"{base_url}/live{query}", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Listener(answer.aiter_lines())


@asynccontextmanager
async def serving(dsn: str) -> AsyncIterator[str]:
    """Run the real web process and return its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    task = asyncio.create_task(run(ApiSettings(dsn=dsn, port=port)))
    base_url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient() as client:
            for _ in range(200):
                with suppress(httpx.TransportError):
                    if (await client.get(f"{base_url}/healthz")).json().get("live"):
                        break
                await asyncio.sleep(0.05)
        yield base_url
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def values_of(body: Any) -> dict[int, str]:
    return {value["id"]: value["value"] for value in body["values"]}


async def seeded(dsn: str) -> Street:
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        return await seed(conn, days=1)


async def report(dsn: str, street: Street, value: float) -> None:
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        await prepare(conn)
        await street.report(conn, NO2, value)


async def test_a_new_value_is_heard_soon_and_only_by_those_it_concerns(dsn: str) -> None:
    street = await seeded(dsn)
    async with (
        serving(dsn) as base_url,
        listening(base_url, "?council=camden") as camden,
        listening(base_url) as everyone,
        listening(base_url, "?council=westminster") as westminster,
    ):
        began = datetime.now(UTC)
        await report(dsn, street, 61.5)
        for listener in (camden, everyone):
            # What was there before may still be told first.
            while values_of(await listener.next("values")).get(street.streams[NO2]) != "61.5":
                assert datetime.now(UTC) - began < PATIENCE
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                while True:
                    heard = values_of(await westminster.next("values"))
                    assert street.streams[NO2] not in heard


async def test_many_changes_within_a_second_are_one_message(dsn: str) -> None:
    street = await seeded(dsn)
    async with serving(dsn) as base_url, listening(base_url) as listener:
        await report(dsn, street, 1.0)
        await listener.next("values")
        times = []
        for value in range(2, 27):
            await report(dsn, street, float(value))
        async with asyncio.timeout(10):
            while values_of(body := await listener.next("values"))[street.streams[NO2]] != "26":
                times.append(body["now"])
        assert len(times) < 25
        moments = [datetime.fromisoformat(time) for time in times]
        gaps = [b - a for a, b in itertools.pairwise(moments)]
        assert all(gap > timedelta(seconds=0.9) for gap in gaps)


async def test_whoever_comes_back_is_told_what_was_missed(dsn: str) -> None:
    street = await seeded(dsn)
    async with serving(dsn) as base_url:
        async with listening(base_url) as listener:
            await report(dsn, street, 11.5)
            await listener.next("values")
            last_id = listener.last_id
        await report(dsn, street, 12.5)
        async with listening(base_url, last_id=last_id) as listener:
            assert values_of(await listener.next("values"))[street.streams[NO2]] == "12.5"
        async with listening(base_url, f"?since={street.now:%Y-%m-%dT%H:%M:%SZ}") as listener:
            assert values_of(await listener.next("values"))[street.streams[NO2]] == "12.5"


async def test_a_page_asking_since_nonsense_is_told_so(dsn: str) -> None:
    async with serving(dsn) as base_url, httpx.AsyncClient() as client:
        assert (await client.get(f"{base_url}/live?since=noon")).status_code == 400


async def test_the_stream_outlives_a_restart_of_the_database(tmp_path: Path) -> None:
    database = EmbeddedDatabase.start(tmp_path)
    try:
        await migrate(database.dsn)
        street = await seeded(database.dsn)
        async with serving(database.dsn) as base_url, listening(base_url) as listener:
            assert (await listener.next("beat"))["connected"] is True
            port = database.port
            database.kill()
            assert (await listener.next("beat", within_seconds=15))["connected"] is False
            database = EmbeddedDatabase.start(tmp_path, port=port)
            assert (await listener.next("beat", within_seconds=30))["connected"] is True
            await report(database.dsn, street, 77.5)
            heard: dict[int, str] = {}
            async with asyncio.timeout(10):
                while heard.get(street.streams[NO2]) != "77.5":
                    heard = values_of(await listener.next("values"))
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"{base_url}/healthz")).status_code == 200
    finally:
        database.stop()
        remove(tmp_path)


async def test_the_process_stops_at_once_with_streams_open(dsn: str) -> None:
    service = serving(dsn)
    base_url = await service.__aenter__()
    async with listening(base_url) as listener:
        await listener.next("beat")
        began = asyncio.get_running_loop().time()
        await service.__aexit__(None, None, None)
        assert asyncio.get_running_loop().time() - began < 3
        with pytest.raises(AssertionError, match="the stream ended"):
            await listener.next("values")
