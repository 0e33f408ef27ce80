"""The printed sheet: whole, readable by a phone and by a person, and harmless."""

import re
from datetime import UTC, datetime

from api.administration.invitation_sheet import SheetItem, render_sheet
from device_protocol.first_boot import FirstBoot, draw_token, new_device_id


def item(site: str = "LC-0412", label: str = "Gower Street") -> SheetItem:
    first_boot = FirstBoot(
        url="https://enrol.example.org:8445/.well-known/est/camden",
        tenant="camden",
        device=new_device_id(),
        token=draw_token(),
        region_root_sha256=bytes(range(32)),
    )
    expires_at = datetime(2026, 6, 4, 12, 30, 15, tzinfo=UTC)
    return SheetItem(
        first_boot=first_boot, council="Camden", site=site, label=label, expires_at=expires_at
    )


def test_each_card_says_all_that_can_be_typed() -> None:
    items = [item(f"LC-{number}") for number in range(3)]
    sheet = render_sheet("North London", items)
    assert sheet.count('class="sheet-card"') == 3
    assert "North London: 3 cards." in sheet
    for one in items:
        for text in (one.site, one.first_boot.device, one.first_boot.token, one.first_boot.url):
            assert text in sheet
    assert "<span>00010203</span>" in sheet
    assert "until 4 June 2026, 12:30 UTC" in sheet


def test_each_code_is_another_and_has_its_quiet_zone() -> None:
    codes = re.findall(
        r'<svg viewBox="0 0 (\d+) \1"[^>]*><path[^>]* d="M(\d+) (\d+)',
        render_sheet("x", [item(), item()]),
    )
    assert len(codes) == 2
    assert all(int(x) == 4 for _, x, _ in codes)
    drawings = re.findall(r' d="([^"]+)"', render_sheet("x", [item(), item()]))
    assert len(set(drawings)) == 2


def test_served_it_has_no_style_of_its_own_and_as_a_file_it_needs_nothing_beside_it() -> None:
    served = render_sheet("x", [item()])
    assert not re.search(r"<style|\sstyle=|<script", served)
    assert re.search(r'<link rel="stylesheet" href="/static/[0-9a-f]+/sheet.css">', served)
    written = render_sheet("x", [item()], embed_style=True)
    assert "<link" not in written
    assert ".sheet-card {" in written
    assert not re.search(r"(src|href)=", written)


def test_what_a_council_calls_a_gateway_cannot_become_markup() -> None:
    sheet = render_sheet("<i>x", [item(label="<script>alert(1)</script>")])
    assert "<script>" not in sheet
    assert "<i>" not in sheet


def test_a_gateway_without_a_name_is_called_by_its_site() -> None:
    assert '<h2 class="sheet-card__name">LC-7</h2>' in render_sheet("x", [item("LC-7", "")])
