"""The quarantine as a person works through it: looked at, asked for once more, given up.

What puts rows there, and what trying them again does to them, is `storage.quarantine`. Whatever is
changed here is in the audit, in the same transaction.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal, cast

from psycopg.rows import class_row

from storage import audit
from storage.database import Connection, query
from storage.quarantine import announce_asked

State = Literal["held", "asked", "retried", "refused", "discarded"]

STATES: Final[tuple[State, ...]] = ("held", "asked", "retried", "refused", "discarded")
"""held: waits for a person. asked: ingest is to try it again. retried: stored since. refused: tried
again and turned away for good. discarded: given up by a person."""

OPEN: Final[tuple[State, ...]] = ("held", "refused")
"""What can be asked for; `asked` besides can be discarded."""

PORTION: Final = 5_000
"""The most rows that one transaction changes."""

_LISTED_IDS: Final = 100  # of one act, in its audit entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which rows are meant; what is None does not matter. since: of the receipt."""

    ids: Sequence[int] | None = None
    tenant: str | None = None
    device: str | None = None
    reason: str | None = None
    states: Sequence[State] | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One message or reading kept aside; the members of a reading are None for a message.

    reason, detail: of the newest verdict. first_reason: what it came here for, where that differs.
    tries: how often it was tried again, last at `tried_at`.
    """

    id: int
    received_at: datetime
    tenant: str
    device: str
    reason: str
    first_reason: str | None
    detail: str
    topic: str
    senml_name: str | None
    phenomenon_time: datetime | None
    result: Any
    unit: str | None
    quality: int
    state: State
    asked_at: datetime | None
    tries: int
    tried_at: datetime | None
    message_bytes: int | None

    @property
    def readmissible(self) -> bool:
        """Whether ingest can try it again: a part of a description it cannot."""
        reading = (self.senml_name, self.phenomenon_time, self.result)
        return self.message_bytes is not None or None not in reading


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonCount:
    """How many rows are in one state for one reason; messages: how many of them are whole."""

    reason: str
    state: State
    n: int
    devices: int
    messages: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Rows of one gateway and reason that went to another state together."""

    tenant: str
    device: str
    reason: str
    ids: Sequence[int]


async def entries(
    conn: Connection, wanted: Filter, *, limit: int, before: int | None = None
) -> list[Entry]:
    """Return the newest rows, newest first; `before`: only those with a smaller id (next page)."""
    async with conn.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(
            query("quarantine_entries"), _parameters(wanted) | {"limit": limit, "before": before}
        )
        return await cursor.fetchall()


async def summary(conn: Connection, wanted: Filter) -> list[ReasonCount]:
    """Return how many rows there are by reason and state, most first."""
    async with conn.cursor(row_factory=class_row(ReasonCount)) as cursor:
        await cursor.execute(query("quarantine_summary"), _parameters(wanted))
        return await cursor.fetchall()


async def kept_message(conn: Connection, entry_id: int) -> bytes | None:
    """Return the bytes of a whole message as it was received; None of a reading."""
    cursor = await conn.execute("SELECT message FROM quarantine WHERE id = %s", (entry_id,))
    row = await cursor.fetchone()
    return None if row is None or row[0] is None else bytes(row[0])


async def server_time(conn: Connection) -> datetime:
    """Return the time by the database's clock."""
    cursor = await conn.execute("SELECT clock_timestamp()")
    [(time,)] = await cursor.fetchall()
    return cast("datetime", time)


async def ask(conn: Connection, wanted: Filter, *, actor: str, begun: datetime) -> list[Moved]:
    """Mark a portion to be tried again and tell ingest; none are returned once all are marked.

    begun: `server_time` before the first portion, so that what is refused again meanwhile is not
    asked for twice.
    """
    return await _move(conn, wanted, "asked", OPEN, actor=actor, begun=begun)


async def discard(conn: Connection, wanted: Filter, *, actor: str, why: str) -> list[Moved]:
    """Give up a portion, which stays in the table; none are returned once all are given up."""
    return await _move(conn, wanted, "discarded", (*OPEN, "asked"), actor=actor, why=why)


async def _move(
    conn: Connection,
    wanted: Filter,
    state: State,
    origins: Sequence[State],
    *,
    actor: str,
    why: str = "",
    begun: datetime | None = None,
) -> list[Moved]:
    parameters = _parameters(wanted) | {
        "states": [each for each in origins if wanted.states is None or each in wanted.states],
        "state": state,
        "readmissible": state == "asked",
        "begun": begun,
        "limit": PORTION,
    }
    async with conn.transaction():
        async with conn.cursor(row_factory=class_row(Moved)) as cursor:
            await cursor.execute(query("move_quarantine"), parameters)
            moved = await cursor.fetchall()
        for each in moved:
            await audit.record(
                conn,
                actor=actor,
                tenant=each.tenant,
                action="quarantine.retry" if state == "asked" else "quarantine.discard",
                subject=each.device,
                detail=_detail(each, why),
            )
        if moved and state == "asked":
            await announce_asked(conn)
    return moved


def _detail(moved: Moved, why: str) -> dict[str, object]:
    detail: dict[str, object] = {
        "reason": moved.reason,
        "entries": len(moved.ids),
        "ids": list(moved.ids[:_LISTED_IDS]),
    }
    return detail | ({"why": why} if why else {})


def _parameters(wanted: Filter) -> dict[str, Any]:
    return {
        name: list(value) if name in ("ids", "states") and value is not None else value
        for name, value in asdict(wanted).items()
    }
