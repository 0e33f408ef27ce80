"""Announcements, what waits for them, and what is known of epochs that ended."""

from dataclasses import replace

from ingest.admission.decision import Rules
from tests.simulators.gateway import SimulatedGateway, new_recipient_key, public, reading
from tests.unit.ingest.admission.centre import NOW, RECIPIENT, RULES, Centre, reasons, stored


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
