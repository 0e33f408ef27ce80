"""The recipients' keys change while readings flow, and no reading is lost.

Everything is real: agents, broker, ingest, and the certificate service's upkeep, which signs the
key sets. What is done here by hand is what an operator's command does: files and registry rows.
"""

import asyncio
import contextlib
import csv
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from device_protocol.keys import P256, X25519, RecipientKey
from device_protocol.recipient_pem import encode_pem, generate
from edge_agent.agent import run as run_agent
from edge_agent.sensors.replay import ColumnSettings, ReplaySettings
from edge_agent.settings import (
    AgentSettings,
    BrokerSettings,
    SpoolSettings,
    ThingSettings,
    TrustSettings,
    UplinkSettings,
)
from enrolment import upkeep
from storage.database import Connection, open_pool
from storage.recipients import add_recipient, retire_recipient, stragglers
from storage.status_board import message_gaps
from tests.integration.fix_brokers import City
from tests.integration.region import DEVICE, OTHER, Region, make_region, metric

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)

ACTOR = "operator test"
ROWS = 24 * 30
ENOUGH = 30  # readings that show a flow
_PLAYED = """
    SELECT value::int FROM observation
      JOIN datastream ON datastream.id = datastream_id
      JOIN sensor ON sensor.id = sensor_id
     WHERE urn = %s AND extract(microseconds FROM time) + extract(minute FROM time) > 0
     ORDER BY time
"""  # a recording's own rows, on the full hour, are filled in only where a test runs across one


@dataclass
class Recipients:
    """The region's private keys in ingest's directory, and their rows: both change in turn."""

    region: Region
    directory: Path

    async def add(self) -> list[RecipientKey]:
        """Make a key for each suite and list them."""
        made = [generate(X25519), generate(P256)]
        for key in made:
            self._file(key).write_bytes(encode_pem(key))
            await add_recipient(
                self.region.conn,
                tenant="camden",
                group="main",
                role="region",
                cose_key=key.cose_key,
                valid_from=datetime.now(UTC) - timedelta(minutes=5),
                valid_until=datetime.now(UTC) + timedelta(days=30),
                actor=ACTOR,
            )
        return made

    async def replace(self, old: list[RecipientKey]) -> None:
        """List new keys and retire the old ones, at once."""
        async with self.region.conn.transaction():
            await self.add()
            for key in old:
                await retire_recipient(
                    self.region.conn,
                    tenant="camden",
                    group="main",
                    kid=key.kid,
                    actor=ACTOR,
                    now=datetime.now(UTC),
                )

    def destroy(self, keys: list[RecipientKey]) -> None:
        for key in keys:
            self._file(key).unlink()

    def _file(self, key: RecipientKey) -> Path:
        return self.directory / f"{key.kid.hex()}.key"


@dataclass
class Gateway:
    """A gateway whose sensor counts, a row every 50 ms; it can be stopped and started again."""

    region: Region
    device: str
    directory: Path

    @property
    def urn(self) -> str:
        return f"urn:dev:{self.device}:analyser"

    @property
    def settings(self) -> AgentSettings:
        city = self.region.city
        files = city.gateways[self.device]
        endpoint = city.broker.council_endpoint("camden")
        site = f"urn:dev:{self.device}:site"
        return AgentSettings(
            tenant="camden",
            device=self.device,
            state_directory=self.directory / "state",
            broker=BrokerSettings(
                host=endpoint.host,
                port=endpoint.port,
                mqtt_version=endpoint.mqtt_version,  # type: ignore[arg-type]
                ca_file=files.service_root,
                certificate_file=files.credential.certificate,
                key_file=files.credential.key,
            ),
            trust=TrustSettings(council_root_file=files.council_root),
            spool=SpoolSettings(commit_seconds=0.05),
            uplink=UplinkSettings(batch_seconds=0.1, reannounce_seconds=1.0, retry_seconds=0.5),
            thing=(
                ThingSettings(
                    urn=site,
                    name="Site",
                    description="A site.",
                    longitude=-0.12,
                    latitude=51.5,
                    place_name="Bloomsbury",
                ),
            ),
            sensor=(
                ReplaySettings(
                    urn=self.urn,
                    thing=site,
                    name="Analyser",
                    description="Counts.",
                    file=self.directory / "recording.csv",
                    recorded="2009",
                    source="Nobody",
                    licence="None",
                    backfill_days=0.0,
                    live_interval_seconds=0.05,
                    columns={
                        "no2": ColumnSettings(
                            name="no2",
                            title="no2",
                            description="no2",
                            observed_property="no2",
                            unit="ug/m3",
                            averaging_seconds=0,
                        )
                    },
                ),
            ),
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the agent for the length of the block."""
        self.directory.mkdir(exist_ok=True)
        with (self.directory / "recording.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(("date", "no2"))
            begin = datetime(2009, 11, 1, tzinfo=UTC)
            table.writerows(
                ((begin + timedelta(hours=hour)).isoformat(), hour) for hour in range(ROWS)
            )
        task = asyncio.create_task(run_agent(self.settings))
        try:
            yield
            assert not task.done(), task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def stored(self) -> list[int]:
        """Return the counts that are in the database, in the order of their times."""
        cursor = await self.region.conn.execute(_PLAYED, (self.urn,))
        return [count for (count,) in await cursor.fetchall()]

    async def flows(self) -> None:
        """Return once further readings have been stored."""
        begun = len(await self.stored())

        async def further() -> bool:
            return len(await self.stored()) >= begun + ENOUGH

        await until(further)

    async def is_whole(self) -> bool:
        """Tell whether each stored reading follows upon the one before: none lost, none twice."""
        counts = await self.stored()
        return all((after - before) % ROWS == 1 for before, after in pairwise(counts))


async def until(holds: Callable[[], Awaitable[bool]], within: float = 30) -> None:
    async with asyncio.timeout(within):
        while not await holds():  # noqa: ASYNC110 - a database has no event to wait for
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def signing(region: Region, network_file: Path) -> AsyncIterator[None]:
    """Run the certificate service's upkeep; it has no broker to tell."""
    async with open_pool(region.dsn, application_name="kerbstone test") as pool:
        task = asyncio.create_task(
            upkeep.run(
                region.city.authority, pool, region.dsn, network_file=network_file, broker=None
            )
        )
        try:
            yield
            assert not task.done(), task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def region(city: City, dsn: str, tmp_path: Path, connection: Connection) -> Region:
    return await make_region(city, dsn, tmp_path, connection)


def refused() -> float:
    return sum(
        metric("ingest_envelopes_total", outcome="refused", reason=reason)
        for reason in ("not-recipient", "unwrap", "unknown-epoch", "epoch-closed", "algorithm")
    )


async def test_rotation_under_traffic_loses_no_reading_and_leaves_no_straggler(
    region: Region, tmp_path: Path
) -> None:
    recipients = Recipients(region, tmp_path / "recipients")
    recipients.directory.mkdir()
    old = await recipients.add()
    steady = Gateway(region, DEVICE, tmp_path / "steady")
    sleeper = Gateway(region, OTHER, tmp_path / "sleeper")
    before = refused()

    async def behind(version: int) -> list[str]:
        return await stragglers(region.conn, tenant="camden", version=version)

    async def newest_version() -> int:
        cursor = await region.conn.execute(
            "SELECT coalesce(max(version), 0) FROM key_set"
            "  JOIN council ON council.id = council_id WHERE tenant = 'camden'"
        )
        [(version,)] = await cursor.fetchall()
        return int(version)

    async with contextlib.AsyncExitStack() as running:
        await running.enter_async_context(signing(region, tmp_path / "network.toml"))
        await running.enter_async_context(
            region.ingest(recipient_key_files=(), recipient_key_directory=recipients.directory)
        )
        await running.enter_async_context(steady.running())
        async with sleeper.running():
            await asyncio.gather(steady.flows(), sleeper.flows())
        first = await newest_version()
        assert await behind(first) == []

        await recipients.replace(old)

        async def is_signed() -> bool:
            return await newest_version() > first

        await until(is_signed)
        second = await newest_version()

        async def only_the_sleeper_is_behind() -> bool:
            return await behind(second) == [OTHER]

        await until(only_the_sleeper_is_behind)
        await steady.flows()
        assert await behind(second) == [OTHER]  # its old key must not be destroyed yet

        async def nobody_is_behind() -> bool:
            return not await behind(second)

        async with sleeper.running():
            await until(nobody_is_behind)
            recipients.destroy(old)
            await asyncio.gather(steady.flows(), sleeper.flows())
        async with sleeper.running():  # begins an epoch, which the new keys alone can open
            await sleeper.flows()
        for gateway in (steady, sleeper):
            await until(gateway.is_whole)

    assert refused() == before
    assert await message_gaps(region.conn) == []
