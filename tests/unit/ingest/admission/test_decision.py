from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_protocol.description import CONTENT_FORMAT_CBOR, Datastream
from device_protocol.errors import (
    ContentFormatError,
    PayloadError,
    ReadingTimeError,
    RejectionError,
)
from device_protocol.reading import Quality, Reading
from device_protocol.receiver import Device, Policy, Signer
from ingest.admission.decision import Rules, admit
from ingest.admission.outcome import Outcome
from ingest.admission.snapshot import Gateway, Snapshot, Stream
from ingest.admission.state import ReceiverState
from ingest.receiving.delivery import Delivery
from tests.simulators.gateway import (
    NOON,
    Message,
    SimulatedGateway,
    datastream,
    description,
    new_recipient_key,
    public,
    reading,
    series,
)

NOW = int(NOON.timestamp())
DAY = 86_400
RECIPIENT = new_recipient_key()
OCCUPIED = True
RULES = Rules(recipients={RECIPIENT.kid: RECIPIENT})
STREAMS = {
    "urn:dev:air:no2": Stream(1, "ug/m3", "ug/m3", 0.0, 1000.0),
    "urn:dev:air:temp": Stream(2, "Cel", "Cel", -40.0, 60.0),
    "urn:dev:air:occupied": Stream(3, "bool", None, -1e308, 1e308),
    "urn:dev:air:state": Stream(4, "1", "/", -1e308, 1e308),
}


class Centre:
    """Admission with a registry and a state that persists from batch to batch."""

    def __init__(self, *gateways: SimulatedGateway, rules: Rules = RULES) -> None:
        self.rules = rules
        self.state = ReceiverState()
        self.snapshot = Snapshot(
            devices={(g.tenant, g.device): registered(g) for g in gateways},
            gateways={
                (g.tenant, g.device): Gateway(number, 1, b"", STREAMS if number == 1 else {})
                for number, g in enumerate(gateways, start=1)
            },
            tenants=frozenset(g.tenant for g in gateways),
        )

    def admit(self, *messages: Message | Delivery, now: int = NOW) -> Outcome:
        outcome = admit(
            [delivered(message, now) for message in messages],
            snapshot=self.snapshot,
            state=self.state,
            rules=self.rules,
            now=now,
        )
        self.state.apply(outcome.channels, outcome.parking, outcome.kept)
        return outcome


def registered(
    gateway: SimulatedGateway, *, revoked: bool = False, until: int = NOW + DAY
) -> Device:
    key = gateway.verifying_key
    return Device(gateway.tenant, gateway.device, revoked, {key.kid: Signer(key, NOW - DAY, until)})


def delivered(message: Message | Delivery, now: int = NOW) -> Delivery:
    if isinstance(message, Delivery):
        return message
    return Delivery("city", message.topic, message.payload, retained=False, received_at=now)


def reasons(outcome: Outcome) -> list[str]:
    return [refusal.reason for refusal in outcome.refusals]


def reading_reasons(outcome: Outcome) -> list[str]:
    return [row.reason for row in outcome.quarantined if row.message is None]


def stored(outcome: Outcome) -> list[tuple[int, int, float]]:
    found = outcome.columns.observations
    return list(
        zip(found.datastream_ids.tolist(), found.times.tolist(), found.values.tolist(), strict=True)
    )


def microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.fixture
def gateway() -> SimulatedGateway:
    return SimulatedGateway("camden", "k7q2m9xd4t", [public(RECIPIENT)])


@pytest.fixture
def centre(gateway: SimulatedGateway) -> Centre:
    """A centre that has stored the gateway's announcement."""
    centre = Centre(gateway)
    centre.admit(gateway.announce(NOW))
    return centre


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
    ("wrong", "reason"),
    [
        (reading(1, name="no3"), "unknown-datastream"),
        (reading(1, sensor="urn:dev:other"), "unknown-datastream"),
        (reading(1, unit="Cel"), "unit-mismatch"),
        (reading(1, unit=""), "unit-mismatch"),
        (reading(OCCUPIED, unit=""), "unit-mismatch"),
        (reading("high", unit=""), "unit-mismatch"),
        (reading(3, name="occupied", unit=""), "unit-mismatch"),
        (reading(1000.1), "out-of-range"),
        (reading(-0.1), "out-of-range"),
        (reading(61, name="temp", unit="Cel"), "out-of-range"),
        (reading(400, name="temp", unit="K"), "out-of-range"),
        (reading(1, time=NOON + timedelta(seconds=301)), "reading-time"),
        (reading(1, time=datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)), "reading-time"),
    ],
)
def test_bad_reading_is_quarantined_alone(
    gateway: SimulatedGateway, centre: Centre, wrong: Reading, reason: str
) -> None:
    good = [reading(40), reading(20, name="temp", unit="Cel")]
    outcome = centre.admit(gateway.report([good[0], wrong, good[1]]))
    assert [(row[0], row[2]) for row in stored(outcome)] == [(1, 40.0), (2, 20.0)]
    assert reading_reasons(outcome) == [reason]
    [row] = outcome.quarantined
    assert (row.tenant, row.device, row.message) == ("camden", "k7q2m9xd4t", None)
    assert (row.senml_name, row.result) == (f"{wrong.sensor}:{wrong.name}", wrong.result)
    [count] = outcome.reading_refusals
    assert (count.reason, count.readings) == (reason, 1)
    assert outcome.accepted == 1
    assert [batch.readings for batch in outcome.signed] == [2]


def test_reading_at_the_edges_of_time_and_range_is_stored(
    gateway: SimulatedGateway, centre: Centre
) -> None:
    edges = [
        reading(0, time=NOON + timedelta(seconds=300)),
        reading(1000, time=datetime(2000, 1, 1, tzinfo=UTC)),
    ]
    assert len(stored(centre.admit(gateway.report(edges)))) == 2


def test_result_is_converted_to_the_unit_of_its_datastream(
    gateway: SimulatedGateway, centre: Centre
) -> None:
    outcome = centre.admit(
        gateway.report([reading(4.15e-8, unit="kg/m3"), reading(293.15, name="temp", unit="K")])
    )
    assert [row[2] for row in stored(outcome)] == [41.5, 20.0]


def test_truth_and_text_are_kept_beside_the_value(
    gateway: SimulatedGateway, centre: Centre
) -> None:
    outcome = centre.admit(
        gateway.report(
            [reading(OCCUPIED, name="occupied", unit=""), reading("idle", name="state", unit="")]
        )
    )
    occupied, state = stored(outcome)
    time = microseconds(NOON)
    assert occupied == (3, time, 1.0)
    assert state[2] != state[2], "NaN stands for no number"
    extras = outcome.columns.extras
    assert (extras[3, time].result, extras[4, time].result) == (OCCUPIED, "idle")


def test_readings_of_a_gateway_without_clock_are_flagged(gateway: SimulatedGateway) -> None:
    gateway.clock = 0
    centre = Centre(gateway)
    centre.admit(gateway.announce(NOW))
    outcome = centre.admit(gateway.report(series([1, 2])))
    assert [extra.quality for extra in outcome.columns.extras.values()] == [2, 2]


def test_flags_of_the_gateway_are_kept_and_added_to_our_own(gateway: SimulatedGateway) -> None:
    gateway.clock = 0
    centre = Centre(gateway)
    centre.admit(gateway.announce(NOW))
    outcome = centre.admit(
        gateway.report(
            [
                reading(1, quality=Quality.SUSPECT),
                reading(2, time=NOON + timedelta(seconds=1)),
                reading(4e-8, unit="kg/m3", time=NOON + timedelta(seconds=2), quality=Quality(16)),
                reading(OCCUPIED, name="occupied", unit="", quality=Quality.WARMING_UP),
            ]
        )
    )
    extras = outcome.columns.extras.values()
    assert sorted((extra.datastream_id, extra.quality) for extra in extras) == [
        (1, 2), (1, 2 + 8), (1, 2 + 16), (3, 2 + 16),
    ]  # fmt: skip


def test_unflagged_readings_leave_nothing_beside_their_value(
    gateway: SimulatedGateway, centre: Centre
) -> None:
    assert not centre.admit(gateway.report(series([1, 2, 3]))).columns.extras


@pytest.mark.parametrize(
    ("wrong", "value"),
    [
        (reading(1000.1, quality=Quality.OUT_OF_RANGE), 1000.1),
        (reading(2e-6, unit="kg/m3", quality=Quality.OUT_OF_RANGE), 2000.0),
        (reading(-1e300, quality=Quality.OUT_OF_RANGE | Quality.SUSPECT), -1e300),
    ],
)
def test_reading_its_gateway_flagged_out_of_range_is_stored_with_the_flag(
    gateway: SimulatedGateway, centre: Centre, wrong: Reading, value: float
) -> None:
    outcome = centre.admit(gateway.report([wrong]))
    assert [row[2] for row in stored(outcome)] == [value]
    [extra] = outcome.columns.extras.values()
    assert extra.quality == wrong.quality
    assert not outcome.quarantined


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (reading(1000.1, quality=Quality.SUSPECT | Quality.WARMING_UP), "out-of-range"),
        (reading(1e308, unit="kg/m3", quality=Quality.OUT_OF_RANGE), "out-of-range"),
        (reading(1, unit="Cel", quality=Quality.OUT_OF_RANGE), "unit-mismatch"),
        (reading(1, name="no3", quality=Quality.OUT_OF_RANGE), "unknown-datastream"),
    ],
)
def test_no_other_flag_excuses_and_that_one_excuses_nothing_else(
    gateway: SimulatedGateway, centre: Centre, wrong: Reading, reason: str
) -> None:
    outcome = centre.admit(gateway.report([wrong]))
    assert not stored(outcome)
    assert reading_reasons(outcome) == [reason]
    assert [row.quality for row in outcome.quarantined] == [wrong.quality]


def test_contradiction_within_a_batch_keeps_the_first(
    gateway: SimulatedGateway, centre: Centre
) -> None:
    outcome = centre.admit(
        gateway.report([reading(1), reading(5, name="temp", unit="Cel")]),
        gateway.report([reading(2), reading(1)]),
    )
    assert [row[2] for row in stored(outcome)] == [1.0, 5.0]
    [row] = outcome.quarantined
    assert (row.reason, row.result, row.unit) == ("conflicting-result", 2.0, "ug/m3")
    assert row.senml_name == "urn:dev:air:no2"
    assert [found.reason for found in outcome.reading_refusals] == ["conflicting-result"]


def test_repeated_reading_within_a_batch_is_stored_once(
    gateway: SimulatedGateway, centre: Centre
) -> None:
    outcome = centre.admit(gateway.report([reading(1), reading(1)]), gateway.report([reading(1)]))
    assert len(stored(outcome)) == 1
    assert not outcome.quarantined


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


def test_rolled_back_or_cloned_gateway_is_refused(
    gateway: SimulatedGateway, centre: Centre
) -> None:
    centre.admit(gateway.announce(NOW, counter=5))
    assert reasons(centre.admit(gateway.announce(NOW, counter=4))) == ["epoch-rollback"]
    assert reasons(centre.admit(gateway.announce(NOW, counter=5))) == ["epoch-conflict"]


def test_counter_beyond_the_database_is_refused(gateway: SimulatedGateway) -> None:
    centre = Centre(gateway)
    assert reasons(centre.admit(gateway.announce(NOW, counter=1 << 63))) == ["structure"]
    assert reasons(centre.admit(gateway.announce(NOW, counter=(1 << 63) - 1))) == []


def test_announcement_not_for_us_is_refused(gateway: SimulatedGateway) -> None:
    centre = Centre(gateway)
    other = public(new_recipient_key())
    assert reasons(centre.admit(gateway.announce(NOW, recipients=[other]))) == ["not-recipient"]


def test_what_follows_an_announcement_waits_for_the_next_batch(gateway: SimulatedGateway) -> None:
    centre = Centre(gateway)
    announcement, data = gateway.announce(NOW), gateway.report([reading(1)])
    outcome = centre.admit(announcement, data)
    assert outcome.ends_batch
    assert [delivery.message for delivery in outcome.deferred] == [data.payload]
    assert not outcome.signed
    assert centre.admit(*outcome.deferred).accepted == 1


def test_several_announcements_in_one_batch_are_taken(gateway: SimulatedGateway) -> None:
    centre = Centre(gateway)
    announcements = [gateway.announce(NOW) for _ in range(3)]
    outcome = centre.admit(*announcements, gateway.report([]))
    assert [found.announcement.epoch.counter for found in outcome.announcements] == [1, 2, 3]
    assert len(outcome.deferred) == 1
    first = outcome.announcements[0]
    epoch_id = first.announcement.epoch.epoch_id
    centre.state.withdraw(first.channel, epoch_id, first.counter_before, first.sha256_before)
    assert centre.state.channels[first.channel].highest_counter == 3
    assert centre.admit(*outcome.deferred).accepted == 1


def test_running_epoch_goes_on_beside_the_announcement_of_the_next(
    gateway: SimulatedGateway, centre: Centre
) -> None:
    last = gateway.report([reading(1)])
    outcome = centre.admit(gateway.announce(NOW), last)
    assert (outcome.accepted, outcome.deferred) == (2, [])


def test_other_gateways_go_on_beside_an_announcement(gateway: SimulatedGateway) -> None:
    other = SimulatedGateway("camden", "w3n8b5rc6h", [public(RECIPIENT)])
    centre = Centre(gateway, other)
    centre.admit(gateway.announce(NOW))
    outcome = centre.admit(other.announce(NOW), gateway.report([reading(1)]))
    assert outcome.accepted == 2
    assert not outcome.deferred


def test_data_before_its_announcement_waits_for_it(gateway: SimulatedGateway) -> None:
    centre = Centre(gateway)
    announcement = gateway.announce(NOW)
    messages = [gateway.report([reading(1)]), gateway.report([reading(2, name="temp", unit="Cel")])]
    early = centre.admit(*messages)
    assert (early.parked, early.refusals, early.signed) == (2, [], [])
    released = centre.admit(announcement).deferred
    assert [delivery.message for delivery in released] == [m.payload for m in messages]
    assert centre.admit(*released).accepted == 2
    assert not centre.state.parking


def test_other_group_is_not_released(gateway: SimulatedGateway) -> None:
    other = SimulatedGateway(
        gateway.tenant, gateway.device, [public(RECIPIENT)], signer=gateway.signer, group="council"
    )
    centre = Centre(gateway)
    announcement, other_announcement = gateway.announce(NOW), other.announce(NOW)
    centre.admit(gateway.report([]), other.report([]))
    assert len(centre.admit(announcement).deferred) == 1
    assert len(centre.admit(other_announcement).deferred) == 1


def test_parked_message_is_refused_after_its_time(gateway: SimulatedGateway) -> None:
    centre = Centre(gateway)
    gateway.announce(NOW)
    centre.admit(gateway.report([]))
    assert not centre.admit(now=NOW + 300).refusals
    outcome = centre.admit(now=NOW + 301)
    assert reasons(outcome) == ["unknown-epoch"]
    assert not outcome.quarantined
    assert not centre.state.parking


def test_parking_is_bounded_by_number_and_size(gateway: SimulatedGateway) -> None:
    gateway.announce(NOW)
    messages = [gateway.report([reading(value)]) for value in range(4)]
    few = Centre(gateway, rules=replace(RULES, parked_messages=3))
    outcome = few.admit(*messages)
    assert (outcome.parked, reasons(outcome)) == (3, ["unknown-epoch"])
    size = len(messages[0].payload)
    small = Centre(gateway, rules=replace(RULES, parked_bytes=2 * size))
    outcome = small.admit(*messages)
    assert outcome.parked == 2
    assert small.state.parking.size_bytes <= 2 * size


def test_stranger_cannot_park(gateway: SimulatedGateway) -> None:
    centre = Centre()
    gateway.announce(NOW)
    outcome = centre.admit(gateway.report([]))
    assert (outcome.parked, reasons(outcome)) == (0, ["unknown-device"])


def test_refused_reused_epoch_can_be_withdrawn(gateway: SimulatedGateway, centre: Centre) -> None:
    [accepted] = centre.admit(gateway.announce(NOW)).announcements
    epoch_id = accepted.announcement.epoch.epoch_id
    centre.state.withdraw(
        accepted.channel, epoch_id, accepted.counter_before, accepted.sha256_before
    )
    outcome = centre.admit(gateway.report([]))
    assert outcome.parked == 1
    assert centre.state.channels[accepted.channel].highest_counter == 1


def test_missing_messages_are_counted_within_and_at_the_end_of_an_epoch(
    gateway: SimulatedGateway, centre: Centre
) -> None:
    messages = [gateway.report([]) for _ in range(6)]
    centre.admit(messages[0], messages[3])
    assert centre.state.missing() == {"camden": 2}
    centre.admit(gateway.announce(NOW))  # which says that six were sent
    assert centre.state.missing() == {"camden": 4}
    centre.admit(*messages)
    assert centre.state.missing() == {"camden": 0}


def test_complete_epoch_that_ended_keeps_a_small_window(
    gateway: SimulatedGateway, centre: Centre
) -> None:
    messages = [gateway.report([]) for _ in range(5)]
    centre.admit(*messages)
    first = next(iter(centre.state.channels.values()))
    centre.admit(gateway.announce(NOW))
    [channel] = centre.state.channels.values()
    sizes = [len(list(window.recent())) for window in channel.windows.values()]
    assert sizes == [1, 0]
    assert first is not channel
    assert reasons(centre.admit(messages[4], messages[0])) == ["duplicate", "too-old"]


def test_closed_epochs_are_forgotten(gateway: SimulatedGateway, centre: Centre) -> None:
    late = NOW + 3600 + 604_800 + 1
    centre.state.forget_closed(late)
    outcome = centre.admit(gateway.report([]), now=late)
    assert outcome.parked == 1
    assert reasons(centre.admit(gateway.announce(late, counter=1), now=late)) == ["epoch-conflict"]


def test_description_ends_the_gateways_part_of_the_batch(
    gateway: SimulatedGateway, centre: Centre
) -> None:
    data = gateway.describe(description()), gateway.report([reading(1)])
    outcome = centre.admit(*data)
    [accepted] = outcome.descriptions
    assert accepted.description == description()
    assert outcome.accepted == 1
    assert [delivery.message for delivery in outcome.deferred] == [data[1].payload]
    assert [batch.content_format for batch in outcome.signed] == [CONTENT_FORMAT_CBOR]


def test_last_of_several_descriptions_counts(gateway: SimulatedGateway, centre: Centre) -> None:
    first, last = description(datastream("a")), description(datastream("b"))
    outcome = centre.admit(
        gateway.describe(first), gateway.report([reading(1)]), gateway.describe(last)
    )
    assert [found.description for found in outcome.descriptions] == [last]
    assert (outcome.accepted, len(outcome.deferred)) == (2, 1)
    assert len(outcome.signed) == 2


def test_unchanged_description_costs_nothing(gateway: SimulatedGateway, centre: Centre) -> None:
    [accepted] = centre.admit(gateway.describe(description())).descriptions
    key = (gateway.tenant, gateway.device)
    known = replace(centre.snapshot.gateways[key], description_sha256=accepted.sha256)
    centre.snapshot = replace(centre.snapshot, gateways={key: known})
    outcome = centre.admit(gateway.describe(description()))
    assert (outcome.accepted, outcome.descriptions, outcome.ends_batch) == (1, [], False)


@pytest.mark.parametrize(
    ("wrong", "reason", "words"),
    [
        (datastream("x", "no22"), "payload", "no2"),
        (datastream("x", "no2", "ug/m4"), "unit-mismatch", "ug/m3"),
        (datastream("x", "no2", "Cel"), "unit-mismatch", "'no2', whose usual unit is 'ug/m3'"),
        (replace(datastream("x"), title="t" * 201), "payload", "201 characters"),
        (replace(datastream("x"), period_seconds=1 << 40), "payload", "limit"),
    ],
)
def test_datastream_that_cannot_be_held_is_left_out_and_named(
    gateway: SimulatedGateway, centre: Centre, wrong: Datastream, reason: str, words: str
) -> None:
    outcome = centre.admit(gateway.describe(description(datastream(), wrong)))
    [accepted] = outcome.descriptions
    assert accepted.description == description(datastream())
    assert accepted.sha256 == b"", "so that it is read again next time"
    [row] = outcome.quarantined
    assert (row.reason, row.senml_name) == (reason, "urn:dev:air:x")
    assert words in row.detail


def test_unit_of_another_scale_is_taken(gateway: SimulatedGateway, centre: Centre) -> None:
    described = description(
        datastream("co", "co", "ng/m3"), datastream("t", "air_temperature", "K")
    )
    assert not centre.admit(gateway.describe(described)).quarantined


@given(
    values=st.lists(
        st.one_of(
            st.floats(allow_nan=False, allow_infinity=False),
            st.booleans(),
            st.text("ab0", max_size=5),
        ),
        max_size=20,
    ),
    units=st.lists(st.sampled_from(["ug/m3", "kg/m3", "Cel", "", "nonsense"]), max_size=20),
)
def test_every_reading_is_stored_or_quarantined(
    values: Sequence[float | bool | str], units: Sequence[str]
) -> None:
    gateway = SimulatedGateway("camden", "k7q2m9xd4t", [public(RECIPIENT)])
    centre = Centre(gateway)
    centre.admit(gateway.announce(NOW))
    readings = [
        reading(value, unit=unit, time=NOON - timedelta(seconds=index))
        for index, (value, unit) in enumerate(zip(values, units, strict=False))
    ]
    outcome = centre.admit(gateway.report(readings))
    assert len(stored(outcome)) + len(outcome.quarantined) == len(readings)
    assert all(0 <= value <= 1000 for _, _, value in stored(outcome))
    assert outcome.accepted == 1


@given(
    flips=st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 255)), max_size=4),
    cut=st.integers(0, 2000),
    insert=st.binary(max_size=20),
    kind=st.sampled_from(["announcement", "readings", "description", "noise"]),
)
def test_no_message_however_spoilt_stops_admission(
    flips: Sequence[tuple[int, int]], cut: int, insert: bytes, kind: str
) -> None:
    gateway = SimulatedGateway("camden", "k7q2m9xd4t", [public(RECIPIENT)])
    centre = Centre(gateway)
    centre.admit(gateway.announce(NOW))
    message = {
        "announcement": lambda: gateway.announce(NOW),
        "readings": lambda: gateway.report(series([1, 2])),
        "description": lambda: gateway.describe(description()),
        "noise": lambda: gateway.report([])._replace(payload=insert * 3),
    }[kind]()
    spoilt = bytearray(message.payload)
    for at, bits in flips:
        if spoilt:
            spoilt[at % len(spoilt)] ^= bits
    at = cut % (len(spoilt) + 1)
    spoilt[at:at] = insert
    outcome = centre.admit(message._replace(payload=bytes(spoilt)))
    assert outcome.accepted + len(outcome.refusals) + outcome.parked == 1
    assert not outcome.accepted or bytes(spoilt) == message.payload


@given(payload=st.binary(max_size=200), content_format=st.sampled_from([60, 112]))
def test_no_signed_payload_stops_admission(payload: bytes, content_format: int) -> None:
    gateway = SimulatedGateway("camden", "k7q2m9xd4t", [public(RECIPIENT)])
    centre = Centre(gateway)
    centre.admit(gateway.announce(NOW))
    outcome = centre.admit(gateway.seal(payload, content_format))
    assert len(outcome.signed) == 1
    assert outcome.accepted + len(outcome.refusals) == 1


@given(order=st.permutations(range(8)), cuts=st.lists(st.integers(0, 8), max_size=3))
def test_order_and_batches_make_no_difference(order: Sequence[int], cuts: Iterable[int]) -> None:
    gateway = SimulatedGateway("camden", "k7q2m9xd4t", [public(RECIPIENT)])
    centre = Centre(gateway)
    centre.admit(gateway.announce(NOW))
    messages = [gateway.report([reading(n, time=NOON - timedelta(hours=n))]) for n in range(8)]
    shuffled = [messages[index] for index in order]
    edges = [0, *sorted(cuts), 8]
    outcomes = [centre.admit(*shuffled[a:b]) for a, b in pairwise(edges)]
    assert sum(found.accepted for found in outcomes) == 8
    [channel] = centre.state.channels.values()
    [window] = channel.windows.values()
    assert (window.contiguous, window.highest) == (8, 8)
    again = centre.admit(*shuffled)
    assert reasons(again) == ["duplicate"] * 8


def test_a_group_of_the_council_alone_cannot_be_opened_by_the_region() -> None:
    of_council = new_recipient_key()
    gateway = SimulatedGateway("camden", "k7q2m9xd4t", [public(of_council)], group="council")
    announcement, report = gateway.announce(NOW), gateway.report([reading(1)])
    region = Centre(gateway)
    refused = region.admit(announcement)
    waiting = region.admit(report)
    expired = region.admit(now=NOW + RULES.parked_seconds + 1)
    assert [reasons(refused), reasons(waiting), reasons(expired)] == [
        ["not-recipient"],
        [],
        ["unknown-epoch"],
    ]
    for outcome in (refused, waiting, expired):
        assert not stored(outcome)
        assert not outcome.signed
        assert not outcome.quarantined
    council = Centre(gateway, rules=Rules(recipients={of_council.kid: of_council}))
    assert not council.admit(announcement).refusals
    assert len(stored(council.admit(report))) == 1
