"""A gateway's state, from invitation to revocation, and what is found by which words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from api.administration.gateways_page import PAGE_ROWS, Search, leaf_of
from api.administration.words import STATES, audit_row, gateway_row, matches, state_of
from storage.audit import AuditEntry
from storage.network_view import GatewayFacts

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FACTS = GatewayFacts(
    device="k7q2m9xd4t",
    tenant="camden",
    council="Camden",
    site="LC-0412",
    label="Gower Street",
    place_name="By the hospital",
    longitude=None,
    latitude=None,
    status="active",
    status_at=NOW,
    status_reason="",
    created_at=NOW,
    enrolled_at=NOW,
    last_message_at=NOW - MINUTE,
    first_reading_at=NOW - MINUTE,
    certificate_until=NOW + timedelta(days=6),
    token_expires_at=None,
    key_set_version=1,
    configuration_wanted=None,
    configuration_in_force=None,
    configuration_refused=None,
)


@pytest.mark.parametrize(
    ("facts", "state", "words"),
    [
        ({"status": "invited", "token_expires_at": NOW + MINUTE}, "invited", "Invited"),
        ({"status": "invited", "token_expires_at": NOW}, "expired", "Invitation expired"),
        ({"status": "invited"}, "expired", "Invitation expired"),
        ({"last_message_at": None}, "waiting", "Waiting for first reading"),
        ({"first_reading_at": None}, "waiting", "Waiting for first reading"),
        ({}, "working", "Working"),
        ({"last_message_at": NOW - 20 * MINUTE}, "working", "Late"),
        ({"last_message_at": NOW - 32 * MINUTE}, "silent", "Silent"),
        (
            {"last_message_at": NOW - 90 * MINUTE, "first_reading_at": None},
            "silent",
            "Silent",
        ),
        ({"status": "suspended"}, "suspended", "Suspended"),
        ({"status": "revoked", "token_expires_at": NOW + MINUTE}, "revoked", "Revoked"),
    ],
)
def test_every_state_has_its_word(facts: dict[str, object], state: str, words: str) -> None:
    row = gateway_row(replace(FACTS, **facts), NOW)  # type: ignore[arg-type]  # one of each kind
    assert state_of(row.facts, NOW) == row.state == state
    assert row.status == words
    assert state in STATES


def test_a_gateway_is_called_by_the_best_name_it_has() -> None:
    assert gateway_row(FACTS, NOW).name == "Gower Street"
    assert gateway_row(replace(FACTS, label=""), NOW).name == "LC-0412"
    assert gateway_row(replace(FACTS, label="", site=None), NOW).name == "k7q2m9xd4t"


def test_an_expired_certificate_is_said_to_be() -> None:
    assert gateway_row(replace(FACTS, certificate_until=NOW), NOW).certificate_expired
    assert not gateway_row(FACTS, NOW).certificate_expired
    assert gateway_row(replace(FACTS, certificate_until=None), NOW).certificate_until == ""


@pytest.mark.parametrize("words", ["", "gower", "LC-04", "hospital camden", "K7Q2", "street GOWER"])
def test_every_word_must_be_found_somewhere(words: str) -> None:
    row = gateway_row(FACTS, NOW)
    assert matches(row, words)
    assert not matches(row, f"{words} elsewhere")


def test_a_list_is_cut_into_pages_and_the_last_one_stands_for_all_beyond() -> None:
    rows = [gateway_row(replace(FACTS, device=f"d{at}"), NOW) for at in range(2 * PAGE_ROWS + 1)]

    def leaf(number: int, state: str = ""):  # noqa: ANN202  # a Leaf
        return leaf_of(rows, Search(council="", state=state, words="", number=number))

    assert leaf(1).span == "1 to 50 of 101 gateways"
    assert leaf(2).span == "51 to 100 of 101 gateways"
    assert leaf(3).span == leaf(99).span == "101 to 101 of 101 gateways"
    assert leaf(1, "revoked").span == "0 gateways"
    assert [row.facts.device for row in leaf(3).rows] == ["d100"]


def test_an_address_holds_the_search() -> None:
    search = Search(council="camden", state="", words="a&b", number=1)
    assert search.address(2) == "/administration?council=camden&q=a%26b&page=2"


def test_an_audit_entry_is_told_in_words() -> None:
    entry = AuditEntry(
        id=1,
        at=NOW,
        actor="operator anna",
        tenant="camden",
        action="gateway.configure",
        subject="k7q2m9xd4t",
        detail={"version": 3, "settings": {"uplink.batch_seconds": 2.0, "rekey": True}},
    )
    row = audit_row(entry, NOW)
    assert row.text == "New settings asked for"
    assert row.detail == "version: 3; uplink.batch_seconds = 2; rekey = yes"
    unknown = audit_row(replace(entry, action="thing.do", detail={}), NOW)
    assert (unknown.text, unknown.detail) == ("thing.do", "")


@pytest.mark.parametrize(
    ("detail", "text"),
    [
        ({}, "Enrolled: got its first certificate"),
        ({"again": True}, "Enrolled anew: its earlier certificates count no more"),
        ({"superseded": "b909ea46"}, "Enrolled anew: its earlier certificates count no more"),
    ],
)
def test_the_first_enrolment_is_told_from_later_ones(detail: dict[str, object], text: str) -> None:
    entry = AuditEntry(
        id=1,
        at=NOW,
        actor="gateway k7q2m9xd4t",
        tenant="camden",
        action="gateway.enrol",
        subject="k7q2m9xd4t",
        detail=detail,
    )
    assert audit_row(entry, NOW).text == text
