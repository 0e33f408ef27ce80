"""What several sensors read through is opened once, and its failures reach every one of them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from edge_agent import sources as sources_module
from edge_agent.sources import SourceError, Sources


class Line:
    """Something to be shared, which counts its openings and closings."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        self.opened += 1
        try:
            yield f"opening {self.opened}"
        finally:
            self.closed.set()


async def test_two_users_share_one_opening_and_it_closes_after_the_last() -> None:
    line = Line()
    async with Sources() as sources:
        async with sources.shared("line", line.open) as first:
            async with sources.shared("line", line.open) as second:
                assert first == second == "opening 1"
            assert not line.closed.is_set()
        await line.closed.wait()
        async with sources.shared("line", line.open) as third:
            assert third == "opening 2"


async def test_what_cannot_be_opened_fails_for_everybody_and_is_tried_again() -> None:
    attempts = 0

    @asynccontextmanager
    async def broken() -> AsyncIterator[str]:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise ConnectionError("refused")
        yield "open"

    async def use(sources: Sources) -> str:
        async with sources.shared("line", broken) as line:
            return line

    async with Sources() as sources:
        found = await asyncio.gather(use(sources), use(sources), return_exceptions=True)
        assert [str(each) for each in found] == ["refused", "refused"]
        assert await use(sources) == "open"


async def test_a_user_that_is_cancelled_while_it_opens_harms_nobody() -> None:
    proceed = asyncio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[str]:
        await proceed.wait()
        yield "open"

    async def use(sources: Sources) -> str:
        async with sources.shared("line", slow) as line:
            return line

    async with Sources() as sources:
        impatient = asyncio.create_task(use(sources))
        patient = asyncio.create_task(use(sources))
        await asyncio.sleep(0)
        impatient.cancel()
        proceed.set()
        assert await patient == "open"
        with pytest.raises(asyncio.CancelledError):
            await impatient


async def test_a_line_whose_only_user_gave_up_before_it_was_open_is_closed() -> None:
    line, proceed = Line(), asyncio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[str]:
        await proceed.wait()
        async with line.open() as opened:
            yield opened

    async def use(sources: Sources) -> None:
        async with sources.shared("line", slow):
            pass

    async with Sources() as sources:
        task = asyncio.create_task(use(sources))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        proceed.set()
    assert line.closed.is_set()


class Uplinks:
    """A stream that yields what a test puts in."""

    def __init__(self) -> None:
        self.opened = 0
        self.is_open = asyncio.Event()
        self.unwanted: list[int] = []
        self.arriving: asyncio.Queue[tuple[str, int] | Exception | None] = asyncio.Queue()

    async def open(self) -> AsyncGenerator[tuple[str, int], None]:
        self.opened += 1
        self.is_open.set()
        while (arrived := await self.arriving.get()) is not None:
            if isinstance(arrived, Exception):
                raise arrived
            yield arrived


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources_module, "_GRACE_SECONDS", 0.001)


async def take(sources: Sources, uplinks: Uplinks, address: str, count: int) -> list[int]:
    taken: list[int] = []
    async with aclosing(
        sources.stream("uplinks", uplinks.open, address, uplinks.unwanted.append)
    ) as stream:
        async for what in stream:
            taken.append(what)
            if len(taken) == count:
                break
    return taken


async def test_each_reader_gets_what_is_addressed_to_it_and_the_rest_is_reported() -> None:
    uplinks = Uplinks()
    async with Sources() as sources:
        readers = [
            asyncio.create_task(take(sources, uplinks, "a", 2)),
            asyncio.create_task(take(sources, uplinks, "b", 1)),
            asyncio.create_task(take(sources, uplinks, "b", 1)),
        ]
        await uplinks.is_open.wait()
        for each in (("stranger", 9), ("stranger", 9), ("a", 1), ("b", 2), ("a", 3)):
            uplinks.arriving.put_nowait(each)
        assert await asyncio.gather(*readers) == [[1, 3], [2], [2]]
        assert sources.unclaimed == {"stranger": 2}
        assert uplinks.unwanted == [9, 9]
        assert uplinks.opened == 1


@pytest.mark.parametrize("ending", [None, ConnectionError("cut")])
async def test_a_stream_that_ends_fails_its_readers_and_opens_anew(
    ending: Exception | None,
) -> None:
    uplinks = Uplinks()
    async with Sources() as sources:
        readers = [asyncio.create_task(take(sources, uplinks, each, 1)) for each in "ab"]
        uplinks.arriving.put_nowait(ending)
        found = await asyncio.gather(*readers, return_exceptions=True)
        assert all(isinstance(each, SourceError | ConnectionError) for each in found)
        again = asyncio.create_task(take(sources, uplinks, "a", 1))
        uplinks.arriving.put_nowait(("a", 5))
        assert await again == [5]


async def test_a_reader_that_takes_nothing_holds_up_the_stream_instead_of_filling_memory() -> None:
    uplinks = Uplinks()
    async with Sources() as sources:
        stream = sources.stream("uplinks", uplinks.open, "a")
        uplinks.arriving.put_nowait(("a", 0))
        assert await anext(stream) == 0
        for number in range(1, 1000):
            uplinks.arriving.put_nowait(("a", number))
        for _ in range(3000):
            await asyncio.sleep(0)
        assert uplinks.arriving.qsize() > 800
        assert [await anext(stream) for _ in range(999)] == list(range(1, 1000))
        await stream.aclose()


async def test_no_more_than_a_hundred_strangers_are_remembered() -> None:
    uplinks = Uplinks()
    async with Sources() as sources:
        reader = asyncio.create_task(take(sources, uplinks, "a", 1))
        await uplinks.is_open.wait()
        for number in range(150):
            uplinks.arriving.put_nowait((f"stranger {number}", number))
        uplinks.arriving.put_nowait(("a", 1))
        assert await reader == [1]
        assert len(sources.unclaimed) == 100


async def test_a_strangers_name_is_kept_short_and_printable() -> None:
    """It comes off the air, and goes into the log, the status file and a terminal."""
    uplinks = Uplinks()
    async with Sources() as sources:
        reader = asyncio.create_task(take(sources, uplinks, "a", 1))
        await uplinks.is_open.wait()
        for name in ("x" * 250_000, "\x1b]0;title\x07", "half \ud800", "x" * 64 + "other"):
            uplinks.arriving.put_nowait((name, 1))
        uplinks.arriving.put_nowait(("a", 1))
        assert await reader == [1]
        assert sources.unclaimed == {"x" * 64: 2, "?]0;title?": 1, "half ?": 1}


async def test_what_arrives_before_its_sensor_has_started_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources_module, "_GRACE_SECONDS", 60.0)
    uplinks = Uplinks()
    async with Sources() as sources:
        early = asyncio.create_task(take(sources, uplinks, "early", 1))
        uplinks.arriving.put_nowait(("late", 1))
        uplinks.arriving.put_nowait(("early", 2))
        await uplinks.is_open.wait()
        assert await take(sources, uplinks, "late", 1) == [1]
        assert await early == [2]
        assert not sources.unclaimed


async def test_strangers_after_the_first_seconds_hold_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources_module, "_GRACE_SECONDS", 0.05)
    uplinks = Uplinks()
    async with Sources() as sources:
        first = asyncio.create_task(take(sources, uplinks, "a", 1))
        second = asyncio.create_task(take(sources, uplinks, "b", 1))
        await uplinks.is_open.wait()
        for each in (("stranger", 0), ("a", 1)):
            uplinks.arriving.put_nowait(each)
        assert await first == [1]
        begun = asyncio.get_running_loop().time()
        for number in range(50):
            uplinks.arriving.put_nowait((f"stranger {number}", number))
        uplinks.arriving.put_nowait(("b", 2))
        assert await second == [2]
        assert asyncio.get_running_loop().time() - begun < 50 * 0.05


async def test_what_comes_for_a_sensor_that_is_started_again_waits_for_it() -> None:
    uplinks = Uplinks()
    async with Sources() as sources:
        steady = asyncio.create_task(take(sources, uplinks, "steady", 4))
        uplinks.arriving.put_nowait(("failing", 1))
        assert await take(sources, uplinks, "failing", 1) == [1]
        for each in (("failing", 2), ("steady", 3), ("failing", 4), ("steady", 5)):
            uplinks.arriving.put_nowait(each)
        for _ in range(100):
            await asyncio.sleep(0)
        assert uplinks.arriving.empty()
        assert await take(sources, uplinks, "failing", 2) == [2, 4]
        assert not sources.unclaimed
        assert not uplinks.unwanted
        uplinks.arriving.put_nowait(None)  # the stream breaks, and one sensor is back before
        with pytest.raises(SourceError):
            await steady
        uplinks.is_open.clear()
        steady = asyncio.create_task(take(sources, uplinks, "steady", 1))
        await uplinks.is_open.wait()
        for each in (("failing", 6), ("steady", 7)):
            uplinks.arriving.put_nowait(each)
        failing = asyncio.create_task(take(sources, uplinks, "failing", 1))
        assert await steady == [7]
        assert await failing == [6]
        assert not sources.unclaimed


async def test_no_more_than_a_hundred_wait_for_a_sensor_that_is_away() -> None:
    uplinks = Uplinks()
    async with Sources() as sources:
        steady = asyncio.create_task(take(sources, uplinks, "steady", 1))
        uplinks.arriving.put_nowait(("failing", 0))
        assert await take(sources, uplinks, "failing", 1) == [0]
        for number in range(150):
            uplinks.arriving.put_nowait(("failing", number))
        for _ in range(1000):
            await asyncio.sleep(0)
        assert uplinks.arriving.qsize() == 49
        assert await take(sources, uplinks, "failing", 150) == list(range(150))
        uplinks.arriving.put_nowait(("steady", 1))
        assert await steady == [1]
