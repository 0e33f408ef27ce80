"""Every operator and function claimed, over a database, against the same worked out in Python."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest

from tests.integration.sensorthings.conftest import Service
from tests.simulators.registry import START, City, Seen

NOON = START + timedelta(hours=12)


def number(seen: Seen) -> float | None:
    """Return a numeric result; other results are none."""
    return float(seen.result) if type(seen.result) in (int, float) else None


def over(condition: Callable[[float], bool]) -> Callable[[Seen], bool]:
    """Return a condition on numeric results that all others fail."""

    def holds(seen: Seen) -> bool:
        value = number(seen)
        return value is not None and condition(value)

    return holds


def rounded(value: float) -> int:
    return int(Decimal(repr(value)).quantize(Decimal(1), ROUND_HALF_UP))


def mean(seen: Seen) -> bool:
    return seen.started < seen.time


COMPARISONS: Mapping[str, Callable[[Seen], bool]] = {
    "result eq 20.1": over(lambda r: r == 20.1),
    "20.1 eq result": over(lambda r: r == 20.1),
    "result ne 20.1": lambda seen: number(seen) != 20.1,
    "result gt 20.1": over(lambda r: r > 20.1),
    "result ge 20.1": over(lambda r: r >= 20.1),
    "result lt 20.1": over(lambda r: r < 20.1),
    "result le 20.1": over(lambda r: r <= 20.1),
    "20.1 lt result": over(lambda r: r > 20.1),
    "result lt -1": over(lambda r: r < -1),
    "result gt 1e5": over(lambda r: r > 1e5),
    "result eq true": lambda seen: seen.result is True,
    "result eq false": lambda seen: seen.result is False,
    "result eq 'fault'": lambda seen: seen.result == "fault",
    "result ne 'fault'": lambda seen: seen.result != "fault",
    "result gt 'f'": lambda seen: isinstance(seen.result, str) and seen.result > "f",
    "result eq null": lambda _: False,
    "result ne null": lambda _: True,
    "result gt null": lambda _: False,
    "validTime eq null": lambda _: True,
    "validTime gt 2026-01-01T00:00:00Z": lambda _: False,
    "resultQuality eq null": lambda seen: seen.quality == 0,
    "resultQuality/code eq 6": lambda seen: seen.quality == 6,
    "resultQuality/code ge 6": lambda seen: seen.quality >= 6,
    "resultQuality/flags/0 eq 'suspect'": lambda seen: seen.quality == 8,
    "resultQuality/nothing eq null": lambda _: True,
}
LOGIC: Mapping[str, Callable[[Seen], bool]] = {
    "result gt 20 and result lt 30": over(lambda r: 20 < r < 30),
    "result lt 20 or result gt 70": over(lambda r: r < 20 or r > 70),
    "result lt 5 or result gt 20 and result lt 30": over(lambda r: r < 5 or 20 < r < 30),
    "(result lt 5 or result gt 20) and result lt 30": over(lambda r: (r < 5 or r > 20) and r < 30),
    "not result gt 20": lambda seen: not over(lambda r: r > 20)(seen),
    "not (result gt 20)": lambda seen: not over(lambda r: r > 20)(seen),
    "not (result gt 20 or result lt 3)": (lambda seen: not over(lambda r: r > 20 or r < 3)(seen)),
    "not not result gt 20": over(lambda r: r > 20),
    "result gt 20 eq true": over(lambda r: r > 20),
    "result": lambda seen: seen.result is True,
    "true": lambda _: True,
    "false": lambda _: False,
    "null": lambda _: False,
}
ARITHMETIC: Mapping[str, Callable[[Seen], bool]] = {
    "result add 5 gt 40": over(lambda r: r + 5 > 40),
    "result sub 5 gt 40": over(lambda r: r - 5 > 40),
    "result mul 2 gt 90": over(lambda r: r * 2 > 90),
    "result div 2 gt 22.5": over(lambda r: r / 2 > 22.5),
    "result mod 2 eq 0": over(lambda r: math.fmod(r, 2) == 0),
    "result mod 2 eq -0.5": over(lambda r: math.fmod(r, 2) == -0.5),
    "(result sub 5) mul 2 gt 90": over(lambda r: (r - 5) * 2 > 90),
    "result sub 5 mul 2 gt 70": over(lambda r: r - 10 > 70),
    "-result gt 2": over(lambda r: -r > 2),
    "-(result add 1) lt -41": over(lambda r: -(r + 1) < -41),
    "5 div 2 eq 2.5": lambda _: True,
    "0.1 add 0.2 eq 0.3": lambda _: True,
    "7 mod 4 eq 3": lambda _: True,
    "result div 0 eq 0": lambda _: False,
    "result mod 0 eq 0": lambda _: False,
    "100000000000000000000 gt result": over(lambda r: r < 1e20),
}
MATHEMATICS: Mapping[str, Callable[[Seen], bool]] = {
    "round(result) eq 3": over(lambda r: rounded(r) == 3),
    "round(result) eq -3": over(lambda r: rounded(r) == -3),
    "round(result) eq 20": over(lambda r: rounded(r) == 20),
    "floor(result) eq -3": over(lambda r: math.floor(r) == -3),
    "floor(result) eq 7": over(lambda r: math.floor(r) == 7),
    "ceiling(result) eq 20": over(lambda r: math.ceil(r) == 20),
    "ceiling(result) eq 0": over(lambda r: math.ceil(r) == 0),
    "round(result mul 10) eq 201": over(lambda r: rounded(r * 10) == 201),
}
TIMES: Mapping[str, Callable[[Seen], bool]] = {
    "resultTime eq 2026-03-01T12:00:00Z": lambda seen: seen.time == NOON,
    "resultTime eq 2026-03-01T13:00:00+01:00": lambda seen: seen.time == NOON,
    "resultTime eq '2026-03-01T12:00:00Z'": lambda seen: seen.time == NOON,
    "resultTime ne 2026-03-01T12:00:00Z": lambda seen: seen.time != NOON,
    "resultTime gt 2026-03-01T12:00:00Z": lambda seen: seen.time > NOON,
    "resultTime ge 2026-03-01T12:00:00Z": lambda seen: seen.time >= NOON,
    "resultTime lt 2026-03-01T12:00:00Z": lambda seen: seen.time < NOON,
    "resultTime le 2026-03-01T12:00:00Z": lambda seen: seen.time <= NOON,
    # An interval is before an instant if it ended by then, and after one if it began no earlier.
    "phenomenonTime lt 2026-03-01T12:00:00Z": (
        lambda seen: seen.time <= NOON and seen.started < NOON
    ),
    "phenomenonTime le 2026-03-01T12:00:00Z": lambda seen: seen.time <= NOON,
    "phenomenonTime gt 2026-03-01T12:00:00Z": lambda seen: seen.started > NOON,
    "phenomenonTime ge 2026-03-01T12:00:00Z": lambda seen: seen.started >= NOON,
    "2026-03-01T12:00:00Z le phenomenonTime": lambda seen: seen.started >= NOON,
    "phenomenonTime eq 2026-03-01T12:00:00Z": (lambda seen: seen.started == seen.time == NOON),
    "phenomenonTime ne 2026-03-01T12:00:00Z": (lambda seen: not seen.started == seen.time == NOON),
    "phenomenonTime eq 2026-03-01T11:00:00Z/2026-03-01T12:00:00Z": (
        lambda seen: mean(seen) and seen.time == NOON
    ),
    "phenomenonTime lt 2026-03-01T12:00:00Z/2026-03-01T14:00:00Z": (
        lambda seen: seen.time <= NOON and seen.started < NOON
    ),
    "phenomenonTime ge 2026-03-01T11:00:00Z/2026-03-01T12:00:00Z": (
        lambda seen: seen.started >= NOON or (mean(seen) and seen.time == NOON)
    ),
    "phenomenonTime ge 2026-03-01T03:00:00Z and phenomenonTime lt 2026-03-01T06:00:00Z": (
        lambda seen: (
            seen.started >= START + timedelta(hours=3)
            and seen.time <= START + timedelta(hours=6)
            and seen.started < START + timedelta(hours=6)
        )
    ),
    "not (phenomenonTime lt 2026-03-01T12:00:00Z)": (
        lambda seen: not (seen.time <= NOON and seen.started < NOON)
    ),
    "year(resultTime) eq 2025": lambda seen: seen.time.year == 2025,
    "year(phenomenonTime) eq 2026": lambda seen: seen.started.year == 2026,
    "month(resultTime) eq 12": lambda seen: seen.time.month == 12,
    "day(phenomenonTime) eq 1": lambda seen: seen.started.day == 1,
    "hour(resultTime) eq 6": lambda seen: seen.time.hour == 6,
    "minute(resultTime) eq 14": lambda seen: seen.time.minute == 14,
    "second(resultTime) eq 22": lambda seen: seen.time.second == 22,
    "fractionalseconds(resultTime) eq 0.25": lambda seen: seen.time.microsecond == 250_000,
    "fractionalseconds(resultTime) lt 1": lambda _: True,
    "date(resultTime) eq 2026-03-02": lambda seen: seen.time.date() == date(2026, 3, 2),
    "date(resultTime) gt date(phenomenonTime)": (
        lambda seen: seen.time.date() > seen.started.date()
    ),
    "date(resultTime) ne date(validTime)": lambda _: True,
    "resultTime ge 2026-03-02": lambda seen: seen.time.date() >= date(2026, 3, 2),
    "time(resultTime) lt 03:00:00": lambda seen: seen.time.time() < time(3),
    "time(resultTime) eq 12:00": lambda seen: seen.time.time() == time(12),
    "totaloffsetminutes(resultTime) eq 0": lambda _: True,
    "totaloffsetminutes(2026-03-01T12:00:00+05:30) eq 330": lambda _: True,
    "date(resultTime) add duration'P1D' eq 2026-03-03": (
        lambda seen: seen.time.date() == date(2026, 3, 2)
    ),
    "date(resultTime) sub 2026-03-01 gt duration'PT12H'": (
        lambda seen: seen.time.date() > date(2026, 3, 1)
    ),
    "resultTime sub -duration'PT1H' gt 2026-03-02T12:00:00Z": (
        lambda seen: seen.time + timedelta(hours=1) > NOON + timedelta(days=1)
    ),
    "hour(resultTime) in (3,4,5)": lambda seen: seen.time.hour in (3, 4, 5),
    "not (hour(resultTime) in (3,4,5))": lambda seen: seen.time.hour not in (3, 4, 5),
    "resultTime lt now()": lambda seen: seen.time < datetime.now(UTC),
    "resultTime gt mindatetime()": lambda _: True,
    "resultTime lt maxdatetime()": lambda _: True,
    "resultTime eq maxdatetime()": lambda _: False,
    "resultTime gt 2026-03-01T12:00:00Z add duration'PT6H'": (
        lambda seen: seen.time > NOON + timedelta(hours=6)
    ),
    "resultTime sub duration'P1D' gt 2026-03-01T12:00:00Z": (
        lambda seen: seen.time - timedelta(days=1) > NOON
    ),
    "resultTime sub phenomenonTime eq duration'PT1H'": mean,
    "resultTime add duration'PT1H' sub duration'PT1H' eq resultTime": lambda _: True,
}
LINKED: Mapping[str, Callable[[Seen], bool]] = {
    "Datastream/name eq 'Bloomsbury no2'": lambda seen: seen.stream == "Bloomsbury no2",
    "Datastream/id eq 1": lambda seen: seen.datastream_id == 1,
    "Datastream/@iot.id eq '1'": lambda seen: seen.datastream_id == 1,
    "Datastream/id ne 1 and result gt 70": (
        lambda seen: seen.datastream_id != 1 and over(lambda r: r > 70)(seen)
    ),
    "Datastream/Thing/name eq 'Bloomsbury'": lambda seen: seen.stream.startswith("Bloomsbury"),
    "Datastream/Thing/properties/level gt 5": lambda seen: seen.stream.startswith("Marylebone"),
    "Datastream/Thing/properties/council eq 'E09000033'": (
        lambda seen: seen.stream.startswith("Marylebone")
    ),
    "Datastream/ObservedProperty/properties/key eq 'no2'": (
        lambda seen: seen.stream.endswith("no2")
    ),
    "Datastream/ObservedProperty/name eq 'Air temperature' and result gt 7": (
        lambda seen: seen.stream == "Bloomsbury temp" and over(lambda r: r > 7)(seen)
    ),
    "Datastream/Sensor/name eq 'Kerb box' or result eq 24.0": (
        lambda seen: seen.stream.startswith("Marylebone") or number(seen) == 24.0
    ),
    "Datastream/unitOfMeasurement/symbol eq 'ug/m3'": lambda seen: seen.stream.endswith("no2"),
    "Datastream/unitOfMeasurement/name eq 'degree Celsius'": (
        lambda seen: seen.stream == "Bloomsbury temp"
    ),
    "Datastream/unitOfMeasurement/symbol eq null": (
        lambda seen: seen.stream == "Marylebone Road bay"
    ),
    "Datastream/Thing/Locations/name eq 'Bloomsbury'": (
        lambda seen: seen.stream.startswith("Bloomsbury")
    ),
    "Datastream/Thing/Locations/name eq 'Bloomsbury' and result lt 3": (
        lambda seen: seen.stream.startswith("Bloomsbury") and over(lambda r: r < 3)(seen)
    ),
    "Datastream/Thing/Locations/name eq 'Bloomsbury' or result gt 78": (
        lambda seen: seen.stream.startswith("Bloomsbury") or over(lambda r: r > 78)(seen)
    ),
    "Datastream/Observations/result gt 81": lambda seen: seen.stream.startswith("Bloomsbury"),
    "FeatureOfInterest/name eq 'Gordon Square'": lambda seen: seen.place.name == "Gordon Square",
    "FeatureOfInterest/name eq 'Bloomsbury' and result gt 60": (
        lambda seen: seen.place.name == "Bloomsbury" and over(lambda r: r > 60)(seen)
    ),
    "FeatureOfInterest/name eq 'Bloomsbury' or result lt 1": (
        lambda seen: seen.place.name == "Bloomsbury" or over(lambda r: r < 1)(seen)
    ),
    "FeatureOfInterest/name eq Datastream/Thing/name": (
        lambda seen: seen.stream.startswith(seen.place.name)
    ),
    "FeatureOfInterest/feature/type eq 'Point'": lambda _: True,
    "length(Datastream/name) gt 15 and result gt 70": (
        lambda seen: len(seen.stream) > 15 and over(lambda r: r > 70)(seen)
    ),
    "Datastream/phenomenonTime ge 2026-01-01T00:00:00Z": (
        lambda seen: seen.stream != "Bloomsbury temp"
    ),
    "id eq '1-1772326800000000'": lambda seen: seen.id == "1-1772326800000000",
    "'1-1772326800000000' eq @iot.id": lambda seen: seen.id == "1-1772326800000000",
    "id ne '1-1772326800000000'": lambda seen: seen.id != "1-1772326800000000",
    "id gt '2-1772326800000000'": (
        lambda seen: (seen.datastream_id, seen.time) > (2, START + timedelta(hours=1))
    ),
    "id eq 'nothing'": lambda _: False,
    "startswith(id,'2-')": lambda seen: seen.datastream_id == 2,
}
EVERY = COMPARISONS | LOGIC | ARITHMETIC | MATHEMATICS | TIMES | LINKED


@pytest.mark.parametrize("text", EVERY)
async def test_observations_are_filtered_as_python_would(
    text: str, service: Service, city: City
) -> None:
    expected = [seen.id for seen in city.observations if EVERY[text](seen)]
    assert await service.ids("Observations", filter=text) == expected
    counted = await service.get("Observations", filter=text, count="true", top="0")
    assert counted == {"@iot.count": len(expected), "value": []}


@pytest.mark.parametrize("text", EVERY)
async def test_filters_hold_in_an_expansion_too(text: str, service: Service, city: City) -> None:
    answer = await service.get(
        "Datastreams", expand=f"Observations($filter={text};$select=id;$top=1000;$count=true)"
    )
    for datastream in answer["value"]:
        expected = [
            seen.id
            for seen in city.observations
            if seen.datastream_id == datastream["@iot.id"] and EVERY[text](seen)
        ]
        assert [seen["@iot.id"] for seen in datastream["Observations"]] == expected
        assert datastream["Observations@iot.count"] == len(expected)
