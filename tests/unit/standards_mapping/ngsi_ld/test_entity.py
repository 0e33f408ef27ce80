"""Entities follow the Smart Data Models: their schemas, and their contexts' terms."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_protocol.reading import Quality
from standards_mapping.air_quality_index import Index
from standards_mapping.ngsi_ld import contexts
from standards_mapping.ngsi_ld.entity import (
    STATED,
    Attribute,
    Entity,
    Kind,
    attribute_history,
    entities_of,
    location_history,
)
from standards_mapping.ngsi_ld.forms import Form
from standards_mapping.ngsi_ld.models import MODELS
from standards_mapping.ngsi_ld.representation import to_json
from standards_mapping.observation import Result
from standards_mapping.properties import PROPERTIES
from standards_mapping.registry import Place, Stay
from tests.unit.standards_mapping.ngsi_ld.conftest import (
    HOUR,
    NOON,
    PLACE,
    ROOT,
    datastream,
    observation,
    thing,
)

Validate = Callable[[Mapping[str, Any]], list[str]]
Expand = Callable[[Mapping[str, Any]], Mapping[str, Any]]

PLAUSIBLE: dict[str, Result] = {"bay_occupied": True, "air_pressure": 1013.2, "people_count": 7.0}


def plausible(key: str) -> Result:
    if PROPERTIES[key].attribute == "textValue":
        return "1.4.2"
    return PLAUSIBLE.get(key, PROPERTIES[key].unit == "bool" or 0.5)


def entities(key: str, result: Result | None, unit: str = "") -> dict[str, Entity]:
    row = datastream(key, unit=unit)
    found = entities_of([row.thing], [row], {row.id: observation(row, result)})
    return {each.type: each for each in found}


def simplified(key: str, result: Result | None, unit: str = "") -> dict[str, Any]:
    found = entities(key, result, unit).get(PROPERTIES[key].model)
    return to_json(found, Form.SIMPLIFIED) if found else {}


def check(entity: Entity, validate: Validate, expand: Expand, *names: str) -> None:
    """Hold an entity against its schema, and its terms against its context and these others."""
    assert validate(json.loads(json.dumps(to_json(entity, Form.SIMPLIFIED)))) == []
    others = [f"{ROOT}/contexts/{name}" for name in names]
    for url in (contexts.context_url({entity.type}, ROOT), *others):
        written = to_json(entity, Form.NORMALIZED, sys_attrs=True, context=url)
        expanded = expand(written)
        assert "default-context" not in json.dumps(expanded)
        model = MODELS[entity.type]
        told = set(written) - {"id", "type", "@context"}
        iris = {contexts.attribute_iri(name, model) for name in told}
        assert iris == set(expanded) - {"@id", "@type"}
        assert expanded["@type"] == [contexts.type_iri(entity.type)]


@pytest.mark.parametrize("key", PROPERTIES)
def test_every_property_has_an_entity_that_its_schema_and_contexts_know(
    key: str, validate: Validate, expand: Expand
) -> None:
    found = entities(key, plausible(key))
    assert set(found) == {PROPERTIES[key].model, "Device"}
    assert PROPERTIES[key].attribute in to_json(found[PROPERTIES[key].model], Form.SIMPLIFIED)
    for entity in found.values():
        check(entity, validate, expand, contexts.ALL)


@given(st.sampled_from(sorted(PROPERTIES)), st.none() | st.booleans() | st.floats())
@settings(max_examples=200, deadline=None)
def test_whatever_a_sensor_reports_no_entity_breaks_its_schema(
    validate: Validate, key: str, result: Result | None
) -> None:
    for entity in entities(key, result).values():
        assert validate(json.loads(json.dumps(to_json(entity, Form.SIMPLIFIED)))) == []


def test_ratios_are_from_0_to_1() -> None:
    assert simplified("relative_humidity", 45.3)["relativeHumidity"] == 0.453
    assert simplified("fill_level", 80.0)["fillingLevel"] == 0.8
    assert simplified("battery_level", 7.0)["batteryLevel"] == 0.07
    assert simplified("lane_occupancy", 0.25)["occupancy"] == 0.25
    assert simplified("lane_occupancy", 25.0, unit="%")["occupancy"] == 0.25


@pytest.mark.parametrize("key", ["relative_humidity", "fill_level", "battery_level"])
@pytest.mark.parametrize("result", [100.1, -0.1])
def test_a_ratio_outside_0_to_1_is_left_out(key: str, result: float) -> None:
    assert PROPERTIES[key].attribute not in simplified(key, result)


def test_a_battery_without_level_is_unknown_rather_than_empty() -> None:
    assert simplified("battery_level", None)["batteryLevel"] == -1
    assert "batteryLevel" not in simplified("battery_level", -100.0)


def test_wind_direction_stands_in_weather_alone_from_0_to_360() -> None:
    for direction, expected in ((0.0, 0), (225.0, 225), (360.0, 360), (-90.0, 270), (370.0, 10)):
        assert simplified("wind_direction", direction)["windDirection"] == expected
    assert not any(
        observed.model == "AirQualityObserved" and "wind" in observed.key
        for observed in PROPERTIES.values()
    )


def test_speed_of_vehicles_is_in_km_per_hour_and_that_of_wind_is_not() -> None:
    speed = entities("vehicle_speed", 10.0)["TrafficFlowObserved"]
    assert attribute(speed, "averageVehicleSpeed") == ("KMH", 36.0)
    assert simplified("vehicle_speed", 36.0, unit="km/h")["averageVehicleSpeed"] == 36.0
    assert attribute(entities("wind_speed", 10.0)["WeatherObserved"], "windSpeed") == ("MTS", 10.0)


def attribute(entity: Entity, name: str) -> tuple[str, Any]:
    (found,) = [each for each in entity.attributes if each.name == name]
    return found.unit_code, found.value


def test_carbon_monoxide_is_in_mg_and_other_gases_in_ug_whatever_a_datastream_is_in() -> None:
    assert attribute(entities("co", 0.4)["AirQualityObserved"], "co") == ("GP", 0.4)
    assert attribute(entities("co", 400.0, "ug/m3")["AirQualityObserved"], "co") == ("GP", 0.4)
    assert attribute(entities("no2", 0.04, "mg/m3")["AirQualityObserved"], "no2") == ("GQ", 40.0)
    assert entities("no2", 21.0, "ppb").keys() == {"Device"}, "no mass without a temperature"


def test_pressure_is_in_hpa_and_rain_in_litres_per_square_metre() -> None:
    pressure = entities("air_pressure", 101.32, "kPa")["WeatherObserved"]
    assert attribute(pressure, "atmosphericPressure") == ("A97", 1013.2)
    assert attribute(entities("rainfall", 2.4)["WeatherObserved"], "precipitation") == ("E31", 2.4)


def test_light_is_in_lux_and_never_the_setting_of_a_lamp() -> None:
    assert attribute(entities("illuminance", 12000.0)["WeatherObserved"], "illuminance") == (
        "LUX",
        12000.0,
    )


@pytest.mark.parametrize("key", ["laeq", "lamax", "vehicle_count", "people_count"])
def test_a_result_over_an_interval_says_from_when_to_when(key: str) -> None:
    found = simplified(key, 50.0)
    assert found["dateObservedFrom"] == "2025-07-01T11:00:00Z"
    assert found["dateObservedTo"] == found["dateObserved"] == "2025-07-01T12:00:00Z"


def test_vehicles_are_counted_in_their_interval_not_by_the_hour() -> None:
    row = datastream("vehicle_count", averaging=timedelta(minutes=5))
    (counted,) = [
        each
        for each in entities_of([row.thing], [row], {row.id: observation(row, 12.0)})
        if each.type == "TrafficFlowObserved"
    ]
    assert attribute(counted, "intensity") == ("C62", 12.0)


def test_people_are_whole() -> None:
    count = simplified("people_count", 7.0)["peopleCount"]
    assert (count, type(count)) == (7, int)
    assert simplified("people_count", 7.5) == {}
    assert simplified("people_count", -1.0) == {}


def test_cycles_and_vehicles_of_one_site_are_two_entities() -> None:
    site = thing()
    rows = [
        datastream("vehicle_count", 1, at=site),
        datastream("cycle_count", 2, at=site),
        datastream("vehicle_speed", 3, at=site),
    ]
    latest = {row.id: observation(row, float(row.id)) for row in rows}
    found = [
        to_json(each, Form.SIMPLIFIED)
        for each in entities_of([site], rows, latest)
        if each.type == "TrafficFlowObserved"
    ]
    assert [(each["intensity"], each.get("vehicleType")) for each in found] == [
        (1.0, None),
        (2.0, "bicycle"),
    ]
    assert found[1]["id"] == f"{found[0]['id']}~bicycle"
    assert [each.get("averageVehicleSpeed") for each in found] == [10.8, None]


def test_a_bay_is_said_in_words_and_where_it_belongs() -> None:
    words = [simplified("bay_occupied", result)["status"] for result in (True, False, None)]
    assert words == ["occupied", "free", "unknown"]
    found = simplified("bay_occupied", result=True)
    assert found["category"] == ["onStreet"]
    assert found["refParkingSite"] == found["id"].replace("ParkingSpot", "OnStreetParking")
    assert found["refDevice"] == ["urn:ngsi-ld:Device:E09000007:dev:mac:000000000001"]
    site = thing(category="offStreet", refParkingSite="urn:ngsi-ld:OffStreetParking:station")
    row = datastream("bay_occupied", at=site)
    bay, _ = reversed(entities_of([site], [row], {1: observation(row, result=False)}))
    told = to_json(bay, Form.SIMPLIFIED)
    assert (told["category"], told["refParkingSite"]) == (
        ["offStreet"],
        "urn:ngsi-ld:OffStreetParking:station",
    )


def test_a_lamp_always_has_a_status() -> None:
    assert simplified("lamp_power", 40.0)["status"] == "ok"
    row = datastream("lamp_power", at=thing(status="defectiveLamp"))
    lamp = entities_of([row.thing], [row], {1: observation(row, 0.0)})[-1]
    assert to_json(lamp, Form.SIMPLIFIED)["status"] == "defectiveLamp"


def test_water_may_fall_below_its_datum_but_nothing_is_polluted_less_than_not_at_all() -> None:
    assert simplified("water_level", -0.2)["currentLevel"] == -0.2
    assert simplified("no2", -0.2) == {}


def test_the_place_is_spelt_as_in_the_schema_and_only_said_of_what_is_known() -> None:
    row = datastream("no2", at=thing(typeofLocation="outdoor"))
    found = entities_of([row.thing], [row], {1: observation(row, 40.0)})[0]
    assert to_json(found, Form.SIMPLIFIED)["typeofLocation"] == "outdoor"
    assert "typeofLocation" not in simplified("no2", 40.0)


def test_one_term_has_another_iri_in_another_subject() -> None:
    iris = {contexts.attribute_iri("refDevice", model) for model in MODELS.values()}
    assert len(iris) == len({model.subject for model in MODELS.values()})


def test_what_no_model_has_is_a_measurement_that_says_what_and_in_which_unit() -> None:
    found = simplified("soil_moisture", 31.0)
    assert (found["numValue"], found["controlledProperty"], found["unit"]) == (
        31.0,
        "soil_moisture",
        "%",
    )
    assert found["id"].endswith(":dev:kerbstone:site:1~soil_moisture")
    assert simplified("tilted", result=True)["numValue"] == 1
    assert simplified("agent_version", "1.4.2")["textValue"] == "1.4.2"
    assert simplified("agent_version", 1.4) == {}


def test_what_is_out_of_range_is_left_out() -> None:
    row = datastream("no2")
    bad = replace(observation(row, 40.0), quality=Quality.OUT_OF_RANGE)
    doubtful = replace(observation(row, 40.0), quality=Quality.SUSPECT)
    assert attribute_history(row, [bad]) == []
    assert attribute_history(row, [doubtful]) == [Attribute("no2", 40.0, "GQ", NOON)]
    assert [each.type for each in entities_of([row.thing], [row], {1: bad})] == ["Device"]


def test_values_of_one_attribute_are_told_apart_and_the_first_is_the_default() -> None:
    site = thing()
    rows = [datastream("no2", 1, at=site), datastream("no2", 2, at=site)]
    latest = {row.id: observation(row, 40.0 + row.id) for row in rows}
    air = entities_of([site], rows, latest)[0]
    written = to_json(air, Form.NORMALIZED)["no2"]
    assert [each["value"] for each in written] == [41.0, 42.0]
    assert [each.get("datasetId") for each in written] == [
        None,
        "urn:ngsi-ld:Dataset:E09000007:dev:mac:000000000002~no2",
    ]
    simple = to_json(air, Form.SIMPLIFIED)
    assert (simple["no2"], simple["refDevice"]) == (41.0, f"{DEVICE_ID}1")
    devices = to_json(air, Form.NORMALIZED)["refDevice"]
    assert [each["object"] for each in devices] == [f"{DEVICE_ID}1", f"{DEVICE_ID}2"]


DEVICE_ID = "urn:ngsi-ld:Device:E09000007:dev:mac:00000000000"


def test_a_value_keeps_the_place_where_it_was_observed() -> None:
    there = Place(
        id=2,
        name="Elsewhere",
        description="",
        geometry={"type": "Point", "coordinates": [-0.2, 51.6]},
        longitude=-0.2,
        latitude=51.6,
    )
    site = replace(thing(), stays=(*thing().stays, Stay(place=there, since=NOON + HOUR)))
    row = datastream("no2", at=site)
    before = entities_of([site], [row], {1: observation(row, 40.0)})[0]
    after = entities_of([site], [row], {1: observation(row, 40.0, NOON + 2 * HOUR)})[0]
    assert to_json(before, Form.SIMPLIFIED)["location"] == PLACE.geometry
    assert to_json(after, Form.SIMPLIFIED)["location"] == there.geometry
    assert [each.observed_at for each in location_history(site)] == [
        stay.since for stay in site.stays
    ]


def test_a_model_that_must_have_a_place_waits_for_one_and_others_do_not() -> None:
    site = replace(thing(), stays=())
    rows = [datastream("no2", 1, at=site), datastream("water_level", 2, at=site)]
    latest = {row.id: observation(row, 1.0) for row in rows}
    assert [each.type for each in entities_of([site], rows, latest)] == [
        "Device",
        "Device",
        "FloodMonitoring",
    ]


def test_a_correction_stands_beside_the_signed_value_by_a_known_term(
    validate: Validate, expand: Expand
) -> None:
    row = datastream("no2")
    seen = replace(observation(row, 40.0), corrected=25.5)
    air = entities_of([row.thing], [row], {row.id: seen})[0]
    check(air, validate, expand, contexts.ALL)
    written = to_json(air, Form.NORMALIZED, context=contexts.context_url({air.type}, ROOT))
    assert (written["no2"]["value"], written["no2"]["corrected"]["value"]) == (40.0, 25.5)
    assert "http://www.w3.org/ns/prov#hadRevision" in json.dumps(expand(written))


@pytest.mark.parametrize("key", PROPERTIES)
def test_what_no_result_became_is_among_what_is_stated(key: str) -> None:
    about = {"source": "x", "typeofLocation": "outdoor", "status": "columnIssue"}
    row = datastream(key, at=thing(category="offStreet", **about))
    row = replace(row, sensor=replace(row.sensor, properties={"serialNumber": "7"}))
    seen = observation(row, plausible(key))
    told = {each.name for each in attribute_history(row, [seen])}
    for entity in entities_of([row.thing], [row], {row.id: seen}):
        own = told if entity.type == PROPERTIES[key].model else set()
        assert {each.name for each in entity.attributes} - own <= STATED


def test_a_gateways_own_health_is_a_device_alone() -> None:
    site = replace(thing(), urn="urn:dev:kerbstone:gateway:1:health")
    row = datastream("cpu_load", at=site)
    (device,) = entities_of([site], [row], {1: observation(row, 0.5)})
    told = to_json(device, Form.SIMPLIFIED)
    assert (told["type"], told["deviceCategory"]) == ("Device", ["network"])
    assert told["dateLastValueReported"] == "2025-07-01T12:00:00Z"


def test_only_the_sites_asked_for_are_told() -> None:
    row = datastream("no2")
    assert entities_of([], [row], {1: observation(row, 40.0)}) == []


def test_three_forms_say_the_same() -> None:
    entity = Entity(
        "urn:ngsi-ld:X:1",
        "X",
        (
            Attribute("plain", 1),
            Attribute("unit", 2.5, "CEL", NOON, sub={"accuracy": Attribute("accuracy", 0.1)}),
            Attribute("structured", {"type": "Property"}),
            Attribute("place", {"type": "Point", "coordinates": [0, 1]}, kind=Kind.GEO_PROPERTY),
            Attribute("with", ("urn:a:b", "urn:a:c"), kind=Kind.RELATIONSHIP),
            Attribute("called", {"en": "x"}, kind=Kind.LANGUAGE_PROPERTY),
        ),
        NOON,
        NOON + HOUR,
    )
    base = {"id": "urn:ngsi-ld:X:1", "type": "X"}
    point = {"type": "Point", "coordinates": [0, 1]}
    assert to_json(entity, Form.NORMALIZED, context="https://c.example/") == {
        **base,
        "plain": {"type": "Property", "value": 1},
        "unit": {
            "type": "Property",
            "value": 2.5,
            "unitCode": "CEL",
            "observedAt": "2025-07-01T12:00:00Z",
            "accuracy": {"type": "Property", "value": 0.1},
        },
        "structured": {"type": "Property", "value": {"type": "Property"}},
        "place": {"type": "GeoProperty", "value": point},
        "with": {"type": "Relationship", "object": ["urn:a:b", "urn:a:c"]},
        "called": {"type": "LanguageProperty", "languageMap": {"en": "x"}},
        "@context": "https://c.example/",
    }
    assert to_json(entity, Form.CONCISE, sys_attrs=True) == {
        **base,
        "createdAt": "2025-07-01T12:00:00Z",
        "modifiedAt": "2025-07-01T13:00:00Z",
        "plain": 1,
        "unit": {
            "value": 2.5,
            "unitCode": "CEL",
            "observedAt": "2025-07-01T12:00:00Z",
            "accuracy": 0.1,
        },
        "structured": {"value": {"type": "Property"}},
        "place": point,
        "with": {"object": ["urn:a:b", "urn:a:c"]},
        "called": {"languageMap": {"en": "x"}},
    }
    assert to_json(entity, Form.SIMPLIFIED, sys_attrs=True) == {
        **base,
        "plain": 1,
        "unit": 2.5,
        "structured": {"type": "Property"},
        "place": point,
        "with": ["urn:a:b", "urn:a:c"],
        "called": {"languageMap": {"en": "x"}},
    }


def test_the_air_quality_index_of_a_site_stands_in_its_air_quality_alone(
    validate: Validate, expand: Expand
) -> None:
    site = thing()
    rows = [datastream("no2", 1, at=site), datastream("air_temperature", 2, at=site)]
    latest = {row.id: observation(row, 20.5) for row in rows}
    index = Index(
        property_key="no2",
        index=4,
        band="Moderate",
        concentration=210.0,
        averaging="hourly mean",
        start=NOON - HOUR,
        end=NOON,
        captured=1.0,
    )
    found = {each.type: each for each in entities_of([site], rows, latest, {site.id: index})}
    told = {
        each.name: (kind, each.value, each.observed_at)
        for kind, entity in found.items()
        for each in entity.attributes
        if each.name.startswith("airQuality")
    }
    assert told == {
        "airQualityIndex": ("AirQualityObserved", 4, NOON),
        "airQualityLevel": ("AirQualityObserved", "Moderate", NOON),
    }
    check(found["AirQualityObserved"], validate, expand, contexts.ALL)
    without = entities_of([site], rows, latest, {site.id + 1: index})
    assert not any(each.name in told for entity in without for each in entity.attributes)
