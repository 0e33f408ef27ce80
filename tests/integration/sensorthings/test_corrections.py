"""A signed result that is corrected: every surface tells the signed one, and the correction."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from command_line.__main__ import main
from standards_mapping.linked_data import instant
from storage.database import query
from storage.rollups import hourly, refresh_rollups
from tests.integration.conftest import DatabaseServer
from tests.integration.sensorthings.writing import Json, Writing, serve_writing
from tests.simulators.registry import Seen

CORRECTED = 12.5
FLAG = 64


@pytest.fixture(scope="module")
async def centre(database_server: DatabaseServer) -> AsyncIterator[Writing]:
    dsn = await database_server.create()
    async with serve_writing(dsn) as writing:
        await writing.conn.execute(query("reconcile_latest"))
        yield writing
    await database_server.drop(dsn)


@pytest.fixture(scope="module")
async def seen(centre: Writing) -> Seen:
    """The newest result of a site, unflagged, signed and twice corrected."""
    newest = max(centre.city.of("Bloomsbury no2"), key=lambda one: one.time)
    assert newest.quality == 0
    for result in (1.0, CORRECTED):
        body = {"result": result, "parameters": {"corrects": newest.id, "reason": "zero drift"}}
        path = f"Datastreams({newest.datastream_id})/Observations"
        answer = await centre.camden.post(path, json=body)
        assert answer.status_code == 201, answer.text
    return newest


async def read(centre: Writing, path: str, accept: str = "*/*") -> bytes:
    answer = await centre.anybody.get(f"http://localhost{path}", headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return answer.content


async def read_json(centre: Writing, path: str) -> Json:
    answer = await centre.anybody.get(f"http://localhost{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def span(seen: Seen) -> str:
    return f"from={instant(seen.time)}&to={instant(seen.time + timedelta(seconds=1))}"


async def test_sensorthings_tells_both(centre: Writing, seen: Seen) -> None:
    found = await centre.get(f"Observations('{seen.id}')")
    assert found["result"] == seen.result
    assert found["resultQuality"] == {"code": FLAG, "flags": ["corrected"]}
    assert found["parameters"]["corrected"]["result"] == CORRECTED


async def test_every_correction_can_be_read(centre: Writing, seen: Seen) -> None:
    told = await centre.anybody.get(f"Observations('{seen.id}')/versions")
    assert told.status_code == 200, told.text
    first, *later = told.json()["value"]
    assert (first["version"], first["result"]) == (1, seen.result)
    assert "reason" not in first
    assert [(one["version"], one["result"], one["reason"]) for one in later] == [
        (2, 1.0, "zero drift"),
        (3, CORRECTED, "zero drift"),
    ]
    assert "actor" not in told.text
    other = min(centre.city.of("Bloomsbury no2"), key=lambda one: one.time)
    assert await centre.get(f"Observations('{other.id}')/versions") == {"value": []}
    refused = {
        "Things(1)/versions": 404,
        "Observations/versions": 404,
        "Observations('1-1')/versions": 404,
        f"Observations('{seen.id}')/versions?$top=1": 400,
    }
    for path, status in refused.items():
        assert (await centre.anybody.get(path)).status_code == status, path


async def test_a_member_may_be_called_versions(centre: Writing) -> None:
    body = {"name": "Told twice", "description": "-", "properties": {"versions": [1, 2]}}
    made = await centre.create("Things", body)
    path = f"Things({made['@iot.id']})/properties/versions"
    assert await centre.get(path) == {"versions": [1, 2]}


async def test_versions_of_restricted_observations_are_their_readers(
    centre: Writing, seen: Seen
) -> None:
    path = f"Observations('{seen.id}')/versions"
    try:
        await centre.conn.execute(
            "UPDATE datastream SET access = 'restricted' WHERE id = %s", (seen.datastream_id,)
        )
        assert (await centre.anybody.get(path)).status_code == 404
        assert (await centre.westminster.get(path)).status_code == 404
        assert len((await centre.get(path))["value"]) == 3
    finally:
        await centre.conn.execute(
            "UPDATE datastream SET access = 'open' WHERE id = %s", (seen.datastream_id,)
        )


async def test_open_files_tell_both(centre: Writing, seen: Seen, tmp_path: Path) -> None:
    told = (seen.result, FLAG, CORRECTED, None)
    names = ("value", "quality", "corrected_value", "corrected_result")
    text = (await read(centre, f"/data/camden/no2.csv?{span(seen)}")).decode()
    [row] = [
        one
        for one in csv.DictReader(io.StringIO(text))
        if one["datastream_id"] == str(seen.datastream_id)
    ]
    assert [row[name] for name in names] == ["" if cell is None else str(cell) for cell in told]
    document = await read_json(centre, f"/data/camden/no2.geojson?{span(seen)}")
    [feature] = [one for one in document["features"] if one["id"] == seen.id]
    assert tuple(feature["properties"][name] for name in names) == told
    path = tmp_path / "no2.parquet"
    path.write_bytes(await read(centre, f"/data/camden/no2.parquet?{span(seen)}"))
    rows = pq.read_table(path).to_pylist()
    [cells] = [one for one in rows if one["datastream_id"] == seen.datastream_id]
    assert tuple(cells[name] for name in names) == told


async def test_the_metadata_of_files_allows_every_flag(centre: Writing, seen: Seen) -> None:
    document = await read_json(centre, "/data/camden/no2.csv-metadata.json")
    columns = {column["name"]: column for column in document["tableSchema"]["columns"]}
    assert columns["quality"]["datatype"]["maximum"] >= seen.quality | FLAG


async def test_closed_days_tell_both(centre: Writing, seen: Seen, tmp_path: Path) -> None:
    while await refresh_rollups(centre.conn):
        pass
    words = ["data", "export", centre.dsn, str(tmp_path), "--json"]
    assert await asyncio.to_thread(main, words) == 0
    day = tmp_path / f"council=camden/day={seen.time:%Y-%m-%d}/observations.parquet"
    [row] = [
        one
        for one in pq.read_table(day).to_pylist()
        if (one["datastream_id"], one["time"]) == (seen.datastream_id, seen.time)
    ]
    told = (row["value"], row["quality"], row["corrected_value"], row["corrected_result"])
    assert told == (seen.result, FLAG, CORRECTED, None)


async def test_sosa_tells_both(centre: Writing, seen: Seen) -> None:
    path = f"/sosa/observations?datastream={seen.datastream_id}&{span(seen)}"
    document = await read_json(centre, path)
    [found] = [one for one in document["@graph"] if one["type"] == "Observation"] or [
        member
        for one in document["@graph"]
        if one["type"] == "ObservationCollection"
        for member in one["hasMember"]
    ]
    assert found["hasSimpleResult"] == found["hasResult"]["numericValue"] == seen.result
    assert found["hadRevision"]["numericValue"] == CORRECTED
    assert found["hadRevision"]["unit"] == found["hasResult"]["unit"]
    [flag] = found["resultQuality"]
    assert flag.endswith("/corrected")


async def test_ngsi_ld_tells_both_now_and_in_the_history(centre: Writing, seen: Seen) -> None:
    found = await read_json(centre, "/ngsi-ld/v1/entities?type=AirQualityObserved&attrs=no2")
    newest = [
        one
        for entity in found
        for one in (entity["no2"] if isinstance(entity["no2"], list) else [entity["no2"]])
        if "corrected" in one
    ]
    [value] = newest
    assert (value["value"], value["corrected"]["value"]) == (seen.result, CORRECTED)
    assert value["corrected"]["unitCode"] == value["unitCode"]
    before = instant(seen.time - timedelta(seconds=1))
    found = await read_json(
        centre,
        "/ngsi-ld/v1/temporal/entities?type=AirQualityObserved&attrs=no2"
        f"&timerel=after&timeAt={before}",
    )
    history = [one for entity in found for one in entity["no2"] if "corrected" in one]
    assert [(one["value"], one["corrected"]["value"]) for one in history] == [
        (seen.result, CORRECTED)
    ]


async def test_rollups_and_latest_go_on_counting_what_was_signed(
    centre: Writing, seen: Seen
) -> None:
    while await refresh_rollups(centre.conn):
        pass
    hour = seen.time - timedelta(hours=1)
    [found] = await hourly(centre.conn, [seen.datastream_id], hour, seen.time)
    assert (found.summary.n, found.value) == (1, seen.result)
    assert await centre.rows(
        "SELECT value, quality FROM latest WHERE datastream_id = %s", seen.datastream_id
    ) == [(seen.result, FLAG)]
