"""Creating, changing and deleting what is kept by hand (OGC 18-088, clause 10)."""

import pytest

from standards_mapping.sensorthings.drafted_values import DEEPEST_JSON, LARGEST_JSON_BYTES
from tests.integration.sensorthings.writing import (
    ROOT,
    SENSOR,
    Json,
    Writing,
    datastream_body,
    location_body,
    thing_body,
)


async def test_every_entity_type_is_created_and_read_back(centre: Writing) -> None:
    location = await centre.create("Locations", location_body())
    thing = await centre.create(
        "Things",
        {"name": "Post", "description": "-", "Locations": [{"@iot.id": location["@iot.id"]}]},
    )
    moment = await centre.create(
        "HistoricalLocations",
        {"time": "2026-01-01T00:00:00Z", "Locations": [{"@iot.id": location["@iot.id"]}]},
        Thing=thing["@iot.id"],
    )
    sensor = await centre.create("Sensors", SENSOR)
    stream = await centre.create(
        "Datastreams",
        datastream_body(),
        Thing=thing["@iot.id"],
        Sensor=sensor["@iot.id"],
        ObservedProperty=centre.city.properties["no2"],
    )
    feature = await centre.create(
        "FeaturesOfInterest",
        {
            "name": "Street air",
            "description": "Air",
            "encodingType": "application/vnd.geo+json",
            "feature": {"type": "Point", "coordinates": [-0.1, 51.5]},
        },
    )
    assert moment["time"] == "2026-01-01T00:00:00Z"
    assert thing["properties"]["council"] == "E09000007"
    assert stream["unitOfMeasurement"]["symbol"] == "ug/m3"
    for entity in (thing, location, moment, sensor, stream, feature):
        assert await centre.get(entity["@iot.selfLink"]) == entity
    seen = await centre.create(
        "Observations",
        {"result": 41.5, "phenomenonTime": "2026-01-02T00:00:00Z/2026-01-30T00:00:00Z"},
        Datastream=stream["@iot.id"],
    )
    assert seen["result"] == 41.5
    assert seen["phenomenonTime"] == "2026-01-02T00:00:00Z/2026-01-30T00:00:00Z"
    about = await centre.get(seen["FeatureOfInterest@iot.navigationLink"])
    assert about["name"] == "Lamp post 7"
    made = await centre.region.post(
        "ObservedProperties",
        json={"name": "Litter", "definition": "https://example.org/litter", "description": "-"},
    )
    assert made.status_code == 201
    assert made.json()["properties"]["key"].startswith("own-")


async def test_a_deep_insert_makes_all_of_it_or_nothing(centre: Writing) -> None:
    body = thing_body("Deep") | {
        "Datastreams": [
            datastream_body()
            | {
                "Sensor": SENSOR,
                "ObservedProperty": {"@iot.id": centre.city.properties["no2"]},
                "Observations": [
                    {"result": 10, "phenomenonTime": "2026-02-01T00:00:00Z"},
                    {"result": 12, "phenomenonTime": "2026-02-02T00:00:00Z"},
                ],
            }
        ]
    }
    thing = await centre.create("Things", body)
    found = await centre.get(
        f"Things({thing['@iot.id']})?$expand=Locations,HistoricalLocations,"
        "Datastreams($expand=Sensor,Observations($expand=FeatureOfInterest))"
    )
    assert [place["name"] for place in found["Locations"]] == ["Lamp post 7"]
    assert len(found["HistoricalLocations"]) == 1
    (stream,) = found["Datastreams"]
    assert [one["result"] for one in stream["Observations"]] == [10, 12]
    assert {one["FeatureOfInterest"]["name"] for one in stream["Observations"]} == {"Lamp post 7"}

    before = await centre.rows("SELECT (SELECT count(*) FROM thing), (SELECT count(*) FROM sensor)")
    body["Datastreams"][0]["Observations"][1]["result"] = "much"
    refused = await centre.camden.post("Things", json=body)
    assert refused.status_code == 400
    assert "takes numbers" in refused.json()["message"]
    after = await centre.rows("SELECT (SELECT count(*) FROM thing), (SELECT count(*) FROM sensor)")
    assert after == before


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("Things", {"name": "x"}, 400, "needs 'description'"),
        ("Things", {"name": "x", "description": 3}, 400, "is not a text"),
        ("Things", {"name": "x", "description": "y", "colour": "red"}, 400, "'colour'"),
        ("Things", [], 400, "must be a JSON object"),
        ("Datastreams", datastream_body(), 400, "needs 'Thing', 'Sensor', 'ObservedProperty'"),
        ("Observations", {"result": 1, "Datastream": {"@iot.id": 9999}}, 400, "9999"),
        ("Locations", location_body() | {"location": {"type": "Point"}}, 400, "coordinates"),
        ("Locations", location_body(longitude=529090), 400, "degrees"),
        ("Locations", location_body() | {"encodingType": "text/plain"}, 400, "geo+json"),
        ("Things(9999)/Datastreams", datastream_body(), 404, "no such Thing"),
        ("Nothings", {}, 404, "no entity set"),
        ("Things/name", {}, 404, "needs one entity"),
    ],
)
async def test_what_is_wrong_with_a_body_is_said(
    centre: Writing, path: str, body: object, status: int, said: str
) -> None:
    answer = await centre.camden.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"code", "type", "message"}
    assert said in answer.json()["message"]


async def test_only_json_of_a_bounded_size_is_read(centre: Writing) -> None:
    assert (await centre.camden.post("Things", content=b"{")).status_code == 400
    form = await centre.camden.post("Things", data={"name": "x"})
    assert form.status_code == 415
    large = await centre.camden.post("Things", content=b" " * (16 << 20) + b"{}")
    assert large.status_code == 413


async def test_properties_are_bounded_and_what_is_kept_can_be_read(centre: Writing) -> None:
    deep: Json = {}
    for _ in range(DEEPEST_JSON - 1):
        deep = {"a": deep}
    largest = {"a": "x" * (LARGEST_JSON_BYTES - len('{"a":""}'))}
    thing, stream = await centre.survey("Bounded")
    url = f"Things({thing})"
    for kept, more, said in (
        (deep, {"a": deep}, "nested deeper than 32"),
        (largest, {"a": largest["a"] + "x"}, "65,537 bytes of JSON, limit 65,536"),
    ):
        answer = await centre.camden.patch(url, json={"properties": kept})
        assert answer.status_code == 200, answer.text
        refused = [
            await centre.camden.patch(url, json={"properties": more}),
            await centre.camden.post("Things", json=thing_body() | {"properties": more}),
        ]
        for answer in refused:
            assert answer.status_code == 400
            assert f"properties of Thing: {said}" in answer.json()["message"]
        page = await centre.get(
            f"Datastreams({stream})?$expand=Thing($expand=Datastreams($expand=Thing))"
        )
        found = page["Thing"]["Datastreams"][0]["Thing"]["properties"]
        assert found == kept | {name: found[name] for name in ("urn", "council")}


async def test_numbers_in_json_come_back_as_they_were_sent(centre: Writing) -> None:
    numbers = [1e22, -1e300, 1.5e-300, 2**64 - 1, -(2**63), 1.0, 0.1, 18446744073709551616.0]
    thing, stream = await centre.survey("Numbers")
    url = f"Things({thing})"
    answer = await centre.camden.patch(url, json={"properties": {"numbers": numbers}})
    assert answer.status_code == 200, answer.text
    assert (await centre.get(url))["properties"]["numbers"] == numbers
    array = {
        "Datastream": {"@iot.id": stream},
        "components": ["phenomenonTime", "result", "parameters"],
        "dataArray": [["2024-01-01T00:00:00Z", 1, {"numbers": numbers}]],
    }
    answer = await centre.camden.post("CreateObservations", json=[array])
    assert answer.status_code == 201, answer.text
    page = await centre.get(f"Datastreams({stream})/Observations")
    assert [one["parameters"] for one in page["value"]] == [{"numbers": numbers}]


async def test_who_may_write_is_told(centre: Writing) -> None:
    body = {"name": "x", "description": "y"}
    nobody = await centre.anybody.post("Things", json=body)
    assert nobody.status_code == 401
    assert nobody.headers["www-authenticate"].startswith("Bearer")
    thing, _ = await centre.survey()
    for method, content in (("PATCH", {"name": "theirs"}), ("DELETE", None)):
        other = await centre.westminster.request(method, f"Things({thing})", json=content)
        assert other.status_code == 403, other.text
    several = await centre.region.post("Things", json=body)
    assert several.status_code == 400
    assert "properties/council" in several.json()["message"]
    told = await centre.region.post("Things", json=body | {"properties": {"council": "E09000033"}})
    assert told.json()["properties"]["council"] == "E09000033"
    shared = await centre.camden.post(
        "ObservedProperties",
        json={"name": "x", "definition": "https://example.org/x", "description": "y"},
    )
    assert shared.status_code == 403


async def test_patch_put_and_json_patch_change_an_entity(centre: Writing) -> None:
    thing, _ = await centre.survey("Changing")
    url = f"Things({thing})"
    patched = await centre.camden.patch(url, json={"@iot.id": 77, "name": "Patched"})
    assert patched.status_code == 200
    assert (await centre.get(url))["name"] == "Patched"
    assert (await centre.get(url))["properties"]["tube"] == 7
    replaced = await centre.camden.put(url, json={"name": "Put", "description": "again"})
    assert replaced.status_code == 200
    assert "tube" not in (await centre.get(url))["properties"]
    assert (await centre.camden.put(url, json={"name": "Put"})).status_code == 400
    assert (await centre.camden.patch(url, json={"name": None})).status_code == 400
    inline = await centre.camden.patch(url, json={"Locations": [location_body()]})
    assert inline.status_code == 400

    headers = {"Content-Type": "application/json-patch+json"}
    steps = [
        {"op": "test", "path": "/name", "value": "Put"},
        {"op": "add", "path": "/properties/height", "value": 2.5},
        {"op": "replace", "path": "/description", "value": "by steps"},
    ]
    answer = await centre.camden.patch(url, json=steps, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["properties"]["height"] == 2.5
    for bad, status in (
        ([{"op": "test", "path": "/name", "value": "Other"}], 409),
        ([{"op": "remove", "path": "/properties/none"}], 409),
        ([{"op": "remove", "path": "/name"}], 400),
        ([{"op": "jump", "path": "/name"}], 400),
        ({"op": "add"}, 400),
    ):
        answer = await centre.camden.patch(url, json=bad, headers=headers)
        assert answer.status_code == status, answer.text
    assert (await centre.get(url))["description"] == "by steps"


async def test_a_thing_that_moves_keeps_where_it_was(centre: Writing) -> None:
    thing, stream = await centre.survey("Moving")
    earlier = await centre.create(
        f"Datastreams({stream})/Observations",
        {"result": 1, "phenomenonTime": "2026-01-01T00:00:00Z"},
    )
    place = await centre.create("Locations", location_body("Lamp post 8", -0.13))
    moved = await centre.camden.patch(
        f"Things({thing})", json={"Locations": [{"@iot.id": place["@iot.id"]}]}
    )
    assert moved.status_code == 200, moved.text
    later = await centre.create(
        f"Datastreams({stream})/Observations",
        {"result": 2, "phenomenonTime": "2030-01-01T00:00:00Z"},
    )
    history = await centre.get(f"Things({thing})/HistoricalLocations?$expand=Locations")
    assert [one["Locations"][0]["name"] for one in history["value"]] == [
        "Lamp post 7",
        "Lamp post 8",
    ]
    for seen, name in ((earlier, "Lamp post 7"), (later, "Lamp post 8")):
        about = await centre.get(seen["FeatureOfInterest@iot.navigationLink"])
        assert about["name"] == name


async def test_history_is_told_by_hand_and_its_newest_says_where_a_thing_is(
    centre: Writing,
) -> None:
    thing, _ = await centre.survey("History")
    url = f"Things({thing})/HistoricalLocations"
    for year, name in ((2020, "Earlier post"), (2090, "Later post")):
        await centre.create(
            url, {"time": f"{year}-01-01T00:00:00Z", "Locations": [location_body(name)]}
        )
    found = await centre.get(f"Things({thing})/Locations")
    assert [place["name"] for place in found["value"]] == ["Later post"]
    assert (await centre.get(f"{url}?$count=true"))["@iot.count"] == 3


async def test_deleting_takes_along_what_the_standard_says(centre: Writing) -> None:
    thing, stream = await centre.survey("Leaving")
    seen = await centre.create(f"Datastreams({stream})/Observations", {"result": 3})
    sensor = (await centre.get(f"Datastreams({stream})/Sensor"))["@iot.id"]
    refused = await centre.camden.delete("Things")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, HEAD, POST"
    assert (await centre.camden.delete("Observations?$filter=result gt 0")).status_code == 405
    assert (await centre.camden.delete(f"Things({thing})")).status_code == 200
    for gone in (f"Things({thing})", f"Datastreams({stream})", seen["@iot.selfLink"]):
        assert (await centre.camden.get(gone)).status_code == 404
    assert (await centre.camden.delete(f"Things({thing})")).status_code == 404
    assert (await centre.get(f"Sensors({sensor})"))["name"] == "Diffusion tube"
    for table in ("observation", "latest", "rollup_log", "observation_extra"):
        assert not await centre.rows(f"SELECT FROM {table} WHERE datastream_id = %s", stream)
    acts = await centre.rows(
        "SELECT actor, tenant, detail FROM audit_entry WHERE action = 'sensorthings.delete'"
        " AND subject = %s",
        f"Things({thing})",
    )
    assert len(acts) == 1
    assert "camden" in acts[0][0]
    assert acts[0][1:] == ("camden", {"datastreams": 1, "observations": 1})


async def test_what_a_gateway_describes_is_its_own(centre: Writing) -> None:
    city = centre.city
    for url in (
        f"Things({city.things['Bloomsbury']})",
        f"Sensors({city.sensors['NOx analyser']})",
        f"Datastreams({city.datastreams['Bloomsbury no2']})",
        f"Locations({city.places['Bloomsbury'].location_id})",
        f"FeaturesOfInterest({city.places['Bloomsbury'].feature_id})",
        f"HistoricalLocations({city.moves['Bloomsbury'][0]})",
    ):
        before = await centre.get(url)
        change = {"time": "2026-01-01T00:00:00Z"} if "Historical" in url else {"description": "no"}
        for answer in (
            await centre.camden.patch(url, json=change),
            await centre.camden.delete(url),
        ):
            assert answer.status_code == 409, answer.text
            assert "gateway camden-gateway" in answer.json()["message"]
        assert await centre.get(url) == before
    registry = await centre.region.patch(
        f"ObservedProperties({city.properties['no2']})", json={"name": "x"}
    )
    assert registry.status_code == 409


async def test_observations_need_something_that_they_are_about(centre: Writing) -> None:
    thing = await centre.create("Things", {"name": "Nowhere", "description": "-"})
    sensor = await centre.create("Sensors", SENSOR)
    stream = await centre.create(
        f"Things({thing['@iot.id']})/Datastreams",
        datastream_body(),
        Sensor=sensor["@iot.id"],
        ObservedProperty=centre.city.properties["no2"],
    )
    url = f"Datastreams({stream['@iot.id']})/Observations"
    refused = await centre.camden.post(url, json={"result": 1})
    assert refused.status_code == 400
    assert "no Location" in refused.json()["message"]
    feature = {
        "name": "Air",
        "description": "-",
        "encodingType": "application/geo+json",
        "feature": {"type": "Point", "coordinates": [-0.1, 51.5]},
    }
    seen = await centre.create(url, {"result": 1, "FeatureOfInterest": feature})
    assert (await centre.get(f"{seen['@iot.selfLink']}/FeatureOfInterest"))["name"] == "Air"
    assert seen["@iot.selfLink"].startswith(ROOT)


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
async def test_nothing_is_written_over_what_has_changed_since_it_was_read(
    centre: Writing, method: str
) -> None:
    thing = await centre.create("Things", thing_body("As it was read"))
    path = f"Things({thing['@iot.id']})"
    etag = (await centre.camden.get(path)).headers["etag"]
    await centre.camden.patch(path, json={"description": "Changed in between"})
    body = {"name": "Mine", "description": "Mine"}
    for told in (etag, etag.removeprefix("W/"), f'"another", {etag}'):
        refused = await centre.camden.request(method, path, json=body, headers={"If-Match": told})
        assert refused.status_code == 412, refused.text
        assert refused.json()["code"] == 412
    kept = await centre.get(path)
    assert (kept["name"], kept["description"]) == ("As it was read", "Changed in between")
    done = await centre.camden.request(method, path, json=body, headers={"If-Match": "*"})
    assert done.status_code == 200, done.text


async def test_whoever_may_not_write_is_told_that_first(centre: Writing) -> None:
    thing = await centre.create("Things", thing_body("Kept"))
    path = f"Things({thing['@iot.id']})"
    answer = await centre.anybody.patch(path, json={"name": "x"}, headers={"If-Match": '"a"'})
    assert answer.status_code == 401
