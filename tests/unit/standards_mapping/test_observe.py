"""A record becomes an observation of its datastream: at its time, in its datastream's unit."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_protocol.errors import RejectionError
from device_protocol.reading import Quality
from device_protocol.senml import Record
from standards_mapping.observation import Result
from standards_mapping.observe import observe, observe_all, senml_name
from tests.unit.standards_mapping.ngsi_ld.conftest import HOUR, datastream

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO2, RAIN, BAY = datastream("no2", 1), datastream("rainfall", 2), datastream("bay_occupied", 3)
KNOWN = {senml_name(row): row for row in (NO2, RAIN, BAY)}


def record(name: str, value: Result, unit: str = "", time: int = 0) -> Record:
    return Record(name, unit, time, value, None, 0)


@given(st.integers(1 << 48, 1 << 52), st.floats(allow_nan=False, allow_infinity=False))
def test_a_time_is_never_moved_and_a_result_in_its_own_unit_never_changed(
    time: int, result: float
) -> None:
    seen = observe(record(senml_name(NO2), result, "ug/m3", time), KNOWN)
    assert (seen.time - EPOCH) // timedelta(microseconds=1) == time
    assert (seen.result, seen.datastream, seen.averaging) == (result, 1, HOUR)


def test_a_result_is_converted_once_and_exactly() -> None:
    assert observe(record(senml_name(RAIN), 0.0014, "m"), KNOWN).result == 1.4
    assert observe(record(senml_name(BAY), value=True), KNOWN).result is True


def test_flags_are_kept() -> None:
    flagged = Record(senml_name(NO2), "ug/m3", 0, 4.0, None, 9)
    assert observe(flagged, KNOWN).quality == Quality.OUT_OF_RANGE | Quality.SUSPECT


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (record("urn:x:no2", 1.0), "unknown-datastream"),
        (record(senml_name(NO2), 1.0, "dB"), "unit-mismatch"),
        (record(senml_name(NO2), value=True), "unit-mismatch"),
        (record(senml_name(BAY), 1.0), "unit-mismatch"),
        (record(senml_name(NO2), "much"), "unit-mismatch"),
        (Record(senml_name(NO2), "ug/m3", 0, None, 2.0, 0), "payload"),
    ],
)
def test_what_is_no_observation_is_refused(given: Record, reason: str) -> None:
    with pytest.raises(RejectionError) as refused:
        observe(given, KNOWN)
    assert refused.value.reason == reason


def test_refusals_say_which_record_and_the_first_of_two_results_stays() -> None:
    name = senml_name(NO2)
    given = [record(name, 1.0, "ug/m3"), record(name, 1.0, "ug/m3"), record(name, 2.0, "ug/m3")]
    kept, refused = observe_all(given, KNOWN.values())
    assert [each.result for each in kept] == [1.0]
    assert [(each.position, each.error.reason) for each in refused] == [(2, "conflicting-result")]
