"""Batches: bytes to requests, answers to bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards_mapping.sensorthings.batch import (
    Answer,
    ChangeSet,
    Request,
    parse_json,
    parse_multipart,
    with_references,
    write_json,
    write_multipart,
)
from standards_mapping.sensorthings.errors import QueryError, SensorThingsError

KIND = "multipart/mixed; boundary=b"


def part(line: str, body: str = "", name: str = "") -> str:
    head = "Content-Type: application/http\n" + (f"Content-ID: {name}\n" if name else "")
    return f"--b\n{head}\n{line}\nContent-Type: application/json\n\n{body}\n"


@pytest.mark.parametrize(
    ("url", "below"),
    [
        ("Things(1)?$top=1", "Things(1)?$top=1"),
        ("/v1.1/Things", "Things"),
        ("/sensorthings/v1.1/Things", "Things"),
        ("https://city.example/sensorthings/v1.1/Things", "Things"),
        ("$1/Datastreams", "$1/Datastreams"),
        ("/", ""),
        (".", ""),
        ("./Things?$top=1", "Things?$top=1"),
        (
            "sensorthings/v1.1/Things",
            "sensorthings/v1.1/Things",
        ),  # below the root, as RFC 3986 says
        ("/sensorthings/v1.1", ""),
        ("https://city.example/sensorthings/v1.1", ""),
        ("https://city.example/sensorthings/v1.1?$top=1", "?$top=1"),
        ("/sensorthings/v1.10/Things", "sensorthings/v1.10/Things"),
    ],
)
def test_urls_are_told_from_the_root_on(url: str, below: str) -> None:
    (found,) = parse_multipart(KIND, (part(f"GET {url} HTTP/1.1") + "--b--").encode())
    assert isinstance(found, Request)
    assert found.url == below


def test_names_and_bodies_are_read_with_either_end_of_line() -> None:
    text = part("POST Things HTTP/1.1", '{"name": "ü"}', "<one>") + "--b--\n"
    for written in (text, text.replace("\n", "\r\n")):
        (found,) = parse_multipart(KIND, written.encode())
        assert found == Request(
            name="one",
            method="POST",
            url="Things",
            content_type="application/json",
            body='{"name": "ü"}'.encode(),
        )


def test_groups_of_the_json_form_are_change_sets_in_one_piece() -> None:
    def one(name: str, group: str = "") -> dict[str, str]:
        return {"id": name, "atomicityGroup": group, "method": "post", "url": "Things"}

    items = parse_json(json.dumps({"requests": [one("a", "g"), one("b", "g"), one("c")]}).encode())
    assert [type(item) for item in items] == [ChangeSet, Request]
    with pytest.raises(QueryError, match="follow one another"):
        parse_json(json.dumps({"requests": [one("a", "g"), one("b"), one("c", "g")]}).encode())


def test_an_id_names_one_request() -> None:
    asked = [{"id": name, "method": "get", "url": "Things"} for name in ("1", "2", 1)]
    with pytest.raises(QueryError, match="'1' stands twice"):
        parse_json(json.dumps({"requests": asked}).encode())


def test_preconditions_are_kept_in_either_form() -> None:
    one = {"id": "a", "method": "patch", "url": "Things(1)", "headers": {"If-Match": '"x"'}}
    (item,) = parse_json(json.dumps({"requests": [one]}).encode())
    assert isinstance(item, Request)
    assert (item.if_match, with_references(item, {}).if_match) == ('"x"', '"x"')
    part = b'PATCH Things(1) HTTP/1.1\r\nif-match: "x"\r\n\r\n{}'
    content = b"--b\r\nContent-Type: application/http\r\n\r\n" + part + b"\r\n--b--\r\n"
    (item,) = parse_multipart("multipart/mixed; boundary=b", content)
    assert isinstance(item, Request)
    assert item.if_match == '"x"'


def test_references_stand_for_what_was_made() -> None:
    known = {"1": ("Things(7)", 7)}
    request = Request(
        name="",
        method="POST",
        url="$1/Datastreams",
        body=b'{"Thing": {"@iot.id": "$1"}, "name": "$1", "Sensor": {"@iot.id": "$2"}}',
    )
    found = with_references(request, known)
    assert found.url == "Things(7)/Datastreams"
    assert json.loads(found.body) == {
        "Thing": {"@iot.id": 7},
        "name": "$1",
        "Sensor": {"@iot.id": "$2"},
    }


def test_answers_are_written_in_order_with_change_sets_nested() -> None:
    made = Answer(name="a", status=201, location="http://x/Things(1)", body=b'{"a":1}')
    gone = Answer(name="", status=200)
    written = write_multipart([[made], gone], "b")
    assert written.count(b"HTTP/1.1 201 Created\r\nLocation: http://x/Things(1)\r\n") == 1
    assert written.startswith(b"--b\r\nContent-Type: multipart/mixed; boundary=b_0\r\n\r\n--b_0")
    assert written.endswith(b"--b--\r\n")
    assert json.loads(write_json([[made], gone])) == {
        "responses": [
            {"id": "a", "status": 201, "location": "http://x/Things(1)", "body": {"a": 1}},
            {"id": "", "status": 200},
        ]
    }


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_batch_or_refused(content: bytes, framed: bool) -> None:  # noqa: FBT001
    if framed:
        content = b"--b\r\nContent-Type: application/http\r\n\r\n" + content + b"\r\n--b--"
    told: list[str] = []
    for parse in (lambda body: parse_multipart(KIND, body), parse_json):
        try:
            assert isinstance(parse(content), list)
        except SensorThingsError as error:
            told.append(str(error))
    assert all(told)
