"""The real agent of a real gateway, run behind a hostile broker."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker_config.embedded import Endpoint
from device_protocol.identity import renewal_due
from device_protocol.key_set import open_key_set
from device_protocol.keys import VerifyingKey
from edge_agent.agent import run
from edge_agent.health.status import read_status
from edge_agent.settings import AgentSettings
from enrolment.files import read_certificate
from runtime.settings import load
from storage import registry
from tests.attack.stage import TENANT, Stage, collected, eventually
from tests.integration.region import now
from tests.simulators.centre import key_set_of

TOML = """
tenant = "{tenant}"
device = "{device}"
state_directory = "state"
[broker]
host = "{host}"
port = {port}
mqtt_version = "3.1.1"
ca_file = "{files.service_root}"
certificate_file = "{files.credential.certificate}"
key_file = "{files.credential.key}"
[trust]
council_root_file = "{files.council_root}"
[spool]
commit_seconds = 0.05
[uplink]
batch_seconds = 0.1
reannounce_seconds = 1.0
retry_seconds = 0.2
[status]
interval_seconds = 0.1
[[thing]]
urn = "urn:dev:{device}:site"
name = "Site"
description = "A site."
longitude = -0.125889
latitude = 51.52229
place_name = "Bloomsbury"
[[sensor]]
adapter = "host"
urn = "urn:dev:{device}:computer"
thing = "urn:dev:{device}:site"
name = "Computer"
description = "A computer."
interval_seconds = 0.1
"""


@dataclass
class Agent:
    """An agent's directory, what it says of itself, and what it writes to its log."""

    stage: Stage
    device: str
    directory: Path
    log: list[logging.LogRecord]

    @property
    def settings(self) -> AgentSettings:
        return load(AgentSettings, self.directory / "agent.toml")

    @property
    def sensor(self) -> str:
        return f"urn:dev:{self.device}:computer"

    def configure(self, endpoint: Endpoint) -> None:
        """Write the settings file: connect to this broker."""
        text = TOML.format(
            tenant=TENANT,
            device=self.device,
            host=endpoint.host,
            port=endpoint.port,
            files=self.stage.city.gateways[self.device],
        )
        self.directory.mkdir(exist_ok=True)
        (self.directory / "agent.toml").write_text(text)

    def facts(self) -> dict[str, Any]:
        return read_status(self.settings).facts or {}

    async def until(
        self, hold: Callable[[dict[str, Any]], bool], what: str, *, within: float = 20
    ) -> None:
        """Wait until the agent says so of itself."""

        def holds() -> bool:
            facts = self.facts()
            return bool(facts) and hold(facts)

        await eventually(holds, what, within=within)

    def said(self, message: str) -> list[str]:
        """Return the details of the log's lines with this fixed phrase."""
        return [
            vars(record).get("detail", "") for record in self.log if record.getMessage() == message
        ]

    async def until_said(self, message: str, detail: str) -> None:
        """Wait until its log has this phrase with this detail."""
        await eventually(
            lambda: any(detail in each for each in self.said(message)),
            f"{message!r} with {detail!r}",
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run the agent for the length of the block."""
        task = asyncio.create_task(run(self.settings), name=f"agent {self.device}")
        try:
            yield task
            assert not task.done(), task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def stored(self) -> dict[Any, float]:
        """Return its memory readings in the database by time."""
        cursor = await self.stage.conn.execute(
            "SELECT time, value FROM observation JOIN datastream ON datastream.id = datastream_id"
            " JOIN sensor ON sensor.id = sensor_id"
            " WHERE sensor.urn = %s AND short_name = 'memory_used'",
            (self.sensor,),
        )
        return dict(await cursor.fetchall())

    async def delivers(self, more: int = 3) -> None:
        """Assert that new readings of it are stored."""
        before = len(await self.stored())

        async def has_more() -> bool:
            return len(await self.stored()) >= before + more

        await eventually(has_more, f"{more} more readings of {self.device}")


@contextlib.asynccontextmanager
async def an_agent(stage: Stage, device: str, directory: Path) -> AsyncIterator[Agent]:
    """Enrol a gateway of Camden and give its council's key set out."""
    city = stage.city
    city.enrol(TENANT, device)
    await asyncio.to_thread(city.broker.reload, city.broker.network.with_gateway(TENANT, device))
    await register(stage, device)
    await publish_key_set(stage)
    with collected("edge_agent") as log:
        yield Agent(stage, device, directory / device, log)


async def register(stage: Stage, device: str) -> None:
    """Enter a gateway into the registry, as enrolling does."""
    certificate = read_certificate(stage.city.gateways[device].credential.certificate)
    assert not renewal_due(certificate, now())
    await registry.add_gateway(stage.conn, tenant=TENANT, device=device)
    await registry.add_signing_key(
        stage.conn,
        device=device,
        key=VerifyingKey.from_public(certificate.public_key()),
        valid_from=certificate.not_valid_before_utc,
        valid_until=certificate.not_valid_after_utc,
    )


async def publish_key_set(stage: Stage) -> bytes:
    """Sign and store a new key set for Camden; ingest publishes it. Return message R."""
    version = await registry.next_key_set_version(stage.conn, TENANT)
    message = key_set_of(
        stage.city.authority, TENANT, {"main": stage.region.recipient}, version=version
    )
    anchor = stage.city.authority.council_certificate(TENANT)
    key_set = open_key_set(message, tenant=TENANT, anchor=anchor, now=now())
    await registry.add_key_set(stage.conn, tenant=TENANT, key_set=key_set, message=message)
    return message
