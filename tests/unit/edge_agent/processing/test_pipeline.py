import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device_protocol.reading import Quality
from edge_agent import durable
from edge_agent.clock import Clock
from edge_agent.processing.pipeline import Pipeline
from edge_agent.processing.privacy import version
from edge_agent.processing.published import coarsened, published
from edge_agent.processing.settings import AggregateSettings, CheckSettings, PrivacySettings
from edge_agent.sensors.host import HostSettings
from tests.unit.edge_agent.conftest import NOW, FakeTime
from tests.unit.edge_agent.processing.streams import NO2, NOON, SENSOR, STREAMS, Tally, reading

New = Callable[..., Pipeline]


def sensor(**settings: Any) -> HostSettings:
    return HostSettings(
        urn=SENSOR, thing="urn:dev:lamp", name="Air", description="Air.", **settings
    )


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def new(tmp_path: Path, clock: Clock, tally: Tally, fake_time: FakeTime) -> New:
    fake_time.advance(NOON.timestamp() - NOW)
    return lambda **settings: Pipeline(
        sensor(**settings), STREAMS, clock, state_directory=tmp_path, tally=tally
    )


def test_nothing_set_passes_everything_as_it_is(new: New, tally: Tally) -> None:
    readings = [reading(1.0), reading(True, name="bay"), reading("A1", name="tag")]  # noqa: FBT003
    assert new().process(readings) == readings
    assert tally == Tally()


def test_what_is_refused_is_counted_and_logged_once(
    new: New, tally: Tally, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    wrong = [reading(float(i), unit="Cel", at=i) for i in range(3)]
    assert new().process([*wrong, reading(1.0, at=9)]) == [reading(1.0, at=9)]
    assert tally == Tally(refused=3)
    [record] = caplog.records
    assert record.getMessage() == "reading refused"
    assert "unit 'Cel', not 'ug/m3'" in record.error  # type: ignore[attr-defined]


def test_what_is_flagged_and_repeated_is_counted(new: New, tally: Tally) -> None:
    told = new(checks={"no2": CheckSettings(maximum=50.0)}).process(
        [reading(60.0), reading(60.0), reading(40.0, at=1)]
    )
    assert [(each.result, each.quality) for each in told] == [
        (60.0, Quality.OUT_OF_RANGE),
        (40.0, 0),
    ]
    assert tally == Tally(flagged=1, repeated=1)


def test_identifiers_and_small_counts_do_not_leave(new: New, tally: Tally) -> None:
    privacy = PrivacySettings(drop=("no2",), hash=("tag",), minimum_count=5, position_decimals=2)
    told = new(privacy=privacy).process(
        [
            reading(1.0),
            reading("A1", name="tag"),
            reading(3.0, name="people"),
            reading(8.0, name="people", at=1),
            reading(51.52345, name="lat"),
        ]
    )
    assert [each.name for each in told] == ["privacy_filter", "tag", "people", "lat"]
    assert "A1" not in str(told)
    assert told[3].result == 51.52
    assert tally == Tally(withheld=1)


def test_the_version_of_the_filter_goes_ahead_of_the_first_reading(new: New) -> None:
    privacy = PrivacySettings(position_decimals=2)
    pipeline = new(privacy=privacy, aggregate=AggregateSettings(interval_seconds=600))
    [first] = pipeline.process([reading(1.0, at=1)])
    assert (first.name, first.result, first.unit) == ("privacy_filter", version(privacy), "")
    assert first.phenomenon_time == NOON
    assert pipeline.process([reading(2.0, at=2)]) == []


def test_the_hash_of_an_identifier_outlives_a_restart_and_not_its_salt(
    new: New, fake_time: FakeTime
) -> None:
    def told(at: int) -> object:
        pipeline = new(privacy=PrivacySettings(hash=("tag",), salt_hours=1))
        return pipeline.process([reading("A1", name="tag", at=at)])[1].result

    first = told(1)
    assert told(2) == first
    fake_time.advance(3600)
    assert told(3) != first


def test_a_reading_met_by_a_full_disk_is_no_repetition_when_it_comes_again(
    new: New, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    pipeline = new(privacy=PrivacySettings(hash=("tag",)))
    readings = [reading(1.0), reading("A1", name="tag")]
    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_durably", full)
        with pytest.raises(OSError, match="No space"):
            pipeline.process(readings)
    assert [each.name for each in pipeline.process(readings)] == ["privacy_filter", "no2", "tag"]
    assert tally == Tally()


def test_readings_are_told_as_aggregates_and_late_ones_are_counted(
    new: New, tally: Tally, fake_time: FakeTime
) -> None:
    pipeline = new(aggregate=AggregateSettings(interval_seconds=600))
    truth = reading(True, name="bay")  # noqa: FBT003
    assert pipeline.process([reading(1.0, at=1), reading(3.0, at=2), truth]) == [truth]
    assert pipeline.due() is None
    fake_time.advance(700)
    due = pipeline.due()
    assert due is not None
    assert [(each.name, each.result) for each in due.readings] == [
        ("no2.mean", 2.0),
        ("no2.n", 2.0),
    ]
    pipeline.settle(due)
    assert pipeline.due() is None
    assert pipeline.process([reading(9.0, at=3)]) == []
    assert tally == Tally(late=1)


def test_an_interval_of_too_few_is_withheld_whole(
    new: New, tally: Tally, fake_time: FakeTime
) -> None:
    pipeline = new(
        aggregate=AggregateSettings(interval_seconds=600),
        privacy=PrivacySettings(minimum_count=3),
    )
    pipeline.process([reading(1.0, at=1), reading(3.0, at=2)])
    pipeline.process([reading(float(i), at=600 + i) for i in range(1, 4)])
    fake_time.advance(2000)
    due = pipeline.due()
    assert due is not None
    assert [(each.name, each.result) for each in due.readings] == [
        ("no2.mean", 2.0),
        ("no2.n", 3.0),
    ]
    assert tally == Tally(withheld=2)


def test_what_is_described_is_what_is_let_out() -> None:
    described = published(
        sensor(
            aggregate=AggregateSettings(interval_seconds=600, functions=("mean",)),
            privacy=PrivacySettings(drop=("wind", "lat", "lon"), hash=("tag",)),
            properties={"room": "none"},
        ),
        STREAMS,
    )
    names = [stream.name for stream in described]
    assert names[:3] == ["privacy_filter", "no2.mean", "no2.n"]
    assert "wind.mean" not in names
    assert "bay" in names
    versions = {stream.properties["privacy_filter"] for stream in described}
    assert len(versions) == 1
    assert {stream.properties["room"] for stream in described} == {"none"}


def test_nothing_set_describes_what_is_measured() -> None:
    assert published(sensor(), STREAMS) == STREAMS


def test_the_own_properties_of_a_datastream_come_before_those_of_its_sensor() -> None:
    own = replace(NO2, properties={"room": "hall"})
    [described] = published(sensor(properties={"room": "none", "inlet": "2 m"}), [own])
    assert described.properties == {"room": "hall", "inlet": "2 m"}


def test_a_thing_is_placed_as_its_most_reserved_sensor_wants() -> None:
    sensors = [
        sensor(privacy=PrivacySettings(position_decimals=decimals)) for decimals in (3, 2, None)
    ]
    assert coarsened(-0.12345, sensors) == -0.12
    assert coarsened(-0.12345, sensors[:1]) == -0.123
    assert coarsened(-0.12345, [sensor()]) == -0.12345
