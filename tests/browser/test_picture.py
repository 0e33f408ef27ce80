"""The picture of the overview that the documentation shows.

A run rewrites the documentation's own only if asked: `KERBSTONE_PICTURES=docs/images`.
"""

import os
from pathlib import Path

from playwright.async_api import Page, expect

from tests.browser.conftest import Centre

PICTURES = "KERBSTONE_PICTURES"
"""The environment variable that names the folder to write to."""


async def test_the_overview_is_pictured_for_the_documentation(
    page: Page, centre: Centre, tmp_path: Path
) -> None:
    picture = Path(os.environ.get(PICTURES, tmp_path)) / "overview.png"
    await centre.street.speak(centre.conn)
    await page.goto(centre.url)
    await expect(page.locator("[data-live-text]")).to_contain_text("Live")
    await expect(page.locator(".kb-site-mark")).to_have_count(5)
    await expect(page.locator(".leaflet-overlay-pane path").first).to_be_attached()
    await page.screenshot(path=picture)
    assert picture.stat().st_size > 50_000
