"""Gateways in words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from api.pages.status import device_text, gateway_row, summary
from storage.status_board import GatewayState

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
STATE = GatewayState(
    id=1, device="k7q2m9xd4t", label="Gower Street", status="active", tenant="camden",
    council="Camden", last_message_at=NOW - timedelta(seconds=5), spool_readings=12.0,
    spool_time=NOW, completeness=1.0, streams=8, silent_streams=0, missing_messages=0,
    certificate_until=NOW + timedelta(days=5),
)  # fmt: skip


@pytest.mark.parametrize(
    ("minutes", "kind", "hint"),
    [(0, "fresh", "Heard"), (16, "fresh", "Heard"), (17, "late", "Late"), (32, "stale", "Silent")],
)
def test_a_gateway_is_judged_by_its_heartbeat(minutes: int, kind: str, hint: str) -> None:
    row = gateway_row(replace(STATE, last_message_at=NOW - timedelta(minutes=minutes)), NOW)
    assert (row.state, row.hint) == (kind, hint)


def test_a_revoked_gateway_is_told_however_lately_it_was_heard() -> None:
    assert gateway_row(replace(STATE, status="revoked"), NOW).hint == "Revoked"
    assert gateway_row(replace(STATE, last_message_at=None), NOW).hint == "Not heard yet"


@pytest.mark.parametrize(
    ("share", "silent", "text"),
    [
        (None, 0, "Too new to say"),
        (1.0, 0, "100%"),
        (0.9994, 0, "99.9%"),
        (0.875, 1, "87.5%; 1 datastream of 8 silent"),
        (0.0, 8, "0.0%; 8 datastreams of 8 silent"),
    ],
)
def test_completeness_is_never_rounded_up_to_complete(
    share: float | None, silent: int, text: str
) -> None:
    row = gateway_row(replace(STATE, completeness=share, silent_streams=silent), NOW)
    assert row.completeness == text


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (timedelta(days=5), "5 days left"),
        (timedelta(hours=30), "Renewal overdue: 1 day 6 hours left"),
        (timedelta(0), "Expired"),
    ],
)
def test_a_certificate_near_its_end_says_so(left: timedelta, text: str) -> None:
    row = gateway_row(replace(STATE, certificate_until=NOW + left), NOW)
    assert row.certificate_hint == text


def test_the_summary_counts_what_there_is() -> None:
    rows = [gateway_row(STATE, NOW), gateway_row(replace(STATE, last_message_at=None), NOW)]
    assert summary(rows) == "2 gateways: 1 heard, 1 not heard yet."
    assert summary([]) == "No gateway is registered yet."


def test_only_the_first_few_gateways_are_named() -> None:
    assert device_text(["a", ""]) == "a, unknown"
    assert device_text(list("abcde")) == "a, b, c and 2 more"
