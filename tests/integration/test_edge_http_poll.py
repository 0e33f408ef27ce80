"""Stations polled by HTTP over real sockets: conditional, packed, moved, slow, large and broken."""

import asyncio
import gzip
import json
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from edge_agent.adapter import AdapterError, Harvest, Surroundings
from edge_agent.clock import Clock, ClockQuality
from edge_agent.inputs.fields import FieldSettings
from edge_agent.sensors.http_poll import HttpPollSettings, harvests
from edge_agent.sources import Sources
from enrolment.authority import Authority
from tests.simulators.http_station import HttpStation, Page, http_station

RECORDED = Path(__file__).parents[1] / "data/sensor_community/nettigo"
READING = b'{"at": "%s", "temperature": %s}'


@pytest.fixture
def station() -> Iterator[HttpStation]:
    with http_station() as running:
        yield running


def sensor(url: str, **changes: Any) -> HttpPollSettings:
    values: dict[str, Any] = {
        "urn": "urn:dev:example:river",
        "thing": "urn:dev:example:bridge",
        "name": "River",
        "description": "A level gauge.",
        "url": url,
        "interval_seconds": 0.1,
        "timeout_seconds": 5.0,
        "fields": MappingProxyType({"t": field("temperature")}),
    }
    return HttpPollSettings(**(values | changes))


def field(path: str, name: str = "temperature", **changes: Any) -> FieldSettings:
    values: dict[str, Any] = {
        "name": name,
        "title": name,
        "description": name,
        "observed_property": "air_temperature",
        "unit": "Cel",
        "path": path,
    }
    return FieldSettings(**(values | changes))


@asynccontextmanager
async def gateway(directory: Path) -> AsyncIterator[Surroundings]:
    async with Sources() as sources:
        clock = Clock(directory / "clock", source=lambda: ClockQuality.NETWORK)
        yield Surroundings(clock, directory, sources=sources)


@pytest.fixture
async def surroundings(tmp_path: Path) -> AsyncIterator[Surroundings]:
    async with gateway(tmp_path) as given:
        yield given


async def harvested(settings: HttpPollSettings, surroundings: Surroundings) -> Harvest:
    async with aclosing(harvests(settings, surroundings)) as found:
        return await anext(found)


async def test_a_station_is_asked_conditionally_and_read_when_it_has_changed(
    station: HttpStation, surroundings: Surroundings
) -> None:
    page = Page(b'{"temperature": 1.5}', etag='"one"', modified="Sun, 17 Mar 2030 20:00:00 GMT")
    url = station.serves("/level?station=7", page)
    async with aclosing(harvests(sensor(url), surroundings)) as found:
        assert [each.result for each in (await anext(found)).readings] == [1.5]
        waiting = asyncio.ensure_future(anext(found))
        while len(station.asked) < 3:
            await asyncio.wait([waiting], timeout=0.02)
        assert not waiting.done(), "304 makes no reading"
        page.body, page.etag, page.modified = b'{"temperature": 2.5}', '"two"', ""
        assert [each.result for each in (await waiting).readings] == [2.5]
    assert [path for path, _ in station.asked] == ["/level?station=7"] * len(station.asked)
    asked = station.asked[1][1]
    assert (asked["if-none-match"], asked["if-modified-since"]) == (
        '"one"',
        "Sun, 17 Mar 2030 20:00:00 GMT",
    )
    assert station.asked[0][1]["accept-encoding"] == "gzip"


async def test_a_reading_whose_time_has_not_advanced_is_not_repeated(
    station: HttpStation, surroundings: Surroundings
) -> None:
    page = Page(READING % (b"2026-01-01T00:15:00Z", b"1.5"))
    settings = sensor(station.serves("/", page), time_path="at")
    async with aclosing(harvests(settings, surroundings)) as found:
        harvest = await anext(found)
        assert harvest.readings[0].phenomenon_time == datetime(2026, 1, 1, 0, 15, tzinfo=UTC)
        waiting = asyncio.ensure_future(anext(found))
        for stale in (b"2026-01-01T00:15:00Z", b"2026-01-01T00:00:00Z"):
            page.body = READING % (stale, b"9")
            asked = len(station.asked)
            while len(station.asked) < asked + 2:
                await asyncio.wait([waiting], timeout=0.02)
        assert not waiting.done()
        page.body = READING % (b"2026-01-01T00:30:00Z", b"2.5")
        assert [each.result for each in (await waiting).readings] == [2.5]


async def test_a_station_that_tells_the_age_of_its_values_is_read_once_each(
    station: HttpStation, surroundings: Surroundings
) -> None:
    body = (RECORDED / "sensor_community_data.json").read_bytes()
    pm10 = field(
        "sensordatavalues[value_type=SDS_P1].value", observed_property="pm10", unit="ug/m3"
    )
    settings = sensor(
        station.serves("/data.json", Page(body)),
        time_path="age",
        time_form="seconds_ago",
        fields=MappingProxyType({"pm10": pm10}),
    )
    async with aclosing(harvests(settings, surroundings)) as found:
        [reading] = (await anext(found)).readings
        assert reading.result == 2.08
        age = surroundings.clock.now() - reading.phenomenon_time
        assert timedelta(seconds=69) <= age < timedelta(seconds=75)
        waiting = asyncio.ensure_future(anext(found))
        while len(station.asked) < 3:
            await asyncio.wait([waiting], timeout=0.02)
        assert not waiting.done(), "it is the same measurement, a moment older"
        document = json.loads(body)
        document["age"] = "1"
        station.serves("/data.json", Page(json.dumps(document).encode()))
        assert (await waiting).readings


async def test_a_gzipped_body_and_a_chunked_one_are_read(
    station: HttpStation, surroundings: Surroundings
) -> None:
    packed = Page(gzip.compress(b'{"temperature": 1.5}'), headers={"Content-Encoding": "gzip"})
    chunked = Page(
        raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'f\r\n{"temperature":\r\n5\r\n 1.5}\r\n0\r\n\r\n'
    )
    endless = Page(raw=b'HTTP/1.0 200 OK\r\n\r\n{"temperature": 1.5}')
    for number, page in enumerate((packed, chunked, endless)):
        settings = sensor(station.serves(f"/{number}", page), urn=f"urn:dev:example:{number}")
        [reading] = (await harvested(settings, surroundings)).readings
        assert reading.result == 1.5


BOMB = gzip.compress(bytes(50 * 1024 * 1024))


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        (Page(status=500), "answers 500"),
        (Page(status=404), "answers 404"),
        (Page(b"<html>"), "is not JSON"),
        (Page(b'{"a": 1, "a": 2}'), "stands twice"),
        (Page(bytes(1024 * 1024 + 1)), "more than 1048576 bytes"),
        (Page(BOMB, headers={"Content-Encoding": "gzip"}), "more than 1048576 bytes"),
        (Page(b"{}", headers={"Content-Encoding": "gzip"}), "not gzip"),
        (Page(gzip.compress(b"{}")[:-4], headers={"Content-Encoding": "gzip"}), "cut off"),
        (Page(b"{}", headers={"Content-Encoding": "br"}), "packed by br"),
        (Page(raw=b"220 smtp.example\r\n\r\n"), "not HTTP"),
        (Page(raw=b""), "not HTTP|hung up"),
        (Page(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), "not HTTP"),
        (Page(raw=b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000), "not HTTP"),
        (Page(status=302, headers={"Location": "/"}), "redirected more than 3 times"),
        (Page(status=302, headers={"Location": "file:///etc/passwd"}), "to file"),
        (Page(status=302, headers={"Location": "https://localhost/"}), "ask for https at once"),
        (Page(status=302), "answers 302"),
        (Page(status=302, headers={"Location": "http://[::1/"}), "is no URL"),
        (Page(status=302, headers={"Location": "http://localhost:99999/"}), "is no URL"),
        (Page(status=302, headers={"Location": f"http://{'a' * 64}.example/"}), "is no URL"),
        (Page(status=302, headers={"Location": "/a b"}), "not HTTP"),
    ],
)
async def test_answers_of_no_use_fail_the_sensor_with_a_reason(
    station: HttpStation, surroundings: Surroundings, page: Page, problem: str
) -> None:
    settings = sensor(station.serves("/", page))
    with pytest.raises(AdapterError, match=problem):
        await harvested(settings, surroundings)


async def test_validators_that_could_not_be_sent_back_are_left_alone(
    station: HttpStation, surroundings: Surroundings
) -> None:
    raw = b'{"temperature": 1.5}'
    head = b'HTTP/1.1 200 OK\r\nETag: "\xe9"\r\nLast-Modified: \xff\r\nContent-Length: 20\r\n\r\n'
    async with aclosing(
        harvests(sensor(station.serves("/", Page(raw=head + raw))), surroundings)
    ) as found:
        for _ in range(2):
            assert [each.result for each in (await anext(found)).readings] == [1.5]
    assert "if-none-match" not in station.asked[1][1]


async def test_a_station_that_does_not_answer_fails_after_the_timeout(
    station: HttpStation, surroundings: Surroundings
) -> None:
    url = station.serves("/", Page(hold=threading.Event()))
    with pytest.raises(AdapterError, match=r"no answer within 0\.1 s"):
        await harvested(sensor(url, timeout_seconds=0.1), surroundings)


async def test_a_station_that_is_not_there_is_an_outage(
    station: HttpStation, surroundings: Surroundings
) -> None:
    with pytest.raises(OSError, match="Connect"):
        await harvested(sensor("http://127.0.0.1:9/"), surroundings)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_says_when_to_come_again_is_not_asked_before(
    station: HttpStation, surroundings: Surroundings, status: int
) -> None:
    url = station.serves("/", Page(status=status, headers={"Retry-After": "1"}))
    with pytest.raises(AdapterError, match=f"answers {status}"):
        await harvested(sensor(url), surroundings)
    station.pages["/"] = Page(b'{"temperature": 1.5}')
    before = asyncio.get_running_loop().time()
    await harvested(sensor(url), surroundings)
    assert asyncio.get_running_loop().time() - before > 0.9
    assert len(station.asked) == 2


async def test_a_redirection_is_followed_but_the_token_stays_with_its_host(
    station: HttpStation, surroundings: Surroundings, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    there = Page(b'{"temperature": 1.5}')
    with http_station() as other:
        near = station.serves("/near", there).removeprefix(station.url)
        far = other.serves("/far", there)
        for number, location in enumerate((near, far)):
            moved = Page(status=307, headers={"Location": location})
            settings = sensor(
                station.serves(f"/old-{number}", moved), token_file=tmp_path / "token"
            )
            [reading] = (await harvested(settings, surroundings)).readings
            assert reading.result == 1.5
        assert "authorization" not in other.asked[0][1]
    tokens = [headers.get("authorization") for _, headers in station.asked]
    assert tokens == ["Bearer s3cret"] * 3


async def test_a_token_may_go_into_a_header_of_its_own(
    station: HttpStation, surroundings: Surroundings, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    url = station.serves("/", Page(b'{"temperature": 1.5}'))
    settings = sensor(url, token_file=tmp_path / "token", token_header="X-Api-Key")
    await harvested(settings, surroundings)
    assert station.asked[0][1]["x-api-key"] == "s3cret"


async def test_https_is_trusted_by_the_file_in_the_settings_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority", "Test")
    credential = authority.broker_server(["localhost"])
    with http_station((credential.certificate, credential.key)) as station:
        url = station.serves("/", Page(b'{"temperature": 1.5}'))
        async with gateway(tmp_path) as surroundings:
            trusted = sensor(url, ca_file=authority.service_root())
            [reading] = (await harvested(trusted, surroundings)).readings
            assert reading.result == 1.5
            with pytest.raises(ssl.SSLCertVerificationError):
                await harvested(sensor(url), surroundings)


async def test_a_value_of_no_use_spoils_no_other(
    station: HttpStation, surroundings: Surroundings
) -> None:
    url = station.serves("/", Page(b'{"a": "wet", "b": null, "c": "70"}'))
    fields = {name: field(name, name, from_unit="degF") for name in "abc"}
    settings = sensor(url, fields=MappingProxyType(fields))
    found = (await harvested(settings, surroundings)).readings
    assert [(each.name, each.result) for each in found] == [("c", 21.1111111111)]
