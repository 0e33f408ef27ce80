"""ETSI's cases 020 and 021: the history of an entity, and of those of a query."""

import re
from datetime import datetime
from typing import Any

import pytest

from standards_mapping.ngsi_ld.times import parse_time
from tests.integration.ngsi_ld.etsi import LINK, Etsi, load, plain

ENTITIES = "temporal/entities"
ONE = "urn:ngsi-ld:Vehicle:1"
TWO = "urn:ngsi-ld:Vehicle:2"
THREE = "urn:ngsi-ld:Vehicle:3"
AUGUST = "temporalEntities/2020-08-vehicle-temporal-representation.jsonld"
SEPTEMBER = "temporalEntities/2020-09-vehicle-temporal-representation.jsonld"
BUS = "temporalEntities/2020-08-bus-temporal-representation.jsonld"
MANY = "temporalEntities/2020-08-vehicle-temporal-representation-multiple-instances.jsonld"
PLACED = "temporalEntities/2020-10-vehicle-temporal-representation-with-location.jsonld"
TWENTY = "temporalEntities/pagination/2020-01-vehicule-temporal-representation-twenty-instances"
EXPECTED = "temporalEntities/expectations/"
JULY: dict[str, Any] = {"timerel": "after", "timeAt": "2020-07-01T12:05:00Z"}
BEFORE, AFTER = "2019-01-01T01:01:00Z", "2021-01-01T01:01:00Z"


def expected(name: str, *ids: str) -> Any:
    """Return an expectation; ids: what its entities are called here, in their order."""
    document = load(EXPECTED + name)
    if isinstance(document, dict):
        return plain(document | {"id": ids[0]})
    document.sort(key=lambda one: one["id"])
    return plain([one | {"id": name} for one, name in zip(document, ids, strict=True)])


@pytest.mark.parametrize(
    ("name", "linked", "given"),
    [
        pytest.param("020-01.jsonld", False, {}, id="020_01_01"),
        pytest.param("020-02.jsonld", True, {}, id="020_02_01"),
        pytest.param("020-03-01.jsonld", True, {"attrs": "fuelLevel"}, id="020_03_01"),
        pytest.param("020-03-02.jsonld", True, {"attrs": "fuelLevel,speed"}, id="020_03_02"),
        pytest.param(
            "020-04-01.jsonld",
            True,
            {"timerel": "after", "timeAt": "2020-08-01T13:03:00Z"},
            id="020_04_01",
        ),
        pytest.param(
            "020-04-02.jsonld",
            True,
            {"timerel": "before", "timeAt": "2020-08-01T12:05:00Z"},
            id="020_04_02",
        ),
        pytest.param(
            "020-04-03.jsonld",
            True,
            {
                "timerel": "between",
                "timeAt": "2020-08-01T12:00:00Z",
                "endTimeAt": "2020-08-01T13:00:00Z",
            },
            id="020_04_03",
        ),
        pytest.param("020-10.jsonld", True, {"options": "temporalValues"}, id="020_10_01"),
    ],
)
async def test_020_history_of_an_entity(
    *, name: str, linked: bool, given: dict[str, Any], etsi: Etsi
) -> None:
    etsi.add(AUGUST, ONE)
    found = await etsi.get(f"{ENTITIES}/{ONE}", linked=linked, **given)
    assert plain(found) == expected(f"vehicle-temporal-representation-{name}", ONE)


@pytest.mark.parametrize(
    ("last", "name"),
    [
        pytest.param("4", "020-05-01.jsonld", id="020_05_01"),
        pytest.param("7", "020-05-02.jsonld", id="020_05_02"),
    ],
)
async def test_020_05_the_last_instances(last: str, name: str, etsi: Etsi) -> None:
    etsi.add(MANY, ONE)
    found = await etsi.get(f"{ENTITIES}/{ONE}", linked=True, lastN=last)
    assert plain(found) == expected(f"vehicle-temporal-representation-{name}", ONE)


async def test_020_06_01_an_id_that_is_no_uri(etsi: Etsi) -> None:
    await etsi.refused(400, "BadRequestData", f"{ENTITIES}/invalidUri")


async def test_020_07_01_an_entity_that_is_not_there(etsi: Etsi) -> None:
    await etsi.refused(404, "ResourceNotFound", f"{ENTITIES}/urn:ngsi-ld:Vehicle:unknowEntity")


async def test_020_08_01_an_attribute_that_is_not_there(etsi: Etsi) -> None:
    etsi.add(AUGUST, ONE)
    attrs = "unknownAttribute"
    await etsi.refused(404, "ResourceNotFound", f"{ENTITIES}/{ONE}", linked=True, attrs=attrs)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"timerel": "after"}, id="020_09_01"),
        pytest.param({"timerel": "before"}, id="020_09_02"),
        pytest.param({"timerel": "between", "timeAt": "2020-08-01T12:00:00Z"}, id="020_09_03"),
    ],
)
async def test_020_09_faulty_times(given: dict[str, Any], etsi: Etsi) -> None:
    etsi.add(AUGUST, ONE)
    await etsi.refused(400, "BadRequestData", f"{ENTITIES}/{ONE}", **given)


AGGREGATED = [
    pytest.param("avg", "PT1H", "", "avg-PT1H", id="01"),
    pytest.param("avg", "PT1H", "fuelLevel", "avg-PT1H-fuelLevel", id="02"),
    pytest.param("avg,max", "PT1H", "", "avg-max-PT1H", id="03"),
    pytest.param("min,max", "P1D", "", "min-max-P1D", id="04"),
]


@pytest.mark.parametrize(("methods", "duration", "attrs", "name"), AGGREGATED)
async def test_020_11_and_021_17_aggregated(
    methods: str, duration: str, attrs: str, name: str, etsi: Etsi
) -> None:
    etsi.add(AUGUST, ONE)
    given: dict[str, Any] = {
        "options": "aggregatedValues",
        "aggrMethods": methods,
        "aggrPeriodDuration": duration,
        "attrs": attrs,
    }
    wanted = expected(f"vehicle-temporal-representation-aggregated-{name}.json", ONE)
    found = await etsi.get(f"{ENTITIES}/{ONE}", linked=True, **given)
    assert plain(found) == wanted
    since: dict[str, Any] = {"timerel": "after", "timeAt": "2020-01-01T12:03:00Z"}
    [listed] = await etsi.get(ENTITIES, linked=True, type="Vehicle", **given, **since)
    assert plain(listed) == wanted


LEAST, MOST = "least recent timestamp", "most recent timestamp"
WINDOWS: dict[str, Any] = {
    "": {},
    "before": {"timerel": "before", "timeAt": AFTER},
    "between": {"timerel": "between", "timeAt": BEFORE, "endTimeAt": AFTER},
    "after": {"timerel": "after", "timeAt": BEFORE},
}
CUT = [
    pytest.param("", "20", "before", AFTER, LEAST, "20", id="lastN-before"),
    pytest.param("", "20", "between", AFTER, LEAST, "20", id="lastN-between"),
    pytest.param("", "20", "after", MOST, LEAST, "20", id="lastN-after"),
    pytest.param("", "", "before", "", MOST, "*", id="before"),
    pytest.param("", "", "between", BEFORE, MOST, "*", id="between"),
    pytest.param("", "", "after", BEFORE, MOST, "*", id="after"),
    pytest.param("temporalValues", "", "after", BEFORE, MOST, "*", id="values-after"),
    pytest.param("temporalValues", "20", "between", AFTER, LEAST, "20", id="values-lastN"),
]


def times_of(bodies: list[Any], options: str) -> list[datetime]:
    """Return the times of all instances in answers."""
    found = []
    for body in bodies:
        for name in {"speed", "fuelLevel"} & body.keys():
            values = body[name]["values"] if options else body[name]
            found += [parse_time(one[1] if options else one["observedAt"]) for one in values]
    return found


def check_range(
    response: Any, bodies: list[Any], options: str, *, start: str, end: str, size: str
) -> None:
    """Check the answer to a history that was cut, and its Content-Range."""
    assert response.status_code == 206, response.text
    match = re.fullmatch(r"date-time (\S+Z)-(\S+Z)/(\S+)", response.headers["content-range"])
    assert match is not None
    times = times_of(bodies, options)
    named = {LEAST: min(times), MOST: max(times)}
    if start:
        assert parse_time(match[1]) == (named.get(start) or parse_time(start))
    assert parse_time(match[2]) == named[end]
    assert match[3] == size


@pytest.mark.parametrize(
    ("options", "last", "window", "start", "end", "size"),
    [
        pytest.param("", "", "", LEAST, MOST, "*", id="all"),
        pytest.param("", "20", "", MOST, LEAST, "20", id="lastN"),
        *CUT,
    ],
)
async def test_020_13_a_history_that_is_cut(
    *, options: str, last: str, window: str, start: str, end: str, size: str, etsi: Etsi
) -> None:
    etsi.add(f"{TWENTY}.jsonld", ONE)
    given: dict[str, Any] = {"options": options, "lastN": last, **WINDOWS[window]}
    response = await etsi.ask(f"{ENTITIES}/{ONE}", linked=True, **given)
    check_range(response, [response.json()], options, start=start, end=end, size=size)


@pytest.mark.parametrize(("options", "last", "window", "start", "end", "size"), CUT)
async def test_021_15_histories_that_are_cut(
    *, options: str, last: str, window: str, start: str, end: str, size: str, etsi: Etsi
) -> None:
    etsi.add(f"{TWENTY}.jsonld", ONE)
    etsi.add(SEPTEMBER, TWO)
    given: dict[str, Any] = {"options": options, "lastN": last, **WINDOWS[window]}
    response = await etsi.ask(ENTITIES, linked=True, type="Vehicle", **given)
    assert len(response.json()) == 2
    check_range(response, response.json(), options, start=start, end=end, size=size)


async def test_the_next_request_goes_on_where_a_history_was_cut(etsi: Etsi) -> None:
    etsi.add(f"{TWENTY}.jsonld", ONE)
    seen: list[datetime] = []
    given: dict[str, Any] = {"timerel": "after", "timeAt": BEFORE}
    while True:
        response = await etsi.ask(f"{ENTITIES}/{ONE}", linked=True, **given)
        seen += times_of([response.json()], "")
        if response.status_code == 200:
            break
        ended = response.headers["content-range"].partition("/")[0][-20:]
        given = {"timerel": "after", "timeAt": ended}
    document = load(f"{TWENTY}.jsonld")
    assert sorted(seen) == sorted(times_of([document], ""))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        pytest.param({"timerel": "after", "timeAt": "2020-08-01T12:04:00Z"}, "01", id="01"),
        pytest.param({"timerel": "before", "timeAt": "2020-09-01T13:06:00Z"}, "02", id="02"),
        pytest.param(
            {
                "timerel": "between",
                "timeAt": "2020-08-01T12:04:00Z",
                "endTimeAt": "2020-09-01T13:06:00Z",
            },
            "03",
            id="03",
        ),
    ],
)
async def test_021_01_and_021_14_by_time(given: dict[str, Any], name: str, etsi: Etsi) -> None:
    etsi.add(AUGUST, ONE)
    etsi.add(SEPTEMBER, TWO)
    etsi.add(BUS, "urn:ngsi-ld:Bus:1")
    found = await etsi.get(ENTITIES, linked=True, type="Vehicle", **given)
    wanted = expected(f"vehicles-temporal-representation-021-01-{name}.jsonld", ONE, TWO)
    assert plain(found) == wanted
    pairs = await etsi.get(ENTITIES, linked=True, type="Vehicle", options="temporalValues", **given)
    wanted = expected(f"vehicles-temporal-representation-021-14-{name}.json", ONE, TWO)
    assert plain(pairs) == wanted


@pytest.mark.parametrize(
    ("first", "given", "name", "ids"),
    [
        pytest.param(AUGUST, {"attrs": "speed"}, "02", (ONE, TWO), id="021_02_01"),
        pytest.param(MANY, {"lastN": "4"}, "03", (ONE, TWO), id="021_03_01"),
        pytest.param(AUGUST, {}, "04", (ONE, TWO), id="021_04_01"),
        pytest.param(AUGUST, {"type": "Bus"}, "05", ("urn:ngsi-ld:Bus:1",), id="021_05_01"),
        pytest.param(AUGUST, {"id": ONE}, "06", (ONE,), id="021_06_01"),
        pytest.param(
            AUGUST, {"idPattern": "urn:ngsi-ld:Vehicle:.*"}, "07", (ONE, TWO), id="021_07_01"
        ),
        pytest.param(AUGUST, {"q": "speed>90"}, "08", (ONE, TWO), id="021_08_01"),
    ],
)
async def test_021_queries(
    first: str, given: dict[str, Any], name: str, ids: tuple[str, ...], etsi: Etsi
) -> None:
    etsi.add(first, ONE)
    etsi.add(SEPTEMBER, TWO)
    etsi.add(BUS, "urn:ngsi-ld:Bus:1")
    found = await etsi.get(ENTITIES, linked=True, **{"type": "Vehicle", **JULY, **given})
    assert plain(found) == expected(f"vehicles-temporal-representation-021-{name}.jsonld", *ids)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        pytest.param(
            {
                "georel": "near;maxDistance==2000",
                "geometry": "Point",
                "coordinates": "[-8.503,41.202]",
            },
            "01",
            id="021_09_01",
        ),
        pytest.param(
            {
                "georel": "within",
                "geometry": "Polygon",
                "coordinates": "[[[-13.503,47.202],[6.541, 52.961],[20.37,44.653],[9.46,32.57],"
                "[-13.503,32.57],[-13.503,47.202]]]",
                "geoproperty": "location",
            },
            "02",
            id="021_09_02",
        ),
    ],
)
async def test_021_09_by_place(given: dict[str, Any], name: str, etsi: Etsi) -> None:
    etsi.add(AUGUST, ONE)
    etsi.add(PLACED, TWO)
    found = await etsi.get(ENTITIES, linked=True, type="Vehicle", **JULY, **given)
    assert plain(found) == expected(f"vehicles-temporal-representation-021-09-{name}.jsonld", TWO)


@pytest.mark.parametrize(
    "limit", [pytest.param(2, id="021_11_01"), pytest.param(3, id="021_11_02")]
)
async def test_021_11_a_page_has_at_most_limit_entities(limit: int, etsi: Etsi) -> None:
    etsi.add(AUGUST, ONE)
    etsi.add(SEPTEMBER, TWO, THREE)
    found = await etsi.get(ENTITIES, linked=True, type="Bus,Vehicle", limit=str(limit), **JULY)
    assert [one["type"] for one in found] == ["Vehicle"] * limit


async def test_021_12_01_without_a_selector(etsi: Etsi) -> None:
    etsi.add(AUGUST, ONE)
    await etsi.refused(400, "BadRequestData", ENTITIES, linked=True, **JULY)


@pytest.mark.parametrize(
    ("form", "options", "methods"),
    [
        pytest.param("temporalValues", "", "", id="021_19_01"),
        pytest.param("temporalValues", "aggregatedValues", "sum", id="021_19_02"),
        pytest.param("", "temporalValues", "", id="021_19_03"),
    ],
)
async def test_021_19_format_and_options(form: str, options: str, methods: str, etsi: Etsi) -> None:
    etsi.add(AUGUST, ONE)
    etsi.add(SEPTEMBER, TWO)
    given: dict[str, Any] = {"format": form, "options": options, "aggrMethods": methods}
    since: dict[str, Any] = {"timerel": "after", "timeAt": "2020-01-01T12:03:00Z"}
    found = await etsi.get(ENTITIES, linked=True, type="Vehicle", **given, **since)
    wanted = expected("vehicles-temporal-representation-021-19-01.json", ONE, TWO)
    assert plain(found) == wanted


@pytest.mark.parametrize(
    ("name", "number"),
    [("after", 1), ("before", 1), ("between", 1), ("after-query-two-entities", 1)],
)
async def test_a_query_may_be_posted(name: str, number: int, etsi: Etsi) -> None:
    etsi.add(AUGUST, ONE)
    etsi.add(SEPTEMBER, TWO)
    suffix = "" if "query" in name else "-query"
    body = load(f"temporalEntities/entity-operations-{name}{suffix}.jsonld")
    response = await post(etsi, body)
    assert response.status_code == 200, response.text
    assert len(response.json()) == number


@pytest.mark.parametrize(
    "name",
    [
        "invalid-timeproperty",
        "invalid-timerel",
        "lastN-fractional",
        "lastN-zero",
        "between-no-end",
        "bad-aggrPeriodDuration",
        "aggrMethods-string",
    ],
)
async def test_a_posted_query_that_makes_no_sense(name: str, etsi: Etsi) -> None:
    etsi.add(AUGUST, ONE)
    response = await post(etsi, load(f"temporalEntities/temporalQ-json-{name}-query.jsonld"))
    assert response.status_code == 400, response.text
    assert response.json()["type"].endswith("BadRequestData")


async def post(etsi: Etsi, body: Any) -> Any:
    """Post a temporal query with the context of the suite."""
    url = "/ngsi-ld/v1/temporal/entityOperations/query"
    return await etsi.client.post(url, json=body, headers={"Link": LINK})
