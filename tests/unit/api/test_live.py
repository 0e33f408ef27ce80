"""Fan-out: each council's news to whom it concerns, bounded, and never silent."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import orjson
import pytest

from api import live
from api.live import LiveFeed, TooManyClientsError, values_message
from storage import batches, overview
from storage.database import Pool
from storage.overview import ChangedValue

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
CAMDEN = ChangedValue(
    datastream_id=1, thing_id=7, tenant="camden", council_id=1, is_open=True, unit="ug/m3",
    time=NOW, value=41.0, result=None, quality=0, updated_at=NOW,
)  # fmt: skip
WESTMINSTER = replace(CAMDEN, datastream_id=2, tenant="westminster", council_id=2, updated_at=NOW)
NO_POOL = cast("Pool", None)  # nothing is asked of it when nothing was missed


def body_of(message: bytes) -> dict[str, object]:
    data = next(line for line in message.split(b"\n") if line.startswith(b"data: "))
    return cast("dict[str, object]", orjson.loads(data.removeprefix(b"data: ")))


def ids(message: bytes) -> Sequence[int]:
    values = cast("list[dict[str, int]]", body_of(message)["values"])
    return [value["id"] for value in values]


async def opened(feed: LiveFeed, tenant: str | None = None) -> live.AsyncIterator[bytes]:
    stream = feed.stream(NO_POOL, tenant, None)
    assert (await anext(stream)).startswith(b"retry: ")
    return stream


def test_the_feed_listens_where_ingest_speaks() -> None:
    assert overview.LATEST_CHANNEL == batches.LATEST_CHANNEL


def test_a_message_carries_an_id_to_come_back_with() -> None:
    older = replace(CAMDEN, updated_at=NOW - timedelta(seconds=1))
    message = values_message([CAMDEN, older])
    assert message.startswith(b"id: 2026-06-01T12:00:00Z\nevent: values\ndata: ")
    assert message.endswith(b"\n\n")
    assert ids(message) == [1, 1]


async def test_news_reaches_those_whom_it_concerns_in_one_message() -> None:
    feed = LiveFeed("")
    everything, camden, kensington = [
        await opened(feed, tenant) for tenant in (None, "camden", "kensington")
    ]
    feed._publish([CAMDEN, WESTMINSTER])
    feed._publish([replace(CAMDEN, datastream_id=3)])
    assert ids(await anext(everything)) == [1, 2]
    assert ids(await anext(camden)) == [1]
    assert ids(await anext(camden)) == [3]
    feed.close()
    with pytest.raises(StopAsyncIteration):
        await anext(kensington)


async def test_restricted_news_reaches_only_those_who_may_read_it() -> None:
    feed = LiveFeed("")
    secret = replace(CAMDEN, datastream_id=4, is_open=False)
    everybody = await opened(feed)
    theirs, others = [feed.stream(NO_POOL, None, None, frozenset({council})) for council in (1, 2)]
    for stream in (theirs, others):
        await anext(stream)
    feed._publish([secret])
    feed._publish([CAMDEN, secret])
    assert ids(await anext(theirs)) == [4]
    assert ids(await anext(theirs)) == [1, 4]
    assert ids(await anext(others)) == [1]
    assert ids(await anext(everybody)) == [1]


async def test_whoever_is_told_more_is_asked_again_who_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "TRUSTED_SECONDS", 0.0)
    feed = LiveFeed("")
    stream = feed.stream(NO_POOL, None, None, frozenset({1}))
    assert len([message async for message in stream]) == 1
    assert not feed._clients


async def test_a_client_that_falls_behind_is_ended_after_what_was_queued() -> None:
    feed = LiveFeed("")
    stream = await opened(feed)
    for number in range(live.QUEUE_MESSAGES + 5):
        feed._publish([replace(CAMDEN, datastream_id=number + 1)])
    received = [message async for message in stream]
    assert [ids(message) for message in received] == [
        [number + 1] for number in range(live.QUEUE_MESSAGES)
    ]
    assert not feed._clients


async def test_silence_is_filled_with_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BEAT_SECONDS", 0.01)
    feed = LiveFeed("")
    stream = await opened(feed)
    beat = await anext(stream)
    assert beat.startswith(b"event: beat\n")
    assert body_of(beat)["connected"] is False


async def test_clients_hear_at_once_when_the_database_goes_and_comes() -> None:
    feed = LiveFeed("")
    stream = await opened(feed)
    feed._set_connected(connected=True)
    feed._set_connected(connected=True)
    feed._set_connected(connected=False)
    assert body_of(await anext(stream))["connected"] is True
    assert body_of(await anext(stream))["connected"] is False


async def test_a_client_that_leaves_is_forgotten() -> None:
    feed = LiveFeed("")
    stream = feed.stream(NO_POOL, None, None)
    task = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
    await task
    assert len(feed._clients) == 1
    await stream.aclose()  # type: ignore[attr-defined]
    assert not feed._clients


async def test_there_is_room_for_a_limited_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_CLIENTS", 1)
    feed = LiveFeed("")
    feed.check_room()
    await opened(feed)
    with pytest.raises(TooManyClientsError):
        feed.check_room()
