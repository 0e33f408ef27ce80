"""A Thing whose Location is a GeoJSON Feature, as most clients send it, seen on every surface.

The Feature is given back as it came; wherever a geometry is needed, it is the one in it.
"""

import asyncio
import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from shapely.geometry import Point, shape

from command_line.__main__ import main
from storage.database import query
from storage.rollups import refresh_rollups
from tests.integration.sensorthings.writing import (
    SENSOR,
    Json,
    Writing,
    datastream_body,
    location_body,
)

GEOMETRY: Json = {
    "type": "Polygon",
    "coordinates": [[[0.5, 51.5], [0.54, 51.5], [0.54, 51.52], [0.5, 51.52], [0.5, 51.5]]],
}
"""East of everything in the city."""

MIDDLE = [0.52, 51.51]
FEATURE: Json = {
    "type": "Feature",
    "id": "post/7",
    "bbox": [0.5, 51.5, 0.54, 51.52],
    "geometry": GEOMETRY,
    "properties": {
        "street": "Gower Street",
        "lamps": [1, 2.5, None, True],
        "coordinates": [170, 80],
        "nested": {"type": "Point", "coordinates": [171, 81], "geometry": None},
    },
    "title": "Ecke Gärten",
}
"""With what is easily taken for its place."""

AROUND = "geography'POLYGON ((0.49 51.49, 0.55 51.49, 0.55 51.53, 0.49 51.53, 0.49 51.49))'"
SPAN = "from=2020-03-01T00:00:00Z&to=2020-04-01T00:00:00Z"
SITE = "http://localhost"
NAMED: Json = {"description": "-", "encodingType": "application/vnd.geo+json"}
HTML = {"Accept": "text/html"}


@dataclass(frozen=True)
class Placed:
    """A Thing at a Feature, with a datastream of one observation; their ids."""

    thing: int
    location: int
    stream: int
    observation: str


@pytest.fixture(scope="module")
async def placed(centre: Writing) -> Placed:
    body: Json = {
        "name": "Featured",
        "description": "-",
        "Locations": [NAMED | {"name": "Gower Street", "location": FEATURE}],
        "Datastreams": [
            datastream_body()
            | {
                "Sensor": SENSOR,
                "ObservedProperty": {"@iot.id": centre.city.properties["no2"]},
                "Observations": [{"result": 41.5, "phenomenonTime": "2020-03-05T12:00:00Z"}],
            }
        ],
    }
    thing = await centre.create("Things", body)
    found = await centre.get(
        f"Things({thing['@iot.id']})?$expand=Locations,Datastreams($expand=Observations)"
    )
    [location], [stream] = found["Locations"], found["Datastreams"]
    [seen] = stream["Observations"]
    await centre.conn.execute(query("reconcile_latest"))
    return Placed(found["@iot.id"], location["@iot.id"], stream["@iot.id"], seen["@iot.id"])


async def open_json(centre: Writing, path: str, accept: str = "*/*") -> Json:
    """Return what anybody reads outside SensorThings."""
    answer = await centre.anybody.get(f"{SITE}{path}", headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_feature_is_given_back_as_it_came_and_its_members_are_found(
    centre: Writing, placed: Placed
) -> None:
    url = f"Locations({placed.location})"
    assert (await centre.get(url))["location"] == FEATURE
    assert await centre.get(f"{url}/location/properties") == {"properties": FEATURE["properties"]}
    street = await centre.anybody.get(f"{url}/location/properties/street/$value")
    assert street.text == "Gower Street"
    for condition in (
        "location/properties/street eq 'Gower Street'",
        "location/id eq 'post/7'",
        "location/geometry/type eq 'Polygon'",
        "startswith(location/properties/street,'Gower')",
    ):
        found = await centre.get(f"Locations?$filter={condition}")
        assert [one["@iot.id"] for one in found["value"]] == [placed.location]


@pytest.mark.parametrize(
    ("entities", "path"),
    [
        ("Locations", "location"),
        ("FeaturesOfInterest", "feature"),
        ("Things", "Locations/location"),
        ("Datastreams", "observedArea"),
        ("HistoricalLocations", "Locations/location"),
    ],
)
async def test_functions_take_the_geometry_of_a_feature(
    entities: str, path: str, centre: Writing, placed: Placed
) -> None:
    assert placed
    for condition in (
        f"st_within({path},{AROUND})",
        f"st_relate({path},{AROUND},'T*F**F***')",
        f"geo.intersects({path},geography'POINT (0.51 51.51)')",
        f"geo.distance({path},geography'POINT (0.52 51.53)','m') lt 1200",
        f"geo.distance({path},geography'POINT (0.52 51.53)') lt 0.0101",
    ):
        found = await centre.get(f"{entities}?$count=true&$filter={condition}")
        assert found["@iot.count"] == 1, condition
    none = await centre.get(f"{entities}?$filter=geo.intersects({path},geography'POINT (170 80)')")
    assert none["value"] == []


async def test_what_follows_from_a_location_has_its_geometry_alone(
    centre: Writing, placed: Placed
) -> None:
    about = await centre.get(f"Observations('{placed.observation}')/FeatureOfInterest")
    assert about["feature"] == GEOMETRY
    stream = await centre.get(f"Datastreams({placed.stream})")
    assert shape(stream["observedArea"]).equals(shape(GEOMETRY))
    history = await centre.get(f"Things({placed.thing})/HistoricalLocations?$expand=Locations")
    [moment] = history["value"]
    assert [one["location"] for one in moment["Locations"]] == [FEATURE]
    rows = await centre.rows(
        "SELECT longitude, latitude FROM location WHERE id = %s", placed.location
    )
    assert shape(GEOMETRY).contains(Point(rows[0]))


async def test_other_forms_have_the_geometry_where_a_geometry_stands(
    centre: Writing, placed: Placed
) -> None:
    for path in (
        f"Things?$filter=id eq {placed.thing}",
        f"Locations?$filter=id eq {placed.location}",
        f"Things({placed.thing})/HistoricalLocations?",
        f"Datastreams({placed.stream})/Observations?",
        f"FeaturesOfInterest?$filter=Observations/Datastream/id eq {placed.stream}",
    ):
        page = await centre.get(f"{path}&$resultFormat=GeoJSON")
        assert [one["geometry"] for one in page["features"]] == [GEOMETRY], path
    text = await centre.anybody.get(
        f"Locations?$filter=id eq {placed.location}&$resultFormat=CSV&$select=location"
    )
    [row] = csv.DictReader(io.StringIO(text.text))
    assert json.loads(row["location"]) == FEATURE


async def test_the_other_standards_tell_the_place(centre: Writing, placed: Placed) -> None:
    entities = "/ngsi-ld/v1/entities?type=AirQualityObserved"
    near = f"{entities}&georel=within&geometry=Polygon&coordinates=" + json.dumps(
        [[[0.49, 51.49], [0.55, 51.49], [0.55, 51.53], [0.49, 51.53], [0.49, 51.49]]]
    )
    [entity] = await open_json(centre, near)
    assert entity["location"]["value"] == GEOMETRY
    collection = await open_json(centre, near, "application/geo+json")
    assert [one["geometry"] for one in collection["features"]] == [GEOMETRY]
    history = await open_json(
        centre,
        f"/ngsi-ld/v1/temporal/entities/{entity['id']}"
        "?attrs=location&timerel=after&timeAt=2020-01-01T00:00:00Z",
    )
    location = history["location"]
    told = location if isinstance(location, list) else [location]
    assert [one["value"] for one in told] == [GEOMETRY]

    graph = (await open_json(centre, f"/sosa/observations?{SPAN}&datastream={placed.stream}"))[
        "@graph"
    ]
    [wkt] = [one["hasGeometry"]["asWKT"] for one in graph if "hasGeometry" in one]
    assert is_inside([float(part) for part in wkt.rpartition("(")[2].strip(")").split()])
    platform = await open_json(centre, f"/sosa/platforms/{placed.thing}")
    assert str(placed.location) in json.dumps(platform)

    dataset = json.dumps(await open_json(centre, "/catalogue/camden/no2", "application/ld+json"))
    corners = [float(one.split()[0]) for one in dataset.partition("POLYGON((")[2].split(",")[:4]]
    assert is_inside([max(corners), MIDDLE[1]])


async def test_open_files_and_pages_tell_the_place(centre: Writing, placed: Placed) -> None:
    text = (await centre.anybody.get(f"{SITE}/data/camden/no2.csv?{SPAN}")).text
    [row] = csv.DictReader(io.StringIO(text))
    assert is_inside([float(row["longitude"]), float(row["latitude"])])
    collection = await open_json(centre, f"/data/camden/no2.geojson?{SPAN}")
    assert is_inside(collection["features"][0]["geometry"]["coordinates"])
    answer = await centre.anybody.get(f"{SITE}/data/camden/no2.parquet?{SPAN}")
    [kept] = pq.read_table(io.BytesIO(answer.content)).to_pylist()
    assert is_inside([kept["longitude"], kept["latitude"]])

    overview = (await centre.anybody.get(f"{SITE}/", headers=HTML)).text
    site = overview.partition(f'id="site-{placed.thing}"')[2]
    marks = [
        float(site.partition(f'data-{name}="')[2].partition('"')[0])
        for name in ("longitude", "latitude")
    ]
    assert is_inside(marks)
    page = await centre.anybody.get(f"{SITE}/sites/{placed.thing}", headers=HTML)
    assert "Gower Street" in page.text
    assert "(51.51000, 0.52000)" in page.text


async def test_an_export_tells_the_place(centre: Writing, placed: Placed, tmp_path: Path) -> None:
    while await refresh_rollups(centre.conn):
        pass
    target = tmp_path / "export"
    assert await asyncio.to_thread(main, ["data", "export", centre.dsn, str(target)]) == 0
    tables = [pq.read_table(file).to_pylist() for file in sorted(target.rglob("*.parquet"))]
    told = [
        [row["longitude"], row["latitude"]]
        for rows in tables
        for row in rows
        if "longitude" in row and row.get("id", row.get("datastream_id")) == placed.stream
    ]
    assert told
    assert all(map(is_inside, told))


async def test_every_way_of_writing_takes_a_feature(centre: Writing) -> None:
    thing, stream = await centre.survey("Rewritten")
    [place] = (await centre.get(f"Things({thing})/Locations"))["value"]
    url = f"Locations({place['@iot.id']})"

    async def told() -> tuple[Json, Json]:
        """Return the place, and the geometry of the feature made of it."""
        [(feature,)] = await centre.rows(
            "SELECT feature FROM feature_of_interest JOIN datastream"
            " ON datastream.feature_of_interest_id = feature_of_interest.id"
            " WHERE datastream.id = %s",
            stream,
        )
        return (await centre.get(url))["location"], feature

    patched = await centre.camden.patch(url, json={"location": FEATURE})
    assert patched.json()["location"] == FEATURE
    assert await told() == (FEATURE, GEOMETRY)

    headers = {"Content-Type": "application/json-patch+json"}
    point = {"type": "Point", "coordinates": MIDDLE}
    steps = [
        {"op": "replace", "path": "/location/geometry", "value": point},
        {"op": "add", "path": "/location/properties/height", "value": 2.5},
        {"op": "remove", "path": "/location/id"},
    ]
    answer = await centre.camden.patch(url, json=steps, headers=headers)
    assert answer.status_code == 200, answer.text
    stepped = {name: value for name, value in FEATURE.items() if name != "id"} | {
        "geometry": point,
        "properties": FEATURE["properties"] | {"height": 2.5},
    }
    assert await told() == (stepped, point)
    gone = [{"op": "remove", "path": "/location/geometry"}]
    refused = await centre.camden.patch(url, json=gone, headers=headers)
    assert refused.status_code == 400
    assert await told() == (stepped, point)

    bare: Json = {"type": "Feature", "geometry": GEOMETRY}
    put = await centre.camden.put(url, json=NAMED | {"name": "Put", "location": bare})
    assert put.status_code == 200, put.text
    assert await told() == (bare, GEOMETRY)

    requests = [
        {
            "id": "place",
            "method": "post",
            "url": "Locations",
            "body": NAMED | {"name": "Batched", "location": FEATURE},
        },
        {
            "id": "move",
            "method": "patch",
            "url": f"Things({thing})",
            "body": {"Locations": [{"@iot.id": "$place"}]},
        },
    ]
    batch = await centre.camden.post("$batch", json={"requests": requests})
    assert [one["status"] for one in batch.json()["responses"]] == [201, 200]
    [now] = (await centre.get(f"Things({thing})/Locations"))["value"]
    assert (now["name"], now["location"]) == ("Batched", FEATURE)
    assert (await told())[1] == GEOMETRY  # of the new place, made by the move
    for one in (now["@iot.selfLink"], url):
        await centre.camden.patch(one, json={"location": location_body()["location"]})


async def test_a_feature_of_interest_can_be_a_feature(centre: Writing) -> None:
    body = NAMED | {"name": "Air", "feature": FEATURE}
    made = await centre.create("FeaturesOfInterest", body)
    assert made["feature"] == FEATURE
    street = f"{made['@iot.selfLink']}/feature/properties/street/$value"
    assert (await centre.anybody.get(street)).text == "Gower Street"
    within = f"id eq {made['@iot.id']} and st_within(feature,{AROUND})"
    page = await centre.get(f"FeaturesOfInterest?$filter={within}&$resultFormat=GeoJSON")
    assert [one["geometry"] for one in page["features"]] == [GEOMETRY]
    point = location_body()["location"]
    changed = await centre.camden.patch(made["@iot.selfLink"], json={"feature": point})
    assert changed.json()["feature"] == point


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({"type": "FeatureCollection", "features": [FEATURE]}, "an entity of its own"),
        ({"type": "Feature", "properties": {}}, "a Feature without a geometry is nowhere"),
        (FEATURE | {"geometry": None}, "a Feature without a geometry is nowhere"),
        (FEATURE | {"geometry": FEATURE}, "type 'Feature' is not one of Point"),
        (FEATURE | {"geometry": {"type": "Point", "coordinates": [529090, 1]}}, "degrees"),
        (FEATURE | {"properties": [1]}, "properties of a Feature are a JSON object"),
        (FEATURE | {"id": {}}, "id of a Feature is a text or a number"),
    ],
)
async def test_what_is_no_one_place_is_refused(place: Json, said: str, centre: Writing) -> None:
    answers = [
        await centre.camden.post("Locations", json=NAMED | {"name": "x", "location": place}),
        await centre.camden.post(
            "FeaturesOfInterest", json=NAMED | {"name": "x", "feature": place}
        ),
    ]
    for answer in answers:
        assert answer.status_code == 400, answer.text
        assert said in answer.json()["message"]


def is_inside(position: list[float]) -> bool:
    """Whether a longitude and latitude are in the geometry."""
    return bool(shape(GEOMETRY).intersects(Point(position)))
