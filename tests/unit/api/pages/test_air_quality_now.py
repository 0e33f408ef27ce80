"""Indices are kept for a minute and read once however many ask; who asks again never waits."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from api.pages.air_quality_now import KEPT_SECONDS, IndexCache
from standards_mapping.air_quality_index import Index, NoIndex, latest_end
from storage.air_quality import KnownIndices, Pollutant

NOW = datetime(2026, 3, 1, 14, 20, tzinfo=UTC)


def pollutant(number: int) -> Pollutant:
    return Pollutant(
        datastream_id=number,
        property_key="no2",
        unit="ug/m3",
        averaging=timedelta(),
        period=timedelta(minutes=1),
    )


ONE, TWO = pollutant(1), pollutant(2)


@dataclass
class Store:
    """Answers with how often it was asked, when it is let; or is away."""

    asked: list[list[int]] = field(default_factory=list)
    let: asyncio.Event = field(default_factory=asyncio.Event)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    away: bool = False
    index: Index | None = None

    def __post_init__(self) -> None:
        self.let.set()

    async def read(
        self, pollutants: Sequence[Pollutant], _: KnownIndices
    ) -> dict[int, Index | NoIndex]:
        ids = [one.datastream_id for one in pollutants]
        self.asked.append(ids)
        answer = self.index or NoIndex("no2", f"asked {len(self.asked)}")
        self.heard.set()
        await self.let.wait()
        if self.away:
            raise OSError("the database is away")
        return dict.fromkeys(ids, answer)


@dataclass
class Clock:
    at: float = 1000.0

    def __call__(self) -> float:
        return self.at


@asynccontextmanager
async def running(cache: IndexCache) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(cache.run(), name="indices")
        yield
        task.cancel()


async def told(cache: IndexCache, store: Store, now: datetime, reason: str) -> None:
    """Wait until the cache tells what the store said."""
    async with asyncio.timeout(15):
        expected = {1: NoIndex("no2", reason)}
        while await cache.indices(store.read, [ONE], now) != expected:  # noqa: ASYNC110  # to ask moves it
            await asyncio.sleep(0)


async def test_what_is_known_is_not_asked_again_within_a_minute() -> None:
    store, clock = Store(), Clock()
    cache = IndexCache(clock)
    async with running(cache):
        assert set(await cache.indices(store.read, [ONE], NOW)) == {1}
        clock.at += KEPT_SECONDS - 1
        assert set(await cache.indices(store.read, [ONE, TWO], NOW)) == {1, 2}
        assert store.asked == [[1], [2]]
        clock.at += 1
        await told(cache, store, NOW, "asked 3")
    assert store.asked == [[1], [2], [1]]


async def test_what_has_run_out_is_told_at_once_while_it_is_read_again() -> None:
    store, clock = Store(), Clock()
    cache = IndexCache(clock)
    before = await cache.indices(store.read, [ONE], NOW)
    clock.at += KEPT_SECONDS
    store.let.clear()
    store.heard.clear()
    async with running(cache):
        for _ in range(20):  # nobody waits, and they cost one reading
            assert await cache.indices(store.read, [ONE], NOW) == before
        await store.heard.wait()
        assert await cache.indices(store.read, [ONE], NOW) == before
        store.let.set()
        await told(cache, store, NOW, "asked 2")
    assert store.asked == [[1], [1]]


async def test_after_the_hour_the_last_is_told_with_its_end_until_the_next_is_read() -> None:
    store, clock = Store(), Clock()
    cache = IndexCache(clock)
    before = await cache.indices(store.read, [ONE], NOW)
    later = NOW + timedelta(hours=1)
    assert await cache.indices(store.read, [ONE], later) == before
    async with running(cache):
        await told(cache, store, later, "asked 2")


async def test_what_is_too_old_is_not_told_and_waited_for() -> None:
    store, clock = Store(), Clock()
    cache = IndexCache(clock)
    ended = latest_end(NOW)
    store.index = Index(
        property_key="no2",
        index=2,
        band="Low",
        concentration=80.0,
        averaging="1-hour mean",
        start=ended - timedelta(hours=2),
        end=ended - timedelta(hours=1),
        captured=1.0,
    )
    assert await cache.indices(store.read, [ONE], NOW) == {1: store.index}
    assert await cache.indices(store.read, [ONE], NOW + timedelta(hours=1)) == {1: store.index}
    await cache.indices(store.read, [ONE], NOW + timedelta(hours=2))
    assert store.asked == [[1], [1]]
    store.away = True
    assert await cache.indices(store.read, [ONE], NOW + timedelta(hours=6)) == {}


async def test_many_who_ask_first_cost_one_reading() -> None:
    store, clock = Store(), Clock()
    cache = IndexCache(clock)
    answers = await asyncio.gather(*(cache.indices(store.read, [ONE, TWO], NOW) for _ in range(20)))
    assert store.asked == [[1, 2]]
    assert all(set(one) == {1, 2} for one in answers)


async def test_nobody_is_told_what_he_did_not_ask_for() -> None:
    store = Store()
    cache = IndexCache(Clock())
    await cache.indices(store.read, [ONE, TWO], NOW)
    assert set(await cache.indices(store.read, [TWO], NOW)) == {2}


async def test_an_outage_leaves_what_is_known_and_is_not_asked_at_once_again() -> None:
    store, clock = Store(), Clock()
    cache = IndexCache(clock)
    before = await cache.indices(store.read, [ONE], NOW)
    store.away = True
    assert await cache.indices(store.read, [ONE, TWO], NOW) == before
    assert await cache.indices(store.read, [ONE, TWO], NOW) == before
    assert store.asked == [[1], [2]]
    store.away = False
    clock.at += KEPT_SECONDS
    assert set(await cache.indices(store.read, [ONE, TWO], NOW)) == {1, 2}
