"""An entity's id leads back to what is registered; the rules are those of the schemas."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards_mapping.ngsi_ld import contexts, models, rules
from standards_mapping.ngsi_ld.devices import CONTROLLED_PROPERTY
from standards_mapping.ngsi_ld.models import MODELS, EntityKey
from standards_mapping.properties import PROPERTIES
from tests.simulators.linked_data import SCHEMAS
from tests.unit.standards_mapping.ngsi_ld.conftest import datastream

urns = st.text(st.characters(min_codepoint=33, exclude_categories=["Cs", "Cc"]), min_size=1)


@given(urns | st.builds("urn:{}".format, urns))
def test_an_id_leads_back_to_the_urn(urn: str) -> None:
    for variant in ("", "bicycle"):
        key = EntityKey("TrafficFlowObserved", "E09000007", urn, variant)
        assert models.parse_entity_id(models.entity_id(key)) == key


def test_different_sites_never_share_an_id() -> None:
    written = ["urn:a:b", "a:b", ":a:b", "urn::a:b", "urn:a:b~bicycle", "urn:a:b%7Ebicycle"]
    keys = [EntityKey("TrafficFlowObserved", "E09000007", urn) for urn in written]
    keys.append(EntityKey("TrafficFlowObserved", "E09000007", "urn:a:b", "bicycle"))
    assert len({models.entity_id(key) for key in keys}) == len(keys)


@pytest.mark.parametrize("key", PROPERTIES)
def test_every_datastream_is_found_by_its_entity_and_attribute(key: str) -> None:
    row = datastream(key)
    found = models.parse_entity_id(models.entity_id(models.key_of(row)))
    assert found == models.key_of(row)
    observed = row.observed_property
    assert observed in models.properties_of(found.model, found.variant, observed.attribute)
    about = row.sensor if found.model == models.DEVICE else row.thing
    assert (found.gss, found.urn) == ("E09000007", about.urn)


def test_an_attribute_without_its_variant_is_not_confused_with_another() -> None:
    assert [each.key for each in models.properties_of("TrafficFlowObserved", "", "intensity")] == [
        "vehicle_count"
    ]
    assert len(models.properties_of(models.MEASUREMENT)) > 40
    assert models.properties_of("AirQualityObserved", "bicycle") == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "urn:ngsi-ld:Building:E09000007:a:b",
        "urn:ngsi-ld:Device:E09000007",
        "urn:ngsi-ld:Device:E09000007:a:b~bicycle",
        "urn:ngsi-ld:TrafficFlowObserved:E09000007:a:b~car",
        "urn:ngsi-ld:DeviceMeasurement:E09000007:a:b",
        "urn:ngsi-ld:Device:E09000007:a:b%00",
        "urn:ngsi-ld:Device:E09000007:%61:b",
        "http://example.org/Device",
    ],
)
def test_what_no_entity_can_be_called_is_no_key(text: str) -> None:
    assert models.parse_entity_id(text) is None


def test_every_property_has_a_model_and_a_rule() -> None:
    for observed in PROPERTIES.values():
        assert MODELS[observed.model].name == observed.model
        assert observed.value_rule in rules.RULES


@pytest.mark.parametrize("key", PROPERTIES)
def test_bounds_are_those_of_the_schema(key: str) -> None:
    observed = PROPERTIES[key]
    limits = schema_of(observed.model, observed.attribute)
    if observed.attribute == "batteryLevel":
        limits = limits["oneOf"][0]
    assert rules.bounds_of(observed) == (limits.get("minimum"), limits.get("maximum"))


def schema_of(model: str, attribute: str) -> dict[str, object]:
    """What the schema of a model, or the one it shares with its group, says of an attribute."""
    own = json.loads((SCHEMAS / f"{model}.json").read_text(encoding="utf-8"))["allOf"]
    weather = json.loads((SCHEMAS / "weather-schema.json").read_text(encoding="utf-8"))
    shared = weather["definitions"]["Weather-Commons"]
    # where the Weather group says something of its own, that holds beside what all models say
    parts = [part.get("properties", {}) for part in [*own, shared]]
    return next(part[attribute] for part in parts if attribute in part)


def test_devices_say_what_they_measure_in_words_of_the_schema() -> None:
    commons = json.loads((SCHEMAS / "device-schema.json").read_text(encoding="utf-8"))
    words = commons["definitions"]["ControlledPropertyType"]["items"]["enum"]
    assert set(CONTROLLED_PROPERTY.values()) <= set(words)
    assert set(CONTROLLED_PROPERTY) <= set(PROPERTIES)


def test_required_attributes_are_known_to_be() -> None:
    for model in MODELS.values():
        schema = json.loads((SCHEMAS / f"{model.name}.json").read_text(encoding="utf-8"))
        assert model.placed == ("location" in schema["required"])


def test_names_and_iris_of_types_lead_to_each_other_and_attributes_have_iris_of_their_own() -> None:
    for model in MODELS.values():
        iri = contexts.type_iri(model.name)
        assert contexts.type_name(iri) == contexts.type_name(model.name) == model.name
        names = {"location", "name", "observedAt", model.time}
        iris = {contexts.attribute_iri(name, model) for name in names}
        assert len(iris) == len(names)
        assert all("://" in each and "default-context" not in each for each in iris)
    assert contexts.attribute_iri("location", None) == "https://uri.etsi.org/ngsi-ld/location"
    assert contexts.attribute_iri("speed", None).endswith("/default-context/speed")
    assert contexts.attribute_iri("urn:x:y", None) == "urn:x:y"
    assert contexts.type_name("Building") is None


def test_contexts_are_all_here() -> None:
    assert {contexts.ALL, contexts.CORE, "Weather.jsonld"} < set(contexts.names())
    assert all(contexts.document(name) for name in contexts.names())
    assert contexts.document("../entity.py") is None
    one, several = {"AirQualityObserved", "NoiseLevelObserved"}, {"Device", "WeatherObserved"}
    assert contexts.context_url(one, "https://x.example").endswith("/contexts/Environment.jsonld")
    assert contexts.context_url(several, "https://x.example").endswith("/contexts/kerbstone.jsonld")


def test_a_rule_holds_whatever_the_datastream_is_called() -> None:
    row = datastream("no2")
    other = replace(row, short_name="x_1.2", name="Anything")
    assert models.key_of(row) == models.key_of(other)
    assert models.dataset_id(other).endswith("~x_1.2")
