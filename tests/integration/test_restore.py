"""A database is lost and comes back from its backup; both that and what signatures prove.

Gateways send all the while, and keep what nobody acknowledged, as real ones do.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from command_line.__main__ import main
from storage.database import connect
from storage.status_board import message_gaps
from tests.integration.conftest import DatabaseServer
from tests.integration.fix_brokers import City
from tests.integration.region import DEVICE, Region, begin, make_region, minutes, now
from tests.simulators.gateway import Message, MqttGateway, reading

pytestmark = [
    pytest.mark.parametrize("broker_kind", ["mosquitto"], indirect=True),
    pytest.mark.parametrize("database_server", ["plain", "timescaledb"], indirect=True),
]

READINGS_EACH = 10

Command = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def region(
    city: City, database_server: DatabaseServer, tmp_path: Path
) -> AsyncIterator[Region]:
    """A region whose database, whichever it is in the end, goes with the test."""
    dsn = await database_server.create()
    conn = await connect(dsn, autocommit=True, application_name="test")
    region = await make_region(city, dsn, tmp_path, conn)
    yield region
    await region.conn.close()
    await database_server.drop(region.dsn)


@pytest.fixture
def data(capsys: pytest.CaptureFixture[str]) -> Command:
    async def run(*words: str) -> dict[str, Any]:
        status = await asyncio.to_thread(main, ["data", *words, "--json"])
        out, err = capsys.readouterr()
        return {"status": status, "err": err} | (json.loads(out) if out else {})

    return run


@dataclass
class Sender:
    """A gateway that numbers its readings, and keeps those that are not acknowledged yet.

    waiting: first and last number in each message by its sequence number.
    """

    gateway: MqttGateway
    acknowledged: set[int] = field(default_factory=set)
    waiting: dict[int, tuple[int, int]] = field(default_factory=dict)
    next_number: int = 0

    def message(self, first: int, last: int) -> Message:
        """Return numbers first to last, each a minute after the one before."""
        numbers = range(first, last + 1)
        simulated = self.gateway.gateway
        message = simulated.report([reading(float(n), time=minutes_of(n)) for n in numbers])
        assert simulated.epoch is not None
        self.waiting[simulated.epoch.last_seq] = (first, last)
        return message

    async def send(self, messages: int) -> None:
        """Publish so many messages of new readings."""
        for _ in range(messages):
            first = self.next_number
            self.next_number += READINGS_EACH
            await self.gateway.publish(self.message(first, self.next_number - 1))

    async def settle(self) -> None:
        """Wait until all is acknowledged, and only then forget it."""
        await self.gateway.acknowledged(max(self.waiting))
        for first, last in self.waiting.values():
            self.acknowledged |= set(range(first, last + 1))
        self.waiting.clear()

    async def begin_again(self) -> None:
        """Begin the next epoch, and seal again what nobody acknowledged (section 7, rule 5)."""
        simulated = self.gateway.gateway
        waiting = list(self.waiting.values())
        self.waiting.clear()
        await self.gateway.publish(simulated.announce(now()))
        for first, last in waiting:
            await self.gateway.publish(self.message(first, last))


START = minutes(-2880)


def minutes_of(number: int) -> datetime:
    return START + (minutes(number) - minutes(0))


async def numbers(dsn: str) -> list[int]:
    async with await connect(dsn, application_name="test") as conn:
        cursor = await conn.execute("SELECT value, time FROM observation ORDER BY value")
        rows = await cursor.fetchall()
    for value, time in rows:
        assert abs((time - minutes_of(int(value))).total_seconds()) < 1
    return [int(value) for value, _ in rows]


async def test_a_lost_database_comes_back_and_takes_what_was_not_acknowledged(
    region: Region, data: Command, tmp_path: Path, database_server: DatabaseServer
) -> None:
    file = tmp_path / "backup"
    async with region.gateway() as connected:
        sender = Sender(connected)
        async with region.ingest():
            await begin(connected)
            await sender.send(20)
            await sender.settle()
            sure = set(sender.acknowledged)
            load = asyncio.create_task(sender.send(60))
            taken = await data("backup", region.dsn, str(file))
            await load
            await sender.settle()
            assert taken["status"] == 0
            lost_after = set(sender.acknowledged)
        old = connected.gateway.epoch
        assert old is not None
        repeated = connected.gateway.announcement()
        await sender.send(5)  # ingest is down, and then the database is gone
        sent = old.last_seq
        await region.conn.close()
        await database_server.drop(region.dsn)

        region.dsn = await database_server.create(migrated=False)
        restored = await data("restore", str(file), region.dsn)
        assert (restored["status"], restored["epochs_closed"]) == (0, 1)
        assert any("rotate recipients" in text for text in restored["next"])
        region.conn = await connect(region.dsn, autocommit=True, application_name="test")
        kept = set(await numbers(region.dsn))
        assert sure <= kept < lost_after
        async with region.ingest():
            await connected.publish(repeated)  # of the epoch that was open: not taken up again
            await connected.no_acknowledgement(1.0)
            assert set(await numbers(region.dsn)) == kept
            await sender.begin_again()
            await sender.settle()
            await sender.send(5)
            await sender.settle()
    found = await numbers(region.dsn)
    assert len(found) == len(set(found))
    assert set(found) == sender.acknowledged - (lost_after - kept)
    await says_what_is_missing(region, old.counter, sent)
    verified = await data("verify", region.dsn, "--all")
    assert (verified["status"], verified["wrong"]) == (0, [])
    assert verified["stored_as_signed"] == len(found)


async def says_what_is_missing(region: Region, counter: int, sent: int) -> None:
    """The status page's list holds the epoch in which acknowledged messages were lost."""
    cursor = await region.conn.execute(
        "SELECT received_messages FROM epoch WHERE counter = %s", (counter,)
    )
    [(received,)] = await cursor.fetchall()
    gaps = await message_gaps(region.conn)
    assert [(gap.device, gap.counter, gap.received, gap.sent) for gap in gaps] == [
        (DEVICE, counter, received, sent)
    ]
