"""How much is read to answer, and what is said when it is too much or the database is away."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from psycopg import sql

from api.sensorthings.routes import PREFIX
from standards_mapping.sensorthings.expression import parse_filter, parse_orderby
from standards_mapping.sensorthings.model import ENTITY_TYPES, ObservationId
from standards_mapping.sensorthings.skiptoken import Place
from storage.database import Connection, connect, open_pool
from storage.partitions import ensure_partitions
from storage.sensorthings import reader as sensorthings
from storage.sensorthings.operand import Bound
from storage.sensorthings.page import page_statement
from storage.sensorthings.select import Wanted
from tests.integration.conftest import DatabaseServer
from tests.integration.sensorthings.conftest import Service, make_app, serve
from tests.simulators.registry import START, seed_city

STREAMS = 40
EACH = 3000
OBSERVATION = ENTITY_TYPES["Observation"]
NEWEST_FIRST = parse_orderby("phenomenonTime desc")


@pytest.fixture(scope="module")
async def full_dsn(database_server: DatabaseServer) -> AsyncIterator[str]:
    """A database of 120,000 observations over a hundred days."""
    dsn = await database_server.create()
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        await seed_city(conn)
        await ensure_partitions(conn, START - timedelta(days=101), START)
        await conn.execute(
            "INSERT INTO datastream (council_id, thing_id, sensor_id, observed_property_id,"
            " short_name, name, description, unit)"
            " SELECT council_id, thing_id, sensor_id, observed_property_id, 'x' || n, 'x' || n, '',"
            " unit FROM datastream, generate_series(1, %s) n WHERE id = 1",
            (STREAMS,),
        )
        await conn.execute(
            "INSERT INTO observation SELECT d.id, %s - n * interval '48 minutes', n"
            " FROM generate_series(1, %s) n, datastream d WHERE d.name LIKE 'x%%'",
            (START, EACH),
        )
        await conn.execute("ANALYZE")
    yield dsn
    await database_server.drop(dsn)


@pytest.fixture(scope="module")
async def full(full_dsn: str) -> AsyncIterator[Connection]:
    """A connection to it."""
    async with await connect(full_dsn, autocommit=True, application_name="kerbstone test") as conn:
        yield conn


@dataclass(frozen=True)
class Scan:
    """How one node of a plan read a table of observations."""

    kind: str
    rows: float


def scans(node: Any) -> Iterator[Scan]:
    """Yield each reading of observations in a plan, with the rows it touched."""
    table = node.get("Relation Name", "")
    repeats = node["Node Type"] == "Custom Scan"  # over the chunks of a hypertable
    if not repeats and table.startswith(("observation", "_hyper")) and table != "observation_extra":
        rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        yield Scan(node["Node Type"], rows * node["Actual Loops"])
    for child in node.get("Plans", ()):
        yield from scans(child)


async def explain(conn: Connection, statement: sql.Composed, bound: Bound) -> Any:
    """Return the plan of a statement as it is run when the service reads."""
    async with conn.transaction():
        await conn.execute(sensorthings._BEGIN, prepare=False)
        cursor = await conn.execute(
            sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) ") + statement, bound.values
        )
        [[[plan]]] = await cursor.fetchall()
    return plan


async def rows_read(conn: Connection, wanted: Wanted, parents: list[int] | None = None) -> float:
    """Return how many observations the statement for a page reads; none by scanning a table."""
    bound = Bound()
    statement = page_statement(replace(wanted, properties=("result", "resultQuality")), bound)
    if parents is not None:
        bound.values["parents"] = parents
    plan = await explain(conn, statement, bound)
    found = [scan for scan in scans(plan["Plan"]) if scan.rows]
    assert not [scan for scan in found if scan.kind == "Seq Scan" and scan.rows > 100], found
    return sum(scan.rows for scan in found)


async def test_the_newest_of_every_datastream_reads_a_row_or_two_of_each(full: Connection) -> None:
    wanted = Wanted(
        entity_type=OBSERVATION,
        parent=("Datastream", "Observations"),
        orderby=NEWEST_FIRST,
        limit=2,
    )
    parents = [row[0] for row in await (await full.execute("SELECT id FROM datastream")).fetchall()]
    assert await rows_read(full, wanted, parents) <= 2 * len(parents)


async def test_the_newest_of_all_reads_one_of_each_datastream_and_pages_of_a_few(
    full: Connection,
) -> None:
    wanted = Wanted(entity_type=OBSERVATION, orderby=NEWEST_FIRST, limit=11)
    most = 2 * (STREAMS + 6 + 11 * 11)
    assert await rows_read(full, wanted) <= most
    deep = Place((), ObservationId.of(30, START - timedelta(days=50)))
    assert await rows_read(full, replace(wanted, after=deep)) <= most
    oldest = replace(wanted, orderby=parse_orderby("phenomenonTime"), after=deep)
    assert await rows_read(full, oldest) <= most


async def test_a_page_in_the_order_of_ids_reads_hardly_more_than_it_gives(
    full: Connection,
) -> None:
    wanted = Wanted(entity_type=OBSERVATION, limit=101)
    assert await rows_read(full, wanted) <= 3 * 101
    deep = replace(wanted, after=Place((), ObservationId.of(30, START - timedelta(days=50))))
    assert await rows_read(full, deep) <= 3 * 101


@pytest.mark.parametrize(
    "text",
    [
        "phenomenonTime ge 2026-02-01T00:00:00Z and phenomenonTime lt 2026-02-01T12:00:00Z",
        "resultTime gt 2026-02-01T00:00:00Z and resultTime le 2026-02-01T12:00:00Z",
        "phenomenonTime ge 2026-02-01T12:00:00Z sub duration'PT12H'"  # noqa: ISC004
        " and phenomenonTime lt '2026-02-01T12:00:00Z'",
    ],
)
async def test_a_range_of_time_reads_that_range_alone(text: str, full: Connection) -> None:
    every = Wanted(entity_type=OBSERVATION, filter=parse_filter(text), limit=100_000)
    inside = 15 * STREAMS  # twelve hours at 48 minutes each
    assert 0.9 * inside <= await rows_read(full, every) <= 1.2 * inside + 20  # plans round
    result = Wanted(
        entity_type=OBSERVATION,
        filter=parse_filter(f"{text} and result lt 0"),
        parent=("Datastream", "Observations"),
        limit=10,
    )
    assert await rows_read(full, result, [20, 21]) <= 2 * 17


async def test_a_condition_on_datastreams_reads_those_alone(full: Connection) -> None:
    text = "Datastream/name eq 'x7' and result gt 10"
    wanted = Wanted(
        entity_type=OBSERVATION, filter=parse_filter(text), orderby=NEWEST_FIRST, limit=20
    )
    assert await rows_read(full, wanted) <= 30 + 11  # the first, then a page of it


@pytest.mark.parametrize("orderby", ["phenomenonTime", "phenomenonTime desc"])
async def test_a_page_of_a_feature_reads_hardly_more_than_that_of_its_datastreams(
    orderby: str, full: Connection
) -> None:
    wanted = Wanted(
        entity_type=OBSERVATION,
        parent=("FeatureOfInterest", "Observations"),
        orderby=parse_orderby(orderby),
        links=("FeatureOfInterest",),
        limit=11,
    )
    assert await rows_read(full, wanted, [1, 2]) <= 2 * 11 * (STREAMS + 6)
    named = Wanted(
        entity_type=OBSERVATION,
        filter=parse_filter("FeatureOfInterest/name eq 'Gordon Square'"),
        orderby=parse_orderby(orderby),
        limit=11,
    )
    assert await rows_read(full, named) <= 11 * (STREAMS + 6)


async def test_features_are_told_without_reading_more(full: Connection) -> None:
    wanted = Wanted(
        entity_type=OBSERVATION,
        links=("Datastream", "FeatureOfInterest"),
        after=Place((), ObservationId.of(30, START - timedelta(days=50))),
        filter=parse_filter("phenomenonTime lt 2027-01-01T00:00:00Z"),
        limit=11,
    )
    assert await rows_read(full, wanted) <= 3 * 11


async def test_one_observation_is_read_by_its_key(full: Connection) -> None:
    key = ObservationId.of(30, START - timedelta(minutes=48))
    assert await rows_read(full, Wanted(entity_type=OBSERVATION, keys=(key,))) <= 1


async def test_the_times_of_datastreams_are_read_from_both_ends(full: Connection) -> None:
    wanted = Wanted(
        entity_type=ENTITY_TYPES["Datastream"], properties=("phenomenonTime",), limit=100
    )
    bound = Bound()
    plan = await explain(full, page_statement(wanted, bound), bound)
    assert sum(scan.rows for scan in scans(plan["Plan"])) <= 2 * (STREAMS + 6)


async def test_a_question_that_takes_too_long_is_refused_with_advice(
    full_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = sensorthings._BEGIN.as_string().replace("'10s'", "'1ms'")
    monkeypatch.setattr(sensorthings, "_BEGIN", quick)
    async with serve(full_dsn) as service:
        message = await service.refused(503, "Observations", orderby="result", count="true")
        assert "$count" in message
        monkeypatch.undo()
        assert len((await service.get("Observations", top="3"))["value"]) == 3


async def test_a_database_that_is_away_is_said_to_be() -> None:
    async with open_pool(
        "host=127.0.0.1 port=1 dbname=none", min_size=0, application_name="kerbstone test"
    ) as pool:
        pool.timeout = 0.2
        transport = httpx.ASGITransport(app=make_app(pool))
        async with httpx.AsyncClient(transport=transport, base_url="http://city.test") as client:
            response = await client.get(f"{PREFIX}/Things")
            assert response.status_code == 503
            assert response.json()["code"] == 503
            assert (await client.get(PREFIX)).status_code == 200


async def test_nothing_can_be_changed_even_by_a_statement_of_ours(service: Service) -> None:
    async with service.pool.connection() as conn:
        before = await (await conn.execute("SELECT count(*) FROM thing")).fetchone()
    with pytest.raises(Exception, match="read-only"):
        async with sensorthings.reading(service.pool) as reader:
            await reader._conn.execute("DELETE FROM thing_location")
    async with service.pool.connection() as conn:
        assert await (await conn.execute("SELECT count(*) FROM thing")).fetchone() == before
