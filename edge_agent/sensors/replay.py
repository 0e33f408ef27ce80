"""Plays a recording as if its last day were today: real values at times that are not theirs.

At its first start it fixes a shift of whole days, fills the past from the recording, and from
then on plays one recorded row every few seconds, stamped with the actual time; the recording
wraps to its beginning. Every datastream says so, and every reading is flagged as replayed. A cell
that is empty in the recording makes no reading: its gaps stay gaps. `Recording` and `Position` are
pure; how far it has come is kept in the state directory, noted only after the readings are on the
disk.
"""

import asyncio
import csv
import hashlib
import json
import math
import zlib
from array import array
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, Self, TextIO

from device_protocol.description import Datastream
from device_protocol.reading import Quality, Reading
from edge_agent.adapter import (
    Adapter,
    AdapterError,
    DatastreamSettings,
    Harvest,
    SensorSettings,
    Surroundings,
    table_contradictions,
)
from edge_agent.durable import replace as replace_file
from edge_agent.durable import write_durably
from edge_agent.inputs.rhythm import Rhythm
from runtime.settings import KeyPath, setting

_DAY_SECONDS: Final = 86_400
_READINGS_PER_HARVEST: Final = 1_000
_MOST_ROWS: Final = 1_000_000  # of one site in memory, those that are missing included


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSettings(DatastreamSettings):
    """What one column of a recording becomes: a datastream."""

    averaging_seconds: int = setting(
        "A result is the mean over this long, ending at its time; 0 is an instant.",
        default=3600,
        minimum=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings(SensorSettings):
    """Plays a recording as if its last day were today."""

    adapter: Literal["replay"] = "replay"
    file: Path = setting(
        "The recording: CSV with a header, or (.jsonl) a flat JSON object in each line with the "
        "columns as keys; perhaps gzipped.",
        must_exist=True,
    )
    recorded: str = setting("When it was recorded, e.g. 2009; part of every datastream.")
    source: str = setting("Who measured it; likewise.")
    licence: str = setting("Under which licence; likewise.")
    site: str | None = setting("Play only rows of this site.", default=None)
    site_column: str = setting("Column with the site.", default="site")
    time_column: str = setting("Column with the time, ISO 8601 with offset.", default="date")
    recorded_period_seconds: int = setting(
        "Time between two recorded rows of a site.", default=3600, minimum=1, maximum=86_400
    )
    backfill_days: float = setting(
        "How far back the first start fills.", default=90.0, minimum=0.0, maximum=3660.0
    )
    live_interval_seconds: float = setting(
        "After that, one row is played every so often.", default=5.0, minimum=0.05
    )
    columns: Mapping[str, ColumnSettings] = setting("What each column becomes.")

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse a recording without columns, and two columns of one name."""
        yield from table_contradictions("columns", self.columns)


def datastreams(settings: ReplaySettings) -> tuple[Datastream, ...]:
    """Return what the columns become, each saying plainly that it is a replay."""
    truth = {
        "replay": (
            f"A time-shifted replay of {settings.recorded} data: the values are as recorded, "
            "moved by whole days so that the last recorded day became the day of the first start."
        ),
        "live": (
            "Newer values are recorded values too, each stamped with the time it was replayed, "
            f"one every {settings.live_interval_seconds:g} s."
        ),
        "source": settings.source,
        "licence": settings.licence,
    }
    period = max(1, round(settings.live_interval_seconds))
    return tuple(column.datastream(period, truth) for column in settings.columns.values())


@dataclass(frozen=True, slots=True)
class Recording:
    """A site's rows on an even grid of times.

    first: Unix seconds of row 0. period_seconds: between rows. columns: results by column
    name, NaN where the recording has none.
    """

    first: int
    period_seconds: int
    columns: Mapping[str, "array[float]"]

    @property
    def rows(self) -> int:
        """How many rows there are, those that are missing included."""
        return len(next(iter(self.columns.values())))

    def row(self, index: int) -> Iterator[tuple[str, float]]:
        """Yield column name and result of row `index`, counted on past the end from row 0."""
        for name, results in self.columns.items():
            result = results[index % self.rows]
            if not math.isnan(result):
                yield name, result


@dataclass(frozen=True, slots=True)
class Position:
    """How far a recording has been played.

    shift_days: what is added to recorded times. covered_until: Unix seconds up to which
    readings were made, by filling or live. next_live: the row to be played next.
    """

    shift_days: int
    covered_until: int
    next_live: int

    @classmethod
    def begin(cls, recording: Recording, now: int, backfill_days: float) -> Self:
        """Return where a first start begins: the last recorded day becomes today (UTC)."""
        last = recording.first + (recording.rows - 1) * recording.period_seconds
        shift_days = now // _DAY_SECONDS - last // _DAY_SECONDS
        earliest = recording.first + shift_days * _DAY_SECONDS
        begin = max(earliest, math.ceil(now - backfill_days * _DAY_SECONDS))
        return cls(shift_days, begin - 1, _row_after(recording, shift_days, now))

    def missed(self, recording: Recording, now: int) -> range:
        """Return the rows whose shifted time lies after what is covered and not after `now`."""
        return range(
            _row_after(recording, self.shift_days, self.covered_until),
            _row_after(recording, self.shift_days, now),
        )

    def time_of(self, recording: Recording, index: int) -> int:
        """Return the shifted time of row `index`, in Unix seconds."""
        shift = self.shift_days * _DAY_SECONDS
        return recording.first + shift + index * recording.period_seconds


async def harvests(
    settings: ReplaySettings, surroundings: Surroundings
) -> AsyncGenerator[Harvest, None]:
    """Fill what is missing of the past, then play live; noting each step once it is durable."""
    clock = surroundings.clock
    recording = await asyncio.to_thread(load, settings)
    state_file = surroundings.state_directory / _state_name(settings.urn)
    position = _stored(state_file) or Position.begin(
        recording, int(clock.unix()), settings.backfill_days
    )
    await asyncio.to_thread(write_durably, state_file, _as_json(position))
    for rows in _portions(recording, position.missed(recording, int(clock.unix()))):
        readings = tuple(
            reading
            for index in rows
            for reading in _readings(
                settings, recording, index, _moment(position.time_of(recording, index))
            )
        )
        yield Harvest(readings, at_once=True)
        position = replace(position, covered_until=position.time_of(recording, rows[-1]))
        replace_file(state_file, _as_json(position))
    rhythm = Rhythm(clock, settings.live_interval_seconds)
    while True:
        await rhythm.beat()
        now = clock.now()
        yield Harvest(tuple(_readings(settings, recording, position.next_live, now)))
        position = replace(
            position,
            covered_until=max(position.covered_until, int(now.timestamp())),
            next_live=(position.next_live + 1) % recording.rows,
        )
        replace_file(state_file, _as_json(position))


def load(settings: ReplaySettings) -> Recording:
    """Read the recording.

    Raises:
        OSError: the file cannot be read.
        AdapterError: it lacks a column or the site, or its times are not on an even grid.
    """
    try:
        with _open(settings.file) as file:
            return read_recording(file, settings)
    except (ValueError, IndexError, EOFError, csv.Error, zlib.error) as error:
        raise AdapterError(f"{settings.file.name}: {error}") from error


def read_recording(file: TextIO, settings: ReplaySettings) -> Recording:
    """Read a recording from CSV, or from JSON lines where the file's name says so.

    Raises:
        AdapterError: as `load`.
        ValueError: a time or result is not one, or a line not a JSON object.
    """
    rows = _json_rows if ".jsonl" in settings.file.suffixes else _csv_rows
    times = array("q")
    cells = {name: array("d") for name in settings.columns}
    for site, stamp, found in rows(file, settings):
        if site == settings.site:
            times.append(_unix(stamp))
            for column, result in zip(cells.values(), found, strict=True):
                column.append(result)
    if not times:
        raise AdapterError(f"no rows of site {settings.site!r}")
    first, period = min(times), settings.recorded_period_seconds
    count = (max(times) - first) // period + 1
    if count > _MOST_ROWS:
        raise AdapterError(f"{count} rows from first to last, limit {_MOST_ROWS}")
    columns = {name: array("d", [math.nan]) * count for name in cells}
    for row_at, time in enumerate(times):
        if (time - first) % period:
            raise AdapterError(f"{_moment(time)} is not on a grid of {period} s")
        for name, results in cells.items():
            columns[name][(time - first) // period] = results[row_at]
    return Recording(first, period, columns)


_Row = tuple[str | None, str, list[float]]
"""Site (None if there is only one), time, and the results of the wanted columns in order."""


def _csv_rows(file: TextIO, settings: ReplaySettings) -> Iterator[_Row]:
    table = csv.reader(file)
    header = next(table, [])
    _check_columns(header, settings)
    time_at = header.index(settings.time_column)
    site_at = None if settings.site is None else header.index(settings.site_column)
    wanted = [header.index(name) for name in settings.columns]
    for row in table:
        site = None if site_at is None else row[site_at]
        yield site, row[time_at], [_result(row[at]) for at in wanted]


def _json_rows(file: TextIO, settings: ReplaySettings) -> Iterator[_Row]:
    from edge_agent.inputs.fields import read_json  # noqa: PLC0415  # only for JSON lines

    seen: dict[str, None] = {}
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        row = read_json(line)
        if not isinstance(row, dict):
            raise AdapterError(f"line {number} is no JSON object")
        seen |= dict.fromkeys(row)
        site = None if settings.site is None else str(row.get(settings.site_column))
        results = [_json_result(row.get(name), number) for name in settings.columns]
        yield site, str(row.get(settings.time_column)), results
    _check_columns(list(seen), settings)


def _json_result(value: object, line: int) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise AdapterError(f"line {line}: {value!r} is no result")
    return _result(str(value))


def _check_columns(there: list[str], settings: ReplaySettings) -> None:
    """Refuse a recording that lacks a column."""
    sites = [] if settings.site is None else [settings.site_column]
    for name in (settings.time_column, *settings.columns, *sites):
        if name not in there:
            raise AdapterError(f"no column {name!r}; there are {', '.join(there)}")


def _row_after(recording: Recording, shift_days: int, time: int) -> int:
    """Return the first row, counted on past the end, whose shifted time is after `time`."""
    shifted_first = recording.first + shift_days * _DAY_SECONDS
    return (time - shifted_first) // recording.period_seconds + 1


def _portions(recording: Recording, rows: range) -> Iterator[range]:
    """Cut rows into portions of about `_READINGS_PER_HARVEST` readings."""
    step = max(1, _READINGS_PER_HARVEST // max(1, len(recording.columns)))
    for begin in range(rows.start, rows.stop, step):
        yield range(begin, min(begin + step, rows.stop))


def _readings(
    settings: ReplaySettings, recording: Recording, index: int, time: datetime
) -> Iterator[Reading]:
    for key, result in recording.row(index):
        column = settings.columns[key]
        yield Reading(
            sensor=settings.urn,
            name=column.name,
            phenomenon_time=time,
            result=result,
            unit=column.symbol,
            quality=Quality.REPLAYED,
        )


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        import gzip  # noqa: PLC0415  # only for a gzipped recording

        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _result(cell: str) -> float:
    result = float(cell) if cell.strip() else math.nan
    if math.isinf(result):
        raise ValueError(f"a result of {cell}")
    return result


def _unix(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() is None:
        raise ValueError(f"time {text} has no UTC offset")
    return int(moment.timestamp())


def _moment(unix_seconds: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=unix_seconds)


def _state_name(urn: str) -> str:
    return f"replay-{hashlib.sha256(urn.encode()).hexdigest()[:16]}.json"


def _stored(path: Path) -> Position | None:
    try:
        return Position(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _as_json(position: Position) -> bytes:
    return json.dumps(asdict(position)).encode()


ADAPTER: Final = Adapter(ReplaySettings, datastreams, harvests)
