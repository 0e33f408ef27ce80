"""Somebody with a browser, in an office of two councils; what pages show."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import unescape

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from fastapi import FastAPI

from device_protocol.first_boot import draw_token, token_sha256
from storage.database import Connection
from storage.invitations import invite
from storage.network_view import gateway_facts
from storage.registry import add_council, add_gateway
from storage.site_list import Site
from storage.staff import add_pass

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
