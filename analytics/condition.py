"""How the store and the network fare, measured every few seconds for Prometheus.

Here and not in ingest, because there may be several of those. What is measured is
`storage.condition`.
"""

import time
from typing import Final

from prometheus_client import Gauge

from device_protocol.errors import QUARANTINED
from storage.condition import (
    MOODS,
    NetworkCondition,
    StoreCondition,
    network_condition,
    partitions_until,
    store_condition,
)
from storage.database import Connection
from storage.heartbeat import BEAT_SECONDS, beat

PROCESS: Final = "analytics"
MEASURE_SECONDS: Final = 15.0

LOG_ENTRIES = Gauge(
    "analytics_rollup_backlog_hours", "Hours that wait to be summarised, counted up to a million."
)
DATABASE_BYTES = Gauge("analytics_database_bytes", "Size of the database on its disk.")
READ_ONLY = Gauge("analytics_database_read_only", "1 while the database refuses changes.")
REPLICAS = Gauge("analytics_replicas", "Replicas that follow the database.")
REPLICA_LAG = Gauge(
    "analytics_replica_lag_seconds",
    "How far the slowest replica is behind; 0 without one, or where the server does not tell.",
)
PARTITIONS_UNTIL = Gauge(
    "analytics_partitions_until_timestamp_seconds",
    "When the last partition made ahead ends; 0 where none is needed (a hypertable).",
)
HELD = Gauge("analytics_quarantine_held", "Rows in quarantine that wait for a person.", ["reason"])
ASKED = Gauge("analytics_quarantine_asked", "Rows in quarantine that ingest is to try again.")
GATEWAYS = Gauge(
    "analytics_gateways", "Gateways in use, by when they were last heard.", ["tenant", "state"]
)
UNSYNCHRONISED = Gauge(
    "analytics_gateways_unsynchronised", "Gateways whose clock is set from nowhere.", ["tenant"]
)
CERTIFICATES_ENDING = Gauge(
    "analytics_gateway_certificates_ending",
    "Gateways whose certificate ends within two days.",
    ["tenant"],
)
MISSING = Gauge(
    "analytics_missing_messages",
    "Messages that gateways numbered in the last day and that were not stored.",
    ["tenant"],
)


class Measure:
    """Measures and leaves word, each when it is due. One for each connection that is made."""

    def __init__(self) -> None:
        self._measured_at = float("-inf")
        self._beaten_at = float("-inf")
        self._entries = 0

    async def when_due(self, conn: Connection) -> None:
        """Measure, unless that was a moment ago."""
        if time.monotonic() - self._measured_at < MEASURE_SECONDS:
            return
        store = await store_condition(conn)
        until = await partitions_until(conn)
        self._entries = store.rollup_log_entries
        show_store(store)
        PARTITIONS_UNTIL.set(0 if until is None else until.timestamp())
        show_network(await network_condition(conn))
        self._measured_at = time.monotonic()

    async def beat(self, conn: Connection) -> None:
        """Leave word for the status page, unless that was a moment ago."""
        if time.monotonic() - self._beaten_at >= BEAT_SECONDS:
            await beat(conn, PROCESS, {"rollup_log_entries": self._entries})
            self._beaten_at = time.monotonic()


def show_store(store: StoreCondition) -> None:
    """Set the gauges of the database."""
    LOG_ENTRIES.set(store.rollup_log_entries)
    DATABASE_BYTES.set(store.bytes)
    READ_ONLY.set(store.read_only)
    REPLICAS.set(store.replicas)
    REPLICA_LAG.set(store.replica_lag_seconds or 0.0)
    ASKED.set(store.asked)
    for reason in sorted(QUARANTINED):
        HELD.labels(reason).set(store.held.get(reason, 0))


def show_network(councils: list[NetworkCondition]) -> None:
    """Set the gauges of the councils' gateways."""
    for council in councils:
        for mood in MOODS:
            GATEWAYS.labels(council.tenant, mood).set(getattr(council, mood))
        UNSYNCHRONISED.labels(council.tenant).set(council.unsynchronised)
        CERTIFICATES_ENDING.labels(council.tenant).set(council.certificates_ending)
        MISSING.labels(council.tenant).set(council.missing_messages)
