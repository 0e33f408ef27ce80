"""Indices are kept for a minute of their hour, and read once however many ask."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from api.air_quality_now import KEPT_SECONDS, IndexCache
from standards_mapping.air_quality_index import NoIndex
from storage.air_quality import Pollutant

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

    def __post_init__(self) -> None:
        self.let.set()

    async def read(self, pollutants: Sequence[Pollutant]) -> dict[int, NoIndex]:
        ids = [one.datastream_id for one in pollutants]
        self.asked.append(ids)
        told = NoIndex("no2", f"asked {len(self.asked)}")
        self.heard.set()
        await self.let.wait()
        if self.away:
            raise OSError("the database is away")
        return dict.fromkeys(ids, told)


@dataclass
class Clock:
    at: float = 1000.0

    def __call__(self) -> float:
        return self.at


async def test_what_is_known_is_not_asked_again_within_a_minute() -> None:
    store, clock = Store(), Clock()
    cache = IndexCache(clock)
    assert set(await cache.indices(store.read, [ONE], NOW)) == {1}
    clock.at += KEPT_SECONDS - 1
    assert set(await cache.indices(store.read, [ONE, TWO], NOW)) == {1, 2}
    assert store.asked == [[1], [2]]
    clock.at += 1
    await cache.indices(store.read, [ONE, TWO], NOW)
    assert store.asked == [[1], [2], [1]]


async def test_an_index_of_the_hour_before_is_never_told() -> None:
    store, clock = Store(), Clock()
    cache = IndexCache(clock)
    await cache.indices(store.read, [ONE], NOW)
    store.away = True
    assert await cache.indices(store.read, [ONE], NOW + timedelta(hours=1)) == {}


async def test_many_who_ask_at_once_cost_one_reading() -> None:
    store, clock = Store(), Clock()
    cache = IndexCache(clock)
    answers = await asyncio.gather(*(cache.indices(store.read, [ONE, TWO], NOW) for _ in range(20)))
    assert store.asked == [[1, 2]]
    assert all(set(one) == {1, 2} for one in answers)


async def test_while_somebody_reads_others_are_told_what_has_just_run_out() -> None:
    store, clock = Store(), Clock()
    cache = IndexCache(clock)
    before = await cache.indices(store.read, [ONE], NOW)
    clock.at += KEPT_SECONDS
    store.let.clear()
    store.heard.clear()
    reading = asyncio.create_task(cache.indices(store.read, [ONE], NOW))
    await store.heard.wait()
    assert await cache.indices(store.read, [ONE], NOW) == before
    store.let.set()
    assert await reading != before


async def test_an_outage_leaves_the_page_without_and_is_not_asked_at_once_again() -> None:
    store, clock = Store(away=True), Clock()
    cache = IndexCache(clock)
    assert await cache.indices(store.read, [ONE], NOW) == {}
    assert await cache.indices(store.read, [ONE], NOW) == {}
    assert store.asked == [[1]]
    store.away = False
    clock.at += KEPT_SECONDS
    assert set(await cache.indices(store.read, [ONE], NOW)) == {1}
