"""Our own path: sites of the registry and their results, read as NGSI-LD from the database."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.ngsi_ld import answer
from tests.simulators.registry import HOUR, START, City

ROOT = "/ngsi-ld/v1"
AIR = "urn:ngsi-ld:AirQualityObserved:"
ERRORS = "https://uri.etsi.org/ngsi-ld/errors/"
END = START + timedelta(days=3)
ALL_TIME: dict[str, Any] = {
    "timerel": "between",
    "timeAt": "2025-12-01T00:00:00Z",
    "endTimeAt": "2026-04-01T00:00:00Z",
}


def when(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


async def get(client: httpx.AsyncClient, path: str, *, status: int = 200, **given: str) -> Any:
    response = await client.get(f"{ROOT}/{path}", params=given)
    assert response.status_code == status, response.text
    return response.json()


async def site(client: httpx.AsyncClient, city: City, thing: str, model: str) -> str:
    """Return the id of the entity of a site and model, by its name."""
    entities = await get(client, "entities", type=model, q=f'name=="{thing}"')
    assert len(entities) == 1, entities
    return str(entities[0]["id"])


async def test_a_site_has_an_entity_with_its_newest_valid_value(
    city_client: httpx.AsyncClient, city: City
) -> None:
    entity_id = await site(city_client, city, "Bloomsbury", "AirQualityObserved")
    assert entity_id.startswith(f"{AIR}E09000007:")
    found = await get(city_client, f"entities/{entity_id}")
    newest = city.of("Bloomsbury no2")[-1]
    assert found["no2"]["value"] == pytest.approx(newest.result)
    assert found["no2"]["unitCode"] == "GQ"
    assert when(found["no2"]["observedAt"]) == newest.time
    assert found["location"]["value"]["coordinates"] == [
        newest.place.longitude,
        newest.place.latitude,
    ]


async def test_what_awaits_approval_is_not_there(city_client: httpx.AsyncClient) -> None:
    assert await get(city_client, "entities", local="true", q='name=="Secret"') == []


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"type": "AirQualityObserved"}, {"Bloomsbury", "Marylebone Road"}),
        ({"type": "NoiseLevelObserved"}, set()),
        ({"type": "AirQualityObserved,ParkingSpot"}, {"Bloomsbury", "Marylebone Road"}),
        ({"type": "AirQualityObserved", "q": "no2>60"}, {"Bloomsbury"}),
        ({"type": "AirQualityObserved", "idPattern": "E09000033"}, {"Marylebone Road"}),
        ({"attrs": "temperature"}, {"Bloomsbury"}),
        ({"q": "no2>60"}, {"Bloomsbury"}),
        ({"q": 'no2;name=="Bloomsbury"'}, {"Bloomsbury"}),
        ({"q": "(no2>60|no2<60);no2.observedAt"}, {"Bloomsbury", "Marylebone Road"}),
        ({"q": 'status=="free"|no2>60'}, {"Bloomsbury", "Marylebone Road"}),
        ({"q": "temperature", "attrs": "no2"}, set()),
        (
            {
                "type": "AirQualityObserved",
                "georel": "near;maxDistance==500",
                "geometry": "Point",
                "coordinates": "[-0.1546,51.5225]",
            },
            {"Marylebone Road"},
        ),
    ],
)
async def test_queries(
    given: dict[str, Any], names: set[str], city_client: httpx.AsyncClient
) -> None:
    found = await get(city_client, "entities", **given)
    ids = [one["id"] for one in found]
    assert ids == sorted(ids)
    shown = set()
    for one in found:
        whole = await get(city_client, f"entities/{one['id']}", options="keyValues")
        shown.add(whole["name"])
    assert shown == names


async def test_a_council_is_a_tenant(city_client: httpx.AsyncClient) -> None:
    url = f"{ROOT}/entities"
    given: dict[str, Any] = {"type": "AirQualityObserved", "count": "true"}
    response = await city_client.get(url, params=given, headers={"NGSILD-Tenant": "camden"})
    assert response.headers["ngsild-results-count"] == "1"
    assert response.headers["ngsild-tenant"] == "camden"
    refused = await city_client.get(url, params=given, headers={"NGSILD-Tenant": "atlantis"})
    assert refused.status_code == 404
    assert refused.json()["type"] == f"{ERRORS}NonexistentTenant"


async def test_history_is_that_of_valid_results(city_client: httpx.AsyncClient, city: City) -> None:
    entity_id = await site(city_client, city, "Bloomsbury", "AirQualityObserved")
    found = await get(
        city_client, f"temporal/entities/{entity_id}", options="temporalValues", attrs="no2"
    )
    wanted = [
        (seen.time, seen.result) for seen in city.of("Bloomsbury no2") if not seen.quality & 1
    ]
    assert [(when(time), value) for value, time in found["no2"]["values"]] == [
        (time, pytest.approx(value)) for time, value in wanted
    ]
    last = await get(
        city_client, f"temporal/entities/{entity_id}", attrs="no2", lastN="3", options="concise"
    )
    assert [one["value"] for one in last["no2"]] == [
        pytest.approx(value) for _, value in wanted[-3:]
    ]


async def test_the_place_of_a_history_is_where_the_site_was(
    city_client: httpx.AsyncClient, city: City
) -> None:
    entity_id = await site(city_client, city, "Bloomsbury", "AirQualityObserved")
    found = await get(city_client, f"temporal/entities/{entity_id}", attrs="location")
    positions = [one["value"]["coordinates"] for one in found["location"]]
    places = [city.places[name] for name in ("Gordon Square", "Bloomsbury")]
    assert positions == [[place.longitude, place.latitude] for place in places]


async def test_histories_of_those_that_have_one(city_client: httpx.AsyncClient, city: City) -> None:
    last = city.of("Marylebone Road no2")[-1].time
    given: dict[str, Any] = {"type": "AirQualityObserved", "attrs": "no2", "timerel": "after"}
    both = await get(city_client, "temporal/entities", **given, timeAt="2026-03-01T00:00:00Z")
    assert len(both) == 2
    later = last.isoformat().replace("+00:00", "Z")
    [one] = await get(city_client, "temporal/entities", **given, timeAt=later)
    assert one["id"].startswith(f"{AIR}E09000007:")
    high = await get(city_client, "temporal/entities", **given, timeAt=later, q="no2>1000")
    assert high == []


@pytest.mark.parametrize("hours", [1, 3, 24])
async def test_aggregates_are_those_of_the_values(
    hours: int, city_client: httpx.AsyncClient, city: City
) -> None:
    entity_id = await site(city_client, city, "Marylebone Road", "AirQualityObserved")
    methods = "avg,min,max,sum,sumsq,stddev,distinctCount,totalCount"
    found = await get(
        city_client,
        f"temporal/entities/{entity_id}",
        attrs="no2",
        options="aggregatedValues",
        aggrMethods=methods,
        aggrPeriodDuration=f"PT{hours}H",
        timerel="after",
        timeAt=START.isoformat().replace("+00:00", "Z"),
    )
    wanted: dict[datetime, list[float]] = {}
    for seen in city.of("Marylebone Road no2"):
        number = (seen.time - START) // (HOUR * hours)
        wanted.setdefault(START + HOUR * hours * number, []).append(float(seen.result))
    series = found["no2"]
    for start, values in wanted.items():
        mean = math.fsum(values) / len(values)
        expected = {
            "avg": mean,
            "min": min(values),
            "max": max(values),
            "sum": math.fsum(values),
            "sumsq": math.fsum(one * one for one in values),
            "stddev": math.sqrt(math.fsum((one - mean) ** 2 for one in values) / len(values)),
            "distinctCount": len(set(values)),
            "totalCount": len(values),
        }
        for method, value in expected.items():
            [row] = [one for one in series[method] if when(one[1]) == start]
            assert row[0] == pytest.approx(value, abs=1e-9), (method, start)
            assert when(row[2]) == start + HOUR * hours
    assert {len(series[method]) for method in methods.split(",")} == {len(wanted)}


@pytest.mark.parametrize("period", ["PT0S", "P1M", "P1Y"])
async def test_the_whole_time_and_calendar_periods(
    period: str, city_client: httpx.AsyncClient, city: City
) -> None:
    entity_id = await site(city_client, city, "Marylebone Road", "AirQualityObserved")
    found = await get(
        city_client,
        f"temporal/entities/{entity_id}",
        attrs="no2",
        options="aggregatedValues",
        aggrMethods="avg,totalCount",
        aggrPeriodDuration=period,
        timerel="between",
        timeAt="2026-01-31T00:00:00Z",
        endTimeAt="2026-04-01T00:00:00Z",
    )
    values = [float(seen.result) for seen in city.of("Marylebone Road no2")]
    [(mean, start, end)] = found["no2"]["avg"]
    assert mean == pytest.approx(sum(values) / len(values))
    bounds = {
        "PT0S": ("2026-01-31T00:00:00Z", "2026-04-01T00:00:00Z"),
        "P1M": ("2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"),
        "P1Y": ("2026-01-31T00:00:00Z", "2027-01-31T00:00:00Z"),
    }
    assert (start, end) == bounds[period]


async def test_when_readings_arrived_is_not_kept(
    city_client: httpx.AsyncClient, city: City
) -> None:
    entity_id = await site(city_client, city, "Bloomsbury", "AirQualityObserved")
    given: dict[str, Any] = {**ALL_TIME, "timeproperty": "createdAt"}
    body = await get(city_client, f"temporal/entities/{entity_id}", status=422, **given)
    assert body["type"] == f"{ERRORS}OperationNotSupported"


async def test_types_and_attributes(city_client: httpx.AsyncClient) -> None:
    types = (await get(city_client, "types"))["typeList"]
    assert {"AirQualityObserved", "WeatherObserved", "Device"} <= set(types)
    air = await get(city_client, "types/AirQualityObserved")
    assert air["entityCount"] == 2
    assert {"no2", "location", "refDevice"} <= {
        one["attributeName"] for one in air["attributeDetails"]
    }
    no2 = await get(city_client, "attributes/no2")
    assert no2["typeNames"] == ["AirQualityObserved"]


async def test_contexts_are_served_here_and_no_other_is_fetched(
    city_client: httpx.AsyncClient,
) -> None:
    urls = await get(city_client, "jsonldContexts")
    for url in urls:
        document = await city_client.get(url)
        assert document.headers["content-type"] == "application/ld+json"
        assert document.json()["@context"]
    response = await city_client.get(f"{ROOT}/entities", params={"type": "AirQualityObserved"})
    assert response.links["http://www.w3.org/ns/json-ld#context"]["url"] in urls
    link = '<{}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
    foreign = await city_client.get(
        f"{ROOT}/entities",
        params={"type": "AirQualityObserved"},
        headers={"Link": link.format("https://example.org/context.jsonld")},
    )
    assert foreign.status_code == 503
    assert foreign.json()["type"] == f"{ERRORS}LdContextNotAvailable"
    published = "https://smart-data-models.github.io/dataModel.Environment/context.jsonld"
    named = await city_client.get(
        f"{ROOT}/entities",
        params={"type": "AirQualityObserved"},
        headers={"Link": link.format(published)},
    )
    assert [one["type"] for one in named.json()] == ["AirQualityObserved"] * 2


async def test_other_media_types_methods_and_resources(city_client: httpx.AsyncClient) -> None:
    url = f"{ROOT}/entities?type=AirQualityObserved"
    assert (await city_client.get(url, headers={"Accept": "text/turtle"})).status_code == 406
    options = await city_client.options(url)
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    head = await city_client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        refused = await city_client.request(method, url, json={})
        assert refused.status_code == 405
        assert refused.json()["type"] == f"{ERRORS}OperationNotSupported"
    assert (await city_client.post(f"{ROOT}/subscriptions", json={})).status_code == 501
    assert (await city_client.get(f"{ROOT}/nowhere")).status_code == 404
    unknown = await city_client.get(f"{url}&tipe=x")
    assert unknown.json()["type"] == f"{ERRORS}InvalidRequest"
    large = await city_client.get(f"{url}&limit=1001")
    assert (large.status_code, large.json()["type"]) == (403, f"{ERRORS}TooManyResults")


async def test_a_query_may_be_posted(city_client: httpx.AsyncClient) -> None:
    body = {
        "type": "Query",
        "entities": [{"type": "AirQualityObserved", "idPattern": "E09000007"}],
        "attrs": ["no2"],
        "q": "no2>0",
        "geoQ": {
            "georel": "near;maxDistance==2000",
            "geometry": "Point",
            "coordinates": [-0.1258, 51.5222],
        },
    }
    url = f"{ROOT}/entityOperations/query?options=keyValues"
    response = await city_client.post(url, json=body)
    assert response.status_code == 200, response.text
    [found] = response.json()
    assert set(found) == {"id", "type", "no2"}
    text = await city_client.post(url, content="x", headers={"Content-Type": "text/plain"})
    assert text.status_code == 415


async def test_histories_together_are_bounded(
    city_client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {**ALL_TIME, "type": "AirQualityObserved"}
    assert await get(city_client, "temporal/entities", **asked)
    monkeypatch.setattr(answer, "MOST_INSTANCES_TOGETHER", 20)
    refused = await get(city_client, "temporal/entities", **asked, status=403)
    assert refused["type"] == f"{ERRORS}TooComplexQuery"
    assert "lastN" in refused["detail"]
    assert await get(city_client, "temporal/entities", **asked, attrs="no2", lastN="1")
