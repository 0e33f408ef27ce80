"""What changes in the street changes on the page, and silence is told."""

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Page, expect

from api.pages.times import age_text, freshness, late_after_seconds, stale_after_seconds
from tests.browser.conftest import Centre, Opener

NO2 = ("Bloomsbury", "no2")


async def marker_text(page: Page, site: str) -> str:
    return await page.locator(".kb-site-mark", has_text=site).inner_text()


async def test_a_new_reading_changes_map_and_table_within_five_seconds_without_a_reload(
    page: Page, centre: Centre
) -> None:
    await page.goto(centre.url)
    await page.evaluate("window.stillHere = true")
    row = page.locator(f"#v{centre.street.streams[NO2]}")
    await expect(page.locator("[data-live-text]")).to_contain_text("Live")
    began = time.monotonic()
    when = await centre.street.report(centre.conn, NO2, 123.25)
    await expect(row.locator("[data-value]")).to_have_text("123.2", timeout=5000)
    marker = page.locator(".kb-site-mark", has_text="Bloomsbury")
    await expect(marker).to_contain_text("NO₂ 123.2 µg/m³", timeout=1000)
    await expect(marker).to_have_attribute("aria-label", re.compile("NO₂ 123.2 µg/m³"))
    assert time.monotonic() - began < 5
    await expect(row).to_contain_text(f"{when:%H:%M:%S} UTC")
    await expect(row).to_contain_text("Fresh")
    assert await page.evaluate("window.stillHere")


async def test_a_stale_site_turns_fresh_on_the_map_when_it_speaks_again(
    page: Page, centre: Centre
) -> None:
    await page.goto(f"{centre.url}/?property=wind_speed")
    stream = ("Cromwell Road 2", "wind_speed")
    marker = page.locator(".kb-site-mark", has_text="Cromwell Road 2")
    await expect(marker.locator(".kb-mark--stale")).to_have_count(1)
    await centre.street.report(centre.conn, stream, 7.5)
    await expect(marker.locator(".kb-mark--fresh")).to_have_count(1, timeout=5000)
    row = page.locator(f"#v{centre.street.streams[stream]}")
    await expect(row.locator("[data-status]")).to_have_text("Fresh")
    site = page.locator("tbody", has=row)
    await expect(site.locator("[data-site-status]")).to_have_text("All fresh")


async def test_a_flagged_value_says_so_when_it_arrives(page: Page, centre: Centre) -> None:
    await page.goto(centre.url)
    stream = ("Bloomsbury", "pm10")
    await centre.street.report(centre.conn, stream, 55.5, quality=8)
    row = page.locator(f"#v{centre.street.streams[stream]}")
    await expect(row.locator("[data-quality]")).to_have_text("Suspect", timeout=5000)
    await expect(row.locator(".kb-flagged")).to_have_count(1)


async def test_a_value_grows_old_before_the_readers_eyes(page: Page, centre: Centre) -> None:
    await page.clock.install()
    await page.goto(centre.site("North Kensington"))
    row = page.locator(f"#v{centre.street.streams['North Kensington', 'pm10']}")
    await centre.street.report(centre.conn, ("North Kensington", "pm10"), 20.5)
    await expect(row.locator("[data-value]")).to_have_text("20.5", timeout=5000)
    await expect(row.locator("[data-status]")).to_have_text("Fresh")
    for _ in range(5):  # a word from the centre in that moment sets the page's clock right again
        await page.clock.fast_forward(70_000)
        shown = await row.evaluate(
            "row => ['status', 'age'].map(each => row.querySelector(`[data-${each}]`).textContent)"
        )
        if shown[0] == "Late":
            break
    assert shown[0] == "Late"
    assert re.fullmatch("(7|8)[0-9] seconds ago", shown[1])


async def test_a_lost_centre_is_told_within_half_a_minute_and_forgotten_when_it_is_back(
    open_page: Opener, centre: Centre
) -> None:
    def refused(complaint: str) -> bool:
        return "ERR_CONNECTION_REFUSED" in complaint or "ERR_INCOMPLETE" in complaint

    async with open_page(allowed=refused) as watched:
        page = watched.page
        await page.clock.install()
        await page.goto(centre.url)
        await page.evaluate("window.stillHere = true")
        banner = page.get_by_role("alert")
        await expect(page.locator("[data-live-text]")).to_contain_text("Live")
        await expect(banner).to_be_hidden()
        await centre.service.stop()
        try:
            await page.clock.fast_forward(25_000)
            await expect(banner).to_be_hidden()
            await page.clock.fast_forward(7_000)
            await expect(banner).to_contain_text("The connection to the centre is lost")
        finally:
            await centre.service.start()
        await page.clock.fast_forward(10_000)
        await expect(banner).to_be_hidden(timeout=15_000)
        await centre.street.report(centre.conn, NO2, 88.5)
        value = page.locator(f"#v{centre.street.streams[NO2]} [data-value]")
        await expect(value).to_have_text("88.5", timeout=10_000)
        assert await page.evaluate("window.stillHere")


async def test_what_came_while_the_connection_was_away_is_made_up_for(
    open_page: Opener, centre: Centre
) -> None:
    async with open_page(allowed=lambda text: "ERR_INTERNET_DISCONNECTED" in text) as watched:
        page = watched.page
        await page.goto(centre.url)
        await expect(page.locator("[data-live-text]")).to_contain_text("Live")
        await centre.service.stop()
        await centre.service.start()
        await centre.street.report(centre.conn, NO2, 91.5)
        value = page.locator(f"#v{centre.street.streams[NO2]} [data-value]")
        await expect(value).to_have_text("91.5", timeout=15_000)


async def test_a_site_page_follows_too(page: Page, centre: Centre) -> None:
    await page.clock.install()
    await page.goto(centre.site("Bloomsbury"))
    key = centre.street.streams[NO2]
    rows = page.locator(f"#plot-{key}-table tbody tr")
    before = await rows.count()
    await centre.street.report(centre.conn, NO2, 64.5)
    await expect(page.locator(f"#v{key} [data-value]")).to_have_text("64.5", timeout=5000)
    await page.clock.fast_forward(11_000)
    await expect(rows).not_to_have_count(before, timeout=10_000)
    await expect(rows.last.locator("data")).to_have_attribute("value", "64.5")


async def test_a_site_that_appears_is_shown_without_a_reload(page: Page, centre: Centre) -> None:
    thing_id = centre.street.things["This computer"]
    hide = "UPDATE thing SET approved = %s WHERE id = %s"
    await centre.conn.execute(hide, (False, thing_id))
    try:
        await page.goto(centre.url)
        await expect(page.locator(f"tbody[data-site='{thing_id}']")).to_have_count(0)
    finally:
        await centre.conn.execute(hide, (True, thing_id))
    await centre.street.report(centre.conn, ("This computer", "cpu_load"), 0.5)
    await expect(page.locator(f"tbody[data-site='{thing_id}']")).to_have_count(1, timeout=10_000)
    await expect(page.locator(".kb-site-mark", has_text="This computer")).to_have_count(1)


async def test_the_status_page_renews_itself(page: Page, centre: Centre) -> None:
    await page.clock.install()
    await page.goto(f"{centre.url}/status")
    gateway = page.get_by_role("row").filter(has_text=centre.street.devices["Cromwell Road 2"])
    await expect(gateway.locator("[data-status]")).to_have_text("Silent")
    await centre.conn.execute(
        "UPDATE gateway_seen SET last_message_at = now() WHERE gateway_id = %s",
        (centre.street.gateways["Cromwell Road 2"],),
    )
    await page.clock.fast_forward(16_000)
    await expect(gateway.locator("[data-status]")).to_have_text("Heard", timeout=10_000)


@pytest.mark.parametrize("period", [1, 5, 900, 3600, None])
async def test_browser_and_server_use_the_same_words_for_an_age(
    page: Page, centre: Centre, period: int | None
) -> None:
    await page.goto(f"{centre.url}/accessibility")
    base = await page.locator("script[src$='page.js']").get_attribute("src")
    assert base
    module = base.replace("page.js", "age.js")
    ages = [-4000, -61, -60, -1, 0, 1, 2, 59, 60, 61, 119, 120, 300, 301, 3599, 7199, 7200, 7201]
    ages += [14_400, 14_401, 86_399, 86_401, 172_799, 172_800, 10**7, 10**8 + 1]
    said = await page.evaluate(
        """async ([module, ages, late, stale]) => {
            const { ageText, judge } = await import(module);
            return ages.map((age) => [ageText(age), judge(age, late, stale)]);
        }""",
        [module, ages, late_after_seconds(period), stale_after_seconds(period)],
    )
    now = datetime.now(UTC)
    assert said == [
        [age_text(age), freshness(now - timedelta(seconds=age), period, now).value] for age in ages
    ]
    await asyncio.sleep(0)
