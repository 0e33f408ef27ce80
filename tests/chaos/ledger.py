"""Reads what a city holds in the end: tables, spools, evidence; and compares these with each other.

What that means for the numbers pushed is `accounts`.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from device_protocol import cose, senml
from edge_agent.settings import AgentSettings
from edge_agent.spool import rows
from runtime.settings import load
from tests.chaos.accounts import Hour, Place, hours
from tests.chaos.numbered import FIELDS, Sensor, field_name

_PREFIX: Final = "urn:dev:kerbstone:numbers:"
_SENML: Final = 112  # CoAP Content-Format of SenML in CBOR
_FIELDS: Final = {field_name(place): place for place in range(FIELDS)}
_SECONDS: Final = 20

_STORED: Final = """
    SELECT d.id, d.short_name, (extract(epoch FROM o.time) * 1000000)::bigint, o.value
      FROM observation o JOIN datastream d ON d.id = o.datastream_id
      JOIN sensor s ON s.id = d.sensor_id WHERE s.urn = %s
"""
_ROLLUPS: Final = """
    SELECT d.id, (extract(epoch FROM r.bucket) * 1000000)::bigint, r.n, r.sum, r.min, r.max
      FROM rollup_1h r JOIN datastream d ON d.id = r.datastream_id
      JOIN sensor s ON s.id = d.sensor_id WHERE starts_with(s.urn, %s)
"""
_REFUSED: Final = """
    SELECT senml_name, (extract(epoch FROM phenomenon_time) * 1000000)::bigint, reason
      FROM quarantine WHERE senml_name IS NOT NULL AND phenomenon_time IS NOT NULL
"""
_HELD_MESSAGES: Final = (
    "SELECT reason, count(*) FROM quarantine WHERE message IS NOT NULL GROUP BY 1"
)
_REFUSALS: Final = "SELECT reason, sum(n)::bigint FROM refusal GROUP BY 1 ORDER BY 2 DESC"
_LATEST: Final = """
    SELECT count(*)
      FROM (SELECT datastream_id, max(time) AS time FROM observation GROUP BY 1) newest
      LEFT JOIN latest USING (datastream_id)
      LEFT JOIN observation o ON o.datastream_id = newest.datastream_id AND o.time = newest.time
     WHERE latest.time IS DISTINCT FROM newest.time OR latest.value IS DISTINCT FROM o.value
"""
_EPOCHS: Final = """
    SELECT count(*) FROM epoch e LEFT JOIN LATERAL (
           SELECT count(*) AS n, coalesce(max(seq), 0) AS highest,
                  count(*) FILTER (WHERE seq <= e.contiguous_seq) AS contiguous
             FROM signed_batch b WHERE b.epoch_id = e.epoch_id) b ON true
     WHERE e.received_messages <> b.n OR e.highest_seq <> b.highest
        OR e.contiguous_seq <> b.contiguous
"""


@dataclass(slots=True)
class Holdings:
    """What was found.

    stored: readings by place. rows: the same by datastream, time in µs and value.
    signed: every reading of ours in a message whose signature is kept.
    """

    stored: list[tuple[Place, float]]
    rows: list[tuple[int, int, float]]
    refused: dict[Place, str]
    held_messages: dict[str, int]
    refusals: dict[str, int]
    signed: set[tuple[Place, float]]
    rollups: set[Hour]
    not_latest: int
    uneven_epochs: int
    messages: int

    def faults(self) -> list[str]:
        """Return in what the tables do not agree with each other."""
        found = []
        if unsigned := sum(reading not in self.signed for reading in self.stored):
            found.append(f"{unsigned:,} stored readings are in no signed message that was kept")
        if self.uneven_epochs:
            found.append(f"{self.uneven_epochs} epochs count other messages than are kept of them")
        if differing := len(hours(self.rows) ^ self.rollups):
            found.append(f"{differing} hourly summaries differ from what their readings come to")
        if self.not_latest:
            found.append(f"of {self.not_latest} datastreams the latest value is not the newest")
        return found


def read(dsn: str, sensors: list[Sensor]) -> Holdings:
    """Read everything of interest from the database."""
    with psycopg.connect(dsn, connect_timeout=_SECONDS) as conn:
        stored: list[tuple[Place, float]] = []
        plain: list[tuple[int, int, float]] = []
        for sensor in sensors:
            for datastream, name, time, value in conn.execute(_STORED, (sensor.urn,)):
                stored.append((Place(sensor.number, _FIELDS[name], time), value))
                plain.append((datastream, time, value))
        refused = {
            place: reason
            for name, time, reason in conn.execute(_REFUSED)
            if (place := _place(name, time)) is not None
        }
        signed, messages = _signed(conn)
        return Holdings(
            stored=stored,
            rows=plain,
            refused=refused,
            held_messages=dict(conn.execute(_HELD_MESSAGES).fetchall()),
            refusals=dict(conn.execute(_REFUSALS).fetchall()),
            signed=signed,
            rollups={Hour(*row) for row in conn.execute(_ROLLUPS, (_PREFIX,))},
            not_latest=_one(conn, _LATEST),
            uneven_epochs=_one(conn, _EPOCHS),
            messages=messages,
        )


def spooled(settings_file: Path) -> list[tuple[Place, float]]:
    """Return our readings that wait in the spool of an agent that has ended."""
    directory = load(AgentSettings, settings_file).state_directory
    path = directory / "spool.sqlite"
    if not path.exists():
        return []
    with sqlite3.connect(path) as database:
        bodies = database.execute("SELECT body FROM reading").fetchall()
    database.close()
    found = []
    for (body,) in bodies:
        reading = rows.decode(body)
        time = round(reading.phenomenon_time.timestamp() * 1_000_000)
        place = _place(f"{reading.sensor}:{reading.name}", time)
        if place is not None:
            found.append((place, reading.result))
    return found


def rollups_wait(dsn: str) -> int:
    """Return how many hours are still to be summarised."""
    with psycopg.connect(dsn, connect_timeout=_SECONDS) as conn:
        return _one(conn, "SELECT count(*) FROM rollup_log")


def stored_count(dsn: str) -> int:
    """Return how many readings are stored, of whatever kind.

    Raises:
        psycopg.OperationalError: the database cannot say within a few seconds.
    """
    with psycopg.connect(dsn, connect_timeout=2, options="-c statement_timeout=4s") as conn:
        return _one(conn, "SELECT count(*) FROM observation")


def _signed(conn: "psycopg.Connection[Any]") -> tuple[set[tuple[Place, float]], int]:
    """Return our readings in all signed messages that are kept, and the number of those."""
    found: set[tuple[Place, float]] = set()
    messages = 0
    with conn.cursor(name="signed") as cursor:
        cursor.execute("SELECT content_format, signed FROM signed_batch")
        for content_format, signed in cursor:
            messages += 1
            if content_format == _SENML:
                found.update(_readings(bytes(signed)))
    return found, messages


def _readings(signed: bytes) -> Iterator[tuple[Place, float]]:
    payload = cose.decode_sign1(signed, tagged=False).payload
    for record in senml.decode_cbor(payload) if payload else ():
        place = _place(record.name, record.time_microseconds)
        if place is not None and isinstance(record.value, int | float):
            yield place, float(record.value)


def _place(name: str, time: int) -> Place | None:
    """Return the place that a SenML name and time mean; None for what is no number of ours."""
    sensor, _, short = name.rpartition(":")
    if not sensor.startswith(_PREFIX) or short not in _FIELDS:
        return None
    return Place(int(sensor.removeprefix(_PREFIX)), _FIELDS[short], time)


def _one(conn: "psycopg.Connection[Any]", statement: str) -> int:
    row = conn.execute(statement).fetchone()  # type: ignore[arg-type]  # a text of this file
    return 0 if row is None else int(row[0])
