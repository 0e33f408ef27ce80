"""Filters that make no sense, want too much, or would be more than a question."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standards_mapping.sensorthings.model import ENTITY_SETS
from storage.sensorthings import geometry
from tests.integration.sensorthings.conftest import Service
from tests.simulators.registry import City
from tests.simulators.sensorthings_expressions import conditions, expressions


@pytest.mark.parametrize(
    "text",
    [
        "nothing eq 1",
        "Datastream eq 1",
        "Datastream/nothing eq 1",
        "phenomenonTime/x eq 1",
        "result add",
        "'text'",
        "1",
        "resultTime gt 5",
        "resultTime gt 'yesterday'",
        "resultTime gt date(resultTime) add 1",
        "time(resultTime) gt date(resultTime)",
        "year(result) eq 2026 and 5",
        "length(5) eq 1",
        "length(resultTime) eq 1",
        "round('x') eq 1",
        "year('x') eq 1",
        "'a' add 1 eq 2",
        "not 5",
        "-'a' eq 1",
        "resultTime add resultTime gt now()",
        "result mul 1e308 mul 1e308 gt 1",
        "substring('abc', 1e30) eq 'a'",
        "now() add duration'P999999999D' gt now()",
    ],
)
async def test_a_filter_that_makes_no_sense_is_a_bad_request(text: str, service: Service) -> None:
    assert await service.refused(400, "Observations", filter=text)


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("geo.distance(location,geography'POINT (51.5 -100)') lt 1", "longitude stands first"),
        ("geo.distance(location,geography'SRID=27700;POINT (1 2)') lt 1", "SRID=4326"),
        ("geo.distance(location,geography'PONT (1 2)') lt 1", "not a geometry"),
        ("geo.distance(location,geography'POINT (1 2)','km') lt 1", "'m' for metres"),
        ("geo.distance(location,name) lt 1", "expected a geometry"),
        ("st_within(location,5)", "expected a geometry"),
        ("st_relate(location,location,'T*')", "nine of"),
        ("st_relate(location,location,name)", "in quotes"),
        ("location eq geography'POINT (1 2)'", "st_equals"),
        ("geography'POINT (1 2)'", "expected true or false"),
        ("st_within(location)", "takes 2 arguments"),
        (" or ".join(["geo.length(location) gt 1"] * 11), "more than 10"),
    ],
)
async def test_a_geometry_that_makes_no_sense_is_a_bad_request(
    text: str, about: str, service: Service
) -> None:
    assert about in await service.refused(400, "Locations", filter=text)


async def test_more_geometries_than_can_be_worked_with_are_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geometry, "_CACHE", geometry.Cache())
    monkeypatch.setattr(geometry, "MOST_GEOMETRIES", 2)
    text = "geo.length(location) eq 0"
    assert "up to 2 geometries" in await service.refused(400, "Locations", filter=text)
    monkeypatch.setattr(geometry, "MOST_PAIRS", 1)
    monkeypatch.setattr(geometry, "MOST_GEOMETRIES", 100)
    text = "st_equals(location,Things/Datastreams/observedArea)"
    assert "pairs of geometries" in await service.refused(400, "Locations", filter=text)


@pytest.mark.parametrize("path", ["Observations", "Datastreams(1)/Observations"])
async def test_what_awaits_approval_is_in_no_answer(
    path: str, service: Service, city: City
) -> None:
    found = await service.ids(path, filter="result le 2 or result gt 2")
    assert not set(found) & {seen.id for seen in city.hidden}
    assert await service.ids(path, filter="Datastream/Thing/name eq 'Secret'") == []


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(list(ENTITY_SETS)), text=conditions())
async def test_every_condition_is_answered_or_refused_with_a_reason(
    path: str, text: str, service: Service
) -> None:
    response = await service.ask(path, filter=text, top="3", count="true")
    assert response.status_code in (200, 400), response.text
    if response.status_code == 200:
        assert len(response.json()["value"]) == min(3, response.json()["@iot.count"])


@settings(max_examples=200, deadline=None)
@given(path=st.sampled_from(list(ENTITY_SETS)), text=expressions())
async def test_every_order_is_answered_or_refused_with_a_reason(
    path: str, text: str, service: Service
) -> None:
    response = await service.ask(path, orderby=text, top="3", select="id")
    assert response.status_code in (200, 400), response.text


INJECTIONS = [
    "'; DROP TABLE observation; --",
    "') OR 1=1 --",
    "%(p0)s {} %s {0} $1",
    'a"b',
    "\\'; SELECT 1",
    "x' || pg_sleep(5) || '",
]


@pytest.mark.parametrize("text", INJECTIONS)
async def test_text_of_a_request_is_never_sql(text: str, service: Service, city: City) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    for condition in (
        f"name eq {quoted}",
        f"substringof({quoted},name)",
        f"properties/x eq {quoted}",
        f"concat(name,{quoted}) eq {quoted}",
        f"Datastreams/name eq {quoted}",
    ):
        assert await service.ids("Things", filter=condition) == []
    for option in ("filter", "orderby", "select", "expand", "top", "skip", "count", "skiptoken"):
        await service.refused(400, "Things", **{option: text})
    member = f"properties/{text.replace(' ', '')}"
    assert (await service.ask(f"Things(1)/{member}")).status_code in (400, 404)
    assert len(await service.ids("Observations")) == len(city.observations)
