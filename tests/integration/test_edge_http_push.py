"""Sensors that push by HTTP over real sockets: well-behaved, small, slow, rude and hostile ones."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from edge_agent.adapter import Harvest, Surroundings
from edge_agent.clock import Clock, ClockQuality
from edge_agent.input_settings import ListenerSettings
from edge_agent.inputs import conversation, listener
from edge_agent.inputs.fields import FieldSettings
from edge_agent.inputs.listener import Post, port_of, posts
from edge_agent.sensors.http_push import HttpPushSettings, harvests
from edge_agent.sources import SourceError, Sources

RECORDED = Path(__file__).parents[1] / "data/sensor_community"
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


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(tmp_path) as gateway:
        yield gateway


async def test_200_is_answered_only_once_the_readings_are_stored(gateway: Gateway) -> None:
    pushed: asyncio.Queue[Post] = asyncio.Queue()
    gateway.read("/push", pushed.put_nowait)
    asking = asyncio.create_task(gateway.post(b'{"a": 1}', X_Sensor="esp8266-1"))
    post = await pushed.get()
    assert (post.path, post.body) == ("/push", b'{"a": 1}')
    assert post.headers["x-sensor"] == "esp8266-1"
    for _ in range(100):
        await asyncio.sleep(0)
    assert not asking.done()
    post.accept()
    assert (await asking)[:2] == (200, "stored")


async def test_every_reader_of_a_path_must_have_stored_it(gateway: Gateway) -> None:
    pushed: asyncio.Queue[Post] = asyncio.Queue()
    for _ in range(2):
        gateway.read("/push", pushed.put_nowait)
    asking = asyncio.create_task(gateway.post(b"x"))
    one, other = await pushed.get(), await pushed.get()
    one.accept()
    one.accept()
    for _ in range(100):
        await asyncio.sleep(0)
    assert not asking.done()
    other.accept()
    assert (await asking)[0] == 200


async def test_a_post_whose_readings_cannot_be_stored_is_to_be_sent_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_STORED_SECONDS", 0.05)
    held: list[Post] = []
    gateway.read("/push", held.append)
    status, reason, headers = await gateway.post(b"x")
    assert (status, reason) == (503, "not stored yet: send it again later")
    assert headers["retry-after"] == "60"
    held[0].accept()  # too late, and of no harm


async def test_a_post_that_is_let_go_is_to_be_sent_again_at_once(gateway: Gateway) -> None:
    gateway.read("/push", lambda _: None)
    assert (await gateway.post(b"x"))[:2] == (503, "not stored: send it again later")


async def test_a_refusal_is_told_with_its_reason(gateway: Gateway) -> None:
    gateway.read("/push", lambda post: post.refuse(400, "has no list sensordatavalues"))
    assert (await gateway.post(b"x"))[:2] == (400, "has no list sensordatavalues")


async def test_a_body_with_half_a_character_is_refused_and_the_listener_lives(
    gateway: Gateway,
) -> None:
    settings = replace(
        station("/push"), form="json", time_path="time", fields={"no2": station("/").fields["pm10"]}
    )
    gateway.collect(settings)
    for _ in range(2):
        status, reason, _ = await gateway.post(rb'{"time": "\ud800", "value": 1}')
        assert (status, r"\ud800" in reason) == (400, True)


async def test_while_its_sensor_is_not_read_a_post_is_to_be_sent_again(gateway: Gateway) -> None:
    gateway.read("/push", lambda post: post.accept())
    gateway.read("/other", lambda post: post.accept())
    assert (await gateway.post(b"x"))[0] == 200
    gateway.tasks[0].cancel()
    await asyncio.wait(gateway.tasks[:1])
    assert (await gateway.post(b"x"))[0] == 503


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (POST + b"\r\n", 411, "Content-Length is missing"),
        (POST + b"Content-Length: 262145\r\n\r\n", 413, "more than 262144 bytes"),
        (POST + b"Content-Length: " + b"9" * 19 + b"\r\n\r\n", 413, "more than 262144 bytes"),
        (POST + b"Content-Length: -1\r\n\r\n", 400, ""),
        (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, ""),
        (POST + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\na", 415, "only plain bodies"),
        (POST.replace(b"/push", b"/elsewhere") + b"Content-Length: 0\r\n\r\n", 404, "no sensor"),
        (POST.replace(b"POST", b"GET") + b"\r\n", 405, "only POST"),
        (POST.replace(b"POST", b"PUT") + b"Content-Length: 0\r\n\r\n", 405, "only POST"),
        (
            POST + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
            400,
            "exclude each other",
        ),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501, ""),
        (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 501, ""),
        (POST.replace(b"/push", b"//push") + b"Content-Length: 0\r\n\r\n", 404, "no sensor"),
        (POST.replace(b"/push", b"/%70ush") + b"Content-Length: 0\r\n\r\n", 404, "no sensor"),
        (POST.replace(b"/push", b"http://a/push") + b"Content-Length: 0\r\n\r\n", 404, "no sensor"),
        (b"POST /push HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400, ""),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, ""),
        (POST + b"X: " + b"x" * 20_000, 431, ""),
    ],
)
async def test_what_goes_to_nobody_is_refused_by_its_header_alone(
    gateway: Gateway, request_: bytes, status: int, reason: str
) -> None:
    read: list[Post] = []
    gateway.read("/push", read.append)
    found = await gateway.send(request_)
    assert found[0] == status
    assert reason in found[1]
    assert found[2]["connection"] == "close"
    assert not read


async def test_chunks_are_taken_up_to_the_limit_and_no_further(gateway: Gateway) -> None:
    bodies: list[bytes] = []

    def take(post: Post) -> None:
        bodies.append(post.body)
        post.accept()

    gateway.read("/push", take)
    chunked = POST + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    assert (await gateway.send(chunked, more=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))[0] == 200
    assert bodies == [b"abcde"]
    endless = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    assert (await gateway.send(chunked + endless * 5))[:2] == (413, "more than 262144 bytes")
    assert len(bodies) == 1


async def test_a_connection_serves_request_after_request(gateway: Gateway) -> None:
    gateway.read("/push", lambda post: post.accept())
    reader, writer = await gateway.connect()
    request = POST.replace(b"Connection: close\r\n", b"") + b"Content-Length: 1\r\n\r\nx"
    writer.write(request * 3)  # even at once
    for _ in range(3):
        assert (await answer(reader))[0] == 200
    writer.close()


async def test_slow_senders_are_sent_away(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "_HEADER_SECONDS", 0.1)
    monkeypatch.setattr(conversation, "_BODY_SECONDS", 0.1)
    gateway.read("/push", lambda post: post.accept())
    assert (await gateway.send(POST))[:2] == (408, "the header did not come in time")
    part = POST + b"Content-Length: 10\r\n\r\nabc"
    assert (await gateway.send(part))[:2] == (408, "the body did not come in time")
    reader, _ = await gateway.connect()
    assert await reader.read() == b"", "who says nothing hears nothing"


async def test_connections_are_bounded_and_freed_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_MOST_CONNECTIONS", 3)
    gateway.read("/push", lambda post: post.accept())
    crowd = [await gateway.connect() for _ in range(3)]
    for _, writer in crowd:
        writer.write(POST)
        await writer.drain()
    assert (await gateway.send(b""))[0] == 503
    for _, writer in crowd:
        writer.close()
    for reader, _ in crowd:
        await reader.read()
    while (await gateway.send(POST + b"Content-Length: 1\r\n\r\nx"))[0] == 503:
        pass


async def test_one_address_cannot_take_every_place(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_MOST_OF_ONE", 2)
    gateway.read("/push", lambda post: post.accept())
    crowd = [await gateway.connect() for _ in range(2)]
    for _, writer in crowd:
        writer.write(POST)
        await writer.drain()
    assert (await gateway.send(b""))[0] == 503
    other = await asyncio.open_connection(
        "127.0.0.1", await port_of(gateway.surroundings), local_addr=("127.0.0.2", 0)
    )
    gateway.writers.append(other[1])
    other[1].write(POST + b"Content-Length: 1\r\n\r\nx")
    assert (await answer(other[0]))[0] == 200


async def test_who_takes_no_answers_loses_his_place(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_MOST_CONNECTIONS", 1)
    monkeypatch.setattr(conversation, "_WRITE_SECONDS", 0.1)
    monkeypatch.setattr(conversation, "_CLOSING_SECONDS", 0.1)
    gateway.read("/push", lambda post: post.accept())
    reader, writer = await gateway.connect()
    reader._transport.pause_reading()  # type: ignore[attr-defined]  # rude
    request = b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"
    with suppress(ConnectionError):
        while True:  # until the gateway takes no more, and then until it has hung up
            writer.write(request * 1000)
            await writer.drain()
    assert (await gateway.post(b"x"))[0] == 200


async def test_clients_that_break_off_harm_nobody(gateway: Gateway) -> None:
    gateway.read("/push", lambda post: post.accept())
    for part in (b"", POST, POST + b"Content-Length: 10\r\n\r\nabc"):
        _, writer = await gateway.connect()
        writer.write(part)
        await writer.drain()
        writer.transport.abort()
    assert (await gateway.post(b"x"))[0] == 200


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer s3cret", 200),
        ("bearer s3cret", 200),
        (f"Basic {base64.b64encode(b'airrohr:s3cret').decode()}", 200),
        ("Bearer s3cre", 401),
        ("Bearer s3cret2", 401),
        ("Bearer \xe4", 401),
        ("Basic s3cret", 401),
        (f"Basic {base64.b64encode(b's3cret:airrohr').decode()}", 401),
        ("Digest s3cret", 401),
        ("s3cret", 401),
        ("", 401),
    ],
)
async def test_without_the_token_nobody_pushes(
    tmp_path: Path, authorization: str, status: int
) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    async with running(tmp_path, token_file=tmp_path / "token") as gateway:
        gateway.read("/push", lambda post: post.accept())
        header = b"Authorization: " + authorization.encode("latin-1") + b"\r\n"
        request = POST + (header if authorization else b"") + b"Content-Length: 1\r\n\r\nx"
        assert (await gateway.send(request))[0] == status
        unknown = request.replace(b"/push", b"/elsewhere")
        assert (await gateway.send(unknown))[0] == (404 if status == 200 else 401)


async def test_a_token_file_without_a_token_lets_nobody_listen(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    async with running(tmp_path, token_file=tmp_path / "token") as gateway:
        with pytest.raises(SourceError, match="holds no token"):
            await anext(posts(gateway.surroundings, "/push"))


async def test_a_port_that_is_taken_fails_the_sensor(gateway: Gateway, tmp_path: Path) -> None:
    gateway.read("/push", lambda post: post.accept())
    taken = await port_of(gateway.surroundings)
    async with Sources() as others:
        surroundings = Surroundings(
            gateway.surroundings.clock,
            tmp_path,
            sources=others,
            listener=ListenerSettings(port=taken),
        )
        with pytest.raises(OSError, match="in use"):
            await anext(posts(surroundings, "/push"))


async def test_a_gateway_that_stops_answers_what_it_is_about_to_store(tmp_path: Path) -> None:
    pushed: asyncio.Queue[Post] = asyncio.Queue()
    async with running(tmp_path) as gateway:
        gateway.read("/push", pushed.put_nowait)
        asking = asyncio.create_task(gateway.post(b"x"))
        idle, _ = await gateway.connect()
        post = await pushed.get()
        asyncio.get_running_loop().call_later(0.05, post.accept)
    assert (await asking)[0] == 200
    assert await idle.read() == b""


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


def captured_post() -> bytes:
    """The request of a real station, as it was captured."""
    text = (RECORDED / "macbre/README.md").read_text()
    found = re.search(r"^POST /data\.php.*?^\{.*?\}$", text, re.DOTALL | re.MULTILINE)
    assert found
    head, _, body = found[0].partition("\n\n")
    return head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body.encode()


def results(harvest: Harvest) -> dict[str, object]:
    return {reading.name: reading.result for reading in harvest.readings}


async def test_the_captured_push_of_a_real_station_is_read(gateway: Gateway) -> None:
    taken = gateway.collect(station("/data.php"))
    request = captured_post()
    assert (await gateway.send(request))[:2] == (200, "stored")
    [harvest] = taken
    assert results(harvest) == {
        "pm10": 0.4,
        "pm2.5": 0.2,
        "temperature": 20.47,
        "pressure": 1006.1325,
    }


async def test_stations_on_one_path_are_told_apart_and_a_stranger_is_reported(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.sources._GRACE_SECONDS", 0.01)
    known = gateway.collect(station("/data.php", device="esp8266-12331981"))
    other = gateway.collect(
        station("/data.php", device="7", urn="urn:dev:example:other", name="Other")
    )
    assert (await gateway.send(captured_post()))[0] == 200
    body = (RECORDED / "nettigo/sensor_community_data.json").read_bytes()
    assert (await gateway.post(body, "/data.php", X_Sensor="esp32-7"))[0] == 200
    status, reason, _ = await gateway.post(body, "/data.php", X_Sensor="esp8266-99")
    assert (status, reason) == (404, "no sensor in this gateway's settings is this device")
    assert (await gateway.post(body, "/data.php"))[:2] == (
        400,
        "does not say which device it is of",
    )
    assert [results(each)["pm10"] for each in known] == [0.4]
    assert [results(each)["pm10"] for each in other] == [2.08]
    assert gateway.surroundings.sources.unclaimed == {"99": 1}


async def test_a_recorded_body_with_null_yields_what_else_it_holds(gateway: Gateway) -> None:
    taken = gateway.collect(station("/push"))
    body = (RECORDED / "nettigo/invalid_data.json").read_bytes()
    assert (await gateway.post(body))[0] == 200
    assert results(taken[0]) == {"pm2.5": 20.0, "temperature": 10.6, "pressure": 989.2061}


async def test_old_and_new_names_of_a_value_are_one_field(gateway: Gateway) -> None:
    taken = gateway.collect(station("/push"))
    for names in (("SDS_P1", "BME280_temperature"), ("P1", "temperature")):
        values = [{"value_type": name, "value": "35.20"} for name in names]
        body = json.dumps({"sensordatavalues": values}).encode()
        assert (await gateway.post(body))[0] == 200
    assert [results(each) for each in taken] == [{"pm10": 35.2, "temperature": 35.2}] * 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "is not JSON"),
        (b"[]", "has no list sensordatavalues"),
        (b'{"sensordatavalues": 1}', "has no list sensordatavalues"),
        (b'{"esp8266id": 1, "esp8266id": 2, "sensordatavalues": []}', "stands twice"),
    ],
)
async def test_bodies_of_no_use_are_refused_with_a_reason(
    gateway: Gateway, body: bytes, reason: str
) -> None:
    taken = gateway.collect(station("/push"))
    status, found, _ = await gateway.post(body)
    assert status == 400
    assert reason in found
    assert not taken


async def test_any_json_is_read_by_paths_with_the_time_it_tells(gateway: Gateway) -> None:
    settings = station(
        "/push",
        form="json",
        device="bridge-7",
        device_path="id",
        time_path="at",
        fields=MappingProxyType(
            {
                "wind": FieldSettings(
                    name="wind",
                    title="Wind",
                    description="Mean wind.",
                    observed_property="wind_speed",
                    unit="m/s",
                    from_unit="mi/h",
                    path="weather.wind[0]",
                )
            }
        ),
    )
    taken = gateway.collect(settings)
    body = b'{"id": "bridge-7", "at": "%s", "weather": {"wind": [10]}}'
    assert (await gateway.post(body % b"2026-01-01T00:00:00Z"))[0] == 200
    assert (await gateway.post(body % b"-3"))[:2] == (
        400,
        'at is "-3", not an ISO 8601 time with an offset',
    )
    [harvest] = taken
    assert results(harvest) == {"wind": 4.4704}
    assert harvest.readings[0].phenomenon_time.isoformat() == "2026-01-01T00:00:00+00:00"
