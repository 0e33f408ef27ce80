"""What holds whatever comes, in whatever order."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.simulators.gateway import NOON, SimulatedGateway, description, public, reading, series
from tests.unit.ingest.admission.centre import NOW, RECIPIENT, Centre, reasons, stored


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
