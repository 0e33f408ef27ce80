"""A real browser before a real service over a seeded network.

Every page opened through `page` is watched: nothing may be asked of another host, and nothing
may be complained of on the console. Chromium is taken from KERBSTONE_CHROMIUM or /usr/bin.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    async_playwright,
)

from api.service import run
from api.settings import ApiSettings, EnrolmentSettings, OperatorSettings
from device_protocol.first_boot import draw_token, token_sha256
from storage.database import Connection, connect
from storage.embedded import EmbeddedDatabase, remove
from storage.migration import migrate
from storage.staff import add_pass
from tests.simulators.street import Street, seed

CHROMIUM = Path(os.environ.get("KERBSTONE_CHROMIUM", "/usr/bin/chromium"))
ARGUMENTS = [
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
]

Opener = Callable[..., AbstractAsyncContextManager["Watched"]]


@dataclass
class Service:
    """The web process, which a test may stop and start again on the same address."""

    dsn: str
    port: int
    region_root: Path
    _task: "asyncio.Task[None] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        operator = OperatorSettings(name="Three councils", email="help@example.org")
        enrolment = EnrolmentSettings(
            url_base="https://enrol.example.org:8445", region_root_file=self.region_root
        )
        settings = ApiSettings(dsn=self.dsn, port=self.port, operator=operator, enrolment=enrolment)
        self._task = asyncio.create_task(run(settings))
        async with httpx.AsyncClient() as client:
            for _ in range(300):
                with suppress(httpx.TransportError):
                    if (await client.get(f"{self.url}/healthz")).json().get("live"):
                        return
                if self._task.done():
                    self._task.result()
                await asyncio.sleep(0.05)
        raise AssertionError("the service did not become healthy within 15 s")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None


@dataclass
class Centre:
    """Service, network and database."""

    service: Service
    street: Street
    conn: Connection
    passes: dict[str, str]

    @property
    def url(self) -> str:
        return self.service.url

    def site(self, name: str) -> str:
        return f"{self.url}/sites/{self.street.things[name]}"


async def give_passes(conn: Connection) -> dict[str, str]:
    """Give Ben of Camden and Olu of the region a pass each; return them by name."""
    passes = {"Ben": draw_token(), "Olu": draw_token()}
    for name, secret in passes.items():
        await add_pass(
            conn,
            tenant="camden" if name == "Ben" else None,
            name=name,
            role="deployer" if name == "Ben" else "operator",
            pass_sha256=token_sha256(secret),
            expires_at=datetime.now(UTC) + timedelta(days=1),
            actor="operator test",
        )
    return passes


def write_region_root(path: Path) -> Path:
    """Write a certificate that stands for the region root; return its file."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Region root")])
    key, now = Ed25519PrivateKey.generate(), datetime.now(UTC)
    public = key.public_key()
    builder = x509.CertificateBuilder(name, name, public, 1, now, now + timedelta(days=1))
    path.write_bytes(builder.sign(key, None).public_bytes(Encoding.PEM))
    return path


@dataclass
class Watched:
    """A page, with what it asked of others and what it complained of."""

    page: Page
    context: BrowserContext
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    watching: bool = True

    def note_request(self, request: Request, host: str) -> None:
        if self.watching and urlsplit(request.url).netloc != host:
            self.foreign.append(request.url)

    def note_message(self, message: ConsoleMessage) -> None:
        if self.watching and message.type in ("error", "warning"):
            self.complaints.append(message.text)


@pytest.fixture(scope="session")
async def centre(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Centre]:
    async with running_centre(tmp_path_factory.mktemp("browser")) as running:
        yield running


@asynccontextmanager
async def running_centre(directory: Path) -> AsyncIterator[Centre]:
    """Run the service over a seeded street and a database of its own."""
    database = EmbeddedDatabase.start(directory)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    service = Service(database.dsn, port, write_region_root(directory / "region-root.pem"))
    try:
        await migrate(database.dsn)
        async with await connect(
            database.dsn, autocommit=True, application_name="kerbstone test"
        ) as conn:
            street = await seed(conn)
            passes = await give_passes(conn)
            await service.start()
            yield Centre(service, street, conn, passes)
    finally:
        await service.stop()
        database.stop()
        remove(directory)


@pytest.fixture(scope="session")
def chromium() -> Path:
    if not CHROMIUM.exists():
        pytest.fail(
            f"no browser at {CHROMIUM}: run `apt-get install -y chromium`, "
            "or set KERBSTONE_CHROMIUM to one",
            pytrace=False,
        )
    return CHROMIUM


@pytest.fixture(scope="session")
async def browser(chromium: Path) -> AsyncIterator[Browser]:
    arguments = [*ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with async_playwright() as playwright:
        made = await playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield made
        await made.close()


@pytest.fixture
def open_page(browser: Browser, centre: Centre) -> Opener:
    """Open a page of its own; leaving the block checks what was watched."""

    @asynccontextmanager
    async def opened(
        *,
        width: int = 1280,
        javascript: bool = True,
        allowed: Callable[[str], bool] = lambda _complaint: False,
    ) -> AsyncIterator[Watched]:
        context = await browser.new_context(
            viewport={"width": width, "height": 900},
            java_script_enabled=javascript,
            reduced_motion="reduce",
            accept_downloads=True,
        )
        page = await context.new_page()
        watched = Watched(page, context)
        host = urlsplit(centre.url).netloc
        page.on("request", lambda request: watched.note_request(request, host))
        page.on("console", watched.note_message)
        page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        try:
            yield watched
        finally:
            await context.close()
        assert watched.foreign == []
        assert [text for text in watched.complaints if not allowed(text)] == []

    return opened


@pytest.fixture
async def page(open_page: Opener) -> AsyncIterator[Page]:
    """A watched page, 1280 pixels wide."""
    async with open_page() as watched:
        yield watched.page
