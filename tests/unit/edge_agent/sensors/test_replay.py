"""A recording keeps its values, its gaps and its order, whatever day it is played."""

import gzip
import io
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pytest

from device_protocol.reading import Quality
from edge_agent.adapter import AdapterError, Harvest, Surroundings
from edge_agent.clock import Clock
from edge_agent.sensors.replay import (
    ColumnSettings,
    Position,
    Recording,
    ReplaySettings,
    datastreams,
    harvests,
    load,
    read_recording,
)
from tests.unit.edge_agent.conftest import FakeTime

FIRST = datetime(2009, 1, 1, tzinfo=UTC)
HOURS = 96


def column(name: str) -> ColumnSettings:
    return ColumnSettings(
        name=name.replace(".", ""),
        title=name,
        description=name,
        observed_property=name,
        unit="%RH" if name == "rh" else "ug/m3",
    )


def replay_settings(file: Path = Path("recording.csv"), **changes: object) -> ReplaySettings:
    values: dict[str, object] = {
        "urn": "urn:dev:example:analyser",
        "thing": "urn:dev:example:site",
        "name": "Analyser",
        "description": "An analyser.",
        "file": file,
        "recorded": "2009",
        "source": "Somebody",
        "licence": "OGL-UK-3.0",
        "site": "A",
        "live_interval_seconds": 5.0,
        "columns": MappingProxyType({"no2": column("no2"), "rh": column("rh")}),
    }
    return ReplaySettings(**(values | changes))  # type: ignore[arg-type]


def table(*, missing: set[int] = frozenset(), empty: set[int] = frozenset()) -> str:  # type: ignore[assignment]
    """Hours of site A with its index as no2; hour 5 of rh is empty."""
    lines = ["date,no2,site,rh"]
    for hour in range(HOURS):
        time = f"{FIRST + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ}"
        lines.append(f"{time},77,B,77")
        if hour not in missing:
            lines.append(f"{time},{'' if hour in empty else hour},A,{'' if hour == 5 else 50}")
    return "\n".join(lines) + "\n"


def recording(text: str | None = None) -> Recording:
    return read_recording(io.StringIO(text or table()), replay_settings())


def unix(moment: datetime) -> int:
    return int(moment.timestamp())


def test_only_the_sites_rows_are_read_and_empty_cells_are_nothing() -> None:
    read = recording(table(missing={7}, empty={3}))
    assert read.rows == HOURS
    assert list(read.row(0)) == [("no2", 0.0), ("rh", 50.0)]
    assert list(read.row(3)) == [("rh", 50.0)]
    assert list(read.row(5)) == [("no2", 5.0)]
    assert list(read.row(7)) == []


def test_the_recording_wraps() -> None:
    assert list(recording().row(HOURS + 2)) == list(recording().row(2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("date,no2,site\n", "no column 'rh'"),
        ("", "no column 'date'"),
        ("date,no2,site,rh\n2009-01-01T00:00:00Z,1,B,1\n", "no rows of site 'A'"),
        (
            "date,no2,site,rh\n2009-01-01T00:00:00Z,1,A,1\n2009-01-01T00:30:00Z,1,A,1\n",
            "not on a grid",
        ),
        (
            "date,no2,site,rh\n2009-01-01T00:00:00Z,1,A,1\n3009-01-01T00:00:00Z,1,A,1\n",
            "limit 1000000",
        ),
    ],
)
def test_a_recording_that_cannot_be_played_is_an_adapter_error(text: str, message: str) -> None:
    with pytest.raises(AdapterError, match=message):
        read_recording(io.StringIO(text), replay_settings())


@pytest.mark.parametrize(
    "content",
    [
        b"date,no2,site,rh\n2009-01-01T00:00:00Z,1\n",
        b"date,no2,site,rh\n2009-01-01T00:00:00,1,A,1\n",
        b"\xff\xfe",
        b"x" * 200_000,
    ],
)
def test_a_damaged_file_is_an_adapter_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "recording.csv").write_bytes(content)
    with pytest.raises(AdapterError, match=r"recording\.csv"):
        load(replay_settings(tmp_path / "recording.csv"))


def test_a_gzipped_recording_is_read_and_a_damaged_one_is_an_adapter_error(
    tmp_path: Path,
) -> None:
    path = tmp_path / "recording.csv.gz"
    path.write_bytes(gzip.compress(table().encode()))
    read = load(replay_settings(path))
    assert [list(read.row(index)) for index in range(HOURS)] == [
        list(recording().row(index)) for index in range(HOURS)
    ]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises((AdapterError, OSError)):
        load(replay_settings(path))


@pytest.mark.parametrize("cell", ["high", "inf"])
def test_a_result_that_is_none_is_refused(cell: str) -> None:
    with pytest.raises(ValueError, match=cell):
        recording(f"date,no2,site,rh\n2009-01-01T00:00:00Z,{cell},A,1\n")


def test_the_last_recorded_day_becomes_today() -> None:
    now = datetime(2030, 3, 17, 13, 20, tzinfo=UTC)
    read = recording()
    position = Position.begin(read, unix(now), 90)
    last = position.time_of(read, HOURS - 1)
    assert datetime.fromtimestamp(last, UTC) == datetime(2030, 3, 17, 23, tzinfo=UTC)


def test_every_recorded_hour_up_to_now_is_filled_and_none_after() -> None:
    now = datetime(2030, 3, 17, 13, 20, tzinfo=UTC)
    read = recording()
    position = Position.begin(read, unix(now), 90)
    rows = position.missed(read, unix(now))
    assert rows == range(72 + 14)  # three whole days, and hours 0 to 13 of today
    assert position.time_of(read, rows[-1]) == unix(now.replace(minute=0))
    assert position.next_live == rows.stop


def test_backfill_reaches_back_only_so_far() -> None:
    now = datetime(2030, 3, 17, 13, 0, tzinfo=UTC)
    position = Position.begin(recording(), unix(now), 1)
    rows = position.missed(recording(), unix(now))
    assert len(rows) == 25  # both ends of the day are within it
    assert position.time_of(recording(), rows[0]) == unix(now - timedelta(days=1))


def test_no_backfill_when_none_is_wanted() -> None:
    now = datetime(2030, 3, 17, 13, 20, tzinfo=UTC)
    position = Position.begin(recording(), unix(now), 0)
    assert len(position.missed(recording(), unix(now))) == 0


def test_hours_missed_while_stopped_go_on_past_the_end_of_the_recording() -> None:
    read = recording()
    now = datetime(2030, 3, 17, 13, 0, tzinfo=UTC)
    later = now + timedelta(days=1)
    covered = Position(Position.begin(read, unix(now), 90).shift_days, unix(now), 0)
    rows = covered.missed(read, unix(later))
    times = [covered.time_of(read, index) for index in rows]
    assert times == [unix(now + timedelta(hours=hour)) for hour in range(1, 25)]
    assert list(read.row(rows[-1])) == list(read.row(rows[-1] - HOURS))


def test_every_datastream_says_that_it_is_a_replay() -> None:
    for datastream in datastreams(replay_settings()):
        assert "replay of 2009 data" in datastream.properties["replay"]
        assert "stamped with the time it was replayed" in datastream.properties["live"]
        assert datastream.properties["source"] == "Somebody"
        assert datastream.properties["licence"] == "OGL-UK-3.0"
        assert datastream.averaging_seconds == 3600


class Playing:
    """The adapter under a clock that stands still between its steps."""

    def __init__(self, tmp_path: Path, clock: Clock, fake_time: FakeTime, text: str) -> None:
        (tmp_path / "recording.csv").write_text(text)
        self.fake_time = fake_time
        self._settings = replay_settings(tmp_path / "recording.csv", live_interval_seconds=0.05)
        self._surroundings = Surroundings(clock, tmp_path)
        self._harvests = harvests(self._settings, self._surroundings)

    async def next(self) -> Harvest:
        self.fake_time.advance(0.05)
        return await anext(self._harvests)

    async def restart(self) -> None:
        await self._harvests.aclose()
        self._harvests = harvests(self._settings, self._surroundings)

    async def until_live(self) -> tuple[list[Harvest], Harvest]:
        filled = []
        while (harvest := await self.next()).at_once:
            filled.append(harvest)
        return filled, harvest


@pytest.fixture
def playing(tmp_path: Path, clock: Clock, fake_time: FakeTime) -> Playing:
    fake_time.wall = datetime(2030, 3, 17, 13, 20, tzinfo=UTC).timestamp()
    return Playing(tmp_path, clock, fake_time, table(empty={1, 86}))


async def test_first_the_past_then_live_values_stamped_now(playing: Playing) -> None:
    filled, live = await playing.until_live()
    no2 = [each for harvest in filled for each in harvest.readings if each.name == "no2"]
    assert len(no2) == 85  # 86 hours, one of them empty
    assert no2[0].result == 0.0
    assert no2[0].phenomenon_time == datetime(2030, 3, 14, tzinfo=UTC)
    rh = [each for harvest in filled for each in harvest.readings if each.name == "rh"]
    assert {each.unit for each in rh} == {"%RH"}
    assert [(each.name, each.result) for each in live.readings] == [("rh", 50.0)]  # 86 is empty
    assert live.readings[0].phenomenon_time.timestamp() == playing.fake_time.wall
    following = await playing.next()
    assert following.readings[0].result == 87.0


async def test_a_restart_fills_only_what_was_missed_and_plays_on(playing: Playing) -> None:
    await playing.until_live()
    await playing.next()
    await playing.next()
    await playing.restart()
    playing.fake_time.advance(3 * 3600)
    filled, live = await playing.until_live()
    results = [each.result for each in filled[0].readings if each.name == "no2"]
    assert results == [87.0, 88.0]  # 14 to 16 o'clock; the first of them is empty
    assert live.readings[0].result == 88.0  # rows 86 and 87 were noted; 88 was only handed over


async def test_a_harvest_that_was_not_taken_in_is_played_again(playing: Playing) -> None:
    first = await playing.next()
    await playing.restart()
    again = await playing.next()
    assert again.readings[0] == first.readings[0]


def in_json(text: str) -> str:
    """The same recording as JSON lines: numbers as such, empty cells as null."""
    header, *rows = (line.split(",") for line in text.splitlines())
    lines = []
    for row in rows:
        cells: dict[str, object] = dict(zip(header, row, strict=True))
        for name in ("no2", "rh"):
            cells[name] = float(str(cells[name])) if cells[name] else None
        lines.append(json.dumps(cells))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", ["recording.jsonl", "recording.jsonl.gz"])
def test_json_lines_are_the_same_recording(tmp_path: Path, name: str) -> None:
    text = table(missing={7}, empty={3})
    file = tmp_path / name
    octets = in_json(text).encode()
    file.write_bytes(gzip.compress(octets) if file.suffix == ".gz" else octets)
    assert repr(load(replay_settings(file))) == repr(recording(text))


def json_recording(text: str, **changes: object) -> Recording:
    return read_recording(io.StringIO(text), replay_settings(Path("a.jsonl"), **changes))


def test_json_lines_may_leave_keys_out_and_write_numbers_as_text() -> None:
    text = '{"date": "2009-01-01T00:00:00Z", "no2": "41.5"}\n\n'
    text += '{"date": "2009-01-01T01:00:00+00:00", "no2": "", "rh": 7, "more": [1]}\n'
    read = json_recording(text, site=None)
    assert list(read.row(0)) == [("no2", 41.5)]
    assert list(read.row(1)) == [("rh", 7.0)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"date": "2009-01-01T00:00:00Z", "no2": 1}', "no column 'rh'; there are date, no2"),
        ('{"no2": 1, "rh": 1}', "no column 'date'|Invalid isoformat"),
        ('{"date": "2009-01-01T00:00:00Z", "no2": true, "rh": 1}', "line 1: True is no result"),
        ('{"date": "2009-01-01T00:00:00Z", "no2": [1], "rh": 1}', "line 1"),
        ('{"date": "2009-01-01T00:00:00Z", "no2": NaN, "rh": 1}', "NaN"),
        ('{"date": "2009-01-01T00:00:00Z", "no2": 1, "no2": 2}', "twice"),
        ('{"date": "2009-01-01T00:00:00Z", "no2": "high"}', "high"),
        ("[1]", "line 1 is no JSON object"),
        ("{", "not JSON"),
        ("", "no rows|no column"),
    ],
)
def test_a_json_recording_that_makes_no_sense_is_an_adapter_error(
    tmp_path: Path, line: str, reason: str
) -> None:
    (tmp_path / "a.jsonl").write_text(line + "\n")
    with pytest.raises(AdapterError, match=reason):
        load(replay_settings(tmp_path / "a.jsonl", site=None))


async def test_every_reading_is_flagged_as_replayed(playing: Playing) -> None:
    filled, live = await playing.until_live()
    flags = {each.quality for harvest in (*filled, live) for each in harvest.readings}
    assert flags == {Quality.REPLAYED}


def test_nan_in_a_recording_is_a_gap() -> None:
    read = recording("date,no2,site,rh\n2009-01-01T00:00:00Z,nan,A,1\n")
    assert math.isnan(read.columns["no2"][0])
    assert list(read.row(0)) == [("rh", 1.0)]
