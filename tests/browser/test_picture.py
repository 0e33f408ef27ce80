"""The picture of the overview that the documentation shows."""

from pathlib import Path

from playwright.async_api import Page, expect

from tests.browser.conftest import Centre

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "overview.png"


async def test_the_overview_is_pictured_for_the_documentation(page: Page, centre: Centre) -> None:
    await centre.street.speak(centre.conn)
    await page.goto(centre.url)
    await expect(page.locator("[data-live-text]")).to_contain_text("Live")
    await expect(page.locator(".kb-site-mark")).to_have_count(5)
    await expect(page.locator(".leaflet-overlay-pane path").first).to_be_attached()
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=PICTURE)
    assert PICTURE.stat().st_size > 50_000
