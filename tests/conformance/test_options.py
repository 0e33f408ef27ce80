"""The query options (OGC 18-088, clause 9.3), over real air: what they choose, sort, cut, count."""

from typing import Any

import pytest

from standards_mapping.sensorthings.model import ENTITY_TYPES, EntityType
from tests.conformance.air import Air
from tests.integration.sensorthings.conftest import Service

TYPES = list(ENTITY_TYPES.values())


def names_of(entity: Any) -> set[str]:
    return {name.removesuffix("@iot.navigationLink") for name in entity}


async def test_options_are_evaluated_in_the_order_of_the_standard(
    service: Service, air: Air
) -> None:
    """First $filter, then $count, $orderby, $skip, $top; then $expand and $select."""
    wanted = sorted(
        (seen for seen in air.observations if seen.stream.key == "no2" and seen.result > 60),
        key=lambda seen: (-seen.result, seen.stream.id, seen.time),
    )
    answer = await service.get(
        "Observations",
        select="result",
        expand="Datastream($select=name)",
        top="5",
        skip="3",
        orderby="result desc",
        count="true",
        filter="result gt 60 and Datastream/ObservedProperty/properties/key eq 'no2'",
    )
    assert answer["@iot.count"] == len(wanted)
    assert next(iter(answer)) == "@iot.count"
    assert answer["value"] == [
        {"result": seen.result, "Datastream": {"name": seen.stream.name}} for seen in wanted[3:8]
    ]


@pytest.mark.parametrize("entity_type", TYPES, ids=lambda one: one.name)
async def test_every_link_is_expanded(entity_type: EntityType, service: Service) -> None:
    for name, navigation in entity_type.navigations.items():
        text = f"{name}($top=3)" if navigation.many else name
        answer = await service.get(entity_type.set_name, expand=text, top="3")
        assert answer["value"]
        for entity in answer["value"]:
            link = entity["@iot.selfLink"].partition("/v1.1/")[2] + f"/{name}"
            alone = await service.get(link, **({"top": "3"} if navigation.many else {}))
            assert entity[name] == (alone["value"] if navigation.many else alone)
            assert f"{name}@iot.navigationLink" not in entity


async def test_expansions_take_options_and_nest(service: Service, air: Air) -> None:
    answer = await service.get(
        "Things",
        select="name",
        expand="Datastreams($select=name;$filter=ObservedProperty/properties/key eq 'no2';"
        "$expand=Observations($orderby=result desc;$top=2;$skip=1;$count=true;$select=result),"
        "Sensor/Datastreams($top=1;$select=name))",
    )
    assert [thing["name"] for thing in answer["value"]] == [site.name for site in air.sites]
    for thing, site in zip(answer["value"], air.sites, strict=True):
        stream = air.stream(site.name, "no2")
        (told,) = thing["Datastreams"]
        assert told["name"] == stream.name
        results = sorted((seen.result for seen in air.of(stream)), reverse=True)
        assert told["Observations@iot.count"] == len(results)
        assert [one["result"] for one in told["Observations"]] == results[1:3]
        assert ("Observations@iot.nextLink" in told) is (len(results) > 3)
        assert told["Sensor"]["name"] == f"Analyser of {site.name}"


@pytest.mark.parametrize("entity_type", TYPES, ids=lambda one: one.name)
async def test_only_what_is_selected_is_told(entity_type: EntityType, service: Service) -> None:
    everything = (await service.get(entity_type.set_name, top="1"))["value"][0]
    for name in (*entity_type.properties, *entity_type.navigations, "id"):
        (one,) = (await service.get(entity_type.set_name, select=name, top="1"))["value"]
        assert names_of(one) <= {"@iot.id" if name == "id" else name}
        assert one.items() <= everything.items()
    two = ("id", next(iter(entity_type.properties)))
    (one,) = (await service.get(entity_type.set_name, select=",".join(two), top="1"))["value"]
    assert set(one) == {"@iot.id", two[1]}


async def test_orders_may_have_several_keys_and_lead_through_links(
    service: Service, air: Air
) -> None:
    by = "Thing/name desc,ObservedProperty/properties/key,id"
    expected = sorted(air.streams, key=lambda stream: stream.key)
    expected.sort(key=lambda stream: stream.site.name, reverse=True)
    assert await service.ids("Datastreams", orderby=by) == [stream.id for stream in expected]


async def test_nulls_are_first_ascending_and_last_descending(service: Service, air: Air) -> None:
    empty = [stream.id for stream in air.streams if not air.of(stream)]
    others = [stream.id for stream in air.streams if air.of(stream)]
    assert empty
    up = await service.ids("Datastreams", orderby="phenomenonTime asc")
    down = await service.ids("Datastreams", orderby="phenomenonTime desc")
    assert up[: len(empty)] == empty
    assert down[-len(empty) :] == empty
    assert sorted(up) == sorted(down) == sorted([*empty, *others])


async def test_top_skip_and_count_are_as_of_the_whole(service: Service, air: Air) -> None:
    ids = [seen.id for seen in air.observations]
    for top, skip in ((0, 0), (1, 0), (7, 13), (1000, 500), (5, len(ids) - 2), (5, len(ids) + 9)):
        answer = await service.get(
            "Observations", top=str(top), skip=str(skip), count="true", select="id"
        )
        assert answer["@iot.count"] == len(ids)
        assert [one["@iot.id"] for one in answer["value"]] == ids[skip : skip + top]
    assert "@iot.count" not in await service.get("Observations", count="false", top="1")
    assert "@iot.count" not in await service.get("Observations", top="1")


@pytest.mark.parametrize("orderby", ["", "result desc", "Datastream/Thing/name,resultTime"])
async def test_next_links_lead_to_everything_once(orderby: str, service: Service, air: Air) -> None:
    order = {"orderby": orderby} if orderby else {}
    answer = await service.get("Observations", top="300", select="id", count="true", **order)
    found = [one["@iot.id"] for one in answer["value"]]
    pages = 1
    while link := answer.get("@iot.nextLink"):
        assert len(answer["value"]) == 300
        answer = await service.follow(link)
        assert answer["@iot.count"] == len(air.observations)
        assert all(set(one) == {"@iot.id"} for one in answer["value"])
        found += [one["@iot.id"] for one in answer["value"]]
        pages += 1
    assert pages == -(-len(air.observations) // 300)
    assert len(found) == len(set(found)) == len(air.observations)


async def test_a_page_is_cut_by_the_server_and_says_so(service: Service) -> None:
    answer = await service.get("Observations", top="100000", select="id")
    assert len(answer["value"]) == 1000
    assert "@iot.nextLink" in answer
    assert "@iot.nextLink" not in await service.get("Observations", top="0")


@pytest.mark.parametrize(
    "options",
    [
        {"top": "-1"},
        {"skip": "x"},
        {"count": "x"},
        {"select": "nothing"},
        {"expand": "Nothing"},
        {"orderby": "nothing"},
        {"orderby": "Observations/result"},
        {"filter": "nothing eq 1"},
        {"filter": "name eq"},
        {"filter": "name gt 1 2"},
        {"filter": "length(name,1) eq 1"},
        {"filter": "frobnicate(name) eq 1"},
        {"nothing": "1"},
        {"resultFormat": "XML"},
    ],
)
async def test_a_malformed_option_is_400(options: dict[str, str], service: Service) -> None:
    assert await service.refused(400, "Datastreams", **options)


@pytest.mark.parametrize("name", ["search", "apply", "compute", "format"])
async def test_an_option_of_odata_alone_is_501(name: str, service: Service) -> None:
    assert await service.refused(501, "Datastreams", **{name: "x"})
