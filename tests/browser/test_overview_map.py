"""The map of the overview: sites at one point, and the air quality index beside each."""

import re
from collections.abc import AsyncIterator

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.browser.conftest import Centre, Opener
from tests.browser.test_every_page import OVERFLOWING, TAGS

PLACED = """
    UPDATE location SET longitude = %s, latitude = %s
     WHERE id = (SELECT location_id FROM thing_location WHERE thing_id = %s)
 RETURNING 1
"""


@pytest.fixture
async def together(centre: Centre) -> AsyncIterator[Centre]:
    """Two sites at one point: this computer stands where Bloomsbury's analysers do."""
    things = centre.street.things
    cursor = await centre.conn.execute(
        "SELECT longitude, latitude FROM location JOIN thing_location ON location.id = location_id"
        " WHERE thing_id = ANY (%s) ORDER BY thing_id = %s",
        ([things["Bloomsbury"], things["This computer"]], things["This computer"]),
    )
    there, before = await cursor.fetchall()
    await centre.conn.execute(PLACED, (*there, things["This computer"]))
    yield centre
    await centre.conn.execute(PLACED, (*before, things["This computer"]))


async def test_two_sites_at_one_point_share_a_mark_that_opens_a_list_of_both(
    page: Page, together: Centre
) -> None:
    await page.goto(together.url)
    await expect(page.locator(".kb-site-mark")).to_have_count(4)
    both = page.get_by_role("button", name=re.compile("^2 sites at one place"))
    await expect(both).to_have_accessible_name(re.compile("Bloomsbury: .*; This computer: "))
    await expect(both.locator(".kb-site-mark__count")).to_have_text("2")
    await both.focus()
    await page.keyboard.press("Enter")
    popup = page.locator(".kb-popup")
    await expect(popup.get_by_role("heading")).to_have_text("2 sites at this place")
    await expect(popup.get_by_role("listitem")).to_have_count(2)
    await expect(popup.get_by_role("link", name="Bloomsbury over time")).to_be_focused()
    await page.keyboard.press("Tab")
    second = popup.get_by_role("link", name="This computer over time")
    await expect(second).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(popup).to_have_count(0)
    await expect(both).to_be_focused()


async def test_without_javascript_the_still_map_names_both(
    open_page: Opener, together: Centre
) -> None:
    async with open_page(javascript=False) as watched:
        await watched.page.goto(together.url)
        names = await watched.page.locator(".kb-dot-name").all_text_contents()
        assert "2 sites: Bloomsbury, This computer" in names
        assert len(names) == 4


@pytest.mark.parametrize("width", [1280, 320])
async def test_the_list_of_both_is_accessible(
    open_page: Opener, together: Centre, width: int
) -> None:
    async with open_page(width=width) as watched:
        page = watched.page
        await page.goto(together.url)
        await page.get_by_role("button", name=re.compile("^2 sites")).press("Enter")
        await expect(page.locator(".kb-popup")).to_be_visible()
        assert await page.evaluate(OVERFLOWING) == []
        watched.watching = False  # axe tries styles and style sheets of its own, in vain
        results = await Axe().run(page, options={"runOnly": {"type": "tag", "values": TAGS}})
        assert results.violations_count == 0, results.generate_report()


async def test_each_site_of_a_small_map_has_its_name_beside_it(
    open_page: Opener, centre: Centre
) -> None:
    """Where five labels with indices have no room, some are shorter rather than one missing."""
    async with open_page(width=1200) as watched:
        page = watched.page
        await page.goto(centre.url)
        await expect(page.locator(".kb-site-mark")).to_have_count(5)
        await expect(page.locator(".kb-site-mark--crowded")).to_have_count(0)


async def test_the_map_tells_the_same_index_as_the_table_in_words(
    page: Page, centre: Centre
) -> None:
    await page.goto(centre.url)
    site = page.locator(f"#site-{centre.street.things['Bloomsbury']}")
    told = re.search(r"index (\d+), (.+?):", await site.locator("[data-air]").inner_text())
    assert told
    mark = page.locator(".kb-site-mark", has_text="Bloomsbury")
    words = f"Index {told.group(1)}, {told.group(2)}"
    await expect(mark).to_contain_text(words)
    await expect(mark).to_have_accessible_name(re.compile(re.escape(words)))
    await mark.press("Enter")
    await expect(page.locator(".kb-popup")).to_contain_text("Air quality index")
