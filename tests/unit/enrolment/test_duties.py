"""What is due when: one row for each reason to sign, and for each not to."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from broker_config.network import Council, Gateway, Network, Service
from device_protocol.key_set import KeySet
from device_protocol.keys import RecipientPublicKey
from enrolment import policy
from enrolment.authority import KeyKind
from enrolment.description import describe
from enrolment.duties import (
    KEY_SET_HARD_LIFE,
    KEY_SET_SOFT_LIFE,
    CouncilFacts,
    ends_soon,
    key_sets_due,
    listed,
    next_number,
    overdue,
    revocation_lists_due,
    too_soon,
    wanted_groups,
)
from enrolment.issuing import build_certificate, build_revocation_list
from storage.certificates import RevocationList, Revoked
from storage.recipients import RecipientRow
from storage.registry import GatewayRow

NOW = datetime(2026, 3, 1, 12, 0, 0, 600_000, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = build_certificate(policy.council_root("camden"), KEY.public_key(), KEY, None, NOW - DAY)
STOLEN = Revoked(serial=0x5701E7, since=NOW - HOUR, hold=False)
AWAY = Revoked(serial=0xA3A1, since=NOW - 2 * HOUR, hold=True)
REGION, COUNCIL = (
    RecipientPublicKey.from_public(X25519PrivateKey.generate().public_key()) for _ in range(2)
)


def issued(ago: timedelta, *revoked: Revoked, number: int = 7) -> RevocationList:
    message = build_revocation_list(
        ROOT,
        KEY,
        number=number,
        revoked=[policy.RevokedEntry(each.serial, each.since, each.hold) for each in revoked],
        now=NOW - ago,
    )
    return RevocationList(
        tenant="camden",
        number=number,
        this_update=(NOW - ago).replace(microsecond=0) - policy.BACKDATED,
        next_update=NOW - ago + policy.REVOCATION_LIST_LIFETIME,
        message=message,
    )


def recipient(key: RecipientPublicKey, group: str = "main", **changed: Any) -> RecipientRow:
    row = RecipientRow(
        tenant="camden",
        group=group,
        role="region",
        kid=key.kid,
        cose_key=key.cose_key,
        valid_from=NOW - DAY,
        valid_until=NOW + 100 * DAY,
        retired_at=None,
    )
    return replace(row, **changed)


def facts(
    *,
    held: RevocationList | None = None,
    revoked: Sequence[Revoked] = (),
    recipients: Sequence[RecipientRow] = (),
    key_set: KeySet | None = None,
    suites: tuple[int, ...] = (1, 2),
) -> CouncilFacts:
    return CouncilFacts(
        tenant="camden",
        suites=suites,
        recipients=recipients,
        revoked=revoked,
        revocation_list=held,
        key_set=key_set,
    )


@pytest.mark.parametrize(
    ("held", "revoked", "reason"),
    [
        (None, [], "first"),
        (None, [STOLEN], "first"),
        (issued(HOUR), [], ""),
        (issued(HOUR, STOLEN), [STOLEN], ""),
        (issued(HOUR, STOLEN, AWAY), [AWAY, STOLEN], ""),
        (issued(HOUR), [STOLEN], "changed"),
        (issued(HOUR), [AWAY], "changed"),
        (issued(HOUR, AWAY), [], "changed"),  # resumed, or expired since
        (issued(HOUR, AWAY), [replace(AWAY, hold=False)], "changed"),  # suspended, then revoked
        (issued(23 * HOUR, STOLEN), [STOLEN], ""),
        (issued(24 * HOUR, STOLEN), [STOLEN], "daily"),
        (issued(6 * DAY), [], "daily"),
        (issued(timedelta(milliseconds=400)), [], ""),
        (issued(timedelta(milliseconds=400)), [STOLEN], ""),  # in the very same second
        (issued(timedelta(seconds=1)), [STOLEN], "changed"),
        (issued(-HOUR), [STOLEN], "changed"),  # the clock went back: revocation does not wait
        (issued(-HOUR), [], ""),
        (replace(issued(HOUR), message=b"damaged"), [], "changed"),
    ],
)
def test_revocation_list_is_due(
    held: RevocationList | None, revoked: list[Revoked], reason: str
) -> None:
    due = revocation_lists_due([facts(held=held, revoked=revoked)], NOW)
    assert [each.reason for each in due] == ([reason] if reason else [])
    if due:
        assert due[0].number == int(NOW.timestamp())
        assert {(each.serial, each.hold) for each in due[0].revoked} == {
            (each.serial, each.hold) for each in revoked
        }


def test_number_rises_even_where_a_clock_was_once_ahead_or_the_registry_forgot() -> None:
    ahead = replace(issued(DAY), number=1 << 40)
    assert next_number(ahead, NOW) == (1 << 40) + 1
    assert next_number(issued(DAY), NOW) == next_number(None, NOW) == int(NOW.timestamp())


def test_revocation_list_says_which_certificates_were_superseded() -> None:
    left_behind = replace(STOLEN, superseded=True)
    [due] = revocation_lists_due([facts(revoked=[left_behind, AWAY])], NOW)
    assert [each.reason() for each in due.revoked] == [
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.certificate_hold,
    ]


@pytest.mark.parametrize(
    ("life", "left", "soon"),
    [
        (10 * 365, 366, False),
        (10 * 365, 364, True),
        (90, 31, False),
        (90, 29, True),
        (90, -1, True),
    ],
)
def test_a_certificate_is_an_alarm_in_its_last_third_or_year(
    life: int, left: int, *, soon: bool
) -> None:
    ends = NOW + left * DAY
    profile = replace(policy.council_root("camden"), lifetime=life * DAY)
    key = KeyKind.P256.generate()
    root = build_certificate(profile, key.public_key(), key, None, ends - life * DAY)
    assert ends_soon(root, NOW) is soon


def test_change_within_the_second_of_the_last_list_is_looked_at_again() -> None:
    fresh = issued(timedelta(milliseconds=400))
    assert too_soon([facts(held=fresh, revoked=[STOLEN])], NOW) == ["camden"]
    assert too_soon([facts(held=fresh)], NOW) == []
    assert too_soon([facts(revoked=[STOLEN])], NOW) == []
    assert too_soon([facts(held=issued(HOUR), revoked=[STOLEN])], NOW) == []


def test_list_says_what_it_was_told() -> None:
    assert listed(issued(HOUR, STOLEN, AWAY).message) == {
        (STOLEN.serial, False),
        (AWAY.serial, True),
    }
    with pytest.raises(ValueError, match=r"."):
        listed(b"junk")


@pytest.mark.parametrize(("age", "alarm"), [(DAY, False), (3 * DAY, False), (3.1 * DAY, True)])
def test_list_older_than_three_days_is_an_alarm(age: timedelta, *, alarm: bool) -> None:
    assert overdue({"camden": NOW - age, "leeds": NOW}, NOW) == (["camden"] if alarm else [])


def signed(ago: timedelta, *recipients: RecipientRow, suites: tuple[int, ...] = (1, 2)) -> KeySet:
    council = facts(recipients=recipients, suites=suites)
    [due] = key_sets_due([council], NOW - ago)
    return due.key_set(3, NOW - ago, NOW + 365 * DAY)


ALONE = recipient(REGION)
OWN = recipient(COUNCIL, "council", role="council")
ENDED = recipient(COUNCIL, valid_until=NOW - HOUR)
TWO_THIRDS = KEY_SET_SOFT_LIFE * 2 / 3


@pytest.mark.parametrize(
    ("held", "wanted", "suites", "reason"),
    [
        (None, [ALONE], (1, 2), "first"),
        (None, [], (1, 2), ""),  # nobody to seal for
        (None, [replace(ALONE, retired_at=NOW)], (1, 2), ""),
        (signed(HOUR, ALONE), [ALONE], (1, 2), ""),
        (signed(HOUR, ALONE), [ALONE], (2, 1), ""),
        (signed(HOUR, ALONE), [ALONE], (1, 2, 3), "changed"),
        (signed(HOUR, ALONE), [ALONE, OWN], (1, 2), "changed"),
        (signed(HOUR, ALONE, OWN), [OWN, ALONE], (1, 2), ""),
        (signed(HOUR, ALONE, OWN), [ALONE, replace(OWN, retired_at=NOW)], (1, 2), "changed"),
        (signed(HOUR, ALONE), [ALONE, ENDED], (1, 2), ""),
        (signed(HOUR, ALONE), [replace(ALONE, role="partner")], (1, 2), "changed"),
        (signed(HOUR, ALONE), [replace(ALONE, valid_until=NOW + DAY)], (1, 2), "changed"),
        (signed(TWO_THIRDS - HOUR, ALONE), [ALONE], (1, 2), ""),
        (signed(TWO_THIRDS + HOUR, ALONE), [ALONE], (1, 2), "renewal"),
    ],
)
def test_key_set_is_due(
    held: KeySet | None, wanted: list[RecipientRow], suites: tuple[int, ...], reason: str
) -> None:
    council = facts(recipients=wanted, key_set=held, suites=suites)
    due = key_sets_due([council], NOW)
    assert [each.reason for each in due] == ([reason] if reason else [])
    if due:
        assert due[0].suites == suites
        assert due[0].groups == wanted_groups(council, NOW)


def test_key_set_outlives_neither_its_time_nor_its_signer() -> None:
    [due] = key_sets_due([facts(recipients=[ALONE])], NOW)
    long = due.key_set(5, NOW, NOW + 90 * DAY)
    assert (long.version, long.issued_at) == (5, int(NOW.timestamp()))
    assert long.soft_expiry == int((NOW + KEY_SET_SOFT_LIFE).timestamp())
    assert long.hard_expiry == int((NOW + KEY_SET_HARD_LIFE).timestamp())
    short = due.key_set(5, NOW, NOW + 10 * DAY)
    assert short.soft_expiry == short.hard_expiry == int((NOW + 10 * DAY).timestamp())


CAMDEN = Council(tenant="camden", gss="E09000007", name="Camden", port=8884)
LEEDS = Council(tenant="leeds", gss="E08000035", name="Leeds", port=8885)
DESCRIBED = Network(
    name="Region",
    host="broker.example.org",
    councils=(CAMDEN, LEEDS),
    gateways=(Gateway("camden", "f0rg0tten1"),),
    services=(Service("ingest", ("camden", "leeds")), Service("local", ("leeds",))),
)


def row(device: str, status: str, tenant: str = "camden") -> GatewayRow:
    return GatewayRow(
        id=1,
        council_id=1,
        tenant=tenant,
        device=device,
        status=status,
        keys=(),
        description_sha256=b"",
    )


def test_broker_admits_invited_and_active_gateways_of_the_registry_and_no_others() -> None:
    rows = [
        row("s", "suspended"),
        row("i", "invited"),
        row("z", "active", "leeds"),
        row("r", "revoked"),
        row("a", "active"),
        row("x", "active", "bath"),
    ]
    network = describe(DESCRIBED, rows, {"camden", "leeds"})
    assert network is not None
    assert network.gateways == (
        Gateway("camden", "a"),
        Gateway("camden", "i"),
        Gateway("leeds", "z"),
    )
    assert describe(DESCRIBED, reversed(rows), ["leeds", "camden"]) == network


def test_council_that_cannot_be_served_yet_gets_no_listener() -> None:
    network = describe(DESCRIBED, [row("z", "active", "leeds")], {"camden", "bath"})
    assert network == replace(
        DESCRIBED, councils=(CAMDEN,), gateways=(), services=(Service("ingest", ("camden",)),)
    )
    assert describe(DESCRIBED, [], ()) is None
