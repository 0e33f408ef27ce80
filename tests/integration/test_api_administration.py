"""Administration over a real database: who may do what, and that what is done is done."""

import hashlib
import io
import json
import logging
import re
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import unescape

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from api.service import open_app
from api.session import FORM_BYTES
from api.settings import ApiSettings, EnrolmentSettings
from api.sign_in import WRONG
from device_protocol.first_boot import FirstBoot, draw_token, token_sha256
from storage import audit
from storage.configurations import configuration_states
from storage.database import Connection, connect
from storage.invitations import invite, redeem
from storage.network_view import gateway_facts
from storage.quarantine import QuarantineRow, insert_quarantine
from storage.registry import add_council, add_gateway, gateways
from storage.site_list import Site
from storage.staff import add_pass, withdraw_pass
from tests.integration.conftest import DatabaseServer

ORIGIN = "http://localhost"
HTML = {"Accept": "text/html"}
OURS = {**HTML, "Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
AT_WORK, INVITED, FOREIGN = "camdenwork", "camdeninvited", "leedswork"
URL_BASE = "https://enrol.example.org:8445"
REGION = ("The region", None)

HEALTH_OF = """
    WITH gateway AS (
        SELECT id, council_id, 'urn:dev:kerbstone:' || device || ':health' AS urn
          FROM gateway WHERE device = %(device)s
    ), thing AS (
        INSERT INTO thing (council_id, gateway_id, urn, name, description)
        SELECT council_id, id, urn, 'Gateway', '' FROM gateway RETURNING id
    ), sensor AS (
        INSERT INTO sensor (council_id, gateway_id, urn, name, description)
        SELECT council_id, id, urn, 'Gateway', '' FROM gateway RETURNING id
    ), property AS (
        INSERT INTO observed_property (key, name, definition, description)
        VALUES ('adapters_failing', 'Failing', 'urn:x:failing', '')
            ON CONFLICT (key) DO UPDATE SET name = observed_property.name RETURNING id
    ), datastream AS (
        INSERT INTO datastream (council_id, thing_id, sensor_id, observed_property_id, short_name,
                                name, description, unit, averaging_seconds, period_seconds)
        SELECT council_id, thing.id, sensor.id, property.id, 'adapters_failing', 'Failing', '',
               'count', 0, 60
          FROM gateway, thing, sensor, property RETURNING id
    )
    INSERT INTO latest (datastream_id, time, value) SELECT id, now(), 2 FROM datastream
"""
"""A gateway's health with one value: two of its sensors fail."""

Form = Mapping[str, str]


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


@dataclass
class Person:
    """Somebody with a browser of their own."""

    client: httpx.AsyncClient
    name: str
    secret: str
    number: int
    csrf: str = field(default="")

    async def sign_in(self) -> None:
        page = await self.client.get("/sign-in", headers=HTML)
        answer = await self.client.post(
            "/sign-in", data={"csrf": csrf_in(page.text), "pass": self.secret}, headers=OURS
        )
        assert answer.status_code == 303, answer.text
        self.csrf = csrf_in((await self.client.get("/administration", headers=HTML)).text)

    async def get(self, url: str) -> httpx.Response:
        return await self.client.get(url, headers=HTML)

    async def page(self, url: str, status: int = 200) -> str:
        answer = await self.get(url)
        assert answer.status_code == status, answer.text
        return text_of(answer.text)

    async def post(
        self, url: str, form: Form, *, file: bytes | None = None, csrf: str | None = None
    ) -> httpx.Response:
        sent = {**form, "csrf": self.csrf if csrf is None else csrf}
        files = None if file is None else {"file": ("sites.csv", file, "text/csv")}
        return await self.client.post(url, data=sent, files=files, headers=OURS)


def csrf_in(html: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', html)
    assert found, html
    return found.group(1)


@dataclass
class Office:
    """A running application with two councils and the people of each."""

    app: FastAPI
    conn: Connection
    people: dict[str, Person]
    visitor: httpx.AsyncClient
    root: x509.Certificate

    @property
    def ben(self) -> Person:
        return self.people["Ben"]

    async def status_of(self, device: str) -> str:
        [facts] = await gateway_facts(self.conn, device=device)
        return facts.status

    async def state(self) -> list[object]:
        """Everything that a page could change."""
        shown: list[object] = [
            (one.device, one.site, one.status, one.label) for one in await gateway_facts(self.conn)
        ]
        for read in (
            "SELECT * FROM enrolment_token ORDER BY id",
            "SELECT * FROM gateway_configuration ORDER BY gateway_id, version",
        ):
            shown += await (await self.conn.execute(read)).fetchall()
        return shown

    async def gateway(self, device: str, label: str = "") -> str:
        """Return the page of a new gateway of Camden's that is at work."""
        await add_gateway(self.conn, tenant="camden", device=device, label=label)
        return f"/administration/gateways/{device}"

    @asynccontextmanager
    async def newcomer(self, name: str, tenant: str | None) -> AsyncIterator[Person]:
        """Somebody more, who has signed in."""
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            person = await hire(self.conn, client, name, tenant)
            await person.sign_in()
            yield person


def region_root() -> x509.Certificate:
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Region root")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(1))
    return builder.sign(key, None)


async def furnish(conn: Connection) -> None:
    for gss, tenant, name in (
        ("E09000007", "camden", "Camden"),
        ("E08000035", "leeds", "Leeds"),
    ):
        await add_council(conn, gss=gss, tenant=tenant, name=name)
    await add_gateway(conn, tenant="camden", device=AT_WORK, label="Gower Street")
    await add_gateway(conn, tenant="leeds", device=FOREIGN, label="The Headrow")
    sites = [Site(site="LC-1", label="Tavistock Square")]
    [one] = await invite(conn, tenant="camden", sites=sites, actor="operator test")
    await conn.execute("UPDATE gateway SET device = %s WHERE device = %s", (INVITED, one.device))


async def hire(
    conn: Connection, client: httpx.AsyncClient, name: str, tenant: str | None
) -> Person:
    secret = draw_token()
    number = await add_pass(
        conn,
        tenant=tenant,
        name=name,
        role="deployer" if tenant else "operator",
        pass_sha256=token_sha256(secret),
        expires_at=datetime.now(UTC) + timedelta(days=1),
        actor="operator test",
    )
    return Person(client, name, secret, number)


@pytest.fixture(scope="module")
async def office(
    database_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Office]:
    dsn = await database_server.create()
    root = region_root()
    root_file = tmp_path_factory.mktemp("office") / "region-root.pem"
    root_file.write_bytes(root.public_bytes(Encoding.PEM))
    settings = ApiSettings(
        dsn=dsn, enrolment=EnrolmentSettings(url_base=URL_BASE, region_root_file=root_file)
    )
    async with AsyncExitStack() as stack:
        conn = await stack.enter_async_context(
            await connect(dsn, autocommit=True, application_name="kerbstone test")
        )
        await furnish(conn)
        app = await stack.enter_async_context(open_app(settings))

        async def browser() -> httpx.AsyncClient:
            transport = httpx.ASGITransport(app)
            return await stack.enter_async_context(
                httpx.AsyncClient(transport=transport, base_url=ORIGIN)
            )

        people = {}
        for name, tenant in (("Ben", "camden"), ("Lea", "leeds"), ("Olu", None)):
            people[name] = await hire(conn, await browser(), name, tenant)
            await people[name].sign_in()
        yield Office(app, conn, people, await browser(), root)
    await database_server.drop(dsn)


GATEWAY_PATHS = ["", "/kept-aside", "/settings", "/invite", "/suspend", "/resume", "/revoke"]
READ = [
    ("/administration", ""),
    ("/administration?council={tenant}", "council"),
    ("/administration/invite", ""),
    ("/administration/upload", ""),
    *((f"/administration/gateways/{{device}}{path}", "device") for path in GATEWAY_PATHS),
]
CHANGE: list[tuple[str, Form, str]] = [
    ("/administration/invite", {"council": "{tenant}", "site": "LC-9"}, "council"),
    ("/administration/upload", {"council": "{tenant}"}, "council"),
    ("/administration/first-boot.zip", {"invitations": "{uri}"}, "council"),
    ("/administration/gateways/{device}/settings", {"setting rekey": "yes"}, "device"),
    ("/administration/gateways/{device}/invite", {}, "device"),
    ("/administration/gateways/{device}/suspend", {"reason": "a test"}, "device"),
    ("/administration/gateways/{device}/resume", {}, "device"),
    ("/administration/gateways/{device}/revoke", {"reason": "a test"}, "device"),
]
OF_CAMDEN = {
    "tenant": "camden",
    "device": AT_WORK,
    "uri": FirstBoot(
        url=f"{URL_BASE}/.well-known/est/camden",
        tenant="camden",
        device=AT_WORK,
        token=draw_token(),
        region_root_sha256=bytes(32),
    ).to_uri(),
}


def filled(form: Form) -> dict[str, str]:
    return {name: value.format(**OF_CAMDEN) for name, value in form.items()}


def csv_of(url: str) -> bytes | None:
    return b"site\nLC-9\n" if url.endswith("/upload") else None


def routes_of(router: APIRouter) -> Iterator[APIRoute]:
    """Every route, also of the routers that were included."""
    for one in router.routes:
        if isinstance(one, APIRoute):
            yield one
        elif included := getattr(one, "original_router", None):
            yield from routes_of(included)


async def test_every_route_of_administration_stands_in_these_tables(office: Office) -> None:
    """A route that is added must be added to the tables above, and is then held to them."""
    found = {
        (method, route.path.replace("{change}", "revoke"))
        for route in routes_of(office.app.router)
        if route.path.startswith("/administration")
        for method in route.methods or ()
    }
    listed = {("GET", url.partition("?")[0]) for url, _ in READ}
    listed |= {("POST", url) for url, _, _ in CHANGE}
    listed = {(method, re.sub(r"/(suspend|resume)$", "/revoke", url)) for method, url in listed}
    assert found == listed


@pytest.mark.parametrize(("url", "foreign"), READ)
async def test_pages_need_a_session_and_the_right_council(
    office: Office, url: str, foreign: str
) -> None:
    url = url.format(**OF_CAMDEN)
    answer = await office.visitor.get(url, headers=HTML)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?next=/administration")
    answer = await office.people["Lea"].get(url)
    assert answer.status_code == (403 if foreign else 200)
    if foreign:
        assert "Gower Street" not in answer.text
        [entry] = await audit.entries(office.conn, tenant="camden", limit=1)
        assert entry.action == "administration.refuse"
        assert entry.subject == OF_CAMDEN["tenant" if foreign == "council" else "device"]
        assert entry.actor.endswith("(Lea, leeds)")


@pytest.mark.parametrize(("url", "form", "foreign"), CHANGE)
async def test_changes_need_a_session_our_own_form_and_the_right_council(
    office: Office, url: str, form: Form, foreign: str
) -> None:
    url = url.format(**OF_CAMDEN)
    form, file = filled(form), csv_of(url)
    before = await office.state()

    answer = await office.visitor.post(url, data={**form, "csrf": "0" * 64}, headers=OURS)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")

    ben = office.ben
    for csrf in ("", "0" * 64, office.people["Lea"].csrf):
        assert (await ben.post(url, form, file=file, csrf=csrf)).status_code == 403
    files = None if file is None else {"file": ("sites.csv", file, "text/csv")}
    for headers in (
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"},
        {"Referer": f"{ORIGIN}/administration"},
    ):
        answer = await ben.client.post(
            url, data={**form, "csrf": ben.csrf}, files=files, headers={**HTML, **headers}
        )
        assert answer.status_code == 403, headers
    assert (await office.people["Lea"].post(url, form, file=file)).status_code == 403
    [entry] = await audit.entries(office.conn, tenant="camden", limit=1)
    assert (entry.action, entry.detail["path"]) == ("administration.refuse", url)

    assert await office.state() == before


@pytest.mark.parametrize("who", ["Ben", "Olu"])
async def test_the_council_itself_and_the_region_may(office: Office, who: str) -> None:
    person = office.people[who]
    device = f"kept{who.lower()}"
    home = await office.gateway(device)
    answer = await person.post(f"{home}/suspend", {"reason": "it was opened"})
    assert answer.status_code == 303
    assert await office.status_of(device) == "suspended"
    page = await person.page(answer.headers["location"])
    assert "The gateway is suspended." in page
    assert "it was opened" in page
    [row] = await gateways(office.conn, device)
    assert row.status == "suspended"
    assert (await person.post(f"{home}/resume", {})).status_code == 303
    assert await office.status_of(device) == "active"
    entries = await audit.entries(office.conn, subject=device)
    assert [one.action for one in entries] == ["gateway.resume", "gateway.suspend"]
    tenant = "camden" if who == "Ben" else "region"
    assert {one.actor for one in entries} == {f"staff {person.number} ({who}, {tenant})"}


async def test_a_deployer_sees_only_the_own_council_and_the_region_all(office: Office) -> None:
    mine = await office.ben.page("/administration")
    assert "Gateways of Camden" in mine
    assert "Gower Street" in mine
    assert "Headrow" not in mine
    everything = await office.people["Olu"].page("/administration")
    assert "Gower Street" in everything
    assert "Headrow" in everything


async def test_reading_pages_stay_open(office: Office) -> None:
    for url in ("/", "/status", "/about-data"):
        assert (await office.visitor.get(url, headers=HTML)).status_code == 200


async def test_revocation_says_what_it_does_and_cannot_be_undone(office: Office) -> None:
    home = await office.gateway("stolen", "Lamb Street")
    page = await office.ben.page(f"{home}/revoke")
    assert "Revoke Lamb Street?" in page
    assert "never comes back" in page
    assert (await office.ben.post(f"{home}/revoke", {})).status_code == 400
    assert await office.status_of("stolen") == "active"
    await office.ben.post(f"{home}/revoke", {"reason": "stolen"})
    assert await office.status_of("stolen") == "revoked"
    for change in ("suspend", "resume", "revoke"):
        assert (await office.ben.get(f"{home}/{change}")).status_code == 409
    for change in ("suspend", "resume"):
        answer = await office.ben.post(f"{home}/{change}", {"reason": "again"})
        assert answer.status_code == 409
    assert (await office.ben.get(f"{home}/settings")).status_code == 409
    assert await office.status_of("stolen") == "revoked"
    status = text_of((await office.visitor.get("/status", headers=HTML)).text)
    assert "Revoked" in status.split("Lamb Street")[1][:80]


async def test_what_a_revoked_gateway_still_sends_can_be_inspected(office: Office) -> None:
    homes = {device: await office.gateway(device) for device in ("noisy", "quiet")}
    now = int(datetime.now(UTC).timestamp())
    rows = [
        QuarantineRow(
            received_at=now - at,
            tenant="camden",
            device="noisy",
            reason="revoked",
            detail="status revoked",
            topic="snaas/1/camden/noisy/d/main",
            message=bytes(1234),
        )
        for at in (1, 2)
    ]
    await insert_quarantine(office.conn, rows)
    assert "2 messages or readings" in await office.ben.page(homes["noisy"])
    page = await office.ben.page(f"{homes['noisy']}/kept-aside")
    assert page.count("Whole message, 1,234 bytes") == 2
    assert "The gateway has been revoked or suspended." in page
    nothing = await office.ben.page(f"{homes['quiet']}/kept-aside")
    assert "Nothing of this gateway has been kept aside." in nothing


async def test_how_a_gateway_fares_is_told_on_its_page_alone(office: Office) -> None:
    homes = {device: await office.gateway(device) for device in ("unwell", "unheard")}
    await office.conn.execute(HEALTH_OF, {"device": "unwell"})
    page = await office.ben.page(homes["unwell"])
    assert "Sensors that fail 2" in page
    assert "Look into it" in page
    assert page.index("How it fares") < page.index("Sensors that fail")
    assert "It has not said anything of itself yet." in await office.ben.page(homes["unheard"])


async def test_an_invitation_shows_its_token_once_and_its_file_enrols(office: Office) -> None:
    form = {"council": "camden", "site": "LC-2", "label": "Museum <b>", "longitude": "-0.13"}
    assert "come together" in text_of((await office.ben.post("/administration/invite", form)).text)
    form["latitude"] = "51.52"
    answer = await office.ben.post("/administration/invite", form)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert "<b>" not in answer.text
    assert "style=" not in answer.text
    [uri] = re.findall(r'name="invitations" value="([^"]+)"', answer.text)
    first_boot = FirstBoot.from_uri(unescape(uri))
    sha256 = hashlib.sha256(office.root.public_bytes(Encoding.DER)).digest()
    assert first_boot.region_root_sha256 == sha256
    assert first_boot.url == f"{URL_BASE}/.well-known/est/camden"
    assert first_boot.token in answer.text
    assert answer.text.count("<svg viewBox") == 1

    packed = await office.ben.post("/administration/first-boot.zip", {"invitations": unescape(uri)})
    with zipfile.ZipFile(io.BytesIO(packed.content)) as files:
        [name] = files.namelist()
        assert FirstBoot.from_toml(files.read(name).decode()) == first_boot

    now = datetime.now(UTC)
    async with office.conn.transaction():
        token = await redeem(
            office.conn,
            tenant="camden",
            device=first_boot.device,
            token_sha256=token_sha256(first_boot.token),
            now=now,
        )
    assert token.device == first_boot.device

    again = await office.ben.post("/administration/invite", form)
    assert first_boot.token not in again.text
    assert "No new invitations" in again.text
    assert first_boot.token not in await office.ben.page(
        f"/administration/gateways/{first_boot.device}"
    )


async def test_inviting_again_ends_the_earlier_token(office: Office) -> None:
    url = f"/administration/gateways/{INVITED}/invite"
    assert "earlier token" in await office.ben.page(url)
    before = await open_tokens(office.conn, INVITED)
    answer = await office.ben.post(url, {})
    assert "1 invited again" in text_of(answer.text)
    after = await open_tokens(office.conn, INVITED)
    assert len(before) == len(after) == 1
    assert after != before
    assert (await office.ben.get(f"/administration/gateways/{AT_WORK}/invite")).status_code == 409


async def open_tokens(conn: Connection, device: str) -> list[bytes]:
    cursor = await conn.execute(
        "SELECT token_sha256 FROM enrolment_token JOIN gateway ON gateway.id = gateway_id"
        " WHERE device = %s AND withdrawn_at IS NULL",
        (device,),
    )
    return [sha256 for (sha256,) in await cursor.fetchall()]


async def test_of_a_file_bad_rows_are_named_and_good_ones_kept_once(office: Office) -> None:
    good = "".join(f"LC-{at},Column {at},,\n" for at in range(100, 300))
    file = f"site,label,longitude,latitude\n{good},nameless,,\nLC-100,twice,,\nLC-7,,200,51\n"
    answer = await office.ben.post(
        "/administration/upload", {"council": "camden"}, file=file.encode()
    )
    page = text_of(answer.text)
    assert "200 invitations" in page
    for line, why in ((202, "site is empty"), (203, "line 2 already"), (204, "longitude 200")):
        assert re.search(rf"Line {line} \S+ [^.]*{why}", page), page[:2000]
    assert answer.text.count('class="sheet-card"') == 200
    tokens = set(re.findall(r'sheet-card__token">([0-9A-Z-]{30})<', answer.text))
    assert len(tokens) == 200

    before = await office.state()
    answer = await office.ben.post(
        "/administration/upload", {"council": "camden"}, file=file.encode()
    )
    assert "200 left as they were" in text_of(answer.text)
    assert "sheet-card" not in answer.text.split("<main")[1]
    assert await office.state() == before
    total = len(await gateway_facts(office.conn, tenant="camden"))
    last = await office.ben.page("/administration?page=5")
    assert f"201 to {total} of {total} gateways" in last
    assert "1 gateway." in await office.ben.page("/administration?q=LC-123")
    columns = await office.ben.page("/administration?status=invited&q=column&page=2")
    assert "51 to 100 of 200 gateways" in columns


@pytest.mark.parametrize(
    ("file", "status", "why"),
    [
        (b"", 400, "choose a file"),
        (b"asset,name\n1,2\n", 400, "unknown: &#39;asset&#39;"),
        ("site\nGro\u00dfe\n".encode("latin-1"), 400, "line 2 is not UTF-8"),
        (b"site\n" + b"".join(b"S%d\n" % at for at in range(1001)), 400, "split the file"),
        (b"site\n" + b"x" * FORM_BYTES, 413, "larger than the limit"),
        (None, 400, "choose a file"),
    ],
)
async def test_a_file_that_cannot_be_used_is_explained(
    office: Office, file: bytes | None, status: int, why: str
) -> None:
    before = await office.state()
    answer = await office.ben.post("/administration/upload", {"council": "camden"}, file=file)
    assert answer.status_code == status
    assert why in answer.text
    assert await office.state() == before


async def test_settings_are_asked_for_within_what_a_gateway_follows(office: Office) -> None:
    home = await office.gateway("tunable")
    url = f"{home}/settings"
    for value in ("901", "many", "nan"):
        answer = await office.ben.post(url, {"setting uplink.batch_seconds": value})
        assert answer.status_code == 400
        assert "Give a number from 0 to 900 seconds." in answer.text
    assert (await office.ben.post(url, {})).status_code == 400
    assert (await office.ben.post(url, {"setting uplink.window": "1"})).status_code == 400
    assert await configuration_states(office.conn, "tunable") == []
    sent = {"setting uplink.batch_seconds": "2.5", "setting uplink.batch_readings": "10"}
    answer = await office.ben.post(url, sent)
    assert answer.status_code == 303
    [state] = await configuration_states(office.conn, "tunable")
    assert state.settings == {"uplink.batch_seconds": 2.5, "uplink.batch_readings": 10}
    assert json.dumps(state.settings["uplink.batch_readings"]) == "10"
    assert "Asked for; waits to be signed" in await office.ben.page(home)
    assert 'value="2.5"' in (await office.ben.get(url)).text


async def test_signing_out_ends_the_session_and_a_withdrawn_pass_every_session(
    office: Office,
) -> None:
    async with office.newcomer("Una", "camden") as una, office.newcomer("Max", None) as other:
        cookie = dict(una.client.cookies)
        assert (await una.post("/sign-out", {})).status_code == 303
        una.client.cookies.update(cookie)
        assert (await una.get("/administration")).status_code == 303
        assert (await other.get("/administration")).status_code == 200
        await withdraw_pass(office.conn, pass_id=other.number, actor="operator test")
        assert (await other.get("/administration")).status_code == 303


async def test_wrong_passes_look_alike_and_are_limited(office: Office) -> None:
    async with office.newcomer("Wil", "camden") as wil:
        await withdraw_pass(office.conn, pass_id=wil.number, actor="operator test")
    async with open_app(office.app.state.settings) as app:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            form = {"csrf": csrf_in((await client.get("/sign-in", headers=HTML)).text)}
            pages = set()
            for secret in ("", "nonsense", draw_token(), wil.secret):
                answer = await client.post("/sign-in", data={**form, "pass": secret}, headers=OURS)
                assert answer.status_code == 403
                pages.add(answer.text)
            [page] = pages
            assert WRONG in unescape(page)
            for _ in range(6):
                await client.post("/sign-in", data={**form, "pass": draw_token()}, headers=OURS)
            right = {**form, "pass": office.ben.secret}
            answer = await client.post("/sign-in", data=right, headers=OURS)
            assert answer.status_code == 429
            assert 0 < int(answer.headers["retry-after"]) <= 900


async def test_signing_in_is_bound_to_the_browser_that_asked(office: Office) -> None:
    other = csrf_in((await office.visitor.get("/sign-in", headers=HTML)).text)
    office.visitor.cookies.clear()
    await office.visitor.get("/sign-in", headers=HTML)
    form = {"csrf": other, "pass": office.ben.secret}
    assert (await office.visitor.post("/sign-in", data=form, headers=OURS)).status_code == 403
    assert not any("session" in name for name in office.visitor.cookies)


async def test_a_name_that_was_made_to_point_here_is_refused(office: Office) -> None:
    for host in ("evil.example", "localhost.evil.example", "evil.example:80", ""):
        answer = await office.visitor.get("/status", headers={"Host": host})
        assert answer.status_code == 421, host
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    for host in ("localhost:8080", "127.0.0.1", "[::1]:8080"):
        answer = await office.visitor.get("/accessibility", headers={"Host": host})
        assert answer.status_code == 200, host


@pytest.mark.parametrize(
    ("base_url", "status"),
    [
        ("", 403),
        ("http://kerb.example.org", 403),
        ("https://kerb.example.org", 200),
        ("http://localhost:8080", 200),
    ],
)
async def test_no_pass_is_taken_where_it_can_be_read_on_its_way(
    office: Office, base_url: str, status: int
) -> None:
    settings = ApiSettings(
        dsn=office.app.state.settings.database,
        host="0.0.0.0",  # noqa: S104 - what is tried
        base_url=base_url,
    )
    async with open_app(settings) as app:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            page = await client.get("/sign-in", headers=HTML)
            assert page.status_code == status
            assert ("unprotected" in page.text) is (status == 403)
            answer = await client.post("/sign-in", data={"pass": office.ben.secret}, headers=OURS)
            assert answer.status_code == 403
            assert (await client.get("/status", headers=HTML)).status_code == 200


async def test_no_log_line_holds_a_pass_a_session_or_a_token(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = draw_token()
    async with office.newcomer("Lou", "camden") as lou:
        form = {"csrf": csrf_in((await lou.get("/sign-in")).text), "pass": wrong}
        assert (await lou.client.post("/sign-in", data=form, headers=OURS)).status_code == 403
        session = lou.client.cookies["kerbstone-session"]
        invited = await lou.post("/administration/invite", {"council": "camden", "site": "Log 1"})
        [token] = re.findall(r"[0-9A-Z]{5}(?:-[0-9A-Z]{5}){3}-[0-9A-Z]{6}", text_of(invited.text))[
            :1
        ]
        again = await lou.post("/administration/invite", {"council": "leeds", "site": "Log 2"})
        assert again.status_code == 403
        secrets = [wrong, lou.secret, session, lou.csrf, token]
    said = json.dumps([vars(record) for record in caplog.records if of_ours(record)], default=str)
    assert "sign-in refused" in said
    kept = json.dumps([dict(entry.detail) for entry in await audit.entries(office.conn)])
    for secret in secrets:
        assert secret[:6] not in said + kept
        assert secret[-6:] not in said + kept


def of_ours(record: logging.LogRecord) -> bool:
    """Tell what the service says from what the client of the test says."""
    return not record.name.startswith(("httpx", "httpcore"))


async def test_over_tls_the_cookie_is_for_this_host_alone(
    office: Office, database_server: DatabaseServer
) -> None:
    settings = ApiSettings(
        dsn=office.app.state.settings.database, base_url="https://kerb.example.org"
    )
    async with open_app(settings) as app:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="https://kerb.example.org"
        ) as client:
            page = await client.get("/sign-in", headers=HTML)
            form = {"csrf": csrf_in(page.text), "pass": office.ben.secret}
            headers = {**OURS, "Origin": "https://kerb.example.org"}
            answer = await client.post("/sign-in", data=form, headers=headers)
            assert answer.status_code == 303
            [cookie] = [one for one in answer.headers.get_list("set-cookie") if "session" in one]
            assert cookie.startswith("__Host-kerbstone-session=")
            for part in ("HttpOnly", "SameSite=strict", "Secure", "Path=/", "Max-Age=43200"):
                assert part in cookie
            assert "Domain" not in cookie
            page = await client.get("/administration/invite", headers=HTML)
            assert "cannot invite gateways yet" in page.text
            form = {"csrf": csrf_in(page.text), "council": "camden", "site": "LC-5"}
            answer = await client.post("/administration/invite", data=form, headers=headers)
            assert answer.status_code == 503
    assert "LC-5" not in {one.site for one in await gateway_facts(office.conn)}
