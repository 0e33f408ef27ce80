"""What is admitted, refused and acknowledged, message by message."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from device_protocol.receiver import Policy
from ingest.admission.decision import admit
from tests.simulators.gateway import Message, SimulatedGateway, reading, series
from tests.unit.ingest.admission.centre import (
    NOW,
    RULES,
    Centre,
    delivered,
    microseconds,
    reasons,
    stored,
)


def test_readings_become_sorted_observations_with_their_evidence(
    gateway: SimulatedGateway, centre: Centre
) -> None:
    readings = series([41.5, 42.0])
    outcome = centre.admit(gateway.report(list(reversed(readings))))
    times = [microseconds(found.phenomenon_time) for found in readings]
    assert stored(outcome) == [(1, times[0], 41.5), (1, times[1], 42.0)]
    [batch] = outcome.signed
    assert (batch.seq, batch.readings, batch.first_time, batch.last_time) == (1, 2, *times)
    assert batch.gateway_id == 1
    [progress] = outcome.progress
    assert (progress.highest_seq, progress.contiguous_seq, progress.received_messages) == (1, 1, 1)
    assert outcome.accepted == 1
    assert outcome.last_heard == {1: NOW}


def test_acknowledgement_is_due_for_what_is_contiguous(
    gateway: SimulatedGateway, centre: Centre
) -> None:
    first, second, third = (gateway.report([reading(value)]) for value in (1, 1, 1))
    [due] = centre.admit(first, third).acknowledgements
    assert due.acknowledgement.contiguous_seq == 1
    assert due.acknowledgement.highest_counter == 1
    assert due.connection == "city"
    [due] = centre.admit(second).acknowledgements
    assert due.acknowledgement.contiguous_seq == 3


def test_accepted_announcement_is_acknowledged(gateway: SimulatedGateway) -> None:
    centre = Centre(gateway)
    outcome = centre.admit(gateway.announce(NOW))
    [accepted] = outcome.announcements
    [due] = outcome.acknowledgements
    assert accepted.announcement.epoch.counter == 1
    assert due.acknowledgement.contiguous_seq == 0
    assert due.epoch_key == accepted.announcement.epoch.key


def test_admission_leaves_the_given_state_alone(gateway: SimulatedGateway, centre: Centre) -> None:
    message = delivered(gateway.report([reading(1)]))
    outcomes = [
        admit([message], snapshot=centre.snapshot, state=centre.state, rules=RULES, now=NOW)
        for _ in range(2)
    ]
    assert [found.accepted for found in outcomes] == [1, 1]
    assert not outcomes[1].refusals


@pytest.mark.parametrize("kind", ["data", "announcement"])
def test_repetition_is_refused_quietly_and_acknowledged_again(
    gateway: SimulatedGateway, centre: Centre, kind: str
) -> None:
    message = gateway.report([reading(1)])
    centre.admit(message)
    again = centre.admit(message if kind == "data" else gateway.announcement())
    assert reasons(again) == ["duplicate"]
    [due] = again.acknowledgements
    assert due.acknowledgement.contiguous_seq == 1
    assert due.acknowledgement.last_refusal == 0
    assert not again.signed


def test_message_behind_the_window_is_refused_and_acknowledged_again(
    gateway: SimulatedGateway,
) -> None:
    centre = Centre(gateway, rules=replace(RULES, policy=Policy(window=4)))
    centre.admit(gateway.announce(NOW))
    messages = [gateway.report([]) for _ in range(6)]
    centre.admit(messages[5])
    outcome = centre.admit(messages[0])
    assert reasons(outcome) == ["too-old"]
    [due] = outcome.acknowledgements
    assert due.acknowledgement.contiguous_seq == 0
    assert due.acknowledgement.last_refusal == 501


def test_same_number_with_other_bytes_is_refused(gateway: SimulatedGateway, centre: Centre) -> None:
    centre.admit(gateway.report([reading(1)]))
    assert gateway.epoch is not None
    gateway.epoch.last_seq = 0  # a gateway that counts twice
    outcome = centre.admit(gateway.report([reading(2)]))
    assert reasons(outcome) == ["seq-conflict"]
    assert not outcome.acknowledgements


def test_heartbeat_without_readings_is_stored(gateway: SimulatedGateway, centre: Centre) -> None:
    outcome = centre.admit(gateway.report([]))
    assert outcome.accepted == 1
    assert [batch.readings for batch in outcome.signed] == [0]
    assert not stored(outcome)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda m: m._replace(topic=m.topic.replace("snaas/1", "snaas/2")), "version"),
        (lambda m: m._replace(topic=m.topic.upper()), "topic"),
        (lambda m: m._replace(topic=m.topic.replace("/d/", "/a/")), "topic"),
        (lambda m: m._replace(payload=bytes(65_537)), "size"),
        (lambda m: m._replace(payload=m.payload[:-1]), "encoding"),
        (lambda m: m._replace(payload=b"\x01"), "structure"),
        (lambda m: m._replace(topic=m.topic.replace("k7q2", "zzzz")), "unknown-device"),
        (lambda m: m._replace(payload=m.payload[:-1] + bytes((m.payload[-1] ^ 1,))), "aead"),
    ],
)
def test_message_that_fails_a_check_changes_nothing(
    gateway: SimulatedGateway, centre: Centre, spoil: Callable[[Message], Message], reason: str
) -> None:
    good = gateway.report([reading(1)])
    outcome = centre.admit(spoil(good))
    assert reasons(outcome) == [reason]
    assert not outcome.quarantined
    assert not outcome.signed
    assert not outcome.acknowledgements
    assert centre.admit(good).accepted == 1


def test_retained_data_is_refused(gateway: SimulatedGateway, centre: Centre) -> None:
    message = delivered(gateway.report([reading(1)]))._replace(retained=True)
    assert reasons(centre.admit(message)) == ["retained"]


def test_refusals_are_counted_for_known_names_only(
    gateway: SimulatedGateway, centre: Centre
) -> None:
    message = gateway.report([])
    strangers = [
        message._replace(topic="snaas/1/atlantis/zzzz/d/main"),
        message._replace(topic="snaas/1/camden/zzzz/d/main"),
        message._replace(topic="nonsense"),
    ]
    outcome = centre.admit(*strangers, message._replace(payload=b"\x01"))
    assert [(found.tenant, found.device) for found in outcome.refusals] == [
        ("unknown", ""),
        ("camden", ""),
        ("unknown", ""),
        ("camden", "k7q2m9xd4t"),
    ]
