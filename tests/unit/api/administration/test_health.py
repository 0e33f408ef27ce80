"""What a gateway says of itself reads like a sentence, and what is amiss says so."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.administration.health import HealthRow, health_rows
from edge_agent.health.datastreams import thing
from edge_agent.settings import AgentSettings
from storage.overview import CurrentValue
from tests.unit.edge_agent.conftest import settings

__all__ = ["settings"]  # the fixture

NOW = datetime(2026, 11, 22, 11, 0, tzinfo=UTC)


def told(
    key: str,
    result: float | str | None,
    unit: str = "count",
    *,
    seconds_ago: float | None = 5,
    period: int | None = 60,
) -> CurrentValue:
    value = result if isinstance(result, int | float) else None
    at: dict[str, Any] = {} if seconds_ago is None else {"t": NOW - timedelta(seconds=seconds_ago)}
    return CurrentValue(
        datastream_id=1,
        datastream_name=key,
        is_open=True,
        unit=unit,
        period_seconds=period,
        averaging_seconds=0,
        properties={},
        property_key=key,
        property_name=key,
        thing_id=1,
        time=at.get("t"),
        value=value,
        result=result if isinstance(result, str) else None,
        quality=0,
        updated_at=at.get("t"),
    )


def row(*told_as: Any, **kwargs: Any) -> HealthRow:
    (only,) = health_rows([told(*told_as, **kwargs)], NOW)
    return only


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (told("agent_memory", 47_123_456, "By"), "47.1 MB"),
        (told("spool_bytes", 0, "By"), "0 bytes"),
        (told("spool_bytes", 999, "By"), "999 bytes"),
        (told("flash_written", 2.5e15, "By"), "2500.0 TB"),
        (told("uptime", 90_061, "s"), "1 day 1 hour"),
        (told("spool_oldest_age", 0, "s"), "0 seconds"),
        (told("clock_quality", 1.0, "1"), "Synchronised"),
        (told("clock_quality", 0.5, "1"), "From a clock chip or a satellite"),
        (told("clock_quality", 0.0, "1"), "Not synchronised"),
        (told("disk_used", 33.594, "%"), "33.59 %"),
        (told("device_temperature", 51.5, "Cel"), "51.5 °C"),
        (told("spool_readings", 12_345), "12,345"),
        (told("agent_version", "0.1.0", "1"), "0.1.0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_value_stands_with_its_unit_in_words(value: CurrentValue, text: str) -> None:
    assert health_rows([value], NOW)[0].value == text


@pytest.mark.parametrize(
    ("key", "good", "bad", "said"),
    [
        ("adapters_failing", 0, 1, "Look into it"),
        ("unclaimed_devices", 0, 1, "In no settings"),
        ("spool_oldest_age", 3600, 3601, "Waits long"),
        ("clock_quality", 0.5, 0, "Not to be trusted"),
        ("disk_used", 89.9, 90, "Nearly full"),
        ("memory_used", 89.9, 90, "Nearly full"),
        ("device_temperature", 79.9, 80, "Hot"),
    ],
)
def test_what_is_amiss_says_so(key: str, good: float, bad: float, said: str) -> None:
    assert (row(key, good).look, row(key, good).state) == ("fresh", "Fresh")
    assert (row(key, bad).look, row(key, bad).state) == ("late", said)


def test_what_is_old_is_shown_as_old_whatever_it_says() -> None:
    assert row("adapters_failing", 1, seconds_ago=121).state == "Late"
    assert row("adapters_failing", 0, seconds_ago=301).state == "Stale"
    assert row("disk_used", 99, seconds_ago=301).look == "stale"


def test_a_loss_is_shown_for_a_week_and_a_release_grows_no_older() -> None:
    week = 7 * 86_400
    assert row("spool_dropped", 8, period=None, seconds_ago=week).state == "Readings lost"
    assert row("spool_dropped", 8, period=None, seconds_ago=week + 1).state == "Long ago"
    assert row("spool_salvaged", 8, period=None).state == "Spool damaged"
    assert row("agent_version", "1", "1", period=None, seconds_ago=9 * week).look == "fresh"


def test_what_was_never_told_is_left_out_and_trouble_comes_first() -> None:
    rows = health_rows(
        [
            told("uptime", 60, "s"),
            told("strange", 1),
            told("spool_dropped", None, seconds_ago=None),
            told("configuration_version", 3),
            told("adapters_failing", 1),
        ],
        NOW,
    )
    assert [one.name for one in rows] == ["Sensors that fail", "Time since the start", "strange"]


def test_everything_that_a_gateway_tells_has_a_name_in_plain_words(settings: AgentSettings) -> None:
    (sensor,) = thing(settings).sensors
    keys = {stream.observed_property for stream in sensor.datastreams} - {"configuration_version"}
    rows = health_rows([told(key, 1) for key in sorted(keys)], NOW)
    assert len(rows) == len(keys)
    assert not {one.name for one in rows} & keys
