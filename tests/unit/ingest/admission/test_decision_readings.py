"""What becomes of the readings in a message: their units, ranges, times and flags."""

from datetime import UTC, datetime, timedelta

import pytest

from device_protocol.reading import Quality, Reading
from tests.simulators.gateway import NOON, SimulatedGateway, reading, series
from tests.unit.ingest.admission.centre import (
    NOW,
    OCCUPIED,
    Centre,
    microseconds,
    reading_reasons,
    stored,
)


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
