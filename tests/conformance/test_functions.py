"""Every operator and function of OGC 18-088, Tables 22 and 23, against the same in Python.

Each filters observations by what is theirs or linked to them, and each gives an order.
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest

from standards_mapping.sensorthings.expression import FUNCTIONS
from tests.conformance.air import HOUR, SUSPECT, Air, Seen, Site
from tests.integration.sensorthings.conftest import Service

Holds = Callable[[Seen], bool]
Value = Callable[[Seen], Any]

MIDWEEK = datetime(2009, 1, 8, 12, tzinfo=UTC)
PLACE = "FeatureOfInterest/feature"
THERE = "Datastream/Thing/Locations/location"
AREA = "Datastream/observedArea"
POINT = "geography'POINT (-0.14 51.522)'"
CENTRE = (-0.14, 51.522)
BOX = (-0.16, 51.52, -0.12, 51.53)
POLYGON = "geography'POLYGON ((-0.16 51.52,-0.12 51.52,-0.12 51.53,-0.16 51.53,-0.16 51.52))'"
SQUARE = "geometry'POLYGON ((0 0,2 0,2 2,0 2,0 0))'"
BESIDE = "geometry'POLYGON ((2 0,4 0,4 2,2 2,2 0))'"
OVER = "geometry'POLYGON ((1 1,3 1,3 3,1 3,1 1))'"
LINE = "geometry'LINESTRING (-1 1,3 1)'"


def rounded(value: float) -> int:
    return int(Decimal(repr(value)).quantize(Decimal(1), ROUND_HALF_UP))


def inside(site: Site) -> bool:
    return site.is_within(*BOX)


def point_of(site: Site) -> str:
    return f"geography'POINT ({site.longitude} {site.latitude})'"


OPERATORS: Mapping[str, Mapping[str, Holds]] = {
    "eq": {
        "result eq 40": lambda seen: seen.result == 40,
        "Datastream/Thing/name eq 'London Bloomsbury'": (
            lambda seen: seen.site.name == "London Bloomsbury"
        ),
        "Datastream/Thing/properties/kind eq 'Urban Traffic'": (
            lambda seen: seen.site.kind == "Urban Traffic"
        ),
        "resultQuality/code eq 8": lambda seen: seen.quality == SUSPECT,
    },
    "ne": {
        "result ne 40": lambda seen: seen.result != 40,
        "Datastream/ObservedProperty/properties/key ne 'no2'": lambda seen: (
            seen.stream.key != "no2"
        ),
    },
    "gt": {
        "result gt 100": lambda seen: seen.result > 100,
        "resultTime gt 2009-01-08T12:00:00Z": lambda seen: seen.time > MIDWEEK,
    },
    "ge": {
        "result ge 100": lambda seen: seen.result >= 100,
        "phenomenonTime ge 2009-01-08T12:00:00Z": lambda seen: seen.started >= MIDWEEK,
    },
    "lt": {
        "result lt 0": lambda seen: seen.result < 0,
        "phenomenonTime lt 2009-01-08T12:00:00Z": (
            lambda seen: seen.time <= MIDWEEK and seen.started < MIDWEEK
        ),
    },
    "le": {
        "result le 0": lambda seen: seen.result <= 0,
        "Datastream/name le 'London M'": lambda seen: seen.stream.name <= "London M",
    },
    "and": {
        "result gt 20 and result lt 30": lambda seen: 20 < seen.result < 30,
        "result gt 90 and Datastream/unitOfMeasurement/symbol eq 'ug/m3'": (
            lambda seen: seen.result > 90 and seen.stream.unit["symbol"] == "ug/m3"
        ),
    },
    "or": {"result lt 0 or result gt 150": lambda seen: not 0 <= seen.result <= 150},
    "not": {
        "not result gt 20": lambda seen: not seen.result > 20,
        "not startswith(Datastream/name,'London M')": (
            lambda seen: not seen.stream.name.startswith("London M")
        ),
    },
    "in": {
        "result in (40,41,42.5)": lambda seen: seen.result in (40, 41, 42.5),
        "Datastream/Thing/name in ('London Bloomsbury','nowhere')": (
            lambda seen: seen.site.name == "London Bloomsbury"
        ),
    },
    "add": {
        "result add 5 gt 140": lambda seen: seen.result + 5 > 140,
        "phenomenonTime add duration'PT36H' gt 2009-01-12T00:00:00Z": (
            lambda seen: seen.started + timedelta(hours=36) > datetime(2009, 1, 12, tzinfo=UTC)
        ),
    },
    "sub": {
        "result sub 5 lt -5": lambda seen: seen.result - 5 < -5,
        "resultTime sub phenomenonTime eq duration'PT1H'": lambda seen: (
            seen.time - seen.started == HOUR
        ),
        "resultTime sub duration'P3DT12H' gt 2009-01-05T00:00:00Z": (
            lambda seen: seen.time > MIDWEEK
        ),
    },
    "mul": {"result mul 2 gt 280": lambda seen: seen.result * 2 > 280},
    "div": {
        "result div 4 eq 10.25": lambda seen: seen.result / 4 == 10.25,
        "result div 0 eq 0": lambda _: False,
    },
    "mod": {
        "result mod 7 eq 3": lambda seen: math.fmod(seen.result, 7) == 3,
        "Datastream/id mod 2 eq 0": lambda seen: seen.stream.id % 2 == 0,
    },
    "( )": {
        "(result add 2) mul 2 gt 280": lambda seen: (seen.result + 2) * 2 > 280,
        "(result lt 0 or result gt 90) and result lt 100": (
            lambda seen: seen.result < 0 or 90 < seen.result < 100
        ),
    },
}
"""Table 22, and `in` beside it."""

ALL = {
    "substringof": {
        "substringof('bury',Datastream/Thing/name)": lambda seen: "bury" in seen.site.name,
    },
    "endswith": {
        "endswith(Datastream/name,'no2')": lambda seen: seen.stream.key == "no2",
    },
    "startswith": {
        "startswith(FeatureOfInterest/name,'Place of London M')": (
            lambda seen: seen.site.name.startswith("London M")
        ),
    },
    "length": {
        "length(Datastream/Thing/name) eq 17": lambda seen: len(seen.site.name) == 17,
    },
    "indexof": {  # from 1, as the standard's own example counts
        "indexof(Datastream/Thing/name,'Road') eq 17": (
            lambda seen: seen.site.name.find("Road") + 1 == 17
        ),
    },
    "substring": {
        "substring(Datastream/Thing/name,7) eq 'Bloomsbury'": (
            lambda seen: seen.site.name[7:] == "Bloomsbury"
        ),
        "substring(Datastream/Thing/name,7,2) eq 'N.'": lambda seen: seen.site.name[7:9] == "N.",
    },
    "tolower": {
        "tolower(Datastream/Thing/name) eq 'london bloomsbury'": (
            lambda seen: seen.site.name.lower() == "london bloomsbury"
        ),
    },
    "toupper": {
        "toupper(Datastream/Thing/properties/kind) eq 'URBAN TRAFFIC'": (
            lambda seen: seen.site.kind.upper() == "URBAN TRAFFIC"
        ),
    },
    "trim": {
        "trim(substring(Datastream/Thing/name,0,7)) eq 'London'": (
            lambda seen: seen.site.name[:7].strip() == "London"
        ),
    },
    "concat": {
        "concat(concat(Datastream/Thing/name,' '),"
        "Datastream/ObservedProperty/properties/key) eq 'London Bloomsbury pm10'": (
            lambda seen: seen.stream.name == "London Bloomsbury pm10"
        ),
    },
    "year": {"year(phenomenonTime) eq 2008": lambda seen: seen.started.year == 2008},
    "month": {"month(resultTime) eq 1": lambda seen: seen.time.month == 1},
    "day": {"day(phenomenonTime) eq 4": lambda seen: seen.started.day == 4},
    "hour": {
        "hour(resultTime) eq 8": lambda seen: seen.time.hour == 8,
        "hour(phenomenonTime) eq 8": lambda seen: seen.started.hour == 8,
    },
    "minute": {
        "minute(resultTime add duration'PT12M') eq 12": lambda seen: seen.time.minute + 12 == 12,
    },
    "second": {"second(resultTime sub duration'PT3S') eq 57": lambda _: True},
    "fractionalseconds": {
        "fractionalseconds(resultTime add duration'PT0.25S') eq 0.25": lambda _: True,
        "fractionalseconds(resultTime) gt 0": lambda _: False,
    },
    "date": {
        "date(resultTime) eq 2009-01-08": lambda seen: seen.time.date() == date(2009, 1, 8),
        "date(resultTime) ne date(phenomenonTime)": (
            lambda seen: seen.time.date() != seen.started.date()
        ),
        "date(resultTime) add duration'P1D' gt 2009-01-11": (
            lambda seen: seen.time.date() + timedelta(days=1) > date(2009, 1, 11)
        ),
    },
    "time": {"time(resultTime) lt 03:00:00": lambda seen: seen.time.time() < time(3)},
    "totaloffsetminutes": {
        "totaloffsetminutes(resultTime) eq 0": lambda _: True,
        "totaloffsetminutes(2009-01-05T00:00:00-03:30) eq -210": lambda _: True,
    },
    "now": {"resultTime lt now()": lambda _: True},
    "mindatetime": {"resultTime gt mindatetime()": lambda _: True},
    "maxdatetime": {"resultTime ge maxdatetime()": lambda _: False},
    "round": {
        "round(result) eq 3": lambda seen: rounded(seen.result) == 3,
        "round(result) eq -3": lambda seen: rounded(seen.result) == -3,
    },
    "floor": {"floor(result) eq -1": lambda seen: math.floor(seen.result) == -1},
    "ceiling": {"ceiling(result) eq 4": lambda seen: math.ceil(seen.result) == 4},
    "geo.distance": {
        **{
            f"geo.distance({path},{POINT}) lt 0.03": (
                lambda seen: seen.site.degrees_from(*CENTRE) < 0.03
            )
            for path in (PLACE, THERE, AREA)
        },
        f"geo.distance({POINT},{PLACE},'m') lt 3000": (
            lambda seen: seen.site.metres_from(*CENTRE) < 3000
        ),
        f"geo.distance({PLACE},{AREA}) eq 0": lambda _: True,
    },
    "geo.length": {
        f"geo.length({PLACE}) eq 0": lambda _: True,
        "geo.length(geography'LINESTRING (0 0,3 4)') eq 5": lambda _: True,
        "geo.length(geography'LINESTRING (0 0,0 1)','m') gt 110574": lambda _: True,
        "geo.length(geography'LINESTRING (0 0,0 1)','m') gt 110575": lambda _: False,
    },
    "geo.intersects": {
        f"geo.intersects({THERE},{POLYGON})": lambda seen: inside(seen.site),
        f"not geo.intersects({AREA},{POLYGON}) and result gt 90": (
            lambda seen: not inside(seen.site) and seen.result > 90
        ),
    },
    "st_equals": {
        "st_equals(FeatureOfInterest/feature,geography'POINT (-0.125889 51.52229)')": (
            lambda seen: seen.site.name == "London Bloomsbury"
        ),
        f"st_equals({PLACE},{THERE})": lambda _: True,
    },
    "st_disjoint": {
        f"st_disjoint({PLACE},{POLYGON})": lambda seen: not inside(seen.site),
        f"st_disjoint({SQUARE},{OVER})": lambda _: False,
    },
    "st_touches": {
        "st_touches(FeatureOfInterest/feature,"
        "geometry'LINESTRING (-0.125889 51.52229,-0.1 51.5)')": (
            lambda seen: seen.site.name == "London Bloomsbury"
        ),
        f"st_touches({SQUARE},{BESIDE})": lambda _: True,
        f"st_touches({SQUARE},{OVER})": lambda _: False,
    },
    "st_within": {
        f"st_within({PLACE},{POLYGON})": lambda seen: inside(seen.site),
        f"st_within({THERE},{POLYGON}) and result gt 90": (
            lambda seen: inside(seen.site) and seen.result > 90
        ),
        f"st_within({SQUARE},{OVER})": lambda _: False,
    },
    "st_overlaps": {
        f"st_overlaps({SQUARE},{OVER})": lambda _: True,
        f"st_overlaps({SQUARE},{BESIDE})": lambda _: False,
        f"st_overlaps({PLACE},{POLYGON})": lambda _: False,
    },
    "st_crosses": {
        f"st_crosses({LINE},{SQUARE})": lambda _: True,
        f"st_crosses({SQUARE},{OVER})": lambda _: False,
        f"st_crosses({AREA},{POLYGON})": lambda _: False,
    },
    "st_intersects": {
        f"st_intersects({AREA},{POLYGON})": lambda seen: inside(seen.site),
        f"st_intersects({SQUARE},{BESIDE})": lambda _: True,
    },
    "st_contains": {
        f"st_contains({POLYGON},{PLACE})": lambda seen: inside(seen.site),
        f"st_contains({PLACE},{POLYGON})": lambda _: False,
    },
    "st_relate": {
        f"st_relate({PLACE},{POLYGON},'T*F**F***')": lambda seen: inside(seen.site),
        f"st_relate({SQUARE},{BESIDE},'FF*F1****')": lambda _: True,
        f"st_relate({SQUARE},{OVER},'T*T***T**')": lambda _: True,
    },
}
"""Table 23."""

BY_FUNCTION: Mapping[str, Mapping[str, Holds]] = ALL

FILTERS = [
    (name, text)
    for table in (OPERATORS, BY_FUNCTION)
    for name, cases in table.items()
    for text in cases
]

ORDERS: Mapping[str, Value] = {
    "result mul -1": lambda seen: -seen.result,
    "result mod 5": lambda seen: math.fmod(seen.result, 5),
    "-result": lambda seen: -seen.result,
    "Datastream/Thing/name": lambda seen: seen.site.name,
    "Datastream/ObservedProperty/properties/key": lambda seen: seen.stream.key,
    "substringof('bury',Datastream/Thing/name)": lambda seen: "bury" in seen.site.name,
    "endswith(Datastream/name,'no2')": lambda seen: seen.stream.key == "no2",
    "startswith(Datastream/name,'London M')": lambda seen: seen.stream.name.startswith("London M"),
    "length(Datastream/Thing/name)": lambda seen: len(seen.site.name),
    "indexof(Datastream/Thing/name,'o')": lambda seen: seen.site.name.find("o") + 1,
    "substring(Datastream/Thing/name,9)": lambda seen: seen.site.name[9:],
    "tolower(Datastream/Thing/name)": lambda seen: seen.site.name.lower(),
    "toupper(Datastream/Thing/name)": lambda seen: seen.site.name.upper(),
    "trim(Datastream/Thing/name)": lambda seen: seen.site.name.strip(),
    "concat(Datastream/ObservedProperty/properties/key,Datastream/Thing/name)": (
        lambda seen: seen.stream.key + seen.site.name
    ),
    "year(phenomenonTime)": lambda seen: seen.started.year,
    "month(phenomenonTime)": lambda seen: seen.started.month,
    "day(resultTime)": lambda seen: seen.time.day,
    "hour(resultTime)": lambda seen: seen.time.hour,
    "minute(resultTime)": lambda seen: seen.time.minute,
    "second(resultTime)": lambda seen: seen.time.second,
    "fractionalseconds(resultTime)": lambda seen: seen.time.microsecond,
    "date(phenomenonTime)": lambda seen: seen.started.date(),
    "time(resultTime)": lambda seen: seen.time.time(),
    "totaloffsetminutes(resultTime)": lambda _: 0,
    "resultTime sub phenomenonTime": lambda seen: seen.time - seen.started,
    "now() sub resultTime": lambda seen: -seen.microseconds,
    "mindatetime()": lambda _: 0,
    "maxdatetime()": lambda _: 0,
    "round(result)": lambda seen: rounded(seen.result),
    "floor(result div 10)": lambda seen: math.floor(seen.result / 10),
    "ceiling(result div 10)": lambda seen: math.ceil(seen.result / 10),
    f"geo.distance({PLACE},{POINT})": lambda seen: seen.site.degrees_from(*CENTRE),
    f"geo.distance({AREA},{POINT},'m')": lambda seen: seen.site.metres_from(*CENTRE),
    f"geo.length({PLACE})": lambda _: 0,
    **{
        f"{name}({PLACE},{POLYGON})": lambda seen: inside(seen.site)
        for name in ("geo.intersects", "st_intersects", "st_within")
    },
    f"st_disjoint({PLACE},{POLYGON})": lambda seen: not inside(seen.site),
    f"st_contains({POLYGON},{PLACE})": lambda seen: inside(seen.site),
    f"st_relate({PLACE},{POLYGON},'T********')": lambda seen: inside(seen.site),
    "st_equals(FeatureOfInterest/feature,geography'POINT (-0.125889 51.52229)')": (
        lambda seen: seen.site.name == "London Bloomsbury"
    ),
    **{
        f"{name}({PLACE},{POLYGON})": lambda _: False
        for name in ("st_touches", "st_overlaps", "st_crosses")
    },
    "resultQuality/code": lambda seen: (seen.quality > 0, seen.quality),  # null is the least
}


@pytest.mark.parametrize(("name", "text"), FILTERS)
async def test_filters_hold_where_they_hold_in_python(
    name: str, text: str, service: Service, air: Air
) -> None:
    holds = (OPERATORS | BY_FUNCTION)[name][text]
    expected = [seen.id for seen in air.observations if holds(seen)]
    assert await service.ids("Observations", filter=text) == expected


@pytest.mark.parametrize("text", ORDERS)
async def test_orders_are_those_of_python(text: str, service: Service, air: Air) -> None:
    value = ORDERS[text]
    ascending = sorted(air.observations, key=value)
    first = await service.get("Observations", orderby=text, top="200", select="id")
    assert [one["@iot.id"] for one in first["value"]] == [seen.id for seen in ascending[:200]]
    descending = sorted(air.observations, key=value, reverse=True)
    backwards = sorted(air.observations, key=lambda seen: (seen.stream.id, seen.time))
    backwards.sort(key=value, reverse=True)
    assert [value(seen) for seen in backwards] == [value(seen) for seen in descending]
    last = await service.get("Observations", orderby=f"{text} desc", top="200", select="id")
    assert [one["@iot.id"] for one in last["value"]] == [seen.id for seen in backwards[:200]]


def test_every_function_is_tried_in_a_filter_and_in_an_order() -> None:
    assert set(BY_FUNCTION) == set(FUNCTIONS)
    for name, cases in BY_FUNCTION.items():
        assert all(f"{name}(" in text for text in cases), name
        assert any(f"{name}(" in text for text in ORDERS), name
    for name, cases in OPERATORS.items():
        if name != "( )":
            assert all(f"{name} " in text for text in cases), name


async def test_functions_hold_on_paths_from_every_set(service: Service, air: Air) -> None:
    things = [site.id for site in air.sites if inside(site)]
    streams = [stream.id for stream in air.streams if inside(stream.site)]
    assert await service.ids("Things", filter=f"st_within(Locations/location,{POLYGON})") == things
    assert await service.ids("Datastreams", filter=f"st_within(observedArea,{POLYGON})") == streams
    text = f"geo.intersects(Datastreams/Thing/Locations/location,{POLYGON})"
    properties = await service.ids("ObservedProperties", filter=text)
    assert properties == await service.ids("ObservedProperties")
    for name, path in (("Locations", "location"), ("FeaturesOfInterest", "feature")):
        found = await service.get(name, filter=f"st_within({path},{POLYGON})", select="name")
        names = {f"Place of {site.name}" for site in air.sites if inside(site)}
        assert {one["name"] for one in found["value"]} == names
    by_name = await service.get("Sensors", filter="length(Datastreams/Thing/name) eq 17")
    assert [one["name"] for one in by_name["value"]] == [
        f"Analyser of {site.name}" for site in air.sites if len(site.name) == 17
    ]


async def test_linked_entities_are_ordered_by_distance(service: Service, air: Air) -> None:
    found = await service.get("Locations", orderby=f"geo.distance(location,{POINT},'m') desc")
    expected = sorted(air.sites, key=lambda site: -site.metres_from(*CENTRE))
    assert [one["name"] for one in found["value"]] == [f"Place of {site.name}" for site in expected]
    nearest = await service.get(
        "Things", expand=f"Datastreams($orderby=geo.distance(observedArea,{POINT}),name desc)"
    )
    for thing in nearest["value"]:
        names = [stream["name"] for stream in thing["Datastreams"]]
        assert names == sorted(names, reverse=True)
        assert len(names) == 3
