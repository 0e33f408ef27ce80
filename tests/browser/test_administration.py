"""A deployer's day in a browser: sign in, invite, watch the first reading come, revoke."""

import io
import re
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from api.administration.invitation_sheet import SheetItem, render_sheet
from device_protocol.description import Datastream, GatewayDescription, Sensor, Thing
from device_protocol.first_boot import FirstBoot, draw_token, new_device_id
from storage.batches import notify_latest, update_seen
from storage.descriptions import Describer, store_description
from storage.quarantine import QuarantineRow, insert_quarantine
from storage.registry import add_gateway, announce, set_gateway_status
from tests.browser.conftest import Centre, Opener, Watched, running_centre
from tests.browser.test_every_page import (
    FOCUSED,
    INTERACTIVE,
    LOOK,
    OVERFLOWING,
    SCROLLS,
    TAGS,
    settled,
)
from tests.simulators.street import store

BLOOMSBURY = "bloomsbuk7q2m9"
SITES = "site,label,place_name\n" + "".join(
    f'ROW-{at},Column {at},"Gower Street, {at}"\n' for at in range(4)
)
BAD = ",nameless,\nROW-1,again,\n"

PAGES = {
    "sign in": "/sign-in?next=/administration/invite",
    "gateways": "/administration",
    "one gateway": f"/administration/gateways/{BLOOMSBURY}",
    "kept aside": "/administration/gateways/northkenk7q2m9/kept-aside",
    "settings": f"/administration/gateways/{BLOOMSBURY}/settings",
    "revoke": f"/administration/gateways/{BLOOMSBURY}/revoke",
    "invite": "/administration/invite",
    "upload": "/administration/upload",
    "invitations": "INVITED",
}


@pytest.fixture(scope="module")
async def centre(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Centre]:
    """A centre of its own: what is invited and revoked here, nobody else shall see."""
    async with running_centre(tmp_path_factory.mktemp("administration")) as running:
        yield running


async def sign_in(page: Page, centre: Centre, name: str) -> None:
    await page.goto(f"{centre.url}/sign-in")
    await page.get_by_label("Your pass").fill(centre.passes[name])
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Gateways of")


async def upload(page: Page, centre: Centre, text: str) -> None:
    await page.goto(f"{centre.url}/administration/upload")
    choice = page.get_by_label("Council", exact=True)
    if await choice.count():
        await choice.select_option("camden")
    file = {"name": "sites.csv", "mimeType": "text/csv", "buffer": text.encode()}
    await page.get_by_label("List of sites (CSV)").set_input_files(file)
    await page.get_by_role("button", name="Upload and invite").click()


@asynccontextmanager
async def shown(
    open_page: Opener, centre: Centre, name: str, *, width: int, javascript: bool = True
) -> AsyncIterator[Watched]:
    """One of `PAGES`, as the region's operator sees it."""
    async with open_page(width=width, javascript=javascript) as watched:
        await sign_in(watched.page, centre, "Olu")
        if PAGES[name] == "INVITED":
            sites = SITES.replace("ROW", f"{width}-{javascript}-{datetime.now(UTC):%H%M%S%f}")
            await upload(watched.page, centre, sites + BAD)
        else:
            await settled(watched.page, centre.url + PAGES[name])
        yield watched


@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("name", PAGES)
async def test_axe_finds_nothing_and_nothing_runs_over_the_edge(
    open_page: Opener, centre: Centre, name: str, width: int
) -> None:
    async with shown(open_page, centre, name, width=width) as watched:
        assert await watched.page.evaluate(OVERFLOWING) == []
        assert not await watched.page.evaluate(SCROLLS)
        watched.watching = False  # axe tries styles and style sheets of its own, in vain
        results = await Axe().run(
            watched.page, options={"runOnly": {"type": "tag", "values": TAGS}}
        )
        assert results.violations_count == 0, results.generate_report()


async def test_a_sensor_with_a_long_name_widens_no_form(open_page: Opener, centre: Centre) -> None:
    async with shown(open_page, centre, "settings", width=320) as watched:
        label = watched.page.locator("label.govuk-label").first
        await label.evaluate("e => { e.textContent = 'urn:dev:' + 'analyser'.repeat(12); }")
        assert not await watched.page.evaluate(SCROLLS)


@pytest.mark.parametrize("name", PAGES)
async def test_without_javascript_all_is_there_at_320_pixels(
    open_page: Opener, centre: Centre, name: str
) -> None:
    async with shown(open_page, centre, name, width=320, javascript=False) as watched:
        await expect(watched.page.get_by_role("heading", level=1)).to_be_visible()
        await expect(watched.page.get_by_role("button", name="Print the cards")).to_have_count(0)
        assert not await watched.page.evaluate(SCROLLS)
        assert await watched.page.evaluate(OVERFLOWING) == []


@pytest.mark.parametrize("name", PAGES)
async def test_everything_is_reached_by_keyboard_and_seen_to_be(
    open_page: Opener, centre: Centre, name: str
) -> None:
    async with shown(open_page, centre, name, width=1280) as watched:
        page = watched.page
        wanted = await page.evaluate(INTERACTIVE.replace("LOOK", LOOK))
        reached = {}
        for _ in range(len(wanted) + 10):
            await page.keyboard.press("Tab")
            focused = await page.evaluate(FOCUSED.replace("LOOK", LOOK))
            if focused is None or focused["number"] in reached:
                break
            reached[focused["number"]] = focused
        missing = [html for number, html in enumerate(wanted) if str(number) not in reached]
        assert missing == []
        assert [one["html"] for one in reached.values() if not one["visible"]] == []
        assert [one["html"] for one in reached.values() if not one["changed"]] == []


async def test_signing_in_leads_to_where_one_wanted_to_go_and_out_again(
    page: Page, centre: Centre
) -> None:
    await page.goto(f"{centre.url}/administration/invite")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    await page.keyboard.press("Tab")
    await page.get_by_label("Your pass").focus()
    await page.keyboard.type(centre.passes["Ben"].lower().replace("-", ""))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Invite a gateway")
    await expect(page.get_by_label("Council", exact=True)).to_have_count(0)
    await page.get_by_role("button", name="Sign out").press("Enter")
    await page.goto(f"{centre.url}/administration")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


async def test_a_wrong_pass_is_said_beside_its_box(open_page: Opener, centre: Centre) -> None:
    async with open_page(allowed=lambda text: "403" in text) as watched:
        page = watched.page
        await page.goto(f"{centre.url}/sign-in")
        await page.get_by_label("Your pass").fill("guess")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page).to_have_title(re.compile("^Error: Sign in"))
        await page.get_by_role("link", name="This pass cannot be used").click()
        await expect(page.get_by_label("Your pass")).to_be_focused()


@pytest.mark.parametrize("javascript", [True, False])
async def test_a_deployer_invites_by_file_and_takes_cards_and_files_home(
    open_page: Opener,
    centre: Centre,
    javascript: bool,  # noqa: FBT001
) -> None:
    sites = SITES.replace("ROW", f"FILE-{javascript}")
    async with open_page(javascript=javascript) as watched:
        page = watched.page
        await sign_in(page, centre, "Ben")
        await upload(page, centre, sites + ",nameless,\n")
        await expect(page.get_by_role("heading", level=1)).to_contain_text("4 invitations")
        await expect(page.locator("#bad-rows")).to_contain_text("Line 6")
        await expect(page.locator("#bad-rows")).to_contain_text("site is empty")
        cards = page.locator(".sheet-card")
        await expect(cards).to_have_count(4)
        tokens = await cards.locator(".sheet-card__token").all_inner_texts()
        async with page.expect_download() as downloading:
            await page.get_by_role("button", name="Download all first-boot files").click()
        packed = (await (await downloading.value).path()).read_bytes()
        with zipfile.ZipFile(io.BytesIO(packed)) as files:
            read = [FirstBoot.from_toml(files.read(one).decode()) for one in files.namelist()]
        assert sorted(one.token for one in read) == sorted(tokens)
        await upload(page, centre, sites)
        await expect(page.get_by_role("heading", level=1)).to_contain_text("No new invitations")
        await expect(page.locator("#outcome")).to_contain_text("4 left as they were")
        await expect(page.locator(".sheet-card")).to_have_count(0)


async def test_on_paper_there_are_only_cards(open_page: Opener, centre: Centre) -> None:
    async with shown(open_page, centre, "invitations", width=1280) as watched:
        page = watched.page
        await page.emulate_media(media="print")
        await expect(page.locator(".sheet-card").first).to_be_visible()
        for hidden in (".kb-staff", ".kb-breadcrumbs", "#outcome", "#bad-rows"):
            await expect(page.locator(hidden)).to_be_hidden()


def described(device: str) -> GatewayDescription:
    datastream = Datastream(
        name="no2",
        title="Nitrogen dioxide",
        description="At the kerb",
        observed_property="no2",
        unit="ug/m3",
        period_seconds=60,
    )
    sensor = Sensor(
        urn=f"urn:dev:test:{device}:analyser",
        name="Analyser",
        description="An analyser",
        metadata="",
        datastreams=(datastream,),
    )
    thing = Thing(
        urn=f"urn:dev:test:{device}:site",
        name=f"Site of {device}",
        description="A kerb",
        longitude=-0.13,
        latitude=51.52,
        place_name="Gower Street",
        sensors=(sensor,),
    )
    return GatewayDescription(things=(thing,))


async def start_work(centre: Centre, device: str) -> None:
    """Let an enrolled gateway describe itself and send its first reading."""
    cursor = await centre.conn.execute(
        "SELECT id, council_id FROM gateway WHERE device = %s", (device,)
    )
    [(gateway_id, council_id)] = await cursor.fetchall()
    now = datetime.now(UTC)
    who = Describer(gateway_id=gateway_id, council_id=council_id, described_at=int(now.timestamp()))
    async with centre.conn.transaction():
        await store_description(centre.conn, who, described(device), bytes(32))
    cursor = await centre.conn.execute(
        "SELECT datastream.id FROM datastream JOIN thing ON thing.id = thing_id"
        " WHERE gateway_id = %s",
        (gateway_id,),
    )
    [(datastream_id,)] = await cursor.fetchall()
    await store(centre.conn, {datastream_id: [(now, 41.5)]})
    await centre.conn.execute(
        "INSERT INTO signed_batch (epoch_id, seq, message_hash, gateway_id, signer_kid,"
        " content_format, signed, readings)"
        " SELECT epoch_id, 500000 + %(id)s, message_hash, %(id)s, signer_kid, content_format,"
        " signed, readings FROM signed_batch WHERE readings > 0 LIMIT 1",
        {"id": gateway_id},
    )
    await update_seen(centre.conn, {gateway_id: int(now.timestamp())})
    await notify_latest(centre.conn)


@pytest.mark.parametrize("javascript", [True, False])
async def test_the_first_reading_appears_by_itself_within_ten_seconds(
    open_page: Opener,
    centre: Centre,
    javascript: bool,  # noqa: FBT001
) -> None:
    device = f"first{str(javascript).lower()}"
    await add_gateway(centre.conn, tenant="camden", device=device, label="A new one")
    async with open_page(javascript=javascript) as watched:
        page = watched.page
        await sign_in(page, centre, "Ben")
        await page.goto(f"{centre.url}/administration/gateways/{device}")
        await expect(page.locator("#expected")).to_contain_text("Waiting for its first reading")
        await start_work(centre, device)
        await expect(page.locator("#readings")).to_contain_text("41.5", timeout=10_000)
        await expect(page.locator("#facts")).to_contain_text("Working", timeout=10_000)


async def test_reloading_by_itself_can_be_stopped(open_page: Opener, centre: Centre) -> None:
    await add_gateway(centre.conn, tenant="camden", device="patient")
    async with open_page(javascript=False) as watched:
        page = watched.page
        await sign_in(page, centre, "Ben")
        await page.goto(f"{centre.url}/administration/gateways/patient")
        assert "http-equiv" in await page.content()
        await page.get_by_role("link", name="Stop reloading").click()
        assert "http-equiv" not in await page.content()


async def test_a_revocation_is_confirmed_and_shown_at_once_on_the_status_page(
    open_page: Opener, centre: Centre
) -> None:
    await add_gateway(centre.conn, tenant="camden", device="leaving", label="The leaving one")
    async with open_page() as onlooker, open_page() as watched:
        await onlooker.page.goto(f"{centre.url}/status")
        row = onlooker.page.locator("tr", has_text="The leaving one")
        await expect(row).to_contain_text("Not heard yet")
        page = watched.page
        await sign_in(page, centre, "Ben")
        await page.goto(f"{centre.url}/administration/gateways/leaving")
        await page.get_by_role("button", name="Revoke").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Revoke The leaving one?")
        await page.get_by_label("Why?").fill("Stolen from its column")
        await page.get_by_role("button", name="Revoke this gateway").click()
        await expect(page.get_by_role("alert").first).to_contain_text("The gateway is revoked.")
        await expect(page.locator("#facts")).to_contain_text("Stolen from its column")
        await expect(row).to_contain_text("Revoked", timeout=4000)
        message = QuarantineRow(
            received_at=int(datetime.now(UTC).timestamp()),
            tenant="camden",
            device="leaving",
            reason="revoked",
            detail="status revoked",
            topic="snaas/1/camden/leaving/d/main",
            message=bytes(500),
        )
        await insert_quarantine(centre.conn, [message])
        await page.reload()
        await page.get_by_role("link", name="1 message or reading").click()
        await expect(page.locator("main")).to_contain_text("Whole message, 500 bytes")


async def test_a_gateway_page_shows_what_others_do_without_a_reload(
    page: Page, centre: Centre
) -> None:
    await add_gateway(centre.conn, tenant="camden", device="watched", label="The watched one")
    await sign_in(page, centre, "Ben")
    await page.goto(f"{centre.url}/administration/gateways/watched")
    await expect(page.locator("#facts")).to_contain_text("Waiting for first reading")
    await set_gateway_status(
        centre.conn, device="watched", status="suspended", actor="operator test", reason="Opened"
    )
    await announce(centre.conn, "watched")
    await expect(page.locator("#facts")).to_contain_text("Opened", timeout=4000)
    await expect(page.get_by_role("button", name="Resume")).to_be_visible()


async def test_four_cards_go_onto_a_sheet_of_paper(page: Page) -> None:
    items = [
        SheetItem(
            first_boot=FirstBoot(
                url="https://enrol.north-london.example.org:8445/.well-known/est/camden",
                tenant="camden",
                device=new_device_id(),
                token=draw_token(),
                region_root_sha256=bytes(range(32)),
            ),
            council="Camden",
            site=f"LC-{number:04}",
            label=f"Lamp column {number}, Gower Street",
            place_name="Gower Street, by the hospital",
            expires_at=datetime.now(UTC),
        )
        for number in range(8)
    ]
    await page.set_content(render_sheet("North London", items, embed_style=True))
    printed = await page.pdf(prefer_css_page_size=True)
    assert re.findall(rb"/Count (\d+)", printed) == [b"2"]
