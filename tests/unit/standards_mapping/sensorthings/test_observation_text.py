"""Observations written a column at a time: each cell stays with its row, whatever is in it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson

from standards_mapping.sensorthings.observation_text import ObservationColumns, observations_text

ROOT = "http://city.test/sensorthings/v1.1"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAN = float("nan")


def microseconds(times: Sequence[datetime]) -> Any:
    """Return Unix microseconds."""
    return np.array([time.replace(tzinfo=None) for time in times], "datetime64[us]").view("int64")


def written(
    times: Sequence[datetime],
    *,
    starts: Sequence[datetime] | None = None,
    streams: Sequence[int] | None = None,
    values: Sequence[float] | None = None,
    qualities: Sequence[int] | None = None,
    results: Sequence[Any] = (),
    others: Mapping[str, Sequence[Any]] | None = None,
) -> Any:
    """Return what observations are written as, read again; they are instants of 1.5 at one site."""
    count = len(times)
    columns = ObservationColumns(
        streams=np.array(streams or [1] * count, np.int64),
        times=microseconds(times),
        starts=microseconds(starts or times),
        values=np.array(values or [1.5] * count),
        qualities=np.array(qualities or [0] * count, np.int64),
        results=results,
        others=others or {},
    )
    return orjson.loads(observations_text(columns, ROOT))


def test_numbers_texts_and_nothing_stay_with_their_observation() -> None:
    found = written(
        [NOON] * 4,
        streams=[1, 2, 3, 4],
        starts=[NOON, NOON - timedelta(minutes=15), NOON, NOON],
        values=[NAN, 1.5, NAN, NAN],
        results=["wet, cold", None, None, [1, "}"]],
    )
    assert [each["result"] for each in found] == ["wet, cold", 1.5, None, [1, "}"]]
    assert [each["phenomenonTime"] for each in found] == [
        "2026-03-01T12:00:00Z",
        "2026-03-01T11:45:00Z/2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00Z",
    ]
    assert [each["@iot.id"].partition("-")[0] for each in found] == ["1", "2", "3", "4"]


def test_where_all_are_intervals_each_has_its_own_start() -> None:
    times = [NOON + timedelta(minutes=number) for number in range(3)]
    found = written(times, starts=[time - timedelta(microseconds=1) for time in times])
    assert [each["phenomenonTime"] for each in found] == [
        "2026-03-01T11:59:59.999999Z/2026-03-01T12:00:00Z",
        "2026-03-01T12:00:59.999999Z/2026-03-01T12:01:00Z",
        "2026-03-01T12:01:59.999999Z/2026-03-01T12:02:00Z",
    ]


def test_where_no_result_is_a_number_none_is_told() -> None:
    assert [each["result"] for each in written([NOON] * 2, values=[NAN, NAN])] == [None, None]


def test_an_id_counts_microseconds_from_1970_and_before_it() -> None:
    before = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    first, second = written([before, NOON], streams=[7, 7])
    assert first["@iot.id"] == "7--1"
    assert first["resultTime"] == "1969-12-31T23:59:59.999999Z"
    assert second["@iot.id"] == "7-1772366400000000"
    assert second["@iot.selfLink"] == f"{ROOT}/Observations('7-1772366400000000')"


def test_what_only_some_have_is_told_of_those_alone() -> None:
    plain, flagged, listed = written(
        [NOON] * 3,
        qualities=[0, 1, 0],
        others={
            "validTime": [None, "2026-03-01T12:00:00Z", None],
            "parameters": [None, {}, []],
        },
    )
    assert not {"resultQuality", "validTime", "parameters"} & set(plain)
    assert flagged["resultQuality"]["code"] == 1
    assert flagged["validTime"] == "2026-03-01T12:00:00Z"
    assert "parameters" not in flagged
    assert listed["parameters"] == []


def test_no_observations_are_an_empty_array() -> None:
    assert written([]) == []
