"""The centre in words: each fault is named while it lasts, and nothing is when all is well."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.pages.centre_board import process_rows, quarantine_text, store_faults
from storage.condition import StoreCondition
from storage.heartbeat import Heartbeat

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
WELL = {
    "inbox_messages": 3,
    "paused": False,
    "oldest_seconds": 0.2,
    "database": "",
    "connections": {"city": True},
}
ANALYTICS = Heartbeat(
    process="analytics", started_at=NOON, at=NOON, facts={"rollup_log_entries": 1}
)
STORE = StoreCondition(
    bytes=1,
    read_only=False,
    rollup_log_entries=0,
    replicas=0,
    replica_lag_seconds=None,
    held={},
    asked=0,
)


def ingest(worker: int = 0, workers: int = 1, age: float = 1, **facts: Any) -> Heartbeat:
    return Heartbeat(
        process="ingest",
        worker=worker,
        workers=workers,
        started_at=NOON,
        at=NOON - timedelta(seconds=age),
        facts=WELL | facts,
    )


def faults(*heard: Heartbeat) -> list[str]:
    return [fault for row in process_rows(heard, NOON) for fault in row.faults]


def test_all_is_well() -> None:
    rows = process_rows([ingest(), ANALYTICS], NOON)
    assert [(row.name, row.hint, row.facts) for row in rows] == [
        ("Ingest", "Working", "3 messages waiting"),
        ("Analytics", "Working", "1 hour to summarise"),
    ]
    assert faults(ingest(), ANALYTICS) == []


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"database": "disk_full"}, "disk is full"),
        ({"database": "read_only"}, "refuses changes"),
        ({"database": "of tomorrow"}, "its log says why"),
        ({"connections": {"city": True, "leeds": False}}, "over the connection “leeds”"),
        ({"oldest_seconds": 95.0}, "has waited 1 minute 35 seconds."),
        ({"paused": True}, "it reads no more until it has caught up"),
    ],
)
def test_each_fault_is_named(facts: dict[str, Any], said: str) -> None:
    [fault] = faults(ingest(**facts), ANALYTICS)
    assert said in fault


def test_a_worker_that_died_is_told_from_one_that_lives() -> None:
    [fault] = faults(ingest(0, 2), ingest(1, 2, age=60), ANALYTICS)
    assert fault.startswith("Ingest, worker 2 of 2 was last heard 1 minute ago")


def test_a_process_that_never_ran_is_missed() -> None:
    assert faults(ingest()) == ["Analytics has never left word in this database."]


def test_what_piles_up_in_the_database_is_said() -> None:
    late = StoreCondition(
        bytes=1,
        read_only=False,
        rollup_log_entries=900_000,
        replicas=0,
        replica_lag_seconds=None,
        held={"payload": 2, "out-of-range": 40},
        asked=0,
    )
    assert store_faults(STORE) == []
    assert store_faults(late) == ["Hourly values are late: 900,000 hours wait to be summarised."]
    assert quarantine_text(late).endswith("40 out-of-range, 2 payload.")
    assert quarantine_text(STORE) == "Nothing waits in quarantine."
