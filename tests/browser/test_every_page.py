"""What holds on every page: axe, 320 pixels, keyboard alone, no JavaScript, our own host, Arial."""

from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.browser.conftest import Centre, Opener

PAGES = {
    "overview": "/",
    "one council": "/?council=kensington&property=no2",
    "site": "SITE",
    "site, 90 days": "SITE?from=2026-01-01T00:00Z&to=2026-03-31T00:00Z",
    "status": "/status",
    "open data": "/open-data",
    "about the data": "/about-data",
    "accessibility": "/accessibility",
    "API documentation": "/docs",
    "not found": "/nowhere",
}
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

INTERACTIVE = """() => {
    // Everything a person can act on, visible now, each with a number of its own.
    const all = document.querySelectorAll(
        "a[href], button, input, select, textarea, summary, [tabindex]:not([tabindex='-1'])");
    return [...all].filter((element) => element.checkVisibility({ visibilityProperty: true })
            && !element.disabled && element.tabIndex >= 0)
        .map((element, number) => {
            element.dataset.testNumber = number;
            const style = getComputedStyle(element);
            element.dataset.testLook = LOOK(style);
            return element.outerHTML.slice(0, 120);
        });
}"""
LOOK = "((s) => [s.outline, s.boxShadow, s.backgroundColor, s.borderColor].join('|'))"
FOCUSED = """() => {
    const element = document.activeElement;
    if (!element || element === document.body) {
        return null;
    }
    const box = element.getBoundingClientRect();
    return {
        number: element.dataset.testNumber,
        changed: LOOK(getComputedStyle(element)) !== element.dataset.testLook,
        visible: box.width > 0 && box.height > 0,
        html: element.outerHTML.slice(0, 120),
    };
}"""
OVERFLOWING = """() => {
    const wide = document.documentElement.clientWidth;
    const hidden = (element) => {
        // Inside a box that clips on purpose (map, chart), or hidden for the eye.
        for (let at = element; at; at = at.parentElement) {
            const style = getComputedStyle(at);
            const clips = ["hidden", "clip"].includes(style.overflowX);
            if (clips || style.clipPath !== "none") return true;
        }
        return false;
    };
    return [...document.body.querySelectorAll("*")]
        .filter((element) => element.getBoundingClientRect().right > wide + 1 && !hidden(element))
        .map((element) => element.outerHTML.slice(0, 120));
}"""
SCROLLS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def address(centre: Centre, name: str) -> str:
    path = PAGES[name]
    if path.startswith("SITE"):
        return centre.site("Bloomsbury") + path.removeprefix("SITE")
    return centre.url + path


def harmless(name: str) -> Any:
    """The browser itself logs that the page that must not exist does not."""
    return lambda text: name == "not found" and "404" in text


async def settled(page: Page, url: str) -> None:
    await page.goto(url)
    await page.wait_for_load_state("load")
    await page.wait_for_timeout(300)


async def open_everything(page: Page) -> None:
    await page.evaluate(
        "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
    )


@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("name", PAGES)
async def test_axe_finds_nothing(open_page: Opener, centre: Centre, name: str, width: int) -> None:
    async with open_page(width=width, allowed=harmless(name)) as watched:
        await settled(watched.page, address(centre, name))
        if name == "site":
            await open_everything(watched.page)
        watched.watching = False  # axe tries styles and style sheets of its own, in vain
        results = await Axe().run(
            watched.page, options={"runOnly": {"type": "tag", "values": TAGS}}
        )
        assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("javascript", [True, False])
@pytest.mark.parametrize("name", PAGES)
async def test_nothing_runs_over_the_edge_at_320_pixels(
    open_page: Opener,
    centre: Centre,
    name: str,
    javascript: bool,  # noqa: FBT001
) -> None:
    async with open_page(width=320, javascript=javascript, allowed=harmless(name)) as watched:
        await settled(watched.page, address(centre, name))
        await open_everything(watched.page)
        assert await watched.page.evaluate(OVERFLOWING) == []
        assert not await watched.page.evaluate(SCROLLS)


@pytest.mark.parametrize("width", [700, 768, 1000, 1100, 1920])
@pytest.mark.parametrize("name", ["overview", "site", "status", "about the data"])
async def test_nothing_runs_over_the_edge_at_widths_between(
    open_page: Opener, centre: Centre, name: str, width: int
) -> None:
    async with open_page(width=width) as watched:
        await settled(watched.page, address(centre, name))
        assert await watched.page.evaluate(OVERFLOWING) == []
        assert not await watched.page.evaluate(SCROLLS)


@pytest.mark.parametrize("width", [769, 800, 900, 1088, 1100, 1280])
async def test_no_cell_reaches_into_the_next(open_page: Opener, centre: Centre, width: int) -> None:
    """Times are never broken, so that their column must be wide enough."""
    async with open_page(width=width) as watched:
        await settled(watched.page, centre.url)
        into = await watched.page.evaluate(
            """() => [...document.querySelectorAll("[data-when]")].filter((when) => {
                when.textContent = "22 Nov, 20:28:38 UTC";
                const text = document.createRange();
                text.selectNodeContents(when);
                return text.getBoundingClientRect().right
                    > when.closest("td").nextElementSibling.getBoundingClientRect().left;
            }).length"""
        )
        assert into == 0


@pytest.mark.parametrize("width", [769, 800, 900, 1088, 1100, 1280])
async def test_no_tag_reaches_past_its_table(open_page: Opener, centre: Centre, width: int) -> None:
    async with open_page(width=width) as watched:
        await settled(watched.page, centre.url)
        past = await watched.page.evaluate(
            """() => [...document.querySelectorAll(".kb-table--values")].flatMap((table) => {
                const edge = table.getBoundingClientRect().right;
                return [...table.querySelectorAll("[data-status]")].filter((tag) => {
                    tag.textContent = "No value yet";
                    return tag.getBoundingClientRect().right > edge;
                }).map((tag) => tag.outerHTML);
            })"""
        )
        assert past == []


@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("name", PAGES)
async def test_everything_is_reached_by_keyboard_and_seen_to_be(
    open_page: Opener, centre: Centre, name: str, width: int
) -> None:
    async with open_page(width=width, allowed=harmless(name)) as watched:
        page = watched.page
        await settled(page, address(centre, name))
        wanted = await page.evaluate(INTERACTIVE.replace("LOOK", LOOK))
        assert wanted
        reached: dict[str, dict[str, Any]] = {}
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


async def test_a_site_on_the_map_opens_with_enter_and_closes_with_escape(
    page: Page, centre: Centre
) -> None:
    await settled(page, centre.url)
    marker = page.locator(".kb-site-mark", has_text="Bloomsbury")
    await marker.focus()
    await page.keyboard.press("Enter")
    link = page.get_by_role("link", name="Bloomsbury over time")
    await expect(link).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(link).to_have_count(0)
    await expect(marker).to_be_focused()


async def test_the_menu_of_a_narrow_screen_opens_by_keyboard(
    open_page: Opener, centre: Centre
) -> None:
    async with open_page(width=320) as watched:
        page = watched.page
        await settled(page, centre.url)
        status = page.get_by_role("link", name="Status", exact=True)
        await expect(status).to_be_hidden()
        await page.get_by_role("button", name="Menu").press("Enter")
        await status.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Status of the network")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("overview", ["Nitrogen dioxide", "Mean over 1 hour", "Recorded data, played again"]),
        ("site", ["Over time", "Download these values", "SHA-256 of the signed object"]),
        ("status", ["Last heard", "Refused in the last 24 hours", "Kept aside lately"]),
        ("open data", ["What is in a file", "Contains data of Camden", "Nitrogen dioxide"]),
        ("about the data", ["Open Government Licence v3.0", "Fresh, late and stale"]),
        ("accessibility", ["WCAG" and "Web Content Accessibility Guidelines 2.2"]),
    ],
)
async def test_every_page_can_be_read_without_javascript(
    open_page: Opener, centre: Centre, name: str, words: list[str]
) -> None:
    async with open_page(javascript=False) as watched:
        await watched.page.goto(address(centre, name))
        text = await watched.page.locator("main").inner_text()
        for expected in words:
            assert expected in text
        await expect(watched.page.get_by_role("link", name="Status", exact=True)).to_be_visible()
        if name == "overview":
            await watched.page.get_by_label("Council").select_option("camden")
            await watched.page.get_by_role("button", name="Show").click()
            heading = watched.page.get_by_role("heading", level=1)
            await expect(heading).to_have_text("Readings now in Camden")


@pytest.mark.parametrize("width", [1280, 320])
async def test_an_operation_is_found_quickly_in_the_documentation_without_javascript(
    open_page: Opener, centre: Centre, width: int
) -> None:
    async with open_page(width=width, javascript=False) as watched:
        page = watched.page
        await page.goto(f"{centre.url}/docs")
        height = await page.locator("main").evaluate("e => e.getBoundingClientRect().height")
        assert height < (3500 if width == 1280 else 5000), "folded, it is a few screens high"
        contents = page.get_by_role("navigation", name="What there is")
        await contents.get_by_role("link", name="SensorThings", exact=True).press("Enter")
        assert page.url.endswith("#sensorthings")
        operation = page.locator("summary", has_text="Datastreams of a Thing")
        await expect(operation).to_be_hidden()
        await page.locator("#sensorthings-operations > summary").press("Enter")
        await operation.press("Enter")
        answer = operation.locator("xpath=..").get_by_text("For example")
        await expect(answer.first).to_be_visible()


@pytest.mark.parametrize("javascript", [True, False])
async def test_an_address_within_the_documentation_opens_what_is_folded(
    open_page: Opener,
    centre: Centre,
    javascript: bool,  # noqa: FBT001
) -> None:
    async with open_page(javascript=javascript) as watched:
        page = watched.page
        await page.goto(f"{centre.url}/docs#database-unavailable")
        await expect(page.locator("#database-unavailable")).to_be_in_viewport()


async def test_an_address_with_a_stray_percent_sign_opens_what_it_points_at_or_nothing(
    page: Page, centre: Centre
) -> None:
    """What breaks a script on the page is complained of, and fails the test."""
    errors = page.locator("details#error-codes")
    for stray in ("100%", "%zz", "%e0%a4"):
        await page.goto(f"{centre.url}/docs#{stray}")
        await page.wait_for_load_state("load")
        await expect(errors).not_to_have_attribute("open", "")
    await page.evaluate("location.hash = '#error%2Dcodes'")
    await expect(errors).to_have_attribute("open", "")


async def test_the_list_of_a_mark_is_no_keyboard_trap(page: Page, centre: Centre) -> None:
    await settled(page, centre.url)
    await page.locator(".kb-site-mark", has_text="Bloomsbury").press("Enter")
    link = page.get_by_role("link", name="Bloomsbury over time")
    await expect(link).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(link).not_to_be_focused()
    await link.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Bloomsbury")
    assert page.url == centre.site("Bloomsbury")


@pytest.mark.parametrize("name", ["overview", "site", "status"])
async def test_the_typeface_is_arial_everywhere(page: Page, centre: Centre, name: str) -> None:
    await settled(page, address(centre, name))
    families = await page.evaluate(
        "[...new Set([...document.querySelectorAll('body, body *')]"
        ".map((element) => getComputedStyle(element).fontFamily.split(',')[0]))]"
    )
    assert set(families) <= {"Arial", "Consolas"}


async def test_every_table_has_a_caption_and_its_headers_a_scope(
    page: Page, centre: Centre
) -> None:
    for name in PAGES:
        if name == "not found":
            continue
        await settled(page, address(centre, name))
        bare = await page.evaluate(
            "[...document.querySelectorAll('table')].filter((table) => !table.caption"
            " || [...table.querySelectorAll('th')].some((th) => !th.scope)).length"
        )
        assert bare == 0, name


async def test_nothing_moves_when_less_motion_is_asked_for(page: Page, centre: Centre) -> None:
    await settled(page, centre.url)
    await centre.street.report(centre.conn, ("Bloomsbury", "nox"), 99.5)
    row = page.locator(f"#v{centre.street.streams['Bloomsbury', 'nox']}")
    await expect(row.locator("[data-value]")).to_have_text("99.5", timeout=5000)
    assert (
        await row.locator(".kb-value").evaluate("e => getComputedStyle(e).animationName") == "none"
    )


async def test_status_is_told_by_words_and_shape_not_colour_alone(
    page: Page, centre: Centre
) -> None:
    await settled(page, centre.url)
    tags = await page.locator("[data-status]").all_inner_texts()
    assert set(tags) <= {"Fresh", "Late", "Stale", "No value yet"}
    marks = page.locator(".kb-site-mark")
    for index in range(await marks.count()):
        label = await marks.nth(index).get_attribute("aria-label") or ""
        assert "fresh" in label or "stale" in label or "late" in label
    styles = await page.evaluate(
        "['fresh', 'late', 'stale'].map((kind) => {"
        " const style = getComputedStyle(document.querySelector(`.kb-legend .kb-mark--${kind}`));"
        " return [style.borderStyle, style.backgroundImage !== 'none',"
        " style.backgroundColor === 'rgb(255, 255, 255)'].join(); })"
    )
    assert len(set(styles)) == 3
