"""What requests ask for: selectors, geo-queries, times, pages, and Queries in a body."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from standards_mapping.ngsi_ld.aggregates import summarise
from standards_mapping.ngsi_ld.errors import NgsiLdError, TooComplexQueryError, problem
from standards_mapping.ngsi_ld.geo_query import parse_geo_query
from standards_mapping.ngsi_ld.parameters import (
    QUERY,
    check_names,
    parse_body,
    parse_output,
    parse_request,
)
from standards_mapping.ngsi_ld.selection import parse_types
from standards_mapping.ngsi_ld.temporal_query import Period, parse_duration, starts
from standards_mapping.ngsi_ld.vocabulary import DEFAULT, Vocabulary

NAMES = Vocabulary()
START = datetime(2026, 1, 31, 12, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "types", "holds"),
    [
        ("A,B", "B", True),
        ("A|B", "C", False),
        ("A;B", "A", False),
        ("A;B", "AB", True),
        ("(A,B);C", "AC", True),
        ("A,B;C", "B", False),
        (f"{DEFAULT}A", "A", True),
    ],
)
def test_types(text: str, types: str, holds: bool) -> None:  # noqa: FBT001  # a table
    assert parse_types(text, NAMES)({DEFAULT + one for one in types}) is holds


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("PT1H", Period(0, timedelta(hours=1))),
        ("P1DT30M", Period(0, timedelta(days=1, minutes=30))),
        ("P1Y2M", Period(14)),
        ("P2W", Period(0, timedelta(weeks=2))),
        ("PT0S", Period()),
        ("PT0.5S", Period(0, timedelta(seconds=0.5))),
    ],
)
def test_durations(text: str, period: Period) -> None:
    assert parse_duration(text) == period


def test_periods_begin_at_their_origin_and_months_keep_their_day() -> None:
    found = starts(
        Period(1), START, datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)
    )
    assert [(one.month, one.day, one.hour) for one in found] == [
        (2, 28, 12),
        (3, 31, 12),
        (4, 30, 12),
        (5, 31, 12),
    ]
    hours = starts(Period(0, timedelta(hours=1)), START, START - timedelta(minutes=1), START)
    assert hours == [START - timedelta(hours=1), START, START + timedelta(hours=1)]
    with pytest.raises(TooComplexQueryError):
        starts(Period(0, timedelta(seconds=1)), START, START, START + timedelta(days=2))


def test_values_are_summed_up() -> None:
    methods = ("avg", "min", "max", "sum", "sumsq", "stddev", "distinctCount", "totalCount")
    found = summarise([1, 3, 3, True], methods)
    assert found["avg"] == 2
    assert (found["min"], found["max"], found["sum"], found["sumsq"]) == (1, 3, 8, 20)
    assert found["stddev"] == 1
    assert (found["distinctCount"], found["totalCount"]) == (3, 4)
    assert summarise(["a", "b", "a"], methods) == {"distinctCount": 2, "totalCount": 3}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "BadRequestData"),
        ({"id": "urn:x:1"}, "BadRequestData"),
        ({"type": "A", "limit": "0"}, "BadRequestData"),
        ({"type": "A", "limit": "-1"}, "BadRequestData"),
        ({"type": "A", "limit": "1001"}, "TooManyResults"),
        ({"type": "A", "offset": "x"}, "BadRequestData"),
        ({"type": "A", "count": "yes"}, "BadRequestData"),
        ({"type": "A;"}, "BadRequestData"),
        ({"type": "A", "options": "keyValues,concise"}, "InvalidRequest"),
        ({"type": "A", "format": "sysAttrs"}, "InvalidRequest"),
        ({"type": "A", "georel": "within"}, "BadRequestData"),
        ({"type": "A", "geoproperty": "location"}, "BadRequestData"),
    ],
)
def test_what_is_refused(given: dict[str, str], name: str) -> None:
    with pytest.raises(NgsiLdError) as caught:
        parse_request(given, NAMES)
    assert problem(caught.value)["type"].endswith(f"/{name}")


@pytest.mark.parametrize(
    ("name", "error"), [("tipe", "InvalidRequest"), ("scopeQ", "OperationNotSupported")]
)
def test_parameters_that_there_are_not(name: str, error: str) -> None:
    with pytest.raises(NgsiLdError) as caught:
        check_names({"type": "A", name: "x"}, QUERY)
    assert caught.value.name == error


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"type": "Entity"},
        {"type": "Query"},
        {"type": "Query", "entities": [{"id": "urn:x:1"}]},
        {"type": "Query", "entities": {"type": "A"}},
        {"type": "Query", "attrs": "no2"},
        {"type": "Query", "q": 1},
        {"type": "Query", "q": "no2", "more": 1},
        {"type": "Query", "geoQ": {"georel": "within", "geometry": "Point", "coordinates": [1]}},
    ],
)
def test_bodies_that_make_no_sense(body: Any) -> None:
    with pytest.raises(NgsiLdError) as caught:
        parse_body(body, {}, NAMES)
    assert caught.value.status == 400


def test_format_wins_over_options_and_sys_attrs_go_along() -> None:
    output = parse_output({"format": "concise", "options": "keyValues,sysAttrs"}, NAMES)
    assert (output.form.value, output.sys_attrs) == ("concise", True)


@pytest.mark.parametrize(
    ("georel", "geometry", "coordinates"),
    [
        ("near", "Point", "[0,51]"),
        ("near;maxDistance==-1", "Point", "[0,51]"),
        ("within", "Circle", "[0,51]"),
        ("within", "Point", "[0,91]"),
        ("within", "Point", "[NaN,51]"),
        ("within", "Point", "[true,51]"),
        ("within", "Point", "[0]"),
        ("within", "Point", "[]"),
        ("within", "Point", "x"),
        ("within", "Point", "[[0,51]]"),
        ("within", "Polygon", "[[[0,0],[1,1]]]"),
        ("within", "Polygon", "[[[0,0],[1,1],[1,0],[0,1],[0,0]]]"),
        ("within", "Point", "[" * 5000),
    ],
)
def test_geo_queries_that_make_no_sense(georel: str, geometry: str, coordinates: str) -> None:
    with pytest.raises(NgsiLdError) as caught:
        parse_geo_query(georel, geometry, coordinates, ("urn:x:place",))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "1H", "P1M1D", "P999999999Y", "P" + "9" * 400 + "Y"]
)
def test_durations_that_make_no_sense(text: str) -> None:
    with pytest.raises(NgsiLdError):
        parse_duration(text)


@pytest.mark.parametrize(
    "text",
    ["2026-03-01", "2026-03-01T00:00:00", "0001-01-01T00:00:00+14:00", "2026-02-30T00:00:00Z"],
)
def test_times_that_make_no_sense(text: str) -> None:
    with pytest.raises(NgsiLdError):
        parse_request({"type": "A", "timerel": "after", "timeAt": text}, NAMES, temporal=True)
