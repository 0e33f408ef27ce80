"""POST /$batch: several requests in one, as multipart/mixed and as JSON (OGC 18-088, clause 11)."""

import json
from email import message_from_bytes
from email.message import Message

import httpx
import pytest

from tests.integration.sensorthings.writing import (
    SENSOR,
    Json,
    Writing,
    datastream_body,
    location_body,
)


def http(method: str, url: str, body: Json = None, name: str = "") -> bytes:
    """Return one part of a batch."""
    head = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
    head += f"Content-ID: {name}\r\n" if name else ""
    content = "" if body is None else json.dumps(body)
    request = f"{method} {url} HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{content}"
    return f"{head}\r\n{request}".encode()


def mixed(parts: list[bytes], boundary: str) -> bytes:
    """Return parts between boundaries."""
    mark = f"--{boundary}\r\n".encode()
    return b"".join(mark + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()


def change_set(*parts: bytes) -> bytes:
    """Return a part that is a change set."""
    return b"Content-Type: multipart/mixed; boundary=set\r\n\r\n" + mixed(list(parts), "set")


async def send(client: httpx.AsyncClient, *parts: bytes) -> list[Message]:
    """Send a multipart batch; return the parts of its answer."""
    answer = await client.post(
        "$batch",
        content=mixed(list(parts), "all"),
        headers={"Content-Type": "multipart/mixed; boundary=all"},
    )
    assert answer.status_code == 200, answer.text
    kind = answer.headers["content-type"]
    found = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + answer.content)
    payload = found.get_payload()
    assert isinstance(payload, list)
    return [part for part in payload if isinstance(part, Message)]


def read(part: Message) -> tuple[int, Json]:
    """Return the status and body of an application/http part."""
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    head, _, body = payload.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body) if body.strip() else None


async def things(centre: Writing) -> int:
    [(number,)] = await centre.rows("SELECT count(*) FROM thing")
    return int(number)


async def test_requests_of_a_batch_stand_for_themselves(centre: Writing) -> None:
    answers = await send(
        centre.camden,
        http("GET", "/v1.1/Things?$top=1&$select=name"),
        http("POST", "Things", {"name": "One", "description": "-"}),
        http("POST", "Things", {"name": "Two"}),
        http("GET", "Things(99999)"),
        http("GET", "Things?$orderby=id desc&$top=1".replace(" ", "%20")),
    )
    found = [read(part) for part in answers]
    assert [status for status, _ in found] == [200, 201, 400, 404, 200]
    assert found[0][1]["value"] == [{"name": "Bloomsbury"}]
    assert found[4][1]["value"][0]["name"] == "One"


async def test_a_change_set_is_done_whole_with_references_to_what_it_made(centre: Writing) -> None:
    (answer,) = await send(
        centre.camden,
        change_set(
            http("POST", "Things", {"name": "Ref", "description": "-"}, "1"),
            http("POST", "$1/Locations", location_body("Ref post")),
            http("POST", "Sensors", SENSOR, "tube"),
            http(
                "POST",
                "Datastreams",
                datastream_body()
                | {
                    "Thing": {"@iot.id": "$1"},
                    "Sensor": {"@iot.id": "$tube"},
                    "ObservedProperty": {"@iot.id": centre.city.properties["no2"]},
                },
                "4",
            ),
            http("POST", "$4/Observations", {"result": 5}),
            http("PATCH", "$1", {"description": "linked"}),
        ),
    )
    payload = answer.get_payload()
    assert isinstance(payload, list)
    statuses = [read(part)[0] for part in payload if isinstance(part, Message)]
    assert statuses == [201, 201, 201, 201, 201, 200]
    [(thing,)] = await centre.rows("SELECT id FROM thing WHERE name = 'Ref'")
    found = await centre.get(f"Things({thing})?$expand=Locations,Datastreams/Observations")
    assert found["description"] == "linked"
    assert found["Locations"][0]["name"] == "Ref post"
    assert found["Datastreams"][0]["Observations"][0]["result"] == 5


async def test_a_change_set_that_fails_changes_nothing(centre: Writing) -> None:
    before = await things(centre)
    first, second = await send(
        centre.camden,
        change_set(
            http("POST", "Things", {"name": "Gone", "description": "-"}, "1"),
            http("POST", "Things", {"name": "Bad"}, "2"),
        ),
        http("GET", "Things(1)/name"),
    )
    payload = first.get_payload()
    assert isinstance(payload, list)
    assert [read(part)[0] for part in payload if isinstance(part, Message)] == [400]
    assert read(second) == (200, {"name": "Bloomsbury"})
    assert await things(centre) == before


async def test_the_json_form_answers_by_id(centre: Writing) -> None:
    before = await things(centre)
    requests = [
        {"id": "a", "method": "get", "url": "Things(1)/name"},
        {
            "id": "b",
            "atomicityGroup": "g",
            "method": "post",
            "url": "Things",
            "body": {"name": "Json", "description": "-"},
        },
        {
            "id": "c",
            "atomicityGroup": "g",
            "method": "patch",
            "url": "$b",
            "body": {"name": "Changed"},
        },
        {
            "id": "d",
            "method": "post",
            "url": "Things",
            "body": {"name": "No", "description": 1},
        },
    ]
    answer = await centre.camden.post("$batch", json={"requests": requests})
    assert answer.status_code == 200
    found = {one["id"]: one for one in answer.json()["responses"]}
    assert {name: one["status"] for name, one in found.items()} == {
        "a": 200,
        "b": 201,
        "c": 200,
        "d": 400,
    }
    assert found["c"]["body"]["name"] == "Changed"
    assert found["b"]["location"] == found["c"]["body"]["@iot.selfLink"]
    assert await things(centre) == before + 1


async def test_writes_in_a_batch_are_guarded_and_reads_are_not(centre: Writing) -> None:
    write, look = await send(
        centre.anybody,
        http("POST", "Things", {"name": "x", "description": "y"}),
        http("GET", "Things(1)/name"),
    )
    assert read(write)[0] == 401
    assert read(look)[0] == 200


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("text/plain", b"x", 415),
        ("multipart/mixed", b"x", 415),
        ("multipart/mixed; boundary=all", b"x", 400),
        (
            "multipart/mixed; boundary=all",
            mixed([b"Content-Type: text/plain\r\n\r\nx"], "all"),
            400,
        ),
        ("multipart/mixed; boundary=all", mixed([change_set(http("GET", "Things"))], "all"), 400),
        ("application/json", b"[]", 400),
        ("application/json", b'{"requests": [{"method": "brew", "url": "x"}]}', 400),
        ("application/json", json.dumps({"requests": [{"method": "get"}] * 1001}).encode(), 413),
    ],
)
async def test_what_is_no_batch_is_refused(
    centre: Writing, kind: str, body: bytes, status: int
) -> None:
    answer = await centre.camden.post("$batch", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"code", "type", "message"}


async def test_a_get_answers_in_a_batch_what_it_answers_alone(centre: Writing) -> None:
    seen = centre.city.of("Bloomsbury no2")[0]
    urls = [
        "Observations?$top=2&$resultFormat=dataArray",
        "Observations?$top=2&$resultFormat=CSV",
        "Locations?$resultFormat=GeoJSON",
        f"Observations('{seen.id}')/validTime",
        "Things(1)/name/$value",
        "Things(1)/name",
        "Things/$ref",
        "Things(1)/name?$select=name",
        "Things?$filter=name eq 'café'",
    ]
    requests = [{"id": str(at), "method": "get", "url": url} for at, url in enumerate(urls)]
    batch = await centre.camden.post("$batch", json={"requests": requests})
    parts = await send(centre.camden, *(http("GET", url.replace(" ", "%20")) for url in urls))
    for url, told, part in zip(urls, batch.json()["responses"], parts, strict=True):
        alone = await centre.camden.get(url)
        assert told["status"] == alone.status_code, url
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        head, _, body = payload.partition(b"\r\n\r\n")
        assert (int(head.split()[1]), body) == (alone.status_code, alone.content), url
        if not alone.content:
            assert "body" not in told
            continue
        kind = alone.headers["content-type"]
        assert f"Content-Type: {kind}".encode() in head
        assert told["body"] == (alone.json() if "json" in kind else alone.text)
        assert told.get("headers", {"content-type": "application/json"}) == {"content-type": kind}


async def test_the_root_is_read_in_a_batch_however_it_is_written(centre: Writing) -> None:
    alone = (await centre.camden.get("")).json()
    root = alone["value"][0]["url"].rpartition("/")[0]
    urls = ["", "/", root, f"{root}/", "/sensorthings/v1.1"]
    requests = [{"id": str(at), "method": "get", "url": url} for at, url in enumerate(urls)]
    answer = await centre.camden.post("$batch", json={"requests": requests})
    found = answer.json()["responses"]
    assert [(one["status"], one["body"]) for one in found] == [(200, alone)] * len(urls)


async def test_a_request_of_a_batch_without_a_url_is_not_taken_for_the_root(
    centre: Writing,
) -> None:
    answer = await centre.camden.post("$batch", json={"requests": [{"id": "1", "method": "get"}]})
    assert answer.status_code == 400
    assert "url" in answer.json()["message"]


async def test_a_change_set_is_undone_where_a_precondition_fails(centre: Writing) -> None:
    made = await centre.create("Locations", location_body("Before"))
    path = f"Locations({made['@iot.id']})"
    one = {"method": "patch", "url": path, "atomicityGroup": "g"}
    requests = [
        {**one, "id": "1", "body": {"name": "After"}},
        {**one, "id": "2", "body": {"description": "x"}, "headers": {"If-Match": '"read"'}},
    ]
    answer = await centre.camden.post("$batch", json={"requests": requests})
    (refused,) = answer.json()["responses"]
    assert (refused["id"], refused["status"], refused["body"]["code"]) == ("2", 412, 412)
    assert (await centre.get(path))["name"] == "Before"
