"""Open data as the service gives it, read by other people's libraries: it is what is stored."""

import csv
import io
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import httpx
import pandas as pd
import pyarrow.parquet as pq
import pyshacl
import pytest
from csvw import CSVW
from rdflib import Graph, URIRef
from rdflib.namespace import DCAT, RDF, Namespace

from api.service import open_app
from api.settings import ApiSettings
from standards_mapping.open_columns import unix_microseconds
from storage.database import Connection, connect, query
from tests.integration.conftest import DatabaseServer
from tests.simulators.registry import MOVED_AT, START, City, Seen, seed_city

SHAPES = Path(__file__).parents[1] / "data" / "dcat-ap"
SH = Namespace("http://www.w3.org/ns/shacl#")
SOSA = Namespace("http://www.w3.org/ns/sosa/")
ROOT = "http://localhost"
SPAN = f"?from={START:%Y-%m-%dT%H:%M:%SZ}&to=2026-03-20T00:00:00Z"
LDJSON = "application/ld+json"


@dataclass(frozen=True)
class Open:
    """A running application over the seeded city."""

    client: httpx.AsyncClient
    city: City
    conn: Connection

    async def get(self, url: str, accept: str = "*/*") -> httpx.Response:
        answer = await self.client.get(url, headers={"Accept": accept})
        assert answer.status_code == 200, answer.text[:500]
        return answer

    async def refused(self, url: str, status: int) -> str:
        answer = await self.client.get(url)
        assert answer.status_code == status, answer.text[:500]
        return str(answer.json()["detail"])

    @asynccontextmanager
    async def restricted(self, thing: str) -> AsyncIterator[None]:
        """Let the datastreams of a thing be restricted for the length of the block."""
        say = "UPDATE datastream SET access = %s WHERE thing_id = %s"
        await self.conn.execute(say, ("restricted", self.city.things[thing]))
        yield
        await self.conn.execute(say, ("open", self.city.things[thing]))


@pytest.fixture(scope="module")
async def served(database_server: DatabaseServer) -> AsyncIterator[Open]:
    dsn = await database_server.create()
    async with await connect(dsn, autocommit=True, application_name="kerbstone test") as conn:
        city = await seed_city(conn)
        await conn.execute(query("reconcile_latest"))
        async with open_app(ApiSettings(dsn=dsn)) as app:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url=ROOT) as client:
                yield Open(client, city, conn)
    await database_server.drop(dsn)


def expected(seen: list[Seen]) -> list[tuple[Any, ...]]:
    """Return what is stored as rows of (time, start, value, quality, longitude, latitude)."""
    return [
        (one.time, one.started, one.result, one.quality, one.place.longitude, one.place.latitude)
        for one in sorted(seen, key=lambda one: (one.datastream_id, one.time))
    ]


async def test_a_csv_file_is_valid_by_its_metadata_and_holds_what_is_stored(
    served: Open, tmp_path: Path
) -> None:
    answer = await served.get(f"/data/camden/no2.csv{SPAN}")
    assert answer.headers["content-type"].startswith("text/csv")
    match = re.fullmatch(r'<(.+)>; rel="describedby"; type="(.+)"', answer.headers["link"])
    assert match
    beside = await served.get(match[1])
    assert beside.headers["content-type"] == match[2] == "application/csvm+json"
    (tmp_path / "no2.csv").write_bytes(answer.content)
    (tmp_path / "no2.csv-metadata.json").write_bytes(beside.content)
    table = CSVW(str(tmp_path / "no2.csv-metadata.json"), validate=True)
    assert table.is_valid
    rows = list(table.tables[0])
    found = [
        (r["time"], r["interval_start"], r["value"], r["quality"], r["longitude"], r["latitude"])
        for r in rows
    ]
    seen = served.city.of("Bloomsbury no2")
    assert len(found) == len(seen) == 44
    assert found == expected(seen)
    assert {row["unit"] for row in rows} == {"ug/m3"}
    assert {one.place.name for one in seen} == {"Gordon Square", "Bloomsbury"}


# The library warns itself of what it then tells.
@pytest.mark.filterwarnings("always:Invalid column value:UserWarning")
async def test_metadata_finds_what_is_wrong_with_a_file(served: Open, tmp_path: Path) -> None:
    text = (await served.get(f"/data/camden/no2.csv{SPAN}")).text
    beside = await served.get("/data/camden/no2.csv-metadata.json")
    (tmp_path / "no2.csv-metadata.json").write_bytes(beside.content)
    metadata = str(tmp_path / "no2.csv-metadata.json")
    (tmp_path / "no2.csv").write_text(text.replace("20.1,", "warm,", 1), newline="")
    assert not CSVW(metadata, validate=True).is_valid
    (tmp_path / "no2.csv").write_text(text + text.splitlines()[1] + "\r\n", newline="")
    with pytest.raises(ValueError, match="duplicate primary key"):
        assert CSVW(metadata, validate=True).is_valid


async def test_a_parquet_file_is_read_by_duckdb_and_pandas_with_its_units(
    served: Open, tmp_path: Path
) -> None:
    path = tmp_path / "no2.parquet"
    answer = await served.get(f"/data/camden/no2.parquet{SPAN}")
    path.write_bytes(answer.content)
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    frame = pd.read_parquet(path)
    seen = served.city.of("Bloomsbury no2")
    found = [
        (time.to_pydatetime(), start.to_pydatetime(), *rest)
        for time, start, *rest in frame[
            ["time", "interval_start", "value", "quality", "longitude", "latitude"]
        ].itertuples(index=False)
    ]
    assert found == expected(seen)
    with duckdb.connect() as db:
        counted = db.execute(
            "SELECT count(*), sum(value), min(epoch_us(time)) FILTER (longitude > -0.13),"
            " any_value(unit) FROM read_parquet(?)",
            [str(path)],
        ).fetchone()
        assert counted is not None
        assert counted[0] == len(seen)
        assert counted[1] == pytest.approx(sum(float(one.result) for one in seen))
        first = min(one.time for one in seen if one.place.name == "Bloomsbury")
        assert counted[2] == unix_microseconds(first)
        assert counted[3] == "ug/m3"
        (geo,) = db.execute(
            "SELECT value FROM parquet_kv_metadata(?) WHERE key = 'geo'", [str(path)]
        ).fetchone() or (b"",)
    assert json.loads(geo)["version"] == "1.1.0"
    value = pq.read_schema(path).field("value")
    assert value.metadata[b"ucum"] == b"ug/m3"
    assert value.metadata[b"qudt"] == b"http://qudt.org/vocab/unit/MicroGM-PER-M3"


async def test_geojson_gives_the_newest_or_the_results_of_a_time(served: Open) -> None:
    newest = (await served.get("/data/camden/no2.geojson")).json()
    seen = served.city.of("Bloomsbury no2")
    (feature,) = newest["features"]
    assert feature["properties"]["value"] == seen[-1].result
    assert feature["geometry"]["coordinates"] == [seen[-1].place.longitude, seen[-1].place.latitude]
    answer = await served.get(f"/data/camden/no2.geojson{SPAN}")
    assert answer.headers["content-type"] == "application/geo+json"
    places = [feature["geometry"]["coordinates"] for feature in answer.json()["features"]]
    assert places == [[one.place.longitude, one.place.latitude] for one in seen]


async def test_an_interval_of_its_own_is_told_as_it_was(served: Open) -> None:
    first, *_ = served.city.of("Marylebone Road no2")
    began = first.time - timedelta(days=28)
    key = (first.datastream_id, first.time)
    await served.conn.execute(
        "INSERT INTO observation_extra (datastream_id, time, started) VALUES (%s, %s, %s)",
        (*key, began),
    )
    text = (await served.get(f"/data/westminster/no2.csv{SPAN}")).text
    row, after, *_ = csv.DictReader(io.StringIO(text))
    answer = await served.get(f"/sosa/observations{SPAN}&datastream={key[0]}&limit=1")
    await served.conn.execute(
        "DELETE FROM observation_extra WHERE datastream_id = %s AND time = %s", key
    )
    assert datetime.fromisoformat(row["interval_start"]) == began
    assert row["value"] == repr(first.result)
    hour = datetime.fromisoformat(after["time"]) - datetime.fromisoformat(after["interval_start"])
    assert hour == timedelta(hours=1)
    (member,) = answer.json()["@graph"][0]["hasMember"]
    start = member["phenomenonTime"]["hasBeginning"]["inXSDDateTimeStamp"]
    assert datetime.fromisoformat(start) == began


async def test_states_and_faults_are_told_as_text(served: Open) -> None:
    text = (await served.get(f"/data/westminster/bay_occupied.csv{SPAN}")).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["result"] for row in rows] == ["true", "false", "true", "fault", "", "false"]
    assert [row["value"] for row in rows] == ["", "", "", "", "7.0", ""]


# pyshacl itself still uses what rdflib has renamed.
@pytest.mark.filterwarnings(r"ignore:Dataset\..* is deprecated:DeprecationWarning")
async def test_the_catalogue_is_valid_and_what_it_names_is_there(served: Open) -> None:
    graph = Graph().parse(data=(await served.get("/catalogue.ttl")).text, format="turtle")
    for shapes in ("shapes.ttl", "range.ttl"):
        conforms, _, text = pyshacl.validate(graph, shacl_graph=str(SHAPES / shapes))
        assert conforms, text
    found = {str(each) for each in graph.subjects(RDF.type, DCAT.Dataset)}
    assert f"{ROOT}/catalogue/westminster/laeq" in found  # open, though nothing was observed yet
    assert f"{ROOT}/catalogue/camden/no2" in found
    for address in sorted({str(url) for url in graph.objects(predicate=DCAT.downloadURL)}):
        assert (await served.client.head(address)).status_code == 200, address
    for address in sorted(found):
        one = await served.get(address, "text/turtle")
        assert (URIRef(address), RDF.type, DCAT.Dataset) in Graph().parse(data=one.text)


async def test_the_catalogue_comes_as_asked_for(served: Open) -> None:
    assert (await served.get("/catalogue")).headers["content-type"] == LDJSON
    for accept in ("text/turtle", "text/turtle;q=0.9, application/ld+json;q=0.1"):
        answer = await served.get("/catalogue/camden", accept)
        assert answer.headers["content-type"] == "text/turtle; charset=utf-8"
        assert "Westminster" not in answer.text
    document = (await served.get("/data.json")).json()
    assert {each["publisher"]["name"] for each in document["dataset"]} == {"Camden", "Westminster"}


async def test_pages_of_observations_lead_to_each_other_and_keep_old_places(served: Open) -> None:
    number = served.city.datastreams["Bloomsbury no2"]
    url = f"/sosa/observations{SPAN}&datastream={number}&limit=10"
    graph, pages = Graph(), 0
    while url:
        answer = await served.get(url, "text/turtle")
        graph.parse(data=answer.text, format="turtle")
        pages += 1
        link = re.fullmatch(r'<(.+)>; rel="next"', answer.headers.get("link", ""))
        url = link[1] if link else ""
    assert pages == 5
    seen = served.city.of("Bloomsbury no2")
    observations = set(graph.subjects(RDF.type, SOSA.Observation))
    assert len(observations) == len(seen)
    for one in (seen[0], seen[-1]):
        subject = URIRef(f"{ROOT}/sensorthings/v1.1/Observations('{one.id}')")
        place = graph.value(subject, SOSA.hasFeatureOfInterest)
        assert str(place).endswith(f"Locations({one.place.location_id})")
        assert float(str(graph.value(subject, SOSA.hasSimpleResult))) == one.result


async def test_linked_data_is_found_where_it_says(served: Open) -> None:
    number = served.city.datastreams["Bloomsbury no2"]
    document = (await served.get(f"/sosa/observations{SPAN}&datastream={number}")).json()
    context = (await served.get(document["@context"])).json()["@context"]
    assert context["sosa"] == str(SOSA)
    own = {
        iri
        for node in document["@graph"]
        for iri in [*node.get("observes", []), *node.get("implements", [])]
    }
    assert len(own) > 1
    for iri in own:
        (node,) = (await served.get(iri)).json()["@graph"]
        assert node["id"] == iri
    thing, sensor = served.city.things["Bloomsbury"], served.city.sensors["Thermometer"]
    platform = (await served.get(f"/sosa/platforms/{thing}")).json()["@graph"]
    assert sum(node["type"] == "Deployment" for node in platform) == 2
    sensors = (await served.get(f"/sosa/sensors/{sensor}")).json()["@graph"]
    assert sensors[0]["label"] == "Thermometer"


async def test_what_is_restricted_is_nowhere(served: Open) -> None:
    number = served.city.datastreams["Marylebone Road no2"]
    thing = served.city.things["Marylebone Road"]
    hidden = [
        "/catalogue/westminster/no2",
        f"/data/westminster/no2.csv{SPAN}",
        "/data/westminster/no2.geojson",
        f"/data/westminster/no2.parquet{SPAN}",
        "/data/westminster/no2.csv-metadata.json",
        f"/sosa/observations?datastream={number}",
        f"/sosa/platforms/{thing}",
    ]
    for url in hidden:
        await served.get(url)
    async with served.restricted("Marylebone Road"):
        for url in hidden:
            await served.refused(url, 404)
        for url in ("/catalogue", "/data.json", "/open-data"):
            assert "Marylebone" not in (await served.get(url)).text
            assert "/westminster/no2" not in (await served.get(url)).text
    unapproved = served.city.datastreams["Secret no2"]
    await served.refused(f"/sosa/observations?datastream={unapproved}", 404)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("/data/camden/no2.csv?from=yesterday", "from"),
        ("/data/camden/no2.csv?to=2026-13-01", "to"),
        ("/data/camden/no2.csv?from=2026-03-02&to=2026-03-01", "to"),
        ("/data/camden/no2.csv?from=2026-01-01&to=2026-03-01", "from"),
        ("/data/camden/no2.parquet?from=2020-01-01&to=2026-03-01", "from"),
        ("/data/camden/no2.csv?to=0001-01-01", "to"),
        ("/data/camden/no2.geojson?datastream=x", "datastream"),
        ("/data/camden/no2.geojson?thing=-1", "thing"),
        ("/data/camden/no2.csv?until=2026-03-01", "until"),
        ("/sosa/observations?datastream=1&limit=0", "limit"),
        ("/sosa/observations?datastream=1&limit=1001", "limit"),
        ("/sosa/observations?datastream=1&datastream=2", "datastream"),
        ("/sosa/observations?datastream=1&after=x", "after"),
        ("/sosa/observations", "datastream"),
        ("/catalogue?page=2", "page"),
        ("/data.json?q=x", "q"),
    ],
)
async def test_a_wrong_parameter_is_named(served: Open, url: str, name: str) -> None:
    assert f"“{name}”" in await served.refused(url, 400)


@pytest.mark.parametrize(
    "url",
    [
        "/data/camden/gold.csv",
        "/data/atlantis/no2.csv",
        "/data/cam%00den/no2.csv",
        "/data/camden/no%002.csv",
        "/data/camden/no2.xlsx",
        "/data/camden/no2",
        "/data/camden/no2.csv?datastream=999999",
        "/catalogue/atlantis",
        "/catalogue/camden/gold",
        "/catalogue/%00",
        "/catalogue/%00/no2",
        "/catalogue.xml",
        "/sosa/observations?datastream=999999",
        "/sosa/sensors/999999",
        "/sosa/platforms/99999999999999",
        "/sosa/platforms/x",
        "/sosa/properties/gold",
        "/sosa/procedures/guess",
        "/sosa/qualities/lovely",
        f"/data/{quote('a/../b', safe='')}/no2.csv",
    ],
)
async def test_what_is_not_there_is_404(served: Open, url: str) -> None:
    assert await served.refused(url, 404)


async def test_head_says_what_a_file_is_without_making_it(served: Open) -> None:
    answer = await served.client.head(f"/data/camden/no2.parquet{SPAN}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    assert "content-length" not in answer.headers
    assert (await served.client.head("/data/camden/gold.parquet")).status_code == 404


async def test_a_file_too_big_is_refused_with_advice(
    served: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.open_data.files.Form.most_rows", 10, raising=False)
    text = await served.refused(f"/data/camden/no2.csv{SPAN}", 503)
    assert "ask for a shorter time" in text


async def test_the_page_lists_councils_with_files_licences_and_columns(served: Open) -> None:
    answer = await served.get("/open-data", "text/html")
    for words in (
        'href="/data/camden/no2.csv"',
        'href="/data/westminster/laeq.parquet"',
        "Open Government Licence v3.0",
        "Contains data of Camden",
        "interval_start",
    ):
        assert words in answer.text
    assert MOVED_AT > START


async def test_sensorthings_and_files_tell_the_same_place_of_a_thing_that_moved(
    served: Open,
) -> None:
    seen = served.city.of("Bloomsbury no2")
    stream = seen[0].datastream_id
    page = await served.get(
        f"/sensorthings/v1.1/Datastreams({stream})/Observations?$top=100&$expand=FeatureOfInterest"
    )
    told = {
        one["@iot.id"]: one["FeatureOfInterest"]["feature"]["coordinates"]
        for one in page.json()["value"]
    }
    document = (await served.get(f"/data/camden/no2.geojson{SPAN}")).json()
    files = {
        one["id"]: one["geometry"]["coordinates"]
        for one in document["features"]
        if one["properties"]["datastream_id"] == stream
    }
    assert files == told
    assert len(files) == len(seen)
    assert len({tuple(point) for point in files.values()}) == 2
