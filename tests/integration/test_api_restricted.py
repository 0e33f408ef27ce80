"""What is restricted is nowhere to be found but for whoever may read it, on any public surface.

A crawler follows every link that pages and documents give, from where strangers begin, and looks
for the name and the value of a restricted datastream and for a site all of whose are restricted.
"""

import csv
import html
import io
import re
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from api.live import for_audience
from api.openapi.document import operations
from api.openapi.pages import example_address
from api.service import open_app
from api.settings import ApiSettings
from storage import access, api_keys, staff
from storage.database import Connection, connect
from storage.overview import changed_values
from tests.integration.conftest import DatabaseServer
from tests.simulators.street import Street, seed

NAME, SITE = "Canary wren", "Canary Wharf"
VALUE = 7131927.0625
CANARIES = (NAME, SITE, "7131927", "7,131,927")
ROOT = "http://localhost"
MOST_PAGES = 220
STREAM = ("Bloomsbury", "temp")

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


@dataclass(frozen=True)
class Hidden:
    """A network with something to hide, and keys for those who may and may not see it."""

    transport: httpx.ASGITransport
    street: Street
    conn: Connection
    camden: str
    westminster: str

    def client(self, key: str = "") -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.AsyncClient(transport=self.transport, base_url=ROOT, headers=headers)

    @property
    def datastream(self) -> int:
        return self.street.streams[STREAM]


API = "/sensorthings/v1.1"
SURFACES = {
    "overview": "/",
    "overview of the council": "/?council=camden",
    "site page": "/sites/{site}",
    "values of the site": "/sites/{site}/values.csv",
    "SensorThings, datastreams": API + "/Datastreams?$top=1000",
    "SensorThings, one datastream": API + "/Datastreams({stream})",
    "SensorThings, in a Thing": API + "/Things({site})/Datastreams",
    "SensorThings, expanded": API + "/Things({site})?$expand=Datastreams",
    "SensorThings, a property": API + "/Datastreams({stream})/name/$value",
    "SensorThings, observations": API
    + "/Observations?$filter=Datastream/id eq {stream}&$orderby=phenomenonTime desc",
    "SensorThings, by result": API + "/Observations?$filter=result gt 7000",
    "SensorThings, Things": API + "/Things?$top=1000",
    "SensorThings, filtered": API + f"/Things?$filter=Datastreams/name eq '{NAME}'",
    "NGSI-LD": "/ngsi-ld/v1/entities?type=WeatherObserved,AirQualityObserved&limit=1000",
    "NGSI-LD, over time": "/ngsi-ld/v1/temporal/entities?type=WeatherObserved,AirQualityObserved"
    "&timerel=after&timeAt=2026-01-01T00:00:00Z&limit=1000",
    "linked data": "/sosa/observations?datastream={stream}&limit=1000",
    "a file of one property": "/data/camden/air_temperature.csv?datastream={stream}",
    "about the data": "/about-data",
    "open data": "/open-data",
    "catalogue": "/catalogue",
    "status": "/status",
}
SHOWN = (
    "overview",
    "site page",
    "values of the site",
    "SensorThings, datastreams",
    "SensorThings, one datastream",
    "SensorThings, in a Thing",
    "SensorThings, expanded",
    "SensorThings, a property",
    "SensorThings, observations",
    "linked data",
)
"""Where whoever may read it finds its name or its value; files and catalogue are of open data."""


@pytest.fixture(scope="module")
async def hidden(database_server: DatabaseServer) -> AsyncIterator[Hidden]:
    dsn = await database_server.create()
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        street = await seed(conn, days=1)
        await _hide(conn, street)
        camden, westminster = [await _key(conn, tenant) for tenant in ("camden", "westminster")]
        async with open_app(ApiSettings(dsn=dsn, base_url=ROOT)) as app:
            yield Hidden(httpx.ASGITransport(app), street, conn, camden, westminster)
    await database_server.drop(dsn)


async def _hide(conn: Connection, street: Street) -> None:
    stream = street.streams[STREAM]
    await conn.execute(
        "UPDATE datastream SET name = %s, description = %s WHERE id = %s", (NAME, NAME, stream)
    )
    await conn.execute(
        "UPDATE thing SET name = %s WHERE id = %s", (SITE, street.things["This computer"])
    )
    await street.report(conn, STREAM, VALUE)
    await access.set_access(
        conn, tenant="camden", access="restricted", datastream_id=stream, actor="test"
    )
    for name in ("cpu_load", "memory_used"):
        await access.set_access(
            conn,
            tenant="camden",
            access="restricted",
            datastream_id=street.streams["This computer", name],
            actor="test",
        )


async def _key(conn: Connection, tenant: str) -> str:
    key = api_keys.draw_key()
    await api_keys.add_key(
        conn,
        tenant=tenant,
        name="test",
        scopes=["read"],
        rate_class="standard",
        key=key,
        expires_at=datetime.now(UTC) + timedelta(days=1),
        actor="test",
    )
    return key


def told(text: str) -> list[str]:
    return [one for one in CANARIES if one in html.unescape(text)]


@pytest.mark.parametrize("surface", SURFACES)
async def test_a_surface_hides_it_from_all_but_its_readers(hidden: Hidden, surface: str) -> None:
    site = hidden.street.things["Bloomsbury"]
    url = SURFACES[surface].format(stream=hidden.datastream, site=site)
    accept = {"Accept": "text/html, */*"}
    for key in ("", hidden.westminster):
        async with hidden.client(key) as client:
            answer = await client.get(url, headers=accept)
        assert answer.status_code in {200, 206, 404}, answer.text[:300]
        assert told(answer.text) == [], surface
    async with hidden.client(hidden.camden) as client:
        answer = await client.get(url, headers=accept)
    if surface in SHOWN:
        assert answer.status_code == 200
        assert told(answer.text) != []


@pytest.mark.parametrize("surface", ["overview", "site page"])
async def test_what_is_restricted_is_marked_and_said_who_sees_it(
    hidden: Hidden, surface: str
) -> None:
    url = SURFACES[surface].format(site=hidden.street.things["Bloomsbury"])
    accept = {"Accept": "text/html"}
    for key in ("", hidden.westminster):
        async with hidden.client(key) as client:
            page = await client.get(url, headers=accept)
        assert "Restricted" not in page.text
        assert "restricted" not in page.text
    async with hidden.client(hidden.camden) as client:
        page = await client.get(url, headers=accept)
        row = re.search(rf'<tr[^>]*id="v{hidden.datastream}".*?</tr>', page.text, re.DOTALL)
        assert row
        assert "Restricted</span>" in row.group()
        open_row = rf'<tr[^>]*id="v{hidden.street.streams["Bloomsbury", "no2"]}".*?</tr>'
        found = re.search(open_row, page.text, re.DOTALL)
        assert found
        assert "Restricted" not in found.group()
        assert "Only people signed in for Camden or for the whole network see it" in page.text


async def test_a_file_of_values_says_which_are_restricted(hidden: Hidden) -> None:
    url = f"/sites/{hidden.street.things['Bloomsbury']}/values.csv"
    async with hidden.client(hidden.camden) as client:
        rows = list(csv.DictReader(io.StringIO((await client.get(url)).text, newline="")))
    assert {row["access"] for row in rows if row["datastream"] == NAME} == {"restricted"}
    assert {row["access"] for row in rows if row["datastream"] != NAME} == {"open"}


async def test_open_data_tells_its_readers_what_is_kept_out_of_it(hidden: Hidden) -> None:
    accept = {"Accept": "text/html"}
    for key in ("", hidden.westminster):
        async with hidden.client(key) as client:
            assert "estricted" not in (await client.get("/open-data", headers=accept)).text
    async with hidden.client(hidden.camden) as client:
        page = (await client.get("/open-data", headers=accept)).text
    kept = page[page.index('id="restricted"') :]
    assert NAME in kept
    assert f'href="/sites/{hidden.street.things["Bloomsbury"]}"' in kept
    assert "Only people signed in for Camden" in kept
    assert NAME not in page[: page.index('id="restricted"')]


async def test_a_crawler_finds_it_nowhere(hidden: Hidden) -> None:
    starts = ["/", "/open-data", "/catalogue", "/data.json", "/sensorthings/v1.1"]
    starts += [
        address for one in operations() if one.path != "/live" and (address := example_address(one))
    ]
    waiting, seen = deque(dict.fromkeys(starts)), set(starts)
    visited = 0
    async with hidden.client() as client:
        while waiting and visited < MOST_PAGES:
            url = waiting.popleft()
            answer = await client.get(url, headers={"Accept": "*/*"})
            visited += 1
            assert answer.status_code < 500, url
            assert told(answer.text) == [], url
            for link in _links(answer.text):
                if link not in seen:
                    seen.add(link)
                    waiting.append(link)
    assert visited > len(starts)


def _links(text: str) -> list[str]:
    """Return what a page or document of ours links to on this service, as paths."""
    found = re.findall(r'href="([^"#]+)"', text) + re.findall(rf'"({ROOT}/[^"]*)"', text)
    urls = [urljoin(ROOT, html.unescape(one)) for one in found]
    return [
        url.removeprefix(ROOT)
        for url in urls
        if url.startswith(ROOT) and not urlsplit(url).path.startswith(("/static", "/live"))
    ]


async def test_what_a_gateway_signed_is_withheld_if_any_of_it_is_restricted(hidden: Hidden) -> None:
    batch = hidden.street.batches["Bloomsbury"]
    url = f"/batches/{batch.epoch_id.hex()}/{batch.seq}"
    async with hidden.client() as client:
        assert (await client.get(url)).status_code == 404
    async with hidden.client(hidden.camden) as client:
        assert (await client.get(url)).status_code == 200


async def test_staff_see_their_own_councils_data(hidden: Hidden) -> None:
    for tenant, sees in (("camden", True), ("westminster", False), (None, True)):
        secret = f"secret of {tenant}"
        await staff.add_pass(
            hidden.conn,
            tenant=tenant,
            name="Ben",
            role="deployer",
            pass_sha256=api_keys.key_sha256(secret),
            expires_at=datetime.now(UTC) + timedelta(days=1),
            actor="test",
        )
        await staff.open_session(
            hidden.conn,
            pass_sha256=api_keys.key_sha256(secret),
            session_sha256=api_keys.key_sha256(secret),
            now=datetime.now(UTC),
            lifetime=timedelta(hours=1),
        )
        async with hidden.client() as client:
            cookie = {"Cookie": f'kerbstone-session="{secret}"'}
            page = await client.get("/", headers={"Accept": "text/html", **cookie})
        assert (NAME in page.text or SITE in page.text) is sees
        assert ("Restricted" in page.text) is sees


async def test_the_live_stream_knows_what_is_not_for_everybody(hidden: Hidden) -> None:
    changed = await changed_values(hidden.conn, datetime.now(UTC) - timedelta(hours=1))
    [one] = [one for one in changed if one.datastream_id == hidden.datastream]
    [theirs] = await access.councils_of(hidden.conn, "camden")
    assert (one.value, one.is_open, one.council_id) == (VALUE, False, theirs)
    assert one not in for_audience(changed, None, frozenset())
    assert one not in for_audience(
        changed, None, await access.councils_of(hidden.conn, "westminster")
    )
    assert one in for_audience(changed, None, frozenset({theirs}))


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer kbs_unknown"},
        {"Authorization": "Basic a2JzOg=="},
        {"X-API-Key": "kbs_unknown"},
        {"X-API-Key": "kbs_one", "Authorization": "Bearer kbs_two"},
    ],
)
@pytest.mark.parametrize("url", ["/", "/sensorthings/v1.1/Things", "/catalogue", "/live"])
async def test_a_bad_key_is_never_taken_for_none(
    hidden: Hidden, headers: dict[str, str], url: str
) -> None:
    async with hidden.client() as client:
        answer = await client.get(url, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Bearer realm="Kerbstone"')


async def test_what_a_key_opens_is_kept_by_no_shared_cache(hidden: Hidden) -> None:
    url = f"/sensorthings/v1.1/Datastreams({hidden.datastream})"
    async with hidden.client(hidden.camden) as client:
        answer = await client.get(url)
        assert answer.headers["cache-control"] == "private, no-cache"
        assert "Authorization" in answer.headers["vary"]
        again = await client.get(url, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
