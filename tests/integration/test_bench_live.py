"""The live way is measured with real servers: every client hears of every reading."""

import pytest

from bench.errors import BenchError
from bench.live import measure


def test_every_client_hears_of_every_reading() -> None:
    found = measure(clients=7, seconds=2, readings_per_second=60)
    assert found["readings"] > 60
    assert found["events_per_s"] >= 7  # one a second to each
    assert 0 < found["delay_p50_ms"] <= found["delay_p99_ms"] <= found["delay_worst_ms"]
    assert 0 < found["raw_notify_p50_ms"] < found["delay_p50_ms"]


def test_more_readings_than_datastreams_can_report_are_refused() -> None:
    with pytest.raises(BenchError, match="100000 readings a second: give 1 to 800"):
        measure(readings_per_second=100_000)
