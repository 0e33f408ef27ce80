"""Whatever is killed on the way, every reading is stored exactly once, as it was read."""

import asyncio
import csv
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from command_line.demo.city import City, DemoCouncil, DemoGateway
from command_line.demo.layout import Layout
from command_line.demo.session import Options, Session, running
from edge_agent.health.status import read_status
from edge_agent.settings import AgentSettings
from runtime.settings import load
from storage.database import connect
from storage.embedded import remove

GATEWAYS = 3
READINGS_EACH = 7_000
PERIOD = timedelta(minutes=1)
ROUNDS = 2
SETTLE_SECONDS = 120

COUNCILS = (
    DemoCouncil(tenant="camden", gss="E09000007", name="Camden"),
    DemoCouncil(tenant="westminster", gss="E09000033", name="Westminster"),
)


def write_recording(path: Path, gateway: int) -> None:
    """One numbered reading a minute, the last at midnight: moved to today, all are past."""
    ends = datetime(2020, 6, 30, tzinfo=UTC)
    first = ends - PERIOD * (READINGS_EACH - 1)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["date", "number"])
        for number in range(READINGS_EACH):
            rows.writerow([(first + PERIOD * number).isoformat(), gateway * 100_000 + number])


def gateway(number: int, recording: Path) -> DemoGateway:
    thing = {
        "urn": f"urn:dev:kerbstone:site:numbered-{number}",
        "name": f"Numbered {number}",
        "description": "Readings that are their own number.",
        "longitude": -0.1 - number / 100,
        "latitude": 51.5,
        "place_name": "Test bench",
    }
    sensor = {
        "adapter": "replay",
        "urn": f"urn:dev:kerbstone:numbers:{number}",
        "thing": thing["urn"],
        "name": "Counter",
        "description": "Counts.",
        "file": recording,
        "source": "this test",
        "licence": "none needed",
        "recorded": "2020",
        "recorded_period_seconds": int(PERIOD.total_seconds()),
        "backfill_days": 30,
        "live_interval_seconds": 86_400,
        "columns": {
            "number": {
                "name": "number",
                "title": "Number",
                "description": "The reading's own number.",
                "observed_property": "visibility",
                "unit": "m",
                "averaging_seconds": 0,
            }
        },
    }
    return DemoGateway(
        key=f"numbered-{number}",
        name=f"Numbered {number}",
        tenant=COUNCILS[number % len(COUNCILS)].tenant,
        things=(thing,),
        sensors=(sensor,),
        # Small messages and a narrow window: the way must still be busy when things are killed.
        overrides={
            "uplink": {
                "batch_readings": 10,
                "window_messages": 4,
                "reannounce_seconds": 3.0,
                "retry_seconds": 2.0,
            },
            "status": {"interval_seconds": 0.5},
            "health": {"interval_seconds": 3600.0},  # an empty spool shall stay empty
        },
        suite=1 + number % 2,
    )


@pytest.fixture
def city(tmp_path: Path) -> City:
    gateways = []
    for number in range(GATEWAYS):
        recording = tmp_path / f"numbers-{number}.csv"
        write_recording(recording, number)
        gateways.append(gateway(number, recording))
    return City(name="Numbers", councils=COUNCILS, gateways=tuple(gateways))


@pytest.mark.timeout(420)
@pytest.mark.parametrize(
    ("broker", "edition"),
    [("mosquitto", "plain"), ("nats", "timescaledb")],
    ids=["mosquitto-plain", "nats-timescaledb"],
)
async def test_every_reading_is_stored_once_though_everything_is_killed_twice(
    city: City, tmp_path: Path, broker: str, edition: str, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout(tmp_path / "demo")
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    options = Options(layout=layout, broker=broker, timescaledb=edition == "timescaledb", port=0)
    async with running(city, options) as session:
        stored_at_kill = [await kill_in_turn(session, midnight) for _ in range(ROUNDS)]
        await until_settled(session, midnight)
        stored = {g: await numbers_stored(session.dsn, g, midnight) for g in range(GATEWAYS)}
        refused = await conflicts(session.dsn)
        depths = spool_depths(session)
    remove(layout.database)
    with capsys.disabled():
        print(  # noqa: T201 - the counts are part of the proof
            f"\n  {broker}, {edition}: sent {GATEWAYS * READINGS_EACH:,}, "
            f"stored {sum(map(len, stored.values())):,}, in spools {sum(depths.values())}, "
            f"stored at the kills {stored_at_kill}"
        )
    for number in range(GATEWAYS):
        assert stored[number] == expected(number, midnight)
    assert refused == 0
    assert set(depths.values()) == {0}
    assert any(
        0 < count < GATEWAYS * READINGS_EACH for counts in stored_at_kill for count in counts
    )


async def kill_in_turn(session: Session, midnight: datetime) -> list[int]:
    """Kill broker, ingest, database, one agent; restart each; return what was stored at each."""
    stored = []
    for victim in ("broker", "ingest", "database", "agent"):
        await asyncio.sleep(1.5)
        stored.append(await count_stored(session.dsn, midnight))
        if victim == "broker":
            session.broker.kill()
            await asyncio.sleep(0.5)
            await asyncio.to_thread(session.broker.start)
        elif victim == "database":
            assert session.database is not None
            session.database.kill()
            await asyncio.sleep(0.5)
            await asyncio.to_thread(session.restart_database)
        else:
            name = "ingest" if victim == "ingest" else "gateway numbered-1"
            session.children[name].kill()
            await asyncio.sleep(0.5)
            session.children.restart(name)
    return stored


async def until_settled(session: Session, midnight: datetime) -> None:
    """Wait for other processes to be done; there is no event of theirs to wait for."""
    deadline = time.monotonic() + SETTLE_SECONDS
    everything = GATEWAYS * READINGS_EACH
    while time.monotonic() < deadline:
        stored = await count_stored(session.dsn, midnight)
        if stored == everything and not any(spool_depths(session).values()):
            return
        await asyncio.sleep(1)


async def count_stored(dsn: str, midnight: datetime) -> int:
    async with await connect(dsn, application_name="kerbstone test") as conn:
        cursor = await conn.execute(
            "SELECT count(*) FROM observation o JOIN datastream d ON d.id = o.datastream_id"
            " WHERE d.short_name = 'number' AND o.time <= %s",
            (midnight,),
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def numbers_stored(dsn: str, number: int, midnight: datetime) -> list[tuple[datetime, float]]:
    async with await connect(dsn, application_name="kerbstone test") as conn:
        cursor = await conn.execute(
            "SELECT o.time, o.value FROM observation o JOIN datastream d ON d.id = o.datastream_id"
            " JOIN sensor s ON s.id = d.sensor_id WHERE s.urn = %s AND d.short_name = 'number'"
            " AND o.time <= %s ORDER BY o.time",
            (f"urn:dev:kerbstone:numbers:{number}", midnight),
        )
        return [(row[0].astimezone(UTC), row[1]) for row in await cursor.fetchall()]


async def conflicts(dsn: str) -> int:
    async with await connect(dsn, application_name="kerbstone test") as conn:
        row = await (await conn.execute("SELECT count(*) FROM quarantine")).fetchone()
    assert row is not None
    return int(row[0])


def expected(number: int, midnight: datetime) -> list[tuple[datetime, float]]:
    first = midnight - PERIOD * (READINGS_EACH - 1)
    return [
        (first + PERIOD * index, float(number * 100_000 + index)) for index in range(READINGS_EACH)
    ]


def spool_depths(session: Session) -> dict[str, int]:
    """Readings that wait, by gateway."""
    statuses = {
        key: read_status(load(AgentSettings, file)) for key, file in session.agent_settings.items()
    }
    return {
        key: status.facts["spool"]["readings"] for key, status in statuses.items() if status.facts
    }
