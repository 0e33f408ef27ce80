"""Pages, exports and downloads over a real database: what they say is what is stored."""

import csv
import hashlib
import io
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from typing import Any

import httpx
import pytest

from api.layers.security import HEADERS
from api.pages.words import number_text
from api.service import open_app
from api.settings import ApiSettings
from device_protocol import cbor
from device_protocol.keys import VerifyingKey
from standards_mapping.units import UNITS
from storage.charts import Stream, read_series
from storage.database import Connection, connect
from storage.overview import current_values
from tests.integration.conftest import DatabaseServer
from tests.simulators.street import Street, seed
from tests.simulators.street_places import REPLAY

HTML = {"Accept": "text/html"}
PAGES = [
    "/",
    "/?council=camden",
    "/?property=no2",
    "/status",
    "/about-data",
    "/open-data",
    "/accessibility",
]


@dataclass(frozen=True)
class Centre:
    """A running application over the seeded network."""

    client: httpx.AsyncClient
    street: Street
    conn: Connection

    async def page(self, url: str, status: int = 200) -> str:
        answer = await self.client.get(url, headers=HTML)
        assert answer.status_code == status, answer.text[:500]
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        return answer.text

    def site(self, name: str) -> str:
        return f"/sites/{self.street.things[name]}"


@pytest.fixture(scope="module")
async def centre(database_server: DatabaseServer) -> AsyncIterator[Centre]:
    dsn = await database_server.create()
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        street = await seed(conn)
        async with open_app(ApiSettings(dsn=dsn)) as app:
            transport = httpx.ASGITransport(app)
            local = "http://localhost"
            async with httpx.AsyncClient(transport=transport, base_url=local) as client:
                yield Centre(client, street, conn)
    await database_server.drop(dsn)


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def row_of(html: str, datastream_id: int) -> str:
    match = re.search(rf'<tr[^>]*id="v{datastream_id}".*?</tr>', html, re.DOTALL)
    assert match, f"no row for datastream {datastream_id}"
    return text_of(match.group())


async def test_every_value_stands_beside_its_unit_time_meaning_quality_and_status(
    centre: Centre,
) -> None:
    page = await centre.page("/")
    values = await current_values(centre.conn)
    assert len(values) == len(re.findall(r'id="v\d+"', page)) == 32
    for value in values:
        row = row_of(page, value.datastream_id)
        assert value.value is not None
        assert value.time is not None
        assert number_text(value.value) in row
        assert f"{value.time:%H:%M:%S} UTC" in row
        assert ("Mean over 1 hour" if value.averaging_seconds else "Instant reading") in row
        assert ("Replayed" in row) is bool(value.quality & 4)
        assert re.search(r"Fresh|Late|Stale", row)


async def test_stale_values_are_shown_as_stale_and_one_silent_property_is_noticed(
    centre: Centre,
) -> None:
    page = await centre.page("/")
    streams = centre.street.streams
    assert "Stale" in row_of(page, streams["Cromwell Road 2", "no2"])
    assert "3 hours ago" in row_of(page, streams["Cromwell Road 2", "no2"])
    assert "Late" in row_of(page, streams["Marylebone Road", "pm25"])
    assert "Fresh" in row_of(page, streams["Marylebone Road", "no2"])
    assert "Replayed, suspect" in row_of(page, streams["North Kensington", "visibility"])
    assert "6 stale" in text_of(page)


async def test_a_replay_is_said_plainly_and_names_its_sites(centre: Centre) -> None:
    page = text_of(await centre.page("/"))
    assert "Recorded data, played again at" in page
    assert REPLAY in page
    notice = page.split("Recorded data, played again at")[1].split(REPLAY)[0]
    assert "Bloomsbury" in notice
    assert "This computer" not in notice
    assert REPLAY in text_of(await centre.page(centre.site("Bloomsbury")))
    assert REPLAY not in text_of(await centre.page(centre.site("This computer")))


def site_head(html: str, thing_id: int) -> str:
    match = re.search(rf'<tbody[^>]*id="site-{thing_id}".*?</tr>', html, re.DOTALL)
    assert match
    return text_of(match.group())


async def test_the_overview_tells_the_index_of_each_site_as_its_own_page_does(
    centre: Centre,
) -> None:
    page = await centre.page("/")
    things = centre.street.things
    for name in ("Bloomsbury", "Marylebone Road", "North Kensington"):
        own = re.search(r'id="air-index">(.*?)</p>', await centre.page(centre.site(name)))
        assert own
        told = re.search(r"(\d+) of 10, (.+?): .*here, (.*)\.$", text_of(own.group(1)))
        assert told, name
        index, band, pollutant = told.groups()
        line = site_head(page, things[name])
        assert re.search(
            rf"Air quality index {index}, {band.strip()} ?: {re.escape(pollutant)}, .*mean to", line
        ), line
        assert f"Index {index}, {band.strip()}" in page
    assert "Air quality index" not in site_head(page, things["This computer"])


async def test_a_site_that_has_been_silent_for_hours_has_no_index(centre: Centre) -> None:
    page = await centre.page("/")
    line = site_head(page, centre.street.things["Cromwell Road 2"])
    assert "No air quality index: too little was measured lately" in line


async def test_a_filter_shows_one_council_or_one_property(centre: Centre) -> None:
    page = await centre.page("/?council=westminster")
    assert "Marylebone Road" in page
    assert "Bloomsbury" not in text_of(page)
    assert "Readings now in Westminster" in text_of(page)
    page = await centre.page("/?property=pm25")
    assert len(re.findall(r'id="v\d+"', page)) == 3
    assert "Cromwell Road 2" not in text_of(page)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("/?council=atlantis", "There is no council called “atlantis”"),
        ("/?property=gold", "Nothing called “gold” is measured there"),
        ("/sites/999999", "There is no site with this number"),
        ("/sites/99999999999999999999", "There is no site with this number"),
        ("/nowhere", "Page not found"),
        ("/batches/0000000000000000/1", "There is no such message"),
        ("/keys/0000000000000000", "There is no such key"),
    ],
)
async def test_what_is_not_there_is_told_as_page_or_json(
    centre: Centre, url: str, words: str
) -> None:
    assert words in text_of(await centre.page(url, 404))
    answer = await centre.client.get(url)
    assert answer.status_code == answer.json()["status"] == 404


async def test_health_and_unapproved_things_are_no_sites(centre: Centre) -> None:
    cursor = await centre.conn.execute("SELECT id FROM thing WHERE urn LIKE '%:health' LIMIT 1")
    [(health,)] = await cursor.fetchall()
    await centre.page(f"/sites/{health}", 404)
    assert "Gateway at" not in await centre.page("/")
    name = "This computer"
    await centre.conn.execute(
        "UPDATE thing SET approved = false WHERE id = %s", (centre.street.things[name],)
    )
    try:
        await centre.page(centre.site(name), 404)
        assert name not in text_of(await centre.page("/"))
    finally:
        await centre.conn.execute("UPDATE thing SET approved = true")


async def test_the_map_without_javascript_shows_every_site(centre: Centre) -> None:
    page = await centre.page("/")
    drawing = re.search(r'<svg class="kb-still".*?</svg>', page, re.DOTALL)
    assert drawing
    assert all(name in drawing.group() for name in centre.street.things)
    assert "kb-dot--stale" in drawing.group()
    assert "Contains OS data" in page
    areas = (await centre.client.get("/boundaries.geojson")).json()
    members = {
        area["properties"]["name"] for area in areas["features"] if area["properties"]["member"]
    }
    assert members == {"Camden", "Westminster", "Kensington and Chelsea"}


async def test_a_site_page_charts_every_datastream_with_its_table(centre: Centre) -> None:
    page = await centre.page(centre.site("Bloomsbury"))
    assert len(re.findall(r"data-plot=", page)) == 8
    assert len(re.findall(r"<table[^>]*data-series", page)) == 8
    assert page.count('class="kb-line"') == 7
    assert 'class="kb-point"' in page
    first, last = centre.street.gap
    gap = re.search(r"<tr[^>]*data-gap>.*?</tr>", page)
    assert gap
    assert "Gap: no readings for 5 hours" in text_of(gap.group())
    assert f"{first:%H:%M}" in gap.group()
    assert f"{last:%H:%M}" in gap.group()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("from=yesterday", "“From” is not a time"),
        ("from=2026-05-02T00:00Z&to=2026-05-01T00:00Z", "“To” must be at least 1 minute after"),
    ],
)
async def test_a_view_that_cannot_be_shown_is_explained(
    centre: Centre, query: str, words: str
) -> None:
    for url in (centre.site("Bloomsbury"), f"{centre.site('Bloomsbury')}/values.csv"):
        assert words in text_of(await centre.page(f"{url}?{query}", 400))
        assert (await centre.client.get(f"{url}?{query}")).json()["status"] == 400


@pytest.mark.parametrize("days", [90.0, 30.0, 7.0, 1.0, 1 / 24])
async def test_the_csv_is_the_chart(centre: Centre, days: float) -> None:
    """For every datastream and span: chart, table and file hold the same numbers."""
    end = centre.street.now.replace(microsecond=0)
    start = end - timedelta(days=days)
    query = {"from": start.isoformat(), "to": end.isoformat()}
    page = (await centre.client.get(centre.site("Bloomsbury"), params=query, headers=HTML)).text
    answer = await centre.client.get(f"{centre.site('Bloomsbury')}/values.csv", params=query)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    thing_id = centre.street.things["Bloomsbury"]
    for value in await current_values(centre.conn, thing_id=thing_id):
        stream = Stream(
            datastream_id=value.datastream_id,
            property_key=value.property_key,
            unit=value.unit,
            averaging_seconds=value.averaging_seconds,
        )
        series = await read_series(centre.conn, stream, start, end)
        own = [row for row in rows if row["datastream"] == value.datastream_name]
        table = re.search(rf'id="plot-{value.datastream_id}-table".*?</table>', page, re.DOTALL)
        assert table
        drawn = re.findall(
            r'datetime="([^"]+)">.*?<td><data value="([^"]+)">', table.group(), re.DOTALL
        )
        values = [float(row["value"]) for row in own]
        assert [row["time_utc"] for row in own] == [time for time, _ in drawn]
        # Each is read by itself, and adding up in another order may change the last digit.
        assert values == pytest.approx([float(shown) for _, shown in drawn], rel=1e-12)
        assert values == pytest.approx([point.value for point in series.points], rel=1e-12)
        assert {row["unit"] for row in own} <= set(UNITS)
        assert all(row["licence"].startswith("https://") for row in own)
        assert all(row["time_utc"].endswith("Z") for row in own)


async def test_one_chart_can_be_had_alone_and_an_unknown_one_cannot(centre: Centre) -> None:
    url = f"{centre.site('Bloomsbury')}/values.csv"
    datastream = centre.street.streams["Bloomsbury", "no2"]
    answer = await centre.client.get(url, params={"datastream": datastream})
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert {row["observed_property"] for row in rows} == {"no2"}
    foreign = centre.street.streams["Marylebone Road", "no2"]
    assert (await centre.client.get(url, params={"datastream": foreign})).status_code == 404


async def test_anyone_can_check_that_the_gateway_signed_the_newest_message(
    centre: Centre,
) -> None:
    page = await centre.page(centre.site("Bloomsbury"))
    opened = centre.street.batches["Bloomsbury"]
    sender = centre.street.senders["Bloomsbury"]
    signed = (await centre.client.get(f"/batches/{opened.epoch_id.hex()}/{opened.seq}")).content
    key = (await centre.client.get(f"/keys/{opened.signer_kid.hex()}")).content
    for fact in (
        hashlib.sha256(signed).hexdigest(),
        opened.epoch_id.hex(),
        opened.signer_kid.hex(),
        sender.device,
    ):
        assert fact in page
    assert hashlib.sha256(key).digest()[:8] == opened.signer_kid
    parts: Any = cbor.decode(signed)
    protected, _, payload, signature = parts
    covered = ["SNaaS/1", "S", sender.tenant, sender.device, "main", opened.epoch_id, opened.seq]
    to_sign = cbor.encode(["Signature1", protected, cbor.encode(covered), payload])
    VerifyingKey.from_cose_key(key).verify(signature, to_sign)


async def test_the_status_page_says_who_is_silent_what_is_missing_and_what_was_refused(
    centre: Centre,
) -> None:
    page = await centre.page("/status")
    text = text_of(page)
    assert "5 gateways: 4 heard, 1 silent." in text
    rows = [text_of(row) for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL)]
    gateways = [row for row in rows if "k7q2m9" in row and "reported" in row]
    assert gateways[0].startswith("Cromwell Road 2")
    assert "Silent 3 hours ago" in gateways[0]
    [north] = [row for row in gateways if row.startswith("North Kensington")]
    assert "640 reported 8 seconds ago" in north or "640 reported" in north
    [missing] = [row for row in rows if "epoch 1, group main" in row]
    assert missing.endswith("48 so far 45 3")
    [refused] = [row for row in rows if "out-of-range" in row and "held" not in row]
    assert refused.startswith("A reading lay outside what its sensor can measure.")
    assert text.index("Harmless") < text.index("The same message came again")
    assert "urn:dev:test:analyser:marylebone-road:no2: -55 ug/m3" in text
    assert "another gateway described this Sensor first" in text


async def test_completeness_counts_hours_and_silent_streams(centre: Centre) -> None:
    text = text_of(await centre.page("/status"))
    cromwell = text.split("Cromwell Road 2")[1][:400]
    share = re.search(r"(\d+\.\d)%", cromwell)
    assert share
    assert 80 < float(share.group(1)) < 92  # three of 24 hours are missing


async def test_the_licence_and_the_source_of_every_site_are_on_one_page(centre: Centre) -> None:
    page = await centre.page("/about-data")
    text = text_of(page)
    assert "UK-AIR Automatic Urban and Rural Network, Defra" in text
    assert "Open Government Licence v3.0" in text
    assert "microgram per cubic metre" in text
    assert "This computer" in text


@pytest.mark.parametrize("url", [*PAGES, "/nowhere", "/healthz", "/sensorthings/v1.1"])
async def test_every_answer_bears_the_security_headers(centre: Centre, url: str) -> None:
    answer = await centre.client.get(url, headers=HTML)
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert "unsafe" not in answer.headers["content-security-policy"]


async def test_static_files_may_be_kept_for_ever_and_pages_never(centre: Centre) -> None:
    page = await centre.page("/")
    sheet = re.search(r'href="(/static/[^"]+kerbstone\.css)"', page)
    assert sheet
    answer = await centre.client.get(sheet.group(1))
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    answer = await centre.client.get("/", headers=HTML)
    assert answer.headers["cache-control"] == "no-store"
    assert (await centre.client.get("/static/old/kerbstone.css")).status_code == 404


async def test_health_says_that_the_database_answers(centre: Centre) -> None:
    answer = await centre.client.get("/healthz")
    assert answer.json() == {"status": "ok", "live": True}


async def test_without_a_database_people_are_told_what_it_means(unused_tcp_port: int) -> None:
    settings = ApiSettings(dsn=f"host=127.0.0.1 port={unused_tcp_port} connect_timeout=1")
    async with open_app(settings) as app:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.get("/", headers=HTML)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "5"
            assert "nothing is lost" in text_of(answer.text)
            assert (await client.get("/status")).json()["code"] == "database-unavailable"
            assert (await client.get("/healthz")).status_code == 503
            assert (await client.get("/accessibility", headers=HTML)).status_code == 200
