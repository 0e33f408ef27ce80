"""Pages read from a real streaming replica, and from the primary while it is lost or behind."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from api.service import open_app
from api.settings import ApiSettings
from api.state import SESSION_COOKIE
from storage.database import connect
from storage.embedded import EmbeddedDatabase, remove
from storage.migration import migrate
from tests.integration.region import eventually, metric
from tests.simulators.street import seed


@dataclass
class Servers:
    """A primary with its replica, on files below a directory. bloomsbury: the id of that site."""

    primary: EmbeddedDatabase
    replica: EmbeddedDatabase
    directory: Path
    bloomsbury: int


@dataclass
class Twins:
    """An application over both; the replica can be killed and started."""

    client: httpx.AsyncClient
    servers: Servers
    app: FastAPI

    async def site(self, **cookies: str) -> str:
        """Return the page of Bloomsbury, which begins one read."""
        jar = "; ".join(f"{name}={value}" for name, value in cookies.items())
        answer = await self.client.get(
            f"/sites/{self.servers.bloomsbury}", headers={"Accept": "text/html", "Cookie": jar}
        )
        assert answer.status_code == 200, answer.text
        return answer.text

    async def on_replica(self, statement: str) -> None:
        """Tell the replica's server something that a superuser may."""
        async with await connect(
            self.servers.replica.dsn, autocommit=True, application_name="kerbstone test"
        ) as conn:
            await conn.execute(statement.encode())

    async def used(self, *, replica: bool) -> None:
        """Return once pages read from the replica, or from the primary."""
        await eventually(lambda: self.app.state.service.reads.uses_replica is replica)

    def kill_replica(self) -> None:
        self.servers.replica.kill()

    def start_replica(self) -> None:
        at = self.servers
        at.replica = at.primary.start_replica(at.directory / "replica")

    async def rename(self, before: str, after: str) -> None:
        """Change the name of a site, on the primary."""
        async with await connect(
            self.servers.primary.dsn, autocommit=True, application_name="kerbstone test"
        ) as conn:
            await conn.execute("UPDATE thing SET name = %s WHERE name = %s", (after, before))


def reads(server: str) -> float:
    return metric("api_reads_total", server=server)


@pytest.fixture(scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    directory = tmp_path_factory.mktemp("twins")
    primary = EmbeddedDatabase.start(directory / "primary")
    found = None
    try:
        await migrate(primary.dsn)
        async with await connect(
            primary.dsn, autocommit=True, application_name="kerbstone test"
        ) as conn:
            street = await seed(conn)
        replica = primary.start_replica(directory / "replica")
        found = Servers(primary, replica, directory, street.things["Bloomsbury"])
        yield found
    finally:
        if found is not None:
            found.replica.stop()
        primary.stop()
        remove(directory / "replica")
        remove(directory / "primary")


@pytest.fixture
async def twins(servers: Servers) -> AsyncIterator[Twins]:
    settings = ApiSettings(dsn=servers.primary.dsn, replica_dsn=servers.replica.dsn)
    async with (
        open_app(settings) as app,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost"
        ) as client,
    ):
        yield Twins(client, servers, app)


async def test_pages_follow_the_replica_and_fall_back_to_the_primary(twins: Twins) -> None:
    await twins.used(replica=True)
    before = reads("replica"), reads("primary")
    assert "Bloomsbury" in await twins.site()
    assert (reads("replica"), reads("primary")) == (before[0] + 1, before[1])

    twins.kill_replica()
    assert "Bloomsbury" in await twins.site()  # at once, whoever notices first
    assert reads("primary") == before[1] + 1
    await twins.used(replica=False)
    assert metric("api_replica_used") == 0

    twins.start_replica()
    await twins.used(replica=True)
    again = reads("replica"), reads("primary")
    await twins.site()
    assert (reads("replica"), reads("primary")) == (again[0] + 1, again[1])


async def test_replica_that_lags_is_left_alone_until_it_has_caught_up(twins: Twins) -> None:
    await twins.used(replica=True)
    await twins.on_replica("SELECT pg_wal_replay_pause()")
    await twins.rename("Bloomsbury", "Renamed")
    await twins.used(replica=False)
    assert metric("api_replica_lag_seconds") > 2
    assert "Renamed" in await twins.site()
    await twins.on_replica("SELECT pg_wal_replay_resume()")
    await twins.used(replica=True)
    assert "Renamed" in await twins.site()
    await twins.rename("Renamed", "Bloomsbury")


async def test_whoever_is_signed_in_sees_a_change_before_the_replica_does(twins: Twins) -> None:
    await twins.used(replica=True)
    await twins.on_replica("SELECT pg_wal_replay_pause()")
    await twins.rename("Bloomsbury", "Renamed")
    assert "Renamed" in await twins.site(**{SESSION_COOKIE: "whatever"})
    await twins.rename("Renamed", "Bloomsbury")
    await twins.on_replica("SELECT pg_wal_replay_resume()")


async def test_dead_primary_leaves_the_pages_what_the_replica_has(twins: Twins) -> None:
    await twins.used(replica=True)
    twins.servers.primary.kill()
    assert "Bloomsbury" in await twins.site()
    assert twins.app.state.service.reads.uses_replica
