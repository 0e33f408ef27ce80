"""The listener over real sockets: well-behaved, small, slow, rude and hostile senders."""

import asyncio
import base64
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.adapter import Surroundings
from edge_agent.input_settings import ListenerSettings
from edge_agent.inputs import conversation, listener
from edge_agent.inputs.listener import Post, port_of, posts
from edge_agent.sources import SourceError, Sources
from tests.integration.edge_http_push.pushing import POST, Gateway, answer, running, station


async def test_200_is_answered_only_once_the_readings_are_stored(gateway: Gateway) -> None:
    pushed: asyncio.Queue[Post] = asyncio.Queue()
    gateway.read("/push", pushed.put_nowait)
    asking = asyncio.create_task(gateway.post(b'{"a": 1}', X_Sensor="esp8266-1"))
    post = await pushed.get()
    assert (post.path, post.body) == ("/push", b'{"a": 1}')
    assert post.headers["x-sensor"] == "esp8266-1"
    for _ in range(100):
        await asyncio.sleep(0)
    assert not asking.done()
    post.accept()
    assert (await asking)[:2] == (200, "stored")


async def test_every_reader_of_a_path_must_have_stored_it(gateway: Gateway) -> None:
    pushed: asyncio.Queue[Post] = asyncio.Queue()
    for _ in range(2):
        gateway.read("/push", pushed.put_nowait)
    asking = asyncio.create_task(gateway.post(b"x"))
    one, other = await pushed.get(), await pushed.get()
    one.accept()
    one.accept()
    for _ in range(100):
        await asyncio.sleep(0)
    assert not asking.done()
    other.accept()
    assert (await asking)[0] == 200


async def test_a_post_whose_readings_cannot_be_stored_is_to_be_sent_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_STORED_SECONDS", 0.05)
    held: list[Post] = []
    gateway.read("/push", held.append)
    status, reason, headers = await gateway.post(b"x")
    assert (status, reason) == (503, "not stored yet: send it again later")
    assert headers["retry-after"] == "60"
    held[0].accept()  # too late, and of no harm


async def test_a_post_that_is_let_go_is_to_be_sent_again_at_once(gateway: Gateway) -> None:
    gateway.read("/push", lambda _: None)
    assert (await gateway.post(b"x"))[:2] == (503, "not stored: send it again later")


async def test_a_refusal_is_told_with_its_reason(gateway: Gateway) -> None:
    gateway.read("/push", lambda post: post.refuse(400, "has no list sensordatavalues"))
    assert (await gateway.post(b"x"))[:2] == (400, "has no list sensordatavalues")


async def test_a_body_with_half_a_character_is_refused_and_the_listener_lives(
    gateway: Gateway,
) -> None:
    settings = replace(
        station("/push"), form="json", time_path="time", fields={"no2": station("/").fields["pm10"]}
    )
    gateway.collect(settings)
    for _ in range(2):
        status, reason, _ = await gateway.post(rb'{"time": "\ud800", "value": 1}')
        assert (status, r"\ud800" in reason) == (400, True)


async def test_while_its_sensor_is_not_read_a_post_is_to_be_sent_again(gateway: Gateway) -> None:
    gateway.read("/push", lambda post: post.accept())
    gateway.read("/other", lambda post: post.accept())
    assert (await gateway.post(b"x"))[0] == 200
    gateway.tasks[0].cancel()
    await asyncio.wait(gateway.tasks[:1])
    assert (await gateway.post(b"x"))[0] == 503


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (POST + b"\r\n", 411, "Content-Length is missing"),
        (POST + b"Content-Length: 262145\r\n\r\n", 413, "more than 262144 bytes"),
        (POST + b"Content-Length: " + b"9" * 19 + b"\r\n\r\n", 413, "more than 262144 bytes"),
        (POST + b"Content-Length: -1\r\n\r\n", 400, ""),
        (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, ""),
        (POST + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\na", 415, "only plain bodies"),
        (POST.replace(b"/push", b"/elsewhere") + b"Content-Length: 0\r\n\r\n", 404, "no sensor"),
        (POST.replace(b"POST", b"GET") + b"\r\n", 405, "only POST"),
        (POST.replace(b"POST", b"PUT") + b"Content-Length: 0\r\n\r\n", 405, "only POST"),
        (
            POST + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
            400,
            "exclude each other",
        ),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501, ""),
        (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 501, ""),
        (POST.replace(b"/push", b"//push") + b"Content-Length: 0\r\n\r\n", 404, "no sensor"),
        (POST.replace(b"/push", b"/%70ush") + b"Content-Length: 0\r\n\r\n", 404, "no sensor"),
        (POST.replace(b"/push", b"http://a/push") + b"Content-Length: 0\r\n\r\n", 404, "no sensor"),
        (b"POST /push HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400, ""),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, ""),
        (POST + b"X: " + b"x" * 20_000, 431, ""),
    ],
)
async def test_what_goes_to_nobody_is_refused_by_its_header_alone(
    gateway: Gateway, request_: bytes, status: int, reason: str
) -> None:
    read: list[Post] = []
    gateway.read("/push", read.append)
    found = await gateway.send(request_)
    assert found[0] == status
    assert reason in found[1]
    assert found[2]["connection"] == "close"
    assert not read


async def test_chunks_are_taken_up_to_the_limit_and_no_further(gateway: Gateway) -> None:
    bodies: list[bytes] = []

    def take(post: Post) -> None:
        bodies.append(post.body)
        post.accept()

    gateway.read("/push", take)
    chunked = POST + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    assert (await gateway.send(chunked, more=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))[0] == 200
    assert bodies == [b"abcde"]
    endless = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    assert (await gateway.send(chunked + endless * 5))[:2] == (413, "more than 262144 bytes")
    assert len(bodies) == 1


async def test_a_connection_serves_request_after_request(gateway: Gateway) -> None:
    gateway.read("/push", lambda post: post.accept())
    reader, writer = await gateway.connect()
    request = POST.replace(b"Connection: close\r\n", b"") + b"Content-Length: 1\r\n\r\nx"
    writer.write(request * 3)  # even at once
    for _ in range(3):
        assert (await answer(reader))[0] == 200
    writer.close()


async def test_slow_senders_are_sent_away(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "_HEADER_SECONDS", 0.1)
    monkeypatch.setattr(conversation, "_BODY_SECONDS", 0.1)
    gateway.read("/push", lambda post: post.accept())
    assert (await gateway.send(POST))[:2] == (408, "the header did not come in time")
    part = POST + b"Content-Length: 10\r\n\r\nabc"
    assert (await gateway.send(part))[:2] == (408, "the body did not come in time")
    reader, _ = await gateway.connect()
    assert await reader.read() == b"", "who says nothing hears nothing"


async def test_connections_are_bounded_and_freed_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_MOST_CONNECTIONS", 3)
    gateway.read("/push", lambda post: post.accept())
    crowd = [await gateway.connect() for _ in range(3)]
    for _, writer in crowd:
        writer.write(POST)
        await writer.drain()
    assert (await gateway.send(b""))[0] == 503
    for _, writer in crowd:
        writer.close()
    for reader, _ in crowd:
        await reader.read()
    while (await gateway.send(POST + b"Content-Length: 1\r\n\r\nx"))[0] == 503:
        pass


async def test_one_address_cannot_take_every_place(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_MOST_OF_ONE", 2)
    gateway.read("/push", lambda post: post.accept())
    crowd = [await gateway.connect() for _ in range(2)]
    for _, writer in crowd:
        writer.write(POST)
        await writer.drain()
    assert (await gateway.send(b""))[0] == 503
    other = await asyncio.open_connection(
        "127.0.0.1", await port_of(gateway.surroundings), local_addr=("127.0.0.2", 0)
    )
    gateway.writers.append(other[1])
    other[1].write(POST + b"Content-Length: 1\r\n\r\nx")
    assert (await answer(other[0]))[0] == 200


async def test_who_takes_no_answers_loses_his_place(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_MOST_CONNECTIONS", 1)
    monkeypatch.setattr(conversation, "_WRITE_SECONDS", 0.1)
    monkeypatch.setattr(conversation, "_CLOSING_SECONDS", 0.1)
    gateway.read("/push", lambda post: post.accept())
    reader, writer = await gateway.connect()
    reader._transport.pause_reading()  # type: ignore[attr-defined]  # rude
    request = b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"
    with suppress(ConnectionError):
        while True:  # until the gateway takes no more, and then until it has hung up
            writer.write(request * 1000)
            await writer.drain()
    assert (await gateway.post(b"x"))[0] == 200


async def test_clients_that_break_off_harm_nobody(gateway: Gateway) -> None:
    gateway.read("/push", lambda post: post.accept())
    for part in (b"", POST, POST + b"Content-Length: 10\r\n\r\nabc"):
        _, writer = await gateway.connect()
        writer.write(part)
        await writer.drain()
        writer.transport.abort()
    assert (await gateway.post(b"x"))[0] == 200


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer s3cret", 200),
        ("bearer s3cret", 200),
        (f"Basic {base64.b64encode(b'airrohr:s3cret').decode()}", 200),
        ("Bearer s3cre", 401),
        ("Bearer s3cret2", 401),
        ("Bearer \xe4", 401),
        ("Basic s3cret", 401),
        (f"Basic {base64.b64encode(b's3cret:airrohr').decode()}", 401),
        ("Digest s3cret", 401),
        ("s3cret", 401),
        ("", 401),
    ],
)
async def test_without_the_token_nobody_pushes(
    tmp_path: Path, authorization: str, status: int
) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    async with running(tmp_path, token_file=tmp_path / "token") as gateway:
        gateway.read("/push", lambda post: post.accept())
        header = b"Authorization: " + authorization.encode("latin-1") + b"\r\n"
        request = POST + (header if authorization else b"") + b"Content-Length: 1\r\n\r\nx"
        assert (await gateway.send(request))[0] == status
        unknown = request.replace(b"/push", b"/elsewhere")
        assert (await gateway.send(unknown))[0] == (404 if status == 200 else 401)


async def test_a_token_file_without_a_token_lets_nobody_listen(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    async with running(tmp_path, token_file=tmp_path / "token") as gateway:
        with pytest.raises(SourceError, match="holds no token"):
            await anext(posts(gateway.surroundings, "/push"))


async def test_a_port_that_is_taken_fails_the_sensor(gateway: Gateway, tmp_path: Path) -> None:
    gateway.read("/push", lambda post: post.accept())
    taken = await port_of(gateway.surroundings)
    async with Sources() as others:
        surroundings = Surroundings(
            gateway.surroundings.clock,
            tmp_path,
            sources=others,
            listener=ListenerSettings(port=taken),
        )
        with pytest.raises(OSError, match="in use"):
            await anext(posts(surroundings, "/push"))


async def test_a_gateway_that_stops_answers_what_it_is_about_to_store(tmp_path: Path) -> None:
    pushed: asyncio.Queue[Post] = asyncio.Queue()
    async with running(tmp_path) as gateway:
        gateway.read("/push", pushed.put_nowait)
        asking = asyncio.create_task(gateway.post(b"x"))
        idle, _ = await gateway.connect()
        post = await pushed.get()
        asyncio.get_running_loop().call_later(0.05, post.accept)
    assert (await asking)[0] == 200
    assert await idle.read() == b""
