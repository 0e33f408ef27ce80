"""Bodies that create or change entities, made into drafts."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards_mapping.sensorthings.creation import (
    DEEPEST,
    MOST_ENTITIES,
    Draft,
    changes,
    draft,
    inverse,
    replacement,
)
from standards_mapping.sensorthings.drafted_values import (
    DEEPEST_JSON,
    LARGEST_JSON_BYTES,
    LARGEST_PLACE_BYTES,
)
from standards_mapping.sensorthings.errors import QueryError, SensorThingsError
from standards_mapping.sensorthings.model import ENTITY_TYPES

THING = ENTITY_TYPES["Thing"]
NAMED = {"name": "Post", "description": "A lamp post"}
POINT = {"type": "Point", "coordinates": [-0.1, 51.5]}
PLACE = NAMED | {"encodingType": "application/vnd.geo+json", "location": POINT}
STREAM = NAMED | {
    "observationType": "OM_Measurement",
    "unitOfMeasurement": {"name": "x", "symbol": "ug/m3", "definition": "y"},
}


def test_a_draft_holds_values_as_they_are_kept_and_links_by_id_or_whole() -> None:
    body = NAMED | {"Locations": [PLACE, {"@iot.id": 7}], "@iot.selfLink": "http://elsewhere"}
    made = draft(THING, body)
    assert made.values == NAMED
    place, link = made.links["Locations"]
    assert isinstance(place, Draft)
    assert place.values["encodingType"] == "application/geo+json"
    assert place.values["location"] == POINT
    assert link == 7


def test_what_hangs_on_a_new_entity_needs_no_link_back() -> None:
    links = {"Sensor": {"@iot.id": 1}, "ObservedProperty": {"@iot.id": 2}}
    made = draft(THING, NAMED | {"Datastreams": [STREAM | links]})
    (stream,) = made.links["Datastreams"]
    assert isinstance(stream, Draft)
    assert stream.values["unitOfMeasurement"] == "ug/m3"
    with pytest.raises(QueryError, match="needs 'Thing'"):
        draft(ENTITY_TYPES["Datastream"], STREAM | links)
    draft(ENTITY_TYPES["Datastream"], STREAM | links, ("Thing",))
    with pytest.raises(QueryError, match="settled by the address"):
        draft(ENTITY_TYPES["Datastream"], STREAM | links | {"Thing": {"@iot.id": 1}}, ("Thing",))


def test_every_relation_has_a_way_back() -> None:
    for entity_type in ENTITY_TYPES.values():
        for name, navigation in entity_type.navigations.items():
            back = inverse(entity_type, name)
            far = ENTITY_TYPES[navigation.target]
            assert far.navigations[back].target == entity_type.name
            assert inverse(far, back) == name


@pytest.mark.parametrize(
    ("written", "start", "end"),
    [
        ("2026-01-01T00:00:00Z", (2026, 1, 1), (2026, 1, 1)),
        ("2026-01-01T01:00:00+01:00", (2026, 1, 1), (2026, 1, 1)),
        ("2026-01-01T00:00:00Z/2026-01-29T00:00:00Z", (2026, 1, 1), (2026, 1, 29)),
    ],
)
def test_times_are_read_with_their_offsets(
    written: str, start: tuple[int, int, int], end: tuple[int, int, int]
) -> None:
    body = {"result": 3, "phenomenonTime": written, "Datastream": {"@iot.id": 1}}
    made = draft(ENTITY_TYPES["Observation"], body)
    found = (datetime(*start, tzinfo=UTC), datetime(*end, tzinfo=UTC))
    assert made.values["phenomenonTime"] == found
    assert made.values["result"] == 3.0


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("phenomenonTime", "2026-01-01", "needs a date, a time and an offset"),
        ("phenomenonTime", "2026-01-01T00:00:00", "offset"),
        ("phenomenonTime", "2026-01-02T00:00:00Z/2026-01-01T00:00:00Z", "ends before"),
        ("phenomenonTime", 5, "not a time"),
        ("result", None, "not a number"),
        ("result", float("nan"), "not a number"),
        ("result", 10**400, "too large"),
        ("result", 2**53 + 1, "9007199254740993 would be kept as 9007199254740992: send it less"),
        ("result", [1], "not a number"),
        ("result", "a\0b", "character"),
        ("resultQuality", {"flags": ["odd"]}, "there is no flag 'odd'"),
        ("resultQuality", {"code": 4096}, "sum of known flags"),
        ("validTime", "2026-01-02T00:00:00Z/2026-01-01T00:00:00Z", "ends before"),
        ("parameters", {"validTime": "2026-13-45T00:00:00Z"}, "not a time"),
        ("parameters", "x", "not a JSON object"),
    ],
)
def test_values_that_cannot_be_kept_are_refused(name: str, value: Any, said: str) -> None:
    body = {"result": 1, "Datastream": {"@iot.id": 1}} | {name: value}
    with pytest.raises(QueryError, match=said):
        draft(ENTITY_TYPES["Observation"], body)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ({"type": "Point", "coordinates": [529090, 179645]}, "degrees"),
        ({"type": "Point", "coordinates": []}, "coordinates"),
        ({"type": "Point", "coordinates": ["a", "b"]}, "coordinates"),
        ({"type": "Feature", "geometry": None}, "without a geometry"),
        ({"type": "Feature", "geometry": POINT | {"coordinates": [0, 91]}}, "degrees"),
        ({"type": "FeatureCollection", "features": []}, "send one Feature"),
        ({"type": "GeometryCollection", "geometries": [POINT]}, "nor a Feature"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}, "cross"),
    ],
)
def test_geometries_are_valid_and_in_degrees(location: Any, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        draft(ENTITY_TYPES["Location"], PLACE | {"location": location})


def nested(depth: int) -> Any:
    """Return an object, with lists and objects in turns in it, so many in one another."""
    found: Any = {} if depth % 2 else []
    for level in range(depth - 1, 0, -1):
        found = {"a": found} if level % 2 else [found]
    return found


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, "properties") for kind in ENTITY_TYPES if "properties" in ENTITY_TYPES[kind].properties]
    + [("Observation", "parameters")],
)
def test_properties_are_bounded_in_size_and_depth(kind: str, name: str) -> None:
    def change(value: Any) -> Any:
        return changes(ENTITY_TYPES[kind], {name: value}).values[name]

    empty = len('{"é":""}'.encode())
    largest = {"é": "x" * (LARGEST_JSON_BYTES - empty)}
    assert change(largest) == largest
    said = rf"{name} of {kind}: 65,537 bytes of JSON, limit 65,536: keep elsewhere"
    with pytest.raises(QueryError, match=said):
        change({"é": largest["é"] + "x"})
    assert change(nested(DEEPEST_JSON)) == nested(DEEPEST_JSON)
    for depth in (DEEPEST_JSON + 1, 100_000):
        with pytest.raises(QueryError, match=f"{name} of {kind}: nested deeper than 32"):
            change(nested(depth))


def test_a_place_may_be_larger() -> None:
    location = ENTITY_TYPES["Location"]
    feature = {"type": "Feature", "geometry": POINT, "properties": {"text": ""}}
    room = LARGEST_PLACE_BYTES - len(json.dumps(feature, separators=(",", ":")))
    feature["properties"] = {"text": "x" * room}
    assert changes(location, {"location": feature}).values["location"] == feature
    feature["properties"] = {"text": "x" * (room + 1)}
    with pytest.raises(QueryError, match=r"location of Location: 131,073 bytes .* 131,072"):
        changes(location, {"location": feature})


@pytest.mark.parametrize(
    ("unit", "key"),
    [
        ({"symbol": "Cel"}, "Cel"),
        ({"symbol": None, "name": None, "definition": None}, "bool"),
        ({"symbol": "?", "definition": "http://qudt.org/vocab/unit/DEG_C"}, "Cel"),
    ],
)
def test_units_are_found_by_symbol_or_definition(unit: Any, key: str) -> None:
    made = changes(ENTITY_TYPES["Datastream"], {"unitOfMeasurement": unit})
    assert made.values["unitOfMeasurement"] == key


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ({"symbol": "µg/m³"}, r"symbol 'µg/m³' is no unit .* nearest: ug/m3, "),
        ({"symbol": "PPM"}, "symbol 'PPM' .* nearest: ppm, ppb;"),
        ({"symbol": "", "name": "degrees celsius"}, "name 'degrees celsius' .* nearest: Cel;"),
        ({"definition": "http://qudt.org/vocab/unit/DEG_CC"}, "definition .* nearest: Cel"),
        ({"symbol": "furlong"}, "'furlong' is no unit that is known; all of them: docs/reference/"),
        ({"symbol": 5}, "symbol 5 is no unit"),
    ],
)
def test_an_unknown_unit_is_told_the_nearest_and_where_all_are(unit: Any, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        changes(ENTITY_TYPES["Datastream"], {"unitOfMeasurement": unit})


@pytest.mark.parametrize("result", [0, -7, 2**53, 2**60, -(2**63), 10**22])
def test_a_whole_number_that_is_kept_as_it_is_can_be_a_result(result: int) -> None:
    body = {"result": result, "Datastream": {"@iot.id": 1}}
    assert draft(ENTITY_TYPES["Observation"], body).values["result"] == result


def test_a_patch_names_what_changes_and_links_only_by_id() -> None:
    assert changes(THING, {"@iot.id": 3, "name": "x"}).values == {"name": "x"}
    linked = changes(THING, {"Locations": [{"@iot.id": 1}, {"@iot.id": 2}]})
    assert linked.links == {"Locations": (1, 2)}
    with pytest.raises(QueryError, match="only be linked"):
        changes(THING, {"Locations": [PLACE]})
    with pytest.raises(QueryError, match="cannot be null"):
        changes(THING, {"name": None})


def test_a_replacement_makes_null_what_it_leaves_out() -> None:
    assert replacement(THING, NAMED).values == NAMED | {"properties": None}
    with pytest.raises(QueryError, match="'description'"):
        replacement(THING, {"name": "x"})


def test_deep_inserts_are_bounded() -> None:
    with pytest.raises(QueryError, match=str(MOST_ENTITIES)):
        draft(THING, NAMED | {"Locations": [PLACE] * MOST_ENTITIES})
    body: dict[str, Any] = NAMED | {}
    for _ in range(DEEPEST):
        body = NAMED | {"Locations": [PLACE | {"Things": [body]}]}
    with pytest.raises(QueryError, match="deep"):
        draft(THING, body)


NAMES = sorted({name for kind in ENTITY_TYPES.values() for name in kind.properties})
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=10,
)


@given(st.sampled_from(sorted(ENTITY_TYPES)), BODIES)
def test_any_body_is_a_draft_or_refused(name: str, body: object) -> None:
    told: list[str] = []
    for make in (draft, changes, replacement):
        try:
            made = make(ENTITY_TYPES[name], body)
        except SensorThingsError as error:
            told.append(str(error))
        else:
            assert made.entity_type.name == name
    assert all(told)
