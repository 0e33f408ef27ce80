"""Charts: what is drawn is what is stored, gaps are gaps, and the address is the view."""

import csv
import io
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Centre, Opener

NO2 = ("Bloomsbury", "no2")

INK_IN_COLUMNS = """([selector, ranges]) => {
    // How many pixels of the line's colour lie between each pair of shares of the plot's width.
    const plot = document.querySelector(selector);
    const canvas = plot.querySelector("canvas");
    const area = plot.querySelector(".u-over").getBoundingClientRect();
    const frame = canvas.getBoundingClientRect();
    const ratio = canvas.width / frame.width;
    const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return ranges.map(([from, to]) => {
        const left = (area.left - frame.left + area.width * from) * ratio;
        const right = (area.left - frame.left + area.width * to) * ratio;
        let count = 0;
        for (let i = 0; i < data.length; i += 4) {
            const x = (i / 4) % width;
            const teal = data[i] < 60 && data[i + 1] > 80 && data[i + 1] < 140;
            count += teal && data[i + 3] > 200 && x >= left && x <= right ? 1 : 0;
        }
        return count;
    });
}"""


def view_of(page: Page) -> tuple[str, str]:
    query = parse_qs(urlsplit(page.url).query)
    return query["from"][0], query["to"][0]


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(), newline="")))


async def values_in(table: Locator) -> list[tuple[str, float]]:
    rows = await table.locator("tbody tr:not([data-gap])").evaluate_all(
        "rows => rows.map(row => [row.querySelector('time').dateTime,"
        " Number(row.querySelector('data').value)])"
    )
    return [(time, value) for time, value in rows]


async def test_the_address_holds_the_view_and_a_reload_shows_it_again(
    page: Page, centre: Centre
) -> None:
    await page.goto(centre.site("Bloomsbury"))
    await page.evaluate("window.stillHere = true")
    span = page.locator("#span")
    key = centre.street.streams[NO2]
    for label in ("90 days", "7 days", "1 hour"):
        await page.get_by_role("link", name=label, exact=True).click()
        await expect(span).to_contain_text(label)
        view_of(page)
    latest = await span.inner_text()
    await page.get_by_role("link", name="Earlier", exact=True).click()
    await expect(span).not_to_have_text(latest)
    await expect(page.get_by_role("link", name="Later", exact=True)).to_be_visible()
    assert await page.evaluate("window.stillHere")
    shown = await span.inner_text()
    values = await values_in(page.locator(f"#plot-{key}-table"))
    await page.reload()
    assert await span.inner_text() == shown
    assert await values_in(page.locator(f"#plot-{key}-table")) == values
    await page.go_back()
    await expect(span).to_have_text(latest)


async def test_dragging_across_a_chart_zooms_to_what_was_dragged(
    page: Page, centre: Centre
) -> None:
    await page.goto(centre.site("Bloomsbury"))
    await page.get_by_role("link", name="90 days").click()
    await expect(page.locator("#span")).to_contain_text("90 days")
    box = await page.locator(f"#plot-{centre.street.streams[NO2]} .u-over").bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    await page.mouse.move(box["x"] + box["width"] * 0.5, y)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * 0.6, y, steps=5)
    await page.mouse.up()
    await expect(page.locator("#span")).to_contain_text(re.compile(r"^(8|9) days"))
    await page.go_back()
    await expect(page.locator("#span")).to_contain_text("90 days")


async def test_a_chart_can_be_read_and_zoomed_by_keyboard_alone(page: Page, centre: Centre) -> None:
    await page.goto(centre.site("Bloomsbury"))
    key = centre.street.streams[NO2]
    chart = page.locator(f"#plot-{key}").get_by_role("slider")
    rows = page.locator(f"#plot-{key}-table tbody tr")
    await chart.focus()
    await page.keyboard.press("Home")
    first = await rows.first.locator("data").text_content()
    await expect(chart).to_have_attribute("aria-valuetext", re.compile(f": {first} µg/m³"))
    await page.keyboard.press("ArrowRight")
    second = await rows.nth(1).locator("data").text_content()
    await expect(chart).to_have_attribute("aria-valuetext", re.compile(f": {second} µg/m³"))
    await expect(page.locator(f"#plot-{key}-readout")).to_contain_text(f"{second} µg/m³")
    await page.keyboard.press("+")
    await expect(page.locator("#span")).to_contain_text("12 hours")
    assert await chart.evaluate("element => element === document.activeElement")
    await page.keyboard.press("PageUp")
    start, end = view_of(page)
    await page.keyboard.press("-")
    await expect(page.locator("#span")).to_contain_text("1 day")
    assert view_of(page) != (start, end)


async def test_a_gap_is_drawn_as_a_gap(page: Page, centre: Centre) -> None:
    first, last = centre.street.gap
    start, end = first.timestamp() - 3 * 3600, last.timestamp() + 3 * 3600
    query = f"?from={iso(start)}&to={iso(end)}"
    await page.goto(centre.site("Bloomsbury") + query)
    plot = f"#plot-{centre.street.streams[NO2]}"
    await page.wait_for_selector(f"{plot} canvas")

    margin = 300
    spans = [
        (start + 3600 + margin, first.timestamp() - margin),
        (first.timestamp() + margin, last.timestamp() - margin),
        (last.timestamp() + margin, end - 3600 - margin),
    ]
    shares = [[(moment - start) / (end - start) for moment in span] for span in spans]
    before, within, after = await page.evaluate(INK_IN_COLUMNS, [plot, shares])
    assert within == 0
    assert before > 50
    assert after > 50
    await expect(page.locator(f"{plot}-table [data-gap]")).to_contain_text(
        "no readings for 5 hours"
    )


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("span", ["90 days", "24 hours", "1 hour"])
async def test_the_csv_is_exactly_what_the_chart_and_its_table_show(
    page: Page, centre: Centre, span: str
) -> None:
    await page.goto(centre.site("Bloomsbury"))
    if span != "24 hours":
        await page.get_by_role("link", name=span, exact=True).click()
        await expect(page.locator("#span")).to_contain_text(span)
    for name in ("no2", "wind_direction"):
        key = centre.street.streams["Bloomsbury", name]
        async with page.expect_download() as downloading:
            await page.locator(f"#plot-{key}-download a").click()
        rows = rows_of(await (await downloading.value).path())
        in_file = [(row["time_utc"], float(row["value"])) for row in rows]
        in_table = await values_in(page.locator(f"#plot-{key}-table"))
        assert in_file == in_table
        assert len(in_file) > 20
        slider = page.locator(f"#plot-{key}").get_by_role("slider")
        drawn = int(await slider.get_attribute("aria-valuemax") or 0) + 1
        assert drawn == await page.locator(f"#plot-{key}-table tbody tr").count()
        assert {row["unit"] for row in rows} == {"ug/m3" if name == "no2" else "deg"}
        assert all("open-government-licence" in row["licence"] for row in rows)


async def test_without_javascript_there_is_a_drawing_and_the_table_and_zoom_works(
    open_page: Opener, centre: Centre
) -> None:
    async with open_page(javascript=False) as watched:
        page = watched.page
        await page.goto(centre.site("Bloomsbury"))
        plot = page.locator(f"#plot-{centre.street.streams[NO2]}")
        drawing = plot.locator("svg")
        await expect(drawing).to_be_visible()
        assert await drawing.get_attribute("aria-label")
        assert (await drawing.locator(".kb-line").get_attribute("d") or "").count("M") >= 2
        await plot.locator("summary").click()
        await expect(plot.locator("table")).to_be_visible()
        await page.get_by_role("link", name="7 days", exact=True).click()
        await expect(page.locator("#span")).to_contain_text("7 days")
        view_of(page)
        await page.get_by_text("Choose exact times").click()
        await page.get_by_label("From (UTC)").fill("2026-01-01T00:00:00")
        await page.get_by_label("To (UTC)").fill("2026-01-01T06:00:00")
        await page.locator("form").get_by_role("button", name="Show").click()
        await expect(page.locator("#span")).to_contain_text("6 hours: 1 January 2026, 00:00 UTC")


async def test_a_chart_fits_its_page_when_the_window_changes(page: Page, centre: Centre) -> None:
    await page.goto(centre.site("Bloomsbury"))
    canvas = page.locator(f"#plot-{centre.street.streams[NO2]} canvas")
    await expect(canvas).to_be_visible()
    await page.set_viewport_size({"width": 500, "height": 900})
    await page.wait_for_function(
        "selector => document.querySelector(selector).getBoundingClientRect().right <= 500",
        arg=f"#plot-{centre.street.streams[NO2]} canvas",
    )
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await page.evaluate(overflow) == 0
