"""The quick ways of reading say what the general one says, and pages go on in whatever order."""

from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from api.sensorthings.routes import PREFIX
from standards_mapping.sensorthings.model import ENTITY_TYPES
from storage.database import Connection
from storage.sensorthings import reader as sensorthings
from storage.sensorthings.reader import SlowError, open_readers, reading
from storage.sensorthings.select import Wanted
from tests.integration.sensorthings.conftest import Service, make_app
from tests.simulators.registry import START, City, seed_city

EVERYTHING = (
    "id,@iot.selfLink,phenomenonTime,result,resultTime,resultQuality,validTime,parameters,"
    "Datastream,FeatureOfInterest"
)
PAGES = [
    ("Observations", {}),
    ("Observations", {"top": "7", "skip": "3", "count": "true"}),
    ("Observations", {"orderby": "result desc", "top": "20"}),
    ("Observations", {"orderby": "Datastream/Thing/name,phenomenonTime desc", "top": "20"}),
    ("Observations", {"filter": "phenomenonTime ge 2026-03-01T06:00:00Z and result lt 40"}),
    ("Datastreams(1)/Observations", {"orderby": "phenomenonTime desc"}),
    ("Datastreams(4)/Observations", {}),
    ("Datastreams(5)/Observations", {"count": "true"}),
    ("Things(1)/Datastreams(1)/Observations", {"top": "2"}),
    ("FeaturesOfInterest(1)/Observations", {}),
]


@pytest.fixture(scope="session")
async def quick(seeded: tuple[str, City]) -> AsyncIterator[Service]:
    """The service over the city, from connections that do nothing but read."""
    async with open_readers(seeded[0], application_name="kerbstone test") as pool:
        transport = httpx.ASGITransport(app=make_app(pool))
        async with httpx.AsyncClient(transport=transport, base_url="http://city.test") as client:
            yield Service(client, pool)


@pytest.mark.parametrize(("path", "options"), PAGES)
async def test_a_page_written_as_text_says_what_a_page_of_entities_says(
    path: str, options: dict[str, str], service: Service, quick: Service
) -> None:
    text = await quick.get(path, **options)
    assert await service.get(path, **options) == text
    entities = await quick.get(path, **options, select=EVERYTHING)
    assert entities["value"] == text["value"]
    assert entities.get("@iot.count") == text.get("@iot.count")
    assert [list(entity) for entity in entities["value"]] == [list(one) for one in text["value"]]
    if "@iot.nextLink" in text:
        one, other = (
            parse_qs(urlsplit(page["@iot.nextLink"]).query)["$skiptoken"]
            for page in (text, entities)
        )
        assert one == other


@pytest.mark.parametrize("path", ["Datastreams(4711)/Observations", "Things(77)/Datastreams"])
async def test_an_owner_that_is_not_there_is_not_found(path: str, quick: Service) -> None:
    await quick.refused(404, path)
    await quick.refused(404, path, filter="id ne 'x'", count="true")
    await quick.refused(404, f"{path}/$ref")


async def test_connections_that_only_read_cannot_write(seeded: tuple[str, City]) -> None:
    async with open_readers(seeded[0], application_name="kerbstone test") as pool:
        async with pool.connection() as conn:
            for name, value in {**sensorthings.SESSION, "TimeZone": "UTC"}.items():
                [(found,)] = await (
                    await conn.execute("SELECT current_setting(%s)", (name,))
                ).fetchall()
                assert found == value
        for at_once in (True, False):
            async with reading(pool, at_once=at_once) as reader:
                cursor = await reader._conn.execute("SHOW transaction_read_only")
                assert await cursor.fetchall() == [("on",)]


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_statement_that_takes_too_long_is_given_up(
    seeded: tuple[str, City], *, at_once: bool
) -> None:
    async with open_readers(seeded[0], application_name="kerbstone test") as pool:
        async with pool.connection() as conn:
            await conn.execute("SET statement_timeout = 50")
        with pytest.raises(SlowError):
            async with reading(pool, at_once=at_once) as reader:
                await reader._conn.execute("SELECT pg_sleep(10)")


async def test_a_reader_with_rights_sees_restricted_observations_and_others_do_not(
    own_service: Service, connection: Connection, dsn: str
) -> None:
    await seed_city(connection)
    await connection.execute("UPDATE datastream SET access = 'restricted' WHERE id = 1")
    await own_service.refused(404, "Datastreams(1)/Observations")
    cursor = await connection.execute("SELECT council_id FROM datastream WHERE id = 1")
    [(council,)] = await cursor.fetchall()
    wanted = Wanted(
        entity_type=ENTITY_TYPES["Observation"],
        parent=("Datastream", "Observations"),
        owner=1,
    )
    async with open_readers(dsn, application_name="kerbstone test") as pool:
        found = []
        for councils in ((), (council,), ()):
            async with reading(pool, councils, at_once=True) as reader:
                found.append(len((await reader.text_page(wanted, 10)).rows))
    assert found == [0, 10, 0]


ORDERS = [
    ("Observations", "result"),
    ("Observations", "result desc"),
    ("Observations", "resultQuality/code desc,phenomenonTime"),
    ("Observations", "Datastream/Thing/name desc,phenomenonTime desc"),
    ("Observations", "hour(resultTime),Datastream/name"),
    ("Observations", "date(resultTime) desc,result"),
    ("Observations", "id desc"),
    ("Observations", "FeatureOfInterest/name"),
    ("FeaturesOfInterest(1)/Observations", "result"),
    ("Datastreams", "phenomenonTime desc"),
    ("Datastreams", "Thing/name,unitOfMeasurement/symbol desc"),
    ("Things", "properties/kind"),
    ("Things", "properties/kind desc,length(name)"),
    ("Things", "id desc"),
]


@pytest.mark.parametrize(("path", "orderby"), ORDERS)
async def test_pages_in_any_order_are_its_parts(path: str, orderby: str, quick: Service) -> None:
    whole = await quick.ids(path, orderby=orderby)
    assert "$skip=" not in (await quick.get(path, orderby=orderby, top="1"))["@iot.nextLink"]
    for top in ("1", "2") if len(whole) < 20 else ("7",):
        assert await quick.ids(path, orderby=orderby, top=top) == whole


@pytest.mark.parametrize("orderby", ["result", "result desc", "Datastream/name,result desc"])
async def test_rows_that_come_and_go_move_no_other_to_another_page(
    orderby: str, own_service: Service, connection: Connection
) -> None:
    city = await seed_city(connection)
    gone = [seen for seen in city.of("Bloomsbury no2") if seen.time.hour % 2]
    staying = {seen.id for seen in city.observations} - {seen.id for seen in gone}
    found: list[str] = []
    page = await own_service.follow(
        f"{PREFIX}/Observations?$top=7&$orderby={quote(orderby, safe='')}"
    )
    for number in range(1000):
        found += [seen["@iot.id"] for seen in page["value"]]
        if "@iot.nextLink" not in page:
            break
        if number < 8:
            await connection.execute(
                "INSERT INTO observation SELECT id, %s, value FROM datastream,"
                " unnest(ARRAY[-1e9, 1e9, 21]) WITH ORDINALITY v(value, n) WHERE n = 1 + id %% 3",
                (START + timedelta(hours=1, seconds=number + 1),),
            )
        if number < len(gone):  # the last of a page among them, which the link names
            await connection.execute(
                "DELETE FROM observation WHERE datastream_id = %s AND time = %s",
                (gone[number].datastream_id, gone[number].time),
            )
        page = await own_service.follow(page["@iot.nextLink"])
    assert len(found) == len(set(found))
    assert staying <= set(found)


async def test_what_is_expanded_goes_on_in_its_order(quick: Service, city: City) -> None:
    things = await quick.get(
        "Things",
        expand="Datastreams($top=1;$orderby=name desc;"
        "$expand=Observations($top=2;$orderby=result desc))",
    )
    thing = next(one for one in things["value"] if one.get("Datastreams@iot.nextLink"))
    stream = thing["Datastreams"][0]
    rest = await quick.follow(thing["Datastreams@iot.nextLink"])
    assert rest["value"][0]["name"] < stream["name"]
    path = f"Datastreams({stream['@iot.id']})/Observations"
    found = [one["@iot.id"] for one in stream["Observations"]]
    link = stream.get("Observations@iot.nextLink")
    while link:
        page = await quick.follow(link)
        found += [one["@iot.id"] for one in page["value"]]
        link = page.get("@iot.nextLink")
    assert found == await quick.ids(path, orderby="result desc")


async def test_a_link_that_was_changed_is_refused(quick: Service) -> None:
    page = await quick.get("Observations", orderby="result", top="3")
    token = parse_qs(urlsplit(page["@iot.nextLink"]).query)["$skiptoken"][0]
    await quick.refused(400, "Observations", orderby="result desc", skiptoken=token)
    await quick.refused(400, "Observations", skiptoken=token)
    await quick.refused(400, "Things", orderby="result", skiptoken=token)
    for at in (0, len(token) // 2, len(token) - 1):
        other = "B" if token[at] == "A" else "A"
        changed = token[:at] + other + token[at + 1 :]
        await quick.refused(400, "Observations", orderby="result", skiptoken=changed)
