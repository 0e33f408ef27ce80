"""When a server is asked again, and what cannot be asked at all."""

from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.inputs.fields import FieldSettings
from edge_agent.sensors.http_poll import HttpPollSettings, datastreams, retry_after

NOW = datetime(2030, 3, 17, 20, 0, tzinfo=UTC).timestamp()


def sensor(**changes: Any) -> HttpPollSettings:
    level = FieldSettings(
        name="level",
        title="Level",
        description="Of the river.",
        observed_property="water_level",
        unit="m",
        path="level",
    )
    values: dict[str, Any] = {
        "urn": "urn:dev:example:river",
        "thing": "urn:dev:example:bridge",
        "name": "River",
        "description": "A level gauge.",
        "url": "https://river.example.org/level?station=7",
        "fields": MappingProxyType({"level": level}),
    }
    return HttpPollSettings(**(values | changes))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("999999999999999999999", 3600.0),
        ("Sun, 17 Mar 2030 20:01:00 GMT", 60.0),
        ("Sun, 17 Mar 2030 19:59:00 GMT", 0.0),
        ("Mon, 18 Mar 2030 20:00:00 GMT", 3600.0),
        ("", 0.0),
        ("-5", 0.0),
        ("soon", 0.0),
        ("\u0665", 0.0),
    ],
)
def test_a_server_is_asked_again_when_it_says_but_within_the_hour(
    value: str, seconds: float
) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text(max_size=40))
def test_nothing_a_server_says_holds_a_sensor_up_for_longer(value: str) -> None:
    assert 0 <= retry_after(value, NOW) <= 3600


def test_a_reading_is_expected_at_every_request_unless_the_settings_say_how_often() -> None:
    assert [each.period_seconds for each in datastreams(sensor())] == [60]
    assert [each.period_seconds for each in datastreams(sensor(interval_seconds=0.1))] == [1]
    assert [each.period_seconds for each in datastreams(sensor(period_seconds=900))] == [900]


@pytest.mark.parametrize(
    "url", ["http://host", "https://host:8443/a", "http://[::1]/a", "http://127.0.0.1:1/"]
)
def test_what_can_be_fetched_is_taken(url: str) -> None:
    assert list(sensor(url=url).contradictions()) == []


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"url": "ftp://host/"}, "url"),
        ({"url": "host/level"}, "url"),
        ({"url": "https://"}, "url"),
        ({"url": "https://user:secret@host/"}, "url"),
        ({"url": "https://host:99999/"}, "url"),
        ({"url": "https://host:0/"}, "url"),
        ({"url": "https://[::1/"}, "url"),
        ({"fields": MappingProxyType({})}, "fields"),
        ({"time_path": "."}, "time_path"),
        ({"url": "http://host/", "ca_file": "root.pem"}, "ca_file"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], key: str) -> None:
    assert [at for at, _ in sensor(**changes).contradictions()] == [(key,)]
