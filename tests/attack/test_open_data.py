"""A stranger, and a council's key, at the doors that the open standards have: over HTTP.

Whatever they try, what is restricted stays unknown, another council's entities stay its own, and
everybody else is answered.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api.sensorthings import answer as answering
from api.sensorthings import batch
from api.service import open_app
from api.settings import ApiSettings, RateLimitSettings
from standards_mapping.sensorthings import batch as batch_form
from standards_mapping.sensorthings.geometry import relate
from storage.access import set_access
from storage.api_keys import add_key, draw_key
from storage.sensorthings import geometry
from tests.integration.conftest import DatabaseServer
from tests.integration.sensorthings.writing import (
    ROOT,
    SENSOR,
    Json,
    Writing,
    datastream_body,
    location_body,
    serve_writing,
    thing_body,
)

HIDDEN = "Canary wren"
GUESSES = (HIDDEN, HIDDEN[:6], "Qzqzqz")

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


@pytest.fixture(scope="module")
async def centre(database_server: DatabaseServer) -> AsyncIterator[Writing]:
    dsn = await database_server.create()
    async with serve_writing(dsn) as writing:
        yield writing
    await database_server.drop(dsn)


async def hide(centre: Writing) -> int:
    """Keep a Thing whose only datastream is restricted, both with a name that tells; its id."""
    thing, datastream = await centre.survey(HIDDEN)
    await centre.conn.execute("UPDATE datastream SET name = %s WHERE id = %s", (HIDDEN, datastream))
    await set_access(
        centre.conn, tenant="camden", access="restricted", datastream_id=datastream, actor="test"
    )
    return thing


async def failing(client: httpx.AsyncClient, kind: str, path: str, guess: str) -> httpx.Response:
    """Ask for what cannot be computed of a text that holds the guess, and only of that."""
    far = f"indexof({path},'{guess}') mul 9999999999"
    return await client.get(kind, params={"$filter": f"substring({path},{far}) eq 'x'"})


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Datastreams", "name"),
        ("Things", "name"),
        ("Things", "Datastreams/name"),
        ("Sensors", "Datastreams/name"),
        ("Datastreams", "Thing/name"),
        ("HistoricalLocations", "Thing/name"),
        ("Observations", "Datastream/name"),
    ],
)
async def test_learn_what_is_restricted_from_an_error(
    centre: Writing, kind: str, path: str
) -> None:
    await hide(centre)
    told = [await failing(centre.anybody, kind, path, guess) for guess in GUESSES]
    assert [answer.status_code for answer in told] == [200, 200, 200], told[0].text
    seen = await failing(centre.anybody, kind, path, "a")
    assert seen.status_code == 400, "what may be seen cannot be computed either, and says so"


async def test_hang_a_datastream_on_another_councils_thing(centre: Writing) -> None:
    made = await centre.westminster.post("Things", json=thing_body("Theirs"))
    theirs = made.json()["@iot.id"]
    stream = datastream_body() | {
        "Thing": {"@iot.id": theirs},
        "ObservedProperty": {"@iot.id": centre.city.properties["no2"]},
    }
    before = await centre.rows("SELECT count(*) FROM datastream")
    refused = await centre.camden.post("Sensors", json=SENSOR | {"Datastreams": [stream]})
    assert refused.status_code == 403, refused.text
    by_both = await centre.region.post(
        "Sensors",
        json=SENSOR | {"properties": {"council": "E09000007"}, "Datastreams": [stream]},
    )
    assert by_both.status_code == 400, "of two councils, whoever may write for both"
    assert await centre.rows("SELECT count(*) FROM datastream") == before


async def test_show_another_councils_restricted_place_with_open_data(centre: Writing) -> None:
    feature = {
        "name": HIDDEN,
        "description": "-",
        "encodingType": "application/geo+json",
        "feature": {"type": "Point", "coordinates": [-0.15, 51.5]},
    }
    made = await centre.westminster.post("FeaturesOfInterest", json=feature)
    assert made.status_code == 201
    theirs = made.json()["@iot.id"]
    thing = await centre.create("Things", {"name": "Nowhere", "description": "-"})
    sensor = await centre.create("Sensors", SENSOR)
    stream = await centre.create(
        "Datastreams",
        datastream_body(),
        Thing=thing["@iot.id"],
        Sensor=sensor["@iot.id"],
        ObservedProperty=centre.city.properties["no2"],
    )
    link: Json = {"@iot.id": theirs}
    observation = {"result": 1, "FeatureOfInterest": link}
    refused = await centre.camden.post(
        f"Datastreams({stream['@iot.id']})/Observations", json=observation
    )
    assert refused.status_code == 400, refused.text
    assert await centre.rows(
        "SELECT feature_of_interest_id FROM datastream WHERE id = %s", stream["@iot.id"]
    ) == [(None,)]


async def test_keep_everybody_waiting_with_geometries(
    centre: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await centre.create("Locations", location_body())
    begun, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slowly(*given: object, **named: object) -> object:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(timeout=30)
        return relate(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(geometry, "relate", slowly)
    where = "st_within(location, geography'POLYGON ((-1 51, 1 51, 1 52, -1 52, -1 51))')"
    asking = asyncio.create_task(centre.anybody.get("Locations", params={"$filter": where}))
    await asyncio.wait_for(begun.wait(), 30)
    other = await centre.anybody.get("Locations", params={"$top": "1"})
    assert other.status_code == 200
    assert not asking.done()
    go_on.set()
    assert (await asking).json()["value"]


async def test_have_geometries_compared_for_too_long(
    centre: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geometry, "GEOMETRY_SECONDS", 10.0)
    now = time.monotonic()

    class Late:
        @staticmethod
        def monotonic() -> float:
            return now + 1000

    monkeypatch.setattr(geometry, "time", Late)
    where = "geo.distance(location, geography'POINT (-0.1 51.5)') lt 1"
    refused = await centre.anybody.get("Locations", params={"$filter": where})
    assert refused.status_code == 503
    assert "took longer" in refused.json()["message"]


async def test_ask_for_everything_in_one_batch(
    centre: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "READING_BYTES", 1)
    asked = [{"id": str(number), "method": "get", "url": "Things"} for number in range(3)]
    answers = (await centre.anybody.post("$batch", json={"requests": asked})).json()["responses"]
    assert [answer["status"] for answer in answers] == [200, 413, 413]
    monkeypatch.setattr(batch, "READING_SECONDS", -1.0)
    answers = (await centre.anybody.post("$batch", json={"requests": asked})).json()["responses"]
    assert [answer["status"] for answer in answers] == [413, 413, 413]


@pytest.mark.parametrize(
    "bomb",
    [b"--x\r\nContent-Type: application/http\r\n\r\nGET Things\r\n" * 100_000, b"\n" * 10_000_000],
    ids=["parts", "lines"],
)
async def test_send_a_batch_in_too_many_pieces(
    centre: Writing, bomb: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_apart: list[bytes] = []
    monkeypatch.setattr(batch_form, "message_from_bytes", taken_apart.append)
    refused = await centre.anybody.post(
        "$batch", content=bomb, headers={"Content-Type": "multipart/mixed; boundary=x"}
    )
    assert refused.status_code == 413
    assert not taken_apart


async def test_have_one_page_take_all_memory(
    centre: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One datastream is made once, and written in each of its observations with all of them."""
    _, stream = await centre.survey("Many")
    rows = [[f"2025-01-01T00:{minute:02}:00Z", minute] for minute in range(40)]
    array = {
        "Datastream": {"@iot.id": stream},
        "components": ["phenomenonTime", "result"],
        "dataArray": rows,
    }
    assert (await centre.camden.post("CreateObservations", json=[array])).status_code == 201
    path = f"Datastreams({stream})/Observations"
    asked = {"$expand": "Datastream($expand=Observations($expand=Datastream))", "$top": "40"}
    whole = await centre.anybody.get(path, params=asked)
    assert whole.status_code == 200, whole.text
    alone = await centre.anybody.get(path, params={"$top": "40"})
    for limit, params, status in (
        (len(whole.content), asked, 200),
        (len(whole.content) // 2, asked, 400),
        (len(alone.content), {"$top": "40"}, 200),
        (len(alone.content) // 2, {"$top": "40"}, 400),
    ):
        monkeypatch.setattr(answering, "LARGEST_ANSWER_BYTES", limit)
        told = await centre.anybody.get(path, params=params)
        assert told.status_code == status, (params, told.text[:300])
        assert status == 200 or "$top" in told.json()["message"]


async def key_of_camden(centre: Writing, *scopes: str) -> str:
    key = draw_key()
    await add_key(
        centre.conn,
        tenant="camden",
        name="-".join(scopes),
        scopes=scopes,
        rate_class="standard",
        key=key,
        expires_at=datetime.now(UTC) + timedelta(days=1),
        actor="test",
    )
    return key


async def test_read_by_writing(centre: Writing) -> None:
    """A key that may only write is told nothing restricted, in whatever it writes."""
    thing = await hide(centre)
    [(stream,)] = await centre.rows("SELECT id FROM datastream WHERE thing_id = %s", thing)
    headers = {"X-API-Key": await key_of_camden(centre, "write")}
    patch = headers | {"Content-Type": "application/json-patch+json"}
    guess = [{"op": "test", "path": "/name", "value": HIDDEN}]
    put = [{"op": "copy", "from": "/name", "path": "/description"}]
    client = centre.anybody
    for told, status in (
        (await client.patch(f"Datastreams({stream})", json={}, headers=headers), 200),
        (
            await client.patch(
                f"Datastreams({stream})", json={"description": "-"}, headers=headers
            ),
            200,
        ),
        (await client.patch(f"Datastreams({stream})", json=guess, headers=patch), 403),
        (await client.patch(f"Datastreams({stream})", json=put, headers=patch), 403),
        (
            await client.post(
                f"Datastreams({stream})/Observations", json={"result": 7}, headers=headers
            ),
            201,
        ),
        (await client.get(f"Datastreams({stream})", headers=headers), 404),
        (
            await client.post(
                "$batch",
                headers=headers,
                json={
                    "requests": [
                        {
                            "id": "a",
                            "method": "patch",
                            "url": f"Datastreams({stream})",
                            "body": {"description": "again"},
                        },
                        {"id": "b", "method": "get", "url": f"Datastreams({stream})"},
                    ]
                },
            ),
            200,
        ),
    ):
        assert told.status_code == status, told.text
        assert HIDDEN not in told.text
        assert 'result":7' not in told.text
    both = {"X-API-Key": await key_of_camden(centre, "read", "write")}
    told = await client.patch(f"Datastreams({stream})", json={"description": "-"}, headers=both)
    assert HIDDEN in told.text


async def test_take_a_name_that_is_somebody_elses(centre: Writing) -> None:
    """Names of devices, and of other councils, are given to nobody who keeps things by hand."""
    [(signed,)] = await centre.rows("SELECT urn FROM thing WHERE gateway_id IS NOT NULL LIMIT 1")
    taken = [
        signed,
        "urn:dev:kerbstone:camden:lamp-0418",
        "URN:DEV:kerbstone:camden:lamp-0418",
        "urn:x-survey:westminster:7",
        "urn:ngsi-ld:AirQualityObserved:E09000033:7",
    ]
    for urn in taken:
        told = {"properties": {"urn": urn}}
        nested = {**SENSOR, **told}
        for path, body in (
            ("Things", thing_body() | told),
            ("Sensors", nested),
            ("Things", thing_body() | {"Datastreams": [datastream_body() | {"Sensor": nested}]}),
        ):
            refused = await centre.camden.post(path, json=body)
            assert refused.status_code in (400, 403, 409), (urn, refused.text)
        batch_body = {
            "requests": [
                {"id": "a", "method": "post", "url": "Things", "body": thing_body() | told}
            ]
        }
        [refused_part] = (await centre.camden.post("$batch", json=batch_body)).json()["responses"]
        assert refused_part["status"] in (400, 403, 409)
    thing, _ = await centre.survey()
    [(own,)] = await centre.rows("SELECT urn FROM thing WHERE id = %s", thing)
    told = {"properties": {"urn": taken[1], "council": "westminster"}}
    patch = {"Content-Type": "application/json-patch+json"}
    operation = [{"op": "add", "path": "/properties", "value": told["properties"]}]
    await centre.camden.patch(f"Things({thing})", json=told)
    await centre.camden.put(f"Things({thing})", json={"name": "-", "description": "-"} | told)
    await centre.camden.patch(f"Things({thing})", json=operation, headers=patch)
    assert await centre.rows(
        "SELECT urn, tenant FROM thing JOIN council ON council.id = council_id WHERE thing.id = %s",
        thing,
    ) == [(own, "camden")]
    assert await centre.rows("SELECT count(*) FROM thing WHERE urn = ANY (%s)", taken[1:]) == [(0,)]


@asynccontextmanager
async def stranger(centre: Writing, limits: RateLimitSettings) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the city to an address beyond this machine."""
    async with open_app(ApiSettings(dsn=centre.dsn, rate_limits=limits)) as app:
        transport = httpx.ASGITransport(app, client=("198.51.100.9", 1))
        async with httpx.AsyncClient(transport=transport, base_url=f"{ROOT}/") as client:
            yield client


async def test_guess_a_key(centre: Writing) -> None:
    good = {"X-API-Key": centre.keys["camden"]}
    async with stranger(centre, RateLimitSettings(bad_keys_per_minute=3)) as client:
        assert (await client.get("Things", headers=good)).status_code == 200
        for _ in range(3):
            refused = await client.get("Things", headers={"X-API-Key": draw_key()})
            assert refused.status_code == 401
            assert "unknown" in refused.json()["message"]
            assert "invalid_token" in refused.headers["www-authenticate"]
        for guess in (draw_key(), "kbs_short", centre.keys["camden"]):
            refused = await client.get("Things", headers={"X-API-Key": guess})
            assert refused.status_code == 429, "not looked up, whether it counts or not"
            assert 1 <= int(refused.headers["retry-after"]) <= 20
        assert (await client.get("Things")).status_code == 200, "open data needs no key"
