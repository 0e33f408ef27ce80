"""A region with its history, made quickly: councils, Things, Datastreams, and millions of rows.

The registry is written by the functions that ingest uses, the rollups by the worker's; only the
observations take a shorter way, a binary COPY straight into their table. They are written in order
of time, one reading of every Datastream after the other, as a live network's arrive: the rows of
one Datastream then lie far apart, which is what a query has to live with. Nothing is random but
by seed.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from bench.errors import BenchError
from device_protocol.description import Datastream, GatewayDescription, Sensor, Thing
from device_protocol.reading import Quality
from standards_mapping.properties import find_property
from storage import registry
from storage.batches import Observations, copy_payload, reconcile_latest
from storage.database import Connection, connect
from storage.descriptions import Describer, store_description
from storage.partitions import ensure_partitions
from storage.rollups import refresh_rollups

DAYS: Final = 30
COUNCILS: Final = 10

_HOUR: Final = timedelta(hours=1)
_SILENT_SHARE: Final = 0.01  # of a Datastream's days: then it is silent for so many hours
_SILENT_HOURS: Final = 4
_WILD_SHARE: Final = 1e-5  # of the readings: outside the sensor's range, and flagged as such
_WILD_VALUE: Final = 6553.5
_LATE_SHARE: Final = 0.002  # of the readings: stored after all the others
_STEPS_A_COPY: Final = 10
_AHEAD: Final = 2  # payloads built while one is being written
_STREETS: Final = 25  # a council's Things stand in rows of so many
_EXTENT_DEGREES: Final = 0.004  # from one to the next

Tell = Callable[[str], None]
"""Told, in a line each, how far things are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """How the readings of one property run: a daily wave, and noise that remembers."""

    key: str
    level: float
    wave: float
    noise: float
    lowest: float
    highest: float
    averaged: bool = False


MEASURED: Final = (
    _Measured(key="no2", level=32, wave=14, noise=9, lowest=0, highest=400),
    _Measured(key="pm25", level=11, wave=3, noise=5, lowest=0, highest=300),
    _Measured(key="air_temperature", level=11, wave=5, noise=2, lowest=-20, highest=45),
    _Measured(key="relative_humidity", level=72, wave=12, noise=6, lowest=0, highest=100),
    _Measured(key="laeq", level=62, wave=6, noise=3, lowest=25, highest=110, averaged=True),
    _Measured(key="wind_direction", level=225, wave=25, noise=40, lowest=0, highest=360),
    _Measured(key="wind_speed", level=4, wave=1.5, noise=1.5, lowest=0, highest=40),
    _Measured(key="vehicle_count", level=90, wave=70, noise=15, lowest=0, highest=500),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """What was made. start: of the history, on the hour; end: of it, likewise. seconds: by phase.

    rows: in `observation`; rows_per_s: how fast they went in.
    """

    rows: int
    streams: int
    things: int
    councils: int
    start: datetime
    end: datetime
    period_seconds: int
    rows_per_s: float
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Streams:
    """The Datastreams in order of their id, by column, and when each reports within a period."""

    ids: npt.NDArray[np.int32]
    measured: npt.NDArray[np.int64]  # index into MEASURED
    offsets: npt.NDArray[np.int64]  # microseconds


async def seed(
    dsn: str,
    *,
    rows: int = 20_000_000,
    streams: int = 5_000,
    days: int = DAYS,
    end: datetime | None = None,
    tell: Tell = lambda _line: None,
) -> Seeded:
    """Fill an empty, migrated database with about `rows` observations of `days` up to `end`.

    streams: rounded up to whole Things of eight. end: an hour, UTC; None: the one that runs.

    Raises:
        BenchError: the database is not empty, or the rows are too many for a reading a second.
    """
    end = (end or datetime.now(UTC)).replace(minute=0, second=0, microsecond=0)
    start = end - timedelta(days=days)
    things = -(-streams // len(MEASURED))
    streams = things * len(MEASURED)
    period = round(days * 86_400 * streams / rows)
    if period < 1:
        raise BenchError(f"{rows} rows of {streams} datastreams in {days} days: take more days")
    clock = _Clock(tell)
    async with await connect(dsn, autocommit=True, application_name="kerbstone seed") as conn:
        [(found,)] = await (await conn.execute("SELECT count(*) FROM council")).fetchall()
        if found:
            raise BenchError("the database is not empty: seed a fresh one")
        await _register(conn, things, period)
        clock.lap("registry")
        known = await _streams(conn, period)
        history = _History(known, start, end, period)
        await ensure_partitions(conn, start, end)
        stored = await _observe(conn, history, tell)
        seconds = clock.lap("observations")
        await conn.execute("VACUUM (ANALYZE) observation")
        clock.lap("vacuum")
        await _summarise(conn, start, end, tell)
        clock.lap("rollups")
        await reconcile_latest(conn)
        await conn.execute("VACUUM (ANALYZE)")
        clock.lap("latest")
    return Seeded(
        rows=stored,
        streams=streams,
        things=things,
        councils=min(COUNCILS, things),
        start=start,
        end=end,
        period_seconds=period,
        rows_per_s=round(stored / seconds),
        seconds=clock.seconds,
    )


class _Clock:
    """How long each phase took."""

    def __init__(self, tell: Tell) -> None:
        self.seconds: dict[str, float] = {}
        self._tell = tell
        self._since = time.perf_counter()

    def lap(self, name: str) -> float:
        """End a phase; return its length in seconds."""
        now = time.perf_counter()
        took, self._since = now - self._since, now
        self.seconds[name] = round(took, 1)
        self._tell(f"{name}: {took:.1f} s")
        return took


# The registry


async def _register(conn: Connection, things: int, period: int) -> None:
    """Make councils, and gateways with one Thing each at a place of its own."""
    councils = [
        await registry.add_council(
            conn, gss=f"E0900{number:04}", tenant=f"council-{number}", name=f"Council {number}"
        )
        for number in range(min(COUNCILS, things))
    ]
    async with conn.transaction():
        for number in range(things):
            council = number % len(councils)
            device = f"gateway-{number}"
            gateway_id = await registry.add_gateway(
                conn, tenant=f"council-{council}", device=device, label=f"Gateway {number}"
            )
            describer = Describer(
                gateway_id=gateway_id, council_id=councils[council], described_at=int(time.time())
            )
            description = GatewayDescription((_thing(number, council, period),))
            await store_description(conn, describer, description, hashlib.sha256().digest())
    await conn.execute("ANALYZE")


def _thing(number: int, council: int, period: int) -> Thing:
    row, column = divmod(number // COUNCILS, _STREETS)
    urn = f"urn:dev:bench:{number}"
    return Thing(
        urn=urn,
        name=f"Site {number}",
        description="One of many sites.",
        longitude=round(-0.5 + council % 5 * 0.2 + column * _EXTENT_DEGREES, 6),
        latitude=round(51.3 + council // 5 * 0.2 + row * _EXTENT_DEGREES, 6),
        place_name=f"Place {number}",
        sensors=(
            Sensor(
                urn=f"{urn}:sensor",
                name=f"Sensor {number}",
                description="It measures everything.",
                metadata="",
                datastreams=tuple(_datastream(one, period) for one in MEASURED),
            ),
        ),
    )


def _datastream(one: _Measured, period: int) -> Datastream:
    known = find_property(one.key)
    return Datastream(
        name=one.key,
        title=known.label,
        description=known.label,
        observed_property=one.key,
        unit=known.unit,
        period_seconds=period,
        averaging_seconds=period if one.averaged else 0,
        valid_minimum=one.lowest,
        valid_maximum=one.highest,
    )


async def _streams(conn: Connection, period: int) -> _Streams:
    cursor = await conn.execute("SELECT id, short_name FROM datastream ORDER BY id")
    found = await cursor.fetchall()
    names = [one.key for one in MEASURED]
    random = np.random.default_rng(1)
    return _Streams(
        np.array([datastream_id for datastream_id, _ in found], dtype=np.int32),
        np.array([names.index(name) for _, name in found]),
        random.integers(0, period * 1_000_000, len(found)),
    )


# The observations


async def _observe(conn: Connection, history: "_History", tell: Tell) -> int:
    """Write all observations; return how many. The next payloads are built meanwhile."""
    ready: asyncio.Queue[tuple[bytes, int, float] | None] = asyncio.Queue(_AHEAD)
    loop = asyncio.get_running_loop()

    def build() -> None:
        for built in history.payloads():
            asyncio.run_coroutine_threadsafe(ready.put(built), loop).result()
        asyncio.run_coroutine_threadsafe(ready.put(None), loop).result()

    stored = 0
    told = time.monotonic()
    building = asyncio.create_task(asyncio.to_thread(build), name="build")
    while (built := await ready.get()) is not None:
        payload, count, done = built
        await _copy(conn, payload)
        stored += count
        if time.monotonic() - told > 5:  # noqa: PLR2004 - seconds between two lines
            told = time.monotonic()
            tell(f"{stored:,} rows, {done:.0%}")
    await building
    await _flag(conn, history.wild)
    return stored


async def _copy(conn: Connection, payload: bytes) -> None:
    async with (
        conn.cursor() as cursor,
        cursor.copy(
            "COPY observation (datastream_id, time, value) FROM STDIN (FORMAT binary)"
        ) as copy,
    ):
        await copy.write(payload)


async def _flag(conn: Connection, wild: list[tuple[int, int]]) -> None:
    """Flag readings as their gateway would have: outside the sensor's range."""
    await conn.execute(
        "INSERT INTO observation_extra (datastream_id, time, quality)"
        " SELECT id, to_timestamp(0) + microseconds * INTERVAL '1 microsecond', %s"
        " FROM unnest(%s::int[], %s::bigint[]) AS wild (id, microseconds)",
        (
            int(Quality.OUT_OF_RANGE),
            [datastream_id for datastream_id, _ in wild],
            [microseconds for _, microseconds in wild],
        ),
    )


class _History:
    """The readings of all Datastreams, a step of the period after the other.

    wild: the (datastream, Unix microseconds) of those outside their sensor's range, once made.
    """

    def __init__(self, streams: _Streams, start: datetime, end: datetime, period: int) -> None:
        self.wild: list[tuple[int, int]] = []
        self._streams = streams
        self._start = start
        self._steps = int((end - start).total_seconds()) // period
        self._period = period
        self._random = np.random.default_rng(2)
        self._noise = np.zeros(len(streams.ids))
        self._late: list[Observations] = []

    def payloads(self) -> Iterator[tuple[bytes, int, float]]:
        """Yield binary COPYs, how many rows are in each, and the share done with it."""
        silent = self._silences()
        for begin in range(0, self._steps, _STEPS_A_COPY):
            steps = range(begin, min(begin + _STEPS_A_COPY, self._steps))
            made = [self._step(step, silent) for step in steps]
            yield *_joined(made), steps[-1] / self._steps
        yield *_joined(self._late), 1.0

    def _silences(self) -> npt.NDArray[np.bool_]:
        """Return which (hour, Datastream) has no reading."""
        hours = -(-self._steps * self._period // 3600) + _SILENT_HOURS
        begins = self._random.random((hours, len(self._streams.ids))) < _SILENT_SHARE / 24
        silent = begins.copy()
        for later in range(1, _SILENT_HOURS):
            silent[later:] |= begins[:-later]
        return silent

    def _step(self, step: int, silent: npt.NDArray[np.bool_]) -> Observations:
        """Return one reading of every Datastream that is not silent, but for the late ones."""
        streams, random = self._streams, self._random
        start = round(self._start.timestamp()) * 1_000_000
        times = start + step * self._period * 1_000_000 + streams.offsets
        values = self._values(times)
        wild = random.random(len(times)) < _WILD_SHARE
        values[wild] = _WILD_VALUE
        heard = ~silent[(times - start) // 3_600_000_000, np.arange(len(times))]
        late = heard & (random.random(len(times)) < _LATE_SHARE)
        self.wild += zip(
            streams.ids[wild & heard].tolist(), times[wild & heard].tolist(), strict=True
        )
        self._late.append(Observations(streams.ids[late], times[late], values[late]))
        now = heard & ~late
        return Observations(streams.ids[now], times[now], values[now])

    def _values(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        self._noise = 0.95 * self._noise + 0.31 * self._random.standard_normal(len(times))
        column = {
            name: np.array([getattr(one, name) for one in MEASURED])[self._streams.measured]
            for name in ("level", "wave", "noise", "lowest", "highest")
        }
        wave = np.sin(times / 86_400e6 * 2 * np.pi)
        values = column["level"] + column["wave"] * wave + column["noise"] * self._noise
        return np.asarray(np.clip(values, column["lowest"], column["highest"]).round(1))


def _joined(parts: list[Observations]) -> tuple[bytes, int]:
    joined = Observations(
        np.concatenate([part.datastream_ids for part in parts]),
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.values for part in parts]),
    )
    return copy_payload(joined), len(joined)


# The rollups


async def _summarise(conn: Connection, start: datetime, end: datetime, tell: Tell) -> None:
    """Log every hour of every Datastream, a day at a time, and let the rollups be computed."""
    day = start
    while day < end:
        await conn.execute(
            "INSERT INTO rollup_log (bucket, datastream_id)"
            " SELECT bucket, id"
            " FROM generate_series(%s::timestamptz, %s, '1 hour') AS hour (bucket)"
            " CROSS JOIN datastream",
            (day, min(day + timedelta(days=1), end) - _HOUR),
        )
        while await refresh_rollups(conn):
            pass
        day += timedelta(days=1)
        tell(f"rollups up to {min(day, end):%d %B}")
