"""Filters and orders of all other sets: text, JSON, geometry, and what they link to."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.integration.sensorthings.conftest import Service
from tests.simulators.registry import seed_city

ODD = "100% of O'Hara_\\ "
THINGS: Mapping[str, list[str]] = {
    "name eq 'Bloomsbury'": ["Bloomsbury"],
    "name ne 'Bloomsbury'": ["Marylebone Road", ODD],
    "name gt 'Bl'": ["Bloomsbury", "Marylebone Road"],
    "name le 'Bloomsbury'": ["Bloomsbury", ODD],
    "name eq '100% of O''Hara_\\ '": [ODD],
    "substringof('bury',name)": ["Bloomsbury"],
    "substringof('%',name)": [ODD],
    "substringof('_',name)": [ODD],
    "substringof('\\',name)": [ODD],
    "substringof('',name)": ["Bloomsbury", "Marylebone Road", ODD],
    "not substringof('bury',name)": ["Marylebone Road", ODD],
    "startswith(name,'100%')": [ODD],
    "startswith(name,'1_0')": [],
    "startswith(name,'')": ["Bloomsbury", "Marylebone Road", ODD],
    "endswith(name,'Road')": ["Marylebone Road"],
    "endswith(name,'\\ ')": [ODD],
    "endswith(name,'')": ["Bloomsbury", "Marylebone Road", ODD],
    "endswith(name,'a far longer text than any name has')": [],
    "length(name) eq 10": ["Bloomsbury"],
    "indexof(name,'bury') eq 7": ["Bloomsbury"],  # from 1, as in the standard's example
    "indexof(name,'nowhere') eq 0": ["Bloomsbury", "Marylebone Road", ODD],
    "substring(name,1) eq 'loomsbury'": ["Bloomsbury"],
    "substring(name,1,3) eq 'loo'": ["Bloomsbury"],
    "substring(name,-1) eq name": ["Bloomsbury", "Marylebone Road", ODD],
    "substring(name,5,-1) eq ''": ["Bloomsbury", "Marylebone Road", ODD],
    "tolower(name) eq 'bloomsbury'": ["Bloomsbury"],
    "toupper(name) eq 'BLOOMSBURY'": ["Bloomsbury"],
    "trim(name) eq name": ["Bloomsbury", "Marylebone Road"],
    "concat(name,' at night') eq 'Bloomsbury at night'": ["Bloomsbury"],
    "concat(concat(name,', '),description) eq 'Bloomsbury, Station Bloomsbury'": ["Bloomsbury"],
    "properties/level gt 5": ["Marylebone Road"],
    "properties/level eq 3": ["Bloomsbury"],
    "properties/level eq '12'": [ODD],
    "properties/level ne 12": ["Bloomsbury", ODD],
    "properties/level mul 2 eq 6": ["Bloomsbury"],
    "properties/open": ["Bloomsbury"],
    "properties/open eq true": ["Bloomsbury"],
    "not properties/open": [],
    "properties/open eq null": ["Marylebone Road", ODD],
    "properties/nested/a/b eq 1.5": [ODD],
    "properties/nested/a/b lt 2": [ODD],
    "properties/nested eq null": ["Bloomsbury", "Marylebone Road"],
    "properties/tags/1 eq 'ü'": ["Bloomsbury"],
    "properties/tags/9 eq null": ["Bloomsbury", "Marylebone Road", ODD],
    "properties/since lt 2000-01-01T00:00:00Z": ["Marylebone Road"],
    "properties/kind gt 2000-01-01T00:00:00Z": [],
    "properties/kind eq properties/kind": ["Bloomsbury", "Marylebone Road"],
    "properties/level lt properties/kind": [],
    "startswith(properties/kind,'kerb')": ["Marylebone Road"],
    "length(properties/level) eq 2": [ODD],
    "id eq 2": ["Marylebone Road"],
    "id eq '2'": ["Marylebone Road"],
    "id gt 1": ["Marylebone Road", ODD],
    "2 gt id": ["Bloomsbury"],
    "id eq 'FOI_1'": [],
    "id ne 'FOI_1'": ["Bloomsbury", "Marylebone Road", ODD],
    "id mod 2 eq 1": ["Bloomsbury", ODD],
    "Locations/name eq 'Bloomsbury'": ["Bloomsbury"],
    "not (Locations/name eq 'Bloomsbury')": ["Marylebone Road", ODD],
    "HistoricalLocations/time lt 2026-03-01T00:00:00Z": ["Bloomsbury", "Marylebone Road"],
    "HistoricalLocations/Locations/name eq 'Gordon Square'": ["Bloomsbury"],
    "Datastreams/ObservedProperty/properties/key eq 'laeq'": ["Marylebone Road"],
    "Datastreams/unitOfMeasurement/symbol eq 'ug/m3'": ["Bloomsbury", "Marylebone Road"],
    # Both conditions are about one datastream, as in the standard's examples.
    "Datastreams/name eq 'Bloomsbury no2' and Datastreams/unitOfMeasurement/symbol eq 'Cel'": [],
    "Datastreams/name eq 'Bloomsbury temp' and Datastreams/unitOfMeasurement/symbol eq 'Cel'": [
        "Bloomsbury"
    ],
    "name eq 'Marylebone Road' or Datastreams/name eq 'Bloomsbury temp'": [
        "Bloomsbury",
        "Marylebone Road",
    ],
    "Datastreams/name eq null": [ODD],
    "Datastreams/Observations/result gt 81": ["Bloomsbury"],
    "Datastreams/Observations/result eq 'fault'": ["Marylebone Road"],
    "Datastreams/Observations/FeatureOfInterest/name eq 'Gordon Square'"
    " and Datastreams/Observations/resultTime ge 2026-03-01T00:00:00Z"
    " and Datastreams/Observations/resultTime le 2026-03-02T00:00:00Z": ["Bloomsbury"],
    "Datastreams/Observations/phenomenonTime gt 2026-03-02T20:00:00Z": ["Bloomsbury"],
}


@pytest.mark.parametrize("text", THINGS)
async def test_things_are_filtered_by_text_json_and_what_they_link_to(
    text: str, service: Service
) -> None:
    answer = await service.get("Things", filter=text, select="name", count="true")
    assert [thing["name"] for thing in answer["value"]] == THINGS[text]
    assert answer["@iot.count"] == len(THINGS[text])


BLOOMSBURY = "geography'POLYGON ((-0.14 51.51,-0.12 51.51,-0.12 51.53,-0.14 51.53,-0.14 51.51))'"
OTHERS: Mapping[tuple[str, str], list[Any]] = {
    ("Datastreams", "Observations/result gt 79"): [1, 2, 3],
    ("Datastreams", "Observations/resultQuality/code eq 8"): [1, 4],
    ("Datastreams", "phenomenonTime eq null"): [5],
    ("Datastreams", "year(phenomenonTime) eq 2025"): [2],
    ("Datastreams", "resultTime gt 2026-03-01T00:00:00Z/2026-03-01T00:30:00Z"): [1, 3, 4],
    ("Datastreams", "unitOfMeasurement/name eq 'microgram per cubic metre'"): [1, 3],
    ("Datastreams", "observedArea/type eq 'Polygon'"): [1, 2],
    ("Datastreams", "observedArea/coordinates/0 eq -0.1546"): [3, 4, 5],
    ("Datastreams", "st_contains(observedArea,geography'POINT (-0.128 51.523)')"): [1, 2],
    ("Datastreams", "st_within(Thing/Locations/location,observedArea)"): [3, 4, 5],
    ("Datastreams", "st_touches(Thing/Locations/location,observedArea)"): [1, 2],
    ("Datastreams", "properties/v eq 1"): [1],
    ("FeaturesOfInterest", "Observations/result eq 20.1"): [1],
    ("FeaturesOfInterest", "Observations/Datastream/name eq 'Marylebone Road no2'"): [3],
    ("Locations", "Things/name eq 'Bloomsbury'"): [2],
    ("Locations", "HistoricalLocations/Thing/name eq 'Bloomsbury'"): [1, 2],
    ("Locations", "location/coordinates/0 lt -0.15"): [3],
    ("Locations", f"st_within(location,{BLOOMSBURY})"): [1, 2],
    ("Locations", f"not st_within(location,{BLOOMSBURY})"): [3],
    ("Locations", "st_equals(location,Things/Datastreams/observedArea)"): [3],
    ("Locations", "st_equals(location,null)"): [],
    ("Locations", "geo.distance(location,geography'POINT (-0.1309 51.5243)','m') lt 500"): [1, 2],
    ("Locations", "geo.distance(location,geography'POINT (-0.1309 51.5243)') lt 0.0056"): [1, 2],
    ("Locations", "geo.distance(location,HistoricalLocations/Locations/location) gt 0"): [],
    ("Things", f"geo.intersects(Locations/location,{BLOOMSBURY})"): [1],
    ("Things", f"geo.intersects(Datastreams/observedArea,{BLOOMSBURY}) and id gt 0"): [1],
    ("Sensors", f"st_disjoint(Datastreams/Thing/Locations/location,{BLOOMSBURY})"): [3],
    ("FeaturesOfInterest", f"st_within(feature,{BLOOMSBURY})"): [1, 2],
    ("HistoricalLocations", "Locations/name eq 'Gordon Square'"): [1],
    ("HistoricalLocations", "time ge 2026-03-02T00:00:00Z"): [2],
    ("Sensors", "Datastreams/Thing/Locations/name eq 'Marylebone Road'"): [3],
    ("ObservedProperties", "Datastreams/Observations/result eq true"): [3],
    ("ObservedProperties", "definition eq 'nothing' or startswith(name,'Air')"): [2],
}


@pytest.mark.parametrize(("path", "text"), OTHERS)
async def test_every_set_is_filtered(path: str, text: str, service: Service) -> None:
    assert await service.ids(path, filter=text) == OTHERS[path, text]


async def test_places_are_ordered_by_distance_across_pages(service: Service) -> None:
    by_distance = "geo.distance(location,geography'POINT (-0.15 51.5225)')"
    for order, expected in ((by_distance, [3, 1, 2]), (f"{by_distance} desc", [2, 1, 3])):
        assert await service.ids("Locations", orderby=order, top="1") == expected


async def test_a_place_that_was_added_or_moved_is_found_at_once(own_service: Service) -> None:
    async with own_service.pool.connection() as conn:
        await conn.set_autocommit(True)
        await seed_city(conn)
    near = "geo.distance(location,geography'POINT (-0.15 51.5225)') lt 0.01"
    assert await own_service.ids("Locations", filter=near) == [3]
    async with own_service.pool.connection() as conn:
        await conn.execute(
            "UPDATE location SET location = jsonb_set(location, '{coordinates}', '[-0.151, 51.52]')"
            " WHERE id = 1"
        )
    assert await own_service.ids("Locations", filter=near) == [1, 3]
