"""Observations written a column at a time: each cell stays with its row, whatever is in it."""

from datetime import datetime, timedelta

import orjson

from standards_mapping.sensorthings.observation_text import observations_text

ROOT = "http://city.test/sensorthings/v1.1"
NOON = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - as it is read: UTC, without a zone


def test_numbers_texts_and_nothing_stay_with_their_observation() -> None:
    rows = [
        (1, NOON, None, None, "wet, cold", 0),
        (2, NOON, NOON - timedelta(minutes=15), 1.5, None, 0),
        (3, NOON, None, float("nan"), None, 0),
        (4, NOON, None, None, None, 0),
    ]
    found = orjson.loads(observations_text(rows, ROOT))
    assert [each["result"] for each in found] == ["wet, cold", 1.5, None, None]
    assert [each["phenomenonTime"] for each in found] == [
        "2026-03-01T12:00:00Z",
        "2026-03-01T11:45:00Z/2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00Z",
    ]
    assert [each["@iot.id"].partition("-")[0] for each in found] == ["1", "2", "3", "4"]


def test_an_id_counts_microseconds_from_1970_and_before_it() -> None:
    before = datetime(1969, 12, 31, 23, 59, 59, 999_999)  # noqa: DTZ001 - as above
    rows = [(7, before, None, 0.0, None, 0), (7, NOON, None, 0.0, None, 0)]
    first, second = orjson.loads(observations_text(rows, ROOT))
    assert first["@iot.id"] == "7--1"
    assert first["resultTime"] == "1969-12-31T23:59:59.999999Z"
    assert second["@iot.id"] == "7-1772366400000000"
    assert second["@iot.selfLink"] == f"{ROOT}/Observations('7-1772366400000000')"


def test_what_only_some_have_is_told_of_those_alone() -> None:
    rows = [
        (1, NOON, None, 1.5, None, 0, None, None),
        (1, NOON, None, 1.5, None, 1, "2026-03-01T12:00:00Z", {}),
        (1, NOON, None, 1.5, None, 0, None, []),
    ]
    plain, flagged, listed = orjson.loads(
        observations_text(rows, ROOT, ("validTime", "parameters"))
    )
    assert not {"resultQuality", "validTime", "parameters"} & set(plain)
    assert flagged["resultQuality"]["code"] == 1
    assert flagged["validTime"] == "2026-03-01T12:00:00Z"
    assert "parameters" not in flagged
    assert listed["parameters"] == []


def test_no_observations_are_an_empty_array() -> None:
    assert observations_text([], ROOT) == b"[]"
