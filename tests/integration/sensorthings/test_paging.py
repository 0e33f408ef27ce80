"""Order, pages, counts and the links between pages, over a database."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import count, pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from api.sensorthings.routes import PREFIX
from storage.database import Connection
from storage.partitions import ensure_partitions
from tests.integration.sensorthings.conftest import Service
from tests.simulators.registry import START, City, Seen, seed_city

HOURS = (-2000, 10, 300)


def number(seen: Seen) -> float | None:
    return float(seen.result) if type(seen.result) in (int, float) else None


def nulls_first(value: Any) -> tuple[bool, Any]:
    return (value is not None, 0 if value is None else value)


def key(seen: Seen) -> tuple[int, Any]:
    return (seen.datastream_id, seen.time)


ORDERS: Mapping[str, Callable[[Seen], Any]] = {
    "id": key,
    "phenomenonTime": lambda seen: seen.time,
    "resultTime asc": lambda seen: seen.time,
    "Datastream/id": lambda seen: seen.datastream_id,
    "Datastream/name": lambda seen: seen.stream,
    "FeatureOfInterest/name": lambda seen: seen.place.name,
    "hour(resultTime)": lambda seen: seen.time.hour,
    "length(Datastream/name)": lambda seen: len(seen.stream),
    "Datastream/Thing/properties/level": lambda seen: seen.stream.startswith("Marylebone"),
    "resultQuality/code": lambda seen: nulls_first(seen.quality or None),
}


@pytest.mark.parametrize("text", ORDERS)
async def test_observations_are_ordered_as_python_would(
    text: str, service: Service, city: City
) -> None:
    expected = sorted(city.observations, key=key)
    expected.sort(key=ORDERS[text])
    assert await service.ids("Observations", orderby=text) == [seen.id for seen in expected]


@pytest.mark.parametrize("text", ORDERS)
async def test_a_descending_order_is_the_other_way_round(
    text: str, service: Service, city: City
) -> None:
    expected = sorted(city.observations, key=key)
    expected.sort(key=ORDERS[text], reverse=True)
    text = f"{text.removesuffix(' asc')} desc"
    assert await service.ids("Observations", orderby=text) == [seen.id for seen in expected]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("top", [1, 2, 3])
async def test_pages_shorter_than_there_are_datastreams_miss_none_of_the_same_time(
    top: int, *, descending: bool, own_service: Service, connection: Connection
) -> None:
    city = await seed_city(connection)
    streams = sorted({seen.datastream_id for seen in city.observations})
    first = max(seen.time for seen in city.observations) + timedelta(hours=1)
    await connection.execute(
        "INSERT INTO observation SELECT stream, %s + (n + stream %% 2) * interval '1 second', n"
        " FROM unnest(%s::int[]) AS stream, generate_series(0, 3) n",
        (first, streams),
    )
    times = [(first + timedelta(seconds=n + one % 2), one) for one in streams for n in range(4)]
    times.sort(key=lambda each: (each[0] if not descending else first - (each[0] - first), each[1]))
    since = (first - timedelta(minutes=1)).isoformat()
    found = await own_service.ids(
        "Observations",
        orderby=f"resultTime {'desc' if descending else 'asc'}",
        filter=f"resultTime gt {since}",
        top=str(top),
        skip="1",
    )
    assert [int(one.partition("-")[0]) for one in found] == [one for _, one in times[1:]]


async def test_keys_of_an_order_count_from_the_first(service: Service, city: City) -> None:
    expected = sorted(city.observations, key=lambda seen: (seen.stream, -seen.time.timestamp()))
    found = await service.ids("Observations", orderby="Datastream/name, phenomenonTime desc")
    assert found == [seen.id for seen in expected]


async def test_numeric_results_are_ordered_as_numbers(service: Service, city: City) -> None:
    found = await service.get(
        "Observations", top="1000", orderby="result", filter="Datastream/id ne 4"
    )
    expected = sorted(float(seen.result) for seen in city.observations if seen.datastream_id != 4)
    assert [seen["result"] for seen in found["value"]] == expected


async def test_nulls_come_first_ascending_and_last_descending(service: Service) -> None:
    up = await service.get("Things", orderby="properties/kind", select="properties")
    down = await service.get("Things", orderby="properties/kind desc", select="properties")
    kinds = [thing["properties"].get("kind") for thing in up["value"]]
    assert kinds == [None, "kerbside", "urban background"]
    assert [thing["properties"].get("kind") for thing in down["value"]] == kinds[::-1]
    streams = await service.ids("Datastreams", orderby="phenomenonTime")
    assert streams[0] == 5
    assert (await service.ids("Datastreams", orderby="phenomenonTime desc"))[-1] == 5


async def test_top_and_skip_cut_a_stable_order(service: Service, city: City) -> None:
    every = [seen.id for seen in city.observations]
    assert await service.ids("Observations", skip="10") == every[10:]
    answer = await service.get("Observations", skip="10", top="5", select="id")
    assert [seen["@iot.id"] for seen in answer["value"]] == every[10:15]
    by_result = await service.ids("Observations", orderby="result desc")
    answer = await service.get("Observations", orderby="result desc", skip="7", top="5")
    assert [seen["@iot.id"] for seen in answer["value"]] == by_result[7:12]
    assert (
        await service.ids("Observations", orderby="result desc", skip="7", top="5")
        == (by_result[7:])
    )


async def test_a_page_without_top_is_of_a_hundred_and_none_is_over_a_thousand(
    own_service: Service, connection: Connection
) -> None:
    city = await seed_city(connection)
    stream = city.datastreams["Marylebone Road laeq"]
    await connection.execute(
        "INSERT INTO observation SELECT %s, %s + n * interval '1 second', n"
        " FROM generate_series(1, 1500) n",
        (stream, START),
    )
    path = f"Datastreams({stream})/Observations"
    assert len((await own_service.get(path))["value"]) == 100
    first = await own_service.get(path, top="5000")
    assert len(first["value"]) == 1000
    second = await own_service.follow(first["@iot.nextLink"])
    results = [seen["result"] for seen in first["value"] + second["value"]]
    assert results == list(range(1, 1501))
    assert "@iot.nextLink" not in second


async def test_the_count_is_of_all_pages_whatever_the_page(service: Service, city: City) -> None:
    options = {"count": "true", "filter": "result gt 20", "top": "3"}
    page = await service.get("Observations", **options)
    assert next(iter(page)) == "@iot.count"
    expected = len([seen for seen in city.observations if (number(seen) or 0) > 20])
    while True:
        assert page["@iot.count"] == expected
        if "@iot.nextLink" not in page:
            break
        page = await service.follow(page["@iot.nextLink"])
    assert "@iot.count" not in await service.get("Observations", count="false")
    assert (await service.get("Things(3)/Datastreams", count="true"))["@iot.count"] == 0


async def test_a_next_link_keeps_every_option_and_is_escaped(service: Service) -> None:
    text = "startswith(name,'Bl') or substringof('Road',name) or name eq 'a&b=c+d'"
    page = await service.get(
        "Things", filter=text, select="name", expand="Datastreams($top=1)", top="1", count="true"
    )
    link = page["@iot.nextLink"]
    assert link.isascii()
    assert " " not in link
    query = parse_qs(urlsplit(link).query)
    assert query["$filter"] == [text]
    assert query["$select"] == ["name"]
    assert query["$expand"] == ["Datastreams($top=1)"]
    assert query["$top"] == ["1"]
    following = await service.follow(link)
    assert [thing["name"] for thing in following["value"]] == ["Marylebone Road"]
    assert "@iot.nextLink" not in following
    inner = page["value"][0]["Datastreams@iot.nextLink"]
    assert (await service.follow(inner))["value"][0]["name"] == "Bloomsbury temp"


async def test_no_next_link_leads_to_an_empty_page(service: Service, city: City) -> None:
    everything = len(city.observations)
    for top in (1, 7, everything - 1, everything, everything + 1):
        page = await service.get("Observations", top=str(top), select="id")
        assert ("@iot.nextLink" in page) == (top < everything)
    for orderby in ("phenomenonTime", "result"):
        page = await service.get("Observations", top=str(everything), orderby=orderby)
        assert "@iot.nextLink" not in page
    assert await service.get("Things", top="0") == {"value": []}
    empty = await service.get("Things", top="0", count="true")
    assert empty == {"@iot.count": 3, "value": []}


@pytest.mark.parametrize(
    "query",
    [
        "Observations?$top=7",
        "Observations?$top=7&$orderby=phenomenonTime",
        "Observations?$top=7&$orderby=phenomenonTime desc",
        "Observations?$top=7&$orderby=resultTime desc",
        "Observations?$top=7&$filter=result ne 1000",
        "Datastreams(1)/Observations?$top=7",
        "Datastreams(1)/Observations?$top=7&$orderby=phenomenonTime desc",
        "FeaturesOfInterest(1)/Observations?$top=7",
    ],
)
async def test_paging_finds_every_row_once_while_rows_are_inserted(
    query: str, own_service: Service, connection: Connection
) -> None:
    city = await seed_city(connection)
    first, last = START - timedelta(hours=2100), START + timedelta(hours=400)
    await ensure_partitions(connection, first, last)
    staying = {
        seen.id
        for seen in city.observations
        if ("Datastreams(1)" not in query or seen.datastream_id == 1)
        and ("Interest(1)" not in query or seen.place.feature_id == 1)
    }
    found: list[str] = []
    page = await own_service.follow(f"{PREFIX}/{query}")
    for number in count():
        found += [seen["@iot.id"] for seen in page["value"]]
        if number < 8:  # before, within and after what is being read; then let it come to an end
            times = [START + timedelta(hours=hours, seconds=number + 1) for hours in HOURS]
            await connection.execute(
                "INSERT INTO observation SELECT d.id, t, 1000"
                " FROM unnest(%s::timestamptz[]) t, datastream d",
                (times,),
            )
        if "@iot.nextLink" not in page:
            break
        page = await own_service.follow(page["@iot.nextLink"])
    assert len(found) == len(set(found))
    assert staying <= set(found)


async def test_every_page_follows_on_the_one_before(service: Service) -> None:
    page = await service.get("Observations", top="9", orderby="phenomenonTime desc")
    times = [seen["resultTime"] for seen in page["value"]]
    while link := page.get("@iot.nextLink"):
        page = await service.follow(link)
        times += [seen["resultTime"] for seen in page["value"]]
    assert all(before >= after for before, after in pairwise(times))
