"""Data arrays (OGC 18-088, clause 12.2), and the forms beside them: CSV and GeoJSON."""

import csv
import io
import itertools
from typing import Any

import pytest

from api.sensorthings.routes import PREFIX
from tests.conformance.air import Air
from tests.integration.sensorthings.conftest import Service

ROOT = f"http://city.test{PREFIX}"
COMPONENTS = ["id", "phenomenonTime", "result", "resultTime"]


async def test_a_data_array_has_a_group_for_each_datastream(service: Service, air: Air) -> None:
    select = ",".join(COMPONENTS)
    plain = await service.get("Observations", select=select, top="1000", filter="result gt 60")
    options = {"select": select, "top": "1000", "filter": "result gt 60", "count": "true"}
    answer = await service.get("Observations", resultFormat="dataArray", **options)
    loud = [seen for seen in air.observations if seen.result > 60]
    assert answer["@iot.count"] == len(loud)
    by_stream = {
        key: list(group) for key, group in itertools.groupby(loud, lambda seen: seen.stream.id)
    }
    rows = iter(plain["value"])
    assert len(answer["value"]) == len(by_stream)
    for group, (stream, seen) in zip(answer["value"], by_stream.items(), strict=True):
        assert group["Datastream@iot.navigationLink"] == f"{ROOT}/Datastreams({stream})"
        assert group["components"] == COMPONENTS
        assert group["dataArray@iot.count"] == len(seen)
        told = [next(rows) for _ in seen]
        names = ["@iot.id", *COMPONENTS[1:]]
        assert group["dataArray"] == [[one[name] for name in names] for one in told]


@pytest.mark.parametrize("option", ["$resultFormat=dataArray", "resultFormat=dataarray"])
async def test_data_arrays_are_paged_without_loss(option: str, service: Service, air: Air) -> None:
    stream = air.stream("Bloomsbury", "pm10")
    url = f"{ROOT}/Datastreams({stream.id})/Observations?{option}&$top=50&$select=result"
    found: list[list[Any]] = []
    pages = 0
    while url:
        answer = await service.follow(url)
        (group,) = answer["value"]
        assert group["components"] == ["result"]
        found += group["dataArray"]
        pages += 1
        url = answer.get("@iot.nextLink")
    assert found == [[seen.result] for seen in air.of(stream)]
    assert pages == -(-len(found) // 50)


async def test_a_data_array_tells_every_property_unless_some_are_selected(
    service: Service, air: Air
) -> None:
    answer = await service.get("Observations", resultFormat="dataArray", filter="result gt 150")
    (flagged,) = {seen.quality for seen in air.observations if seen.result > 150}
    for group in answer["value"]:
        assert set(COMPONENTS) < set(group["components"])
        at = group["components"].index("resultQuality")
        assert all(row[at]["code"] == flagged for row in group["dataArray"])
        assert {len(row) for row in group["dataArray"]} == {len(group["components"])}


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("Things", {"resultFormat": "dataArray"}),
        ("Observations", {"resultFormat": "dataArray", "expand": "Datastream"}),
        ("Observations", {"resultFormat": "dataArray", "select": "Datastream"}),
        ("Observations/$ref", {"resultFormat": "dataArray"}),
        ("Things(1)", {"resultFormat": "CSV"}),
        ("Things", {"resultFormat": "CSV", "expand": "Datastreams"}),
        ("Things", {"expand": "Datastreams($resultFormat=CSV)"}),
        ("Sensors", {"resultFormat": "GeoJSON"}),
    ],
)
async def test_a_form_without_room_for_what_is_asked_is_refused(
    path: str, options: dict[str, str], service: Service
) -> None:
    assert "$resultFormat" in await service.refused(400, path, **options)


async def test_csv_has_a_row_for_each_observation(service: Service, air: Air) -> None:
    response = await service.ask(
        "Observations",
        resultFormat="CSV",
        filter="result gt 60",
        top="10",
        count="true",
        select="phenomenonTime,result",
        expand="Datastream($select=name,unitOfMeasurement)",
    )
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    loud = [seen for seen in air.observations if seen.result > 60]
    assert response.headers["x-total-count"] == str(len(loud))
    assert response.links["next"]["url"].startswith(f"{ROOT}/Observations?")
    header, *rows = csv.reader(io.StringIO(response.text))
    assert header == [
        *("phenomenonTimeStart", "phenomenonTimeEnd", "result", "Datastream/name"),
        *(f"Datastream/unitOfMeasurement/{name}" for name in ("name", "symbol", "definition")),
    ]
    assert rows == [
        [
            *(time.isoformat().replace("+00:00", "Z") for time in (seen.started, seen.time)),
            *(str(seen.result), seen.stream.name),
            *(seen.stream.unit[name] for name in ("name", "symbol", "definition")),
        ]
        for seen in loud[:10]
    ]


@pytest.mark.parametrize(
    "name", ["Things", "Locations", "Datastreams", "Sensors", "FeaturesOfInterest"]
)
async def test_csv_of_any_set_has_the_same_columns_in_every_row(
    name: str, service: Service
) -> None:
    response = await service.ask(name, resultFormat="CSV")
    header, *rows = csv.reader(io.StringIO(response.text))
    assert header[:3] == ["id", "name", "description"]
    assert {len(row) for row in rows} == {len(header)}
    assert len(rows) == len((await service.get(name))["value"])


async def test_geojson_has_the_place_of_each_entity(service: Service, air: Air) -> None:
    sites = {site.name: site for site in air.sites}
    for path, prefix in (("Things", ""), ("Locations", "Place of "), ("Datastreams", None)):
        response = await service.ask(path, resultFormat="GeoJSON")
        assert response.headers["content-type"] == "application/geo+json"
        answer = response.json()
        assert answer["type"] == "FeatureCollection"
        plain = (await service.get(path))["value"]
        assert [one["id"] for one in answer["features"]] == [one["@iot.id"] for one in plain]
        for feature in answer["features"]:
            name = feature["properties"]["name"]
            site = (
                sites[name.removeprefix(prefix)]
                if prefix is not None
                else next(site for site in air.sites if name.startswith(site.name))
            )
            place = [site.longitude, site.latitude]
            assert feature["geometry"] == {"type": "Point", "coordinates": place}
            assert "location" not in feature["properties"]
            assert "Locations" not in feature["properties"]


async def test_geojson_of_observations_is_paged(service: Service, air: Air) -> None:
    loud = [seen for seen in air.observations if seen.result > 100]
    options = {"filter": "result gt 100", "top": "7", "select": "id,result", "count": "true"}
    answer = (await service.ask("Observations", resultFormat="GeoJSON", **options)).json()
    assert answer["@iot.count"] == len(loud)
    features = list(answer["features"])
    while link := answer.get("@iot.nextLink"):
        answer = (await service.client.get(link)).json()
        features += answer["features"]
    assert features == [
        {
            "type": "Feature",
            "id": seen.id,
            "geometry": {
                "type": "Point",
                "coordinates": [seen.site.longitude, seen.site.latitude],
            },
            "properties": {"result": seen.result},
        }
        for seen in loud
    ]
