"""Pages of entities in other forms: groups of rows, CSV that no spreadsheet runs, and features."""

import csv
import io
from typing import Any

import pytest

from standards_mapping.sensorthings import data_array_page, features, table
from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.model import ENTITY_TYPES
from standards_mapping.sensorthings.options import Options, parse_options

THING, OBSERVATION = ENTITY_TYPES["Thing"], ENTITY_TYPES["Observation"]
LOCATION = ENTITY_TYPES["Location"]
POINT = {"type": "Point", "coordinates": [0, 51]}


def options(entity_type: Any, **written: str) -> Options:
    return parse_options([(f"${name}", text) for name, text in written.items()], entity_type)


def rows(entities: list[Any], asked: Options, entity_type: Any = THING) -> list[list[str]]:
    text = table.csv_text(entities, entity_type, asked)
    assert text.count("\r\n") >= len(entities) + 1
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_text_of_a_table_begins_as_a_formula(start: str) -> None:
    told = [{"name": f'{start}HYPERLINK("x","y")', "description": f"a{start}b"}]
    _, row = rows(told, options(THING, select="name,description"))
    assert row == [f'\'{start}HYPERLINK("x","y")', f"a{start}b"]


def test_cells_are_exact_and_what_is_missing_is_empty() -> None:
    asked = options(OBSERVATION, select="id,result,phenomenonTime,parameters")
    told = [
        {"@iot.id": "1-2", "result": -2.5, "phenomenonTime": "a/b", "parameters": {"é": [1]}},
        {"@iot.id": "1-3", "result": True, "phenomenonTime": "a"},
        {"@iot.id": "1-4", "result": None},
    ]
    assert rows(told, asked, OBSERVATION) == [
        ["id", "result", "phenomenonTimeStart", "phenomenonTimeEnd", "parameters"],
        ["1-2", "-2.5", "a", "b", '{"é":[1]}'],
        ["1-3", "true", "a", "a", ""],
        ["1-4", "", "", "", ""],
    ]


def test_a_table_has_the_columns_of_what_is_expanded_even_where_it_is_missing() -> None:
    thing = "Datastream($select=name;$expand=Thing($select=name))"
    asked = options(OBSERVATION, select="id", expand=thing)
    told = [{"@iot.id": "1-2", "Datastream": {"name": "a", "Thing": {"name": "b"}}}, {}]
    header = ["id", "Datastream/name", "Datastream/Thing/name"]
    assert rows(told, asked, OBSERVATION) == [header, ["1-2", "a", "b"], ["", "", ""]]
    (expand,) = table.readable(asked, OBSERVATION).expand
    assert expand.options.select == ("name",)
    with pytest.raises(QueryError, match="which are many"):
        table.readable(options(THING, expand="Datastreams"), THING)


def test_groups_follow_the_order_of_their_first_observation() -> None:
    asked = options(OBSERVATION, select="result")
    assert data_array_page.readable(asked).select == ("id", "result")
    told = [{"@iot.id": key, "result": at} for at, key in enumerate(("2-5", "1-5", "2-6"))]
    found = data_array_page.data_array({"@iot.count": 3, "value": told}, asked, "http://x")
    assert list(found) == ["@iot.count", "value"]
    assert [group["dataArray"] for group in found["value"]] == [[[0], [2]], [[1]]]
    assert found["value"][0]["Datastream@iot.navigationLink"] == "http://x/Datastreams(2)"


def test_a_feature_takes_the_geometry_of_its_place() -> None:
    asked = options(THING, select="id,name")
    read = features.readable(asked, THING)
    assert [expand.navigation.name for expand in read.expand] == ["Locations"]
    feature = {"type": "Feature", "geometry": POINT, "properties": {}}
    told = [
        {"@iot.id": 1, "name": "a", "Locations": [{"location": POINT}]},
        {"@iot.id": 2, "name": "b", "Locations": [{"location": feature}, {"location": POINT}]},
        {"@iot.id": 3, "name": "c", "Locations": []},
        {"@iot.id": 4, "name": "d", "Locations": [{"location": "text"}]},
    ]
    found = features.feature_collection({"value": told}, THING, asked)
    both = {"type": "GeometryCollection", "geometries": [POINT, POINT]}
    assert [one["geometry"] for one in found["features"]] == [POINT, both, None, None]
    assert found["features"][0]["properties"] == {"name": "a"}
    assert found["features"][0]["id"] == 1


def test_what_was_expanded_on_purpose_stays_in_a_feature() -> None:
    asked = options(THING, expand="Locations")
    assert features.readable(asked, THING).expand == asked.expand
    told = [{"@iot.id": 1, "Locations": [{"location": POINT}]}]
    (found,) = features.feature_collection({"value": told}, THING, asked)["features"]
    assert found["properties"] == {"Locations": [{"location": POINT}]}


def test_a_place_is_read_even_where_it_is_not_selected() -> None:
    asked = options(LOCATION, select="name")
    assert features.readable(asked, LOCATION).select == ("name", "location")
    told = [{"name": "a", "location": POINT}]
    (found,) = features.feature_collection({"value": told}, LOCATION, asked)["features"]
    assert found == {"type": "Feature", "geometry": POINT, "properties": {"name": "a"}}
    with pytest.raises(QueryError, match="no geometry"):
        features.readable(Options(), ENTITY_TYPES["Sensor"])
