"""Which messages are kept although they are refused, how many, and what is told of them."""

from dataclasses import replace
from datetime import timedelta

import cbor2
import pytest

from device_protocol.errors import (
    ContentFormatError,
    PayloadError,
    ReadingTimeError,
    RejectionError,
)
from tests.simulators.gateway import NOON, SimulatedGateway, reading, series
from tests.unit.ingest.admission.centre import (
    NOW,
    RULES,
    Centre,
    delivered,
    reasons,
    registered,
    stored,
)


@pytest.mark.parametrize(
    ("payload", "content_format", "error"),
    [
        (b"\x80", 50, ContentFormatError),
        (b"\xff\xff", 112, PayloadError),
        (b"not a description", 60, PayloadError),
        (cbor2.dumps([{0: "urn:dev:air:no2", 2: 1.0, 6: -5}]), 112, ReadingTimeError),
    ],
)
def test_signed_message_that_cannot_be_used_is_kept_and_counts_as_received(
    gateway: SimulatedGateway,
    centre: Centre,
    payload: bytes,
    content_format: int,
    error: type[RejectionError],
) -> None:
    message = gateway.seal(payload, content_format)
    outcome = centre.admit(message)
    assert reasons(outcome) == [error.reason]
    [row] = outcome.quarantined
    assert (row.reason, row.message) == (error.reason, message.payload)
    assert [batch.readings for batch in outcome.signed] == [0]
    [due] = outcome.acknowledgements
    assert due.acknowledgement.contiguous_seq == 1
    assert due.acknowledgement.last_refusal == error.code


def test_message_out_of_quarantine_gets_a_verdict_and_no_second_row(
    gateway: SimulatedGateway,
) -> None:
    centre = Centre(gateway)
    key = (gateway.tenant, gateway.device)
    announcement = delivered(gateway.announce(NOW))._replace(held_as=7)
    report = delivered(gateway.report([reading(1)]))._replace(held_as=8)
    centre.snapshot = replace(centre.snapshot, devices={key: registered(gateway, revoked=True)})
    refused = centre.admit(announcement)
    assert [(each.id, each.reason) for each in refused.verdicts] == [(7, "revoked")]
    assert not refused.quarantined
    assert not refused.nothing_to_store  # the verdict is
    centre.snapshot = replace(centre.snapshot, devices={key: registered(gateway)})
    parked = centre.admit(report)
    assert not parked.verdicts
    taken = centre.admit(announcement)
    assert [(each.id, each.reason) for each in taken.verdicts] == [(7, "")]
    released = centre.admit(*taken.deferred)
    assert [(each.id, each.reason) for each in released.verdicts] == [(8, "")]
    again = centre.admit(report)
    assert [(each.id, each.reason) for each in again.verdicts] == [(8, "duplicate")]


def test_revoked_gateway_is_refused_and_its_messages_are_kept(
    gateway: SimulatedGateway, centre: Centre
) -> None:
    key = (gateway.tenant, gateway.device)
    centre.snapshot = replace(centre.snapshot, devices={key: registered(gateway, revoked=True)})
    outcome = centre.admit(gateway.report([reading(1)]))
    assert reasons(outcome) == ["revoked"]
    assert [row.reason for row in outcome.quarantined] == ["revoked"]
    assert not outcome.acknowledgements


def test_quarantine_of_a_flood_is_bounded(gateway: SimulatedGateway) -> None:
    centre = Centre(gateway, rules=replace(RULES, kept_messages=3))
    centre.admit(gateway.announce(NOW))
    key = (gateway.tenant, gateway.device)
    centre.snapshot = replace(centre.snapshot, devices={key: registered(gateway, revoked=True)})
    outcomes = [centre.admit(gateway.report([])) for _ in range(5)]
    assert [len(found.quarantined) for found in outcomes] == [1, 1, 1, 0, 0]
    assert all(reasons(found) == ["revoked"] for found in outcomes)
    assert len(centre.admit(gateway.report([]), now=NOW + 3600).quarantined) == 1


def test_quarantine_of_a_message_full_of_bad_readings_is_bounded(
    gateway: SimulatedGateway,
) -> None:
    centre = Centre(gateway, rules=replace(RULES, kept_readings=3))
    centre.admit(gateway.announce(NOW))
    outcome = centre.admit(
        gateway.report([*series([5000] * 10, start=NOON - timedelta(days=1)), reading(1)])
    )
    assert len(outcome.quarantined) == 3
    assert [found.readings for found in outcome.reading_refusals] == [10]
    assert len(stored(outcome)) == 1


def test_signer_outside_its_time_is_kept(gateway: SimulatedGateway, centre: Centre) -> None:
    key = (gateway.tenant, gateway.device)
    ended = registered(gateway, until=NOW - 604_801)
    centre.snapshot = replace(centre.snapshot, devices={key: ended})
    outcome = centre.admit(gateway.report([]))
    assert reasons(outcome) == ["signer-time"]
    assert len(outcome.quarantined) == 1


def test_message_of_a_closed_epoch_is_kept(gateway: SimulatedGateway, centre: Centre) -> None:
    late = NOW + 3600 + 604_800 + 1
    outcome = centre.admit(gateway.report([]), now=late)
    assert reasons(outcome) == ["epoch-closed"]
    assert len(outcome.quarantined) == 1
