"""Observations that are kept by hand, their history, and corrections of what is signed."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from command_line.__main__ import main
from device_protocol.description import GatewayDescription, Thing
from standards_mapping.sensorthings.model import ObservationId
from storage.archive.backup import back_up
from storage.archive.backup_file import read
from storage.archive.restore import restore
from storage.database import connect
from storage.descriptions import Describer, store_description
from storage.rollups import hourly, refresh_rollups
from tests.integration.sensorthings.writing import ROOT, Writing

NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)


def _quietly(_done: int, _total: int) -> None:
    """Progress that nobody looks at."""


async def refresh(centre: Writing) -> None:
    while await refresh_rollups(centre.conn):
        pass


async def hour_of(centre: Writing, stream: int, start: datetime) -> tuple[int, float | None] | None:
    """Return how many results the rollup of an hour counts, and their mean."""
    await refresh(centre)
    found = await hourly(centre.conn, [stream], start, start + timedelta(hours=1))
    return (found[0].summary.n, found[0].value) if found else None


async def test_an_observation_reaches_latest_and_rollups_like_any_other(centre: Writing) -> None:
    _, stream = await centre.survey()
    url = f"Datastreams({stream})/Observations"
    for minute, result in ((10, 20), (40, 30.5)):
        at = (NOON + timedelta(minutes=minute)).isoformat()
        await centre.create(url, {"result": result, "phenomenonTime": at})
    assert await hour_of(centre, stream, NOON) == (2, 25.25)
    assert await centre.rows("SELECT value FROM latest WHERE datastream_id = %s", stream) == [
        (30.5,)
    ]
    page = await centre.anybody.get("http://localhost/", headers={"Accept": "text/html"})
    assert f'id="v{stream}"' in page.text


async def test_the_pages_show_a_site_without_a_gateway(centre: Writing) -> None:
    thing, stream = await centre.survey("Tubes of Camden")
    await centre.create(f"Datastreams({stream})/Observations", {"result": 33})
    page = await centre.anybody.get(
        f"http://localhost/sites/{thing}", headers={"Accept": "text/html"}
    )
    assert page.status_code == 200
    assert "has no gateway" in page.text
    csv = await centre.anybody.get(f"http://localhost/sites/{thing}/values.csv")
    assert csv.status_code == 200
    assert ",33" in csv.text


async def test_a_change_keeps_the_version_before_it(centre: Writing) -> None:
    _, stream = await centre.survey()
    seen = await centre.create(
        f"Datastreams({stream})/Observations",
        {"result": 300, "phenomenonTime": NOON.isoformat(), "parameters": {"lab": "B"}},
    )
    url = seen["@iot.selfLink"]
    assert seen["parameters"] == {"lab": "B"}
    assert (await centre.get(f"Datastreams({stream})/Observations"))["value"] == [seen]
    assert await hour_of(centre, stream, NOON) == (1, 300)
    (version,) = await centre.rows("SELECT version FROM changed_day WHERE day = %s", NOON.date())
    change = {"result": 30.0, "resultQuality": {"flags": ["suspect"]}}
    changed = await centre.camden.patch(url, json=change | {"resultTime": NOON.isoformat()})
    assert changed.status_code == 200, changed.text
    assert changed.json()["result"] == 30
    assert changed.json()["resultQuality"] == {"code": 8, "flags": ["suspect"]}
    assert changed.json()["parameters"] == {"lab": "B"}
    assert await hour_of(centre, stream, NOON) == (1, 30)
    (later,) = await centre.rows("SELECT version FROM changed_day WHERE day = %s", NOON.date())
    assert later > version
    assert await centre.rows("SELECT value FROM latest WHERE datastream_id = %s", stream) == [(30,)]
    history = await centre.rows(
        "SELECT version, value, quality, deleted, actor <> '' FROM observation_version"
        " WHERE datastream_id = %s ORDER BY version",
        stream,
    )
    assert history == [(1, 300, 0, False, False), (2, 30, 8, False, True)]

    moved = await centre.camden.patch(url, json={"phenomenonTime": "2026-04-02T00:00:00Z"})
    assert moved.status_code == 409
    assert (await centre.camden.delete(url)).status_code == 200
    assert (await centre.camden.get(url)).status_code == 404
    assert await hour_of(centre, stream, NOON) is None
    assert not await centre.rows("SELECT FROM latest WHERE datastream_id = %s", stream)
    [(deleted,)] = await centre.rows(
        "SELECT deleted FROM observation_version WHERE datastream_id = %s AND version = 3", stream
    )
    assert deleted


async def test_a_valid_time_is_kept_found_changed_and_taken_away(centre: Writing) -> None:
    _, stream = await centre.survey()
    path = f"Datastreams({stream})/Observations"
    year, day = "2026-01-01T00:00:00Z/2027-01-01T00:00:00Z", "2026-05-06T00:00:00Z"
    bodies: tuple[dict[str, object], ...] = (
        {"validTime": "2026-01-01T01:00:00+01:00/2027-01-01T00:00:00Z", "parameters": {"lab": "B"}},
        {"validTime": day},
        {},
    )
    told = [
        await centre.create(
            path, {"result": at, "phenomenonTime": (NOON + timedelta(hours=at)).isoformat()} | body
        )
        for at, body in enumerate(bodies)
    ]
    assert [one.get("validTime") for one in told] == [year, day, None]
    for query in ("", "?$top=3", "?$expand=Datastream($select=id)"):
        page = (await centre.get(path + query))["value"]
        assert [one.get("validTime") for one in page] == [year, day, None]
    for query, found in (
        ("$filter=validTime gt 2026-02-01T00:00:00Z", [1]),
        ("$orderby=validTime desc", [0, 1, 2]),
    ):
        page = (await centre.get(f"{path}?{query}"))["value"]
        assert [one["result"] for one in page] == found, query
    url = told[0]["@iot.selfLink"]
    for change, expected in (
        ({"parameters": {"lab": "C"}}, year),
        ({"validTime": day}, day),
        ({"validTime": None}, None),
    ):
        answer = await centre.camden.patch(url, json=change)
        assert answer.status_code == 200, answer.text
        assert answer.json().get("validTime") == expected
        assert answer.json()["parameters"]["lab"] == "C"
    for wrong in ("yesterday", "2026-13-45T00:00:00Z"):
        for body in ({"validTime": wrong}, {"parameters": {"validTime": wrong}}):
            assert (await centre.camden.patch(url, json=body)).status_code == 400


async def test_deleting_the_newest_leaves_the_one_before_as_latest(centre: Writing) -> None:
    _, stream = await centre.survey()
    url = f"Datastreams({stream})/Observations"
    await centre.create(url, {"result": 1, "phenomenonTime": NOON.isoformat()})
    newest = await centre.create(
        url, {"result": 2, "phenomenonTime": (NOON + timedelta(days=40)).isoformat()}
    )
    assert (await centre.camden.delete(newest["@iot.selfLink"])).status_code == 200
    assert await centre.rows("SELECT value FROM latest WHERE datastream_id = %s", stream) == [(1,)]


async def test_a_request_may_be_repeated_but_not_contradicted(centre: Writing) -> None:
    _, stream = await centre.survey()
    url = f"Datastreams({stream})/Observations"
    body = {"result": 7, "phenomenonTime": NOON.isoformat()}
    first = await centre.create(url, body)
    assert await centre.create(url, body) == first
    other = await centre.camden.post(url, json=body | {"result": 8})
    assert other.status_code == 409
    assert (await centre.get(first["@iot.selfLink"]))["result"] == 7


async def test_results_suit_their_datastream(centre: Writing) -> None:
    _, numbers = await centre.survey()
    for result in ("12", True, None, [1], {"a": 1}):
        answer = await centre.camden.post(
            f"Datastreams({numbers})/Observations", json={"result": result}
        )
        assert answer.status_code == 400, answer.text
    for wrong in (
        "yesterday",
        "2026-04-01",
        "2026-04-01T12:00:00",
        "2026-04-02T00:00Z/2026-04-01T00:00Z",
    ):
        answer = await centre.camden.post(
            f"Datastreams({numbers})/Observations", json={"result": 1, "phenomenonTime": wrong}
        )
        assert answer.status_code == 400, answer.text
    url = f"Datastreams({numbers})"
    await centre.create(f"{url}/Observations", {"result": 1})
    unit = {"unitOfMeasurement": {"name": None, "symbol": "mg/m3", "definition": None}}
    assert (await centre.camden.patch(url, json=unit)).status_code == 409
    nonsense = {"unitOfMeasurement": {"name": "x", "symbol": "furlong", "definition": None}}
    answer = await centre.camden.patch(url, json=nonsense)
    assert answer.status_code == 400
    assert "furlong" in answer.json()["message"]


async def test_no_number_is_kept_as_another_one(centre: Writing) -> None:
    _, stream = await centre.survey()
    url = f"Datastreams({stream})/Observations"
    for number in (2**53 + 1, 2**64):
        for body in ({"result": number}, {"result": 1, "parameters": {"serial": 2**64 + number}}):
            answer = await centre.camden.post(url, json=body)
            assert answer.status_code == 400, answer.text
            assert "send it less precise, or as a text" in answer.json()["message"]
    batch = {"requests": [{"id": "1", "method": "POST", "url": url, "body": {"result": 2**53 + 1}}]}
    answer = await centre.camden.post("$batch", json=batch)
    assert answer.json()["responses"][0]["status"] == 400
    assert (await centre.get(url))["value"] == []
    kept = {"result": 2**60, "parameters": {"serial": 2**53 + 1, "other": 2**64 - 1}}
    made = await centre.create(url, kept)
    for found in (made, *(await centre.get(url))["value"]):
        assert {name: found[name] for name in kept} == kept


async def test_what_is_signed_is_never_altered_and_corrected_beside_it(centre: Writing) -> None:
    seen = centre.city.of("Bloomsbury no2")[2]
    url = f"Observations('{seen.id}')"
    stored = "SELECT value FROM observation WHERE datastream_id = %s AND time = %s"
    key = (seen.datastream_id, seen.time)
    before = await centre.rows(stored, *key)
    for answer in (
        await centre.camden.patch(url, json={"result": 1}),
        await centre.camden.put(url, json={"result": 1}),
        await centre.camden.delete(url),
        await centre.camden.post(
            f"Datastreams({seen.datastream_id})/Observations", json={"result": 1}
        ),
    ):
        assert answer.status_code == 409, answer.text
        assert "gateway camden-gateway" in answer.json()["message"]
    body = {"result": 12.5, "parameters": {"corrects": seen.id}}
    path = f"Datastreams({seen.datastream_id})/Observations"
    assert "reason" in (await centre.camden.post(path, json=body)).json()["message"]
    assert (await centre.westminster.post(path, json=body)).status_code == 403
    for result, version in ((12.5, 2), (13.0, 3)):
        parameters = {"corrects": seen.id, "reason": "the inlet was blocked"}
        answer = await centre.camden.post(path, json={"result": result, "parameters": parameters})
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] == f"{ROOT}/{url}"
        found = await centre.get(url)
        assert found["result"] == seen.result
        assert "corrected" in found["resultQuality"]["flags"]
        told = found["parameters"]["corrected"]
        assert (told["result"], told["version"]) == (result, version)
        assert told["reason"] == "the inlet was blocked"
    assert await centre.rows(stored, *key) == before
    history = await centre.rows(
        "SELECT version, value, reason FROM observation_version"
        " WHERE datastream_id = %s AND time = %s ORDER BY version",
        *key,
    )
    assert history == [
        (1, seen.result, ""),
        (2, 12.5, "the inlet was blocked"),
        (3, 13.0, "the inlet was blocked"),
    ]


async def test_a_data_array_answers_for_each_row_in_order(centre: Writing) -> None:
    _, stream = await centre.survey()
    _, other = await centre.survey()
    signed = centre.city.datastreams["Bloomsbury no2"]
    times = [(NOON + timedelta(hours=hour)).isoformat() for hour in range(3)]
    answer = await centre.camden.post(
        "CreateObservations",
        json=[
            {
                "Datastream": {"@iot.id": stream},
                "components": ["phenomenonTime", "result", "FeatureOfInterest/id"],
                "dataArray@iot.count": 5,
                "dataArray": [
                    [times[0], 10, None],
                    [times[1], "much", None],
                    [times[2], 12, None],
                    [times[2], 13, None],
                    [times[0], 10],
                ],
            },
            {
                "Datastream": {"@iot.id": signed},
                "components": ["result"],
                "dataArray": [[1]],
            },
            {
                "Datastream": {"@iot.id": other},
                "components": ["phenomenonTime", "result"],
                "dataArray": [[times[0], 4.5]],
            },
        ],
    )
    assert answer.status_code == 201, answer.text
    told = answer.json()
    ids = [
        ObservationId.of(stream, NOON),
        ObservationId.of(stream, NOON + timedelta(hours=2)),
        ObservationId.of(other, NOON),
    ]
    links = [f"{ROOT}/Observations('{one}')" for one in ids]
    assert [told[0], told[2], told[6]] == links
    assert [row.startswith("error") for row in told] == [
        False,
        True,
        False,
        True,
        True,
        True,
        False,
    ]
    found = await centre.get(f"Datastreams({stream})/Observations")
    assert [one["result"] for one in found["value"]] == [10, 12]
    assert await hour_of(centre, stream, NOON) == (1, 10)
    repeated = await centre.camden.post(
        "CreateObservations",
        json=[
            {
                "Datastream": {"@iot.id": other},
                "components": ["phenomenonTime", "result"],
                "dataArray": [[times[0], 4.5], [times[1], 5]],
            }
        ],
    )
    assert not [row for row in repeated.json() if row.startswith("error")]


async def test_a_data_array_of_many_rows_is_stored_at_once(centre: Writing) -> None:
    _, stream = await centre.survey()
    rows = [[(NOON + timedelta(minutes=n)).isoformat(), n / 10] for n in range(5000)]
    answer = await centre.camden.post(
        "CreateObservations",
        json=[
            {
                "Datastream": {"@iot.id": stream},
                "components": ["phenomenonTime", "result"],
                "dataArray": rows,
            }
        ],
    )
    assert len(set(answer.json())) == 5000
    counted = await centre.get(f"Datastreams({stream})/Observations?$count=true&$top=0")
    assert counted["@iot.count"] == 5000


async def test_exports_and_backups_hold_what_is_kept_by_hand(
    centre: Writing, tmp_path: Path, empty_dsn: str
) -> None:
    _, stream = await centre.survey()
    day = datetime(2024, 5, 6, tzinfo=UTC)
    interval = f"{(day - timedelta(days=28)).isoformat()}/{day.isoformat()}"
    url = f"Datastreams({stream})/Observations"
    seen = await centre.create(url, {"result": 40, "phenomenonTime": interval})
    assert (await centre.camden.patch(seen["@iot.selfLink"], json={"result": 41})).is_success
    await refresh(centre)
    exported = tmp_path / "export"
    words = ["data", "export", centre.dsn, str(exported), "--json"]
    assert await asyncio.to_thread(main, words) == 0
    table = pq.read_table(exported / "council=camden/day=2024-05-06/observations.parquet")
    assert [(row["datastream_id"], row["value"]) for row in table.to_pylist()] == [(stream, 41.0)]

    file = tmp_path / "backup"
    await back_up(centre.dsn, file, _quietly)
    with read(file) as backup:
        await restore(empty_dsn, backup, _quietly, replace=False)
    async with await connect(empty_dsn, application_name="test") as conn:
        cursor = await conn.execute(
            "SELECT v.version, v.value, x.started FROM observation_version v"
            " JOIN observation_extra x USING (datastream_id, time)"
            " WHERE datastream_id = %s ORDER BY 1",
            (stream,),
        )
        began = day - timedelta(days=28)
        assert await cursor.fetchall() == [(1, 40.0, began), (2, 41.0, began)]


async def test_a_gateway_does_not_take_over_what_is_kept_by_hand(centre: Writing) -> None:
    urn = "urn:x-survey:ours"
    made = await centre.create(
        "Things", {"name": "Ours", "description": "-", "properties": {"urn": urn}}
    )
    described = Thing(
        urn=urn,
        name="Theirs",
        description="-",
        place_name="There",
        longitude=-0.1,
        latitude=51.5,
        properties={},
        sensors=(),
    )
    [(gateway, council)] = await centre.rows("SELECT id, council_id FROM gateway LIMIT 1")
    describer = Describer(gateway_id=gateway, council_id=council, described_at=1_700_000_000)
    found = await store_description(
        centre.conn, describer, GatewayDescription(things=(described,)), b"x"
    )
    [(conflicting, why)] = found.conflicts
    assert conflicting == urn
    assert "kept by hand" in why
    assert (await centre.get(made["@iot.selfLink"]))["name"] == "Ours"


async def test_malformed_data_arrays_are_refused(centre: Writing) -> None:
    bodies: tuple[object, ...] = (
        {},
        [1],
        [{"Datastream": {"@iot.id": "1"}, "components": ["result"], "dataArray": []}],
        [{"Datastream": {"@iot.id": 1}, "components": ["colour"], "dataArray": []}],
        [{"Datastream": {"@iot.id": 1}, "components": ["result"], "dataArray": {}}],
    )
    for body in bodies:
        answer = await centre.camden.post("CreateObservations", json=body)
        assert answer.status_code == 400, answer.text
    assert (await centre.camden.patch("CreateObservations", json=[])).status_code == 405
