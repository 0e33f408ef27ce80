"""A log record is one line of JSON, and a phrase that repeats cannot fill a disk."""

import json
import logging
from pathlib import Path

from runtime.logs import JsonFormatter, RateLimit


def record(message: str, **extra: object) -> logging.LogRecord:
    fields = {
        "name": "edge_agent.delivery.uplink",
        "levelname": "WARNING",
        "msg": message,
        "created": 0.5,
    }
    return logging.makeLogRecord(fields | extra)


def test_facts_stand_beside_the_fixed_phrase() -> None:
    line = json.loads(JsonFormatter("agent").format(record("refused", path=Path("/x"), count=2)))
    assert line == {
        "time": "1970-01-01T00:00:00.500Z",
        "level": "warning",
        "process": "agent",
        "logger": "edge_agent.delivery.uplink",
        "message": "refused",
        "path": "/x",
        "count": 2,
    }


def test_a_long_fact_is_cut() -> None:
    line = json.loads(JsonFormatter("agent").format(record("refused", topic="x" * 60_000)))
    assert line["topic"] == "x" * 2_000 + "..."


def test_an_exception_stays_on_one_line() -> None:
    error = OSError("disk\ngone")
    failed = record("failed", exc_info=(OSError, error, None))
    text = JsonFormatter("agent").format(failed)
    assert "\n" not in text
    assert "disk\ngone" in json.loads(text)["exception"]


def test_a_repeating_phrase_is_held_back_and_counted() -> None:
    now = 0.0
    limit = RateLimit(per_minute=2, clock=lambda: now)
    assert [limit.filter(record("again")) for _ in range(4)] == [True, True, False, False]
    assert limit.filter(record("another"))
    now = 60.0
    after = record("again")
    assert limit.filter(after)
    assert vars(after)["suppressed"] == 2
