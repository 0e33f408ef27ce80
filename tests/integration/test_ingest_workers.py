"""Several processes of ingest on one broker: each owns its gateways, none does another's work."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from broker_config.network import Gateway
from device_protocol.keys import RecipientKey, SigningKey
from enrolment.authority import KeyKind
from enrolment.files import read_key
from ingest.workers.ownership import owner
from storage import registry
from storage.database import Connection, connect
from tests.integration.conftest import DatabaseServer
from tests.integration.fix_brokers import City, run_city
from tests.simulators.gateway import (
    Message,
    MqttGateway,
    SimulatedGateway,
    description,
    public,
    reading,
)

ROOT = Path(__file__).parents[2]
DEVICES = tuple(f"yard-{number}" for number in range(8))
NEWCOMER = "yard-new"
READINGS = 5
on_plain = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


def tenant_of(device: str) -> str:
    """Half of the gateways are of one council, half of the other."""
    return "leeds" if device in DEVICES[1::2] else "camden"


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    services = ["ingest", *(f"ingest-w{n}" for n in range(4)), "ingest-north", "ingest-south"]
    gateways = {Gateway(tenant_of(device), device): KeyKind.P256 for device in (*DEVICES, NEWCOMER)}
    with run_city("mosquitto", tmp_path_factory.mktemp("city"), gateways, services) as running:
        for name in services:
            running.service("camden", name)
        yield running


@dataclass
class Ingest:
    """A supervisor of ingest that runs, and what it and its children have logged."""

    process: asyncio.subprocess.Process
    log: Path

    def lines(self, message: str) -> list[dict[str, Any]]:
        found = []
        for line in self.log.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                logged = json.loads(line)
                if logged["message"] == message:
                    found.append(logged)
        return found

    async def said(self, message: str, count: int = 1) -> list[dict[str, Any]]:
        async with asyncio.timeout(30):
            while len(found := self.lines(message)) < count:
                assert self.process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.05)
        return found


@dataclass
class Yard:
    """Gateways, the key they seal to, and settings of ingest."""

    city: City
    directory: Path
    recipient: RecipientKey

    @asynccontextmanager
    async def ingest(self, settings: str, *, connections: int) -> AsyncIterator[Ingest]:
        """Run ingest until so many processes are connected, and then the block."""
        name = secrets.token_hex(4)
        config = self.directory / f"{name}.toml"
        keys, _, tables = settings.partition("[[")
        config.write_text(keys + self._common() + "[[" * bool(tables) + tables)
        log = self.directory / f"{name}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "command_line", "ingest", "run", "--config", config),
                stderr=file,
                cwd=ROOT,
            )
        running = Ingest(process, log)
        try:
            await running.said("broker connected", connections)
            yield running
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()

    def _common(self) -> str:
        endpoint = self.city.broker.service_endpoint("camden")
        credential = self.city.service("camden")
        return f"""
service_key_file = "{self.directory / "service.key"}"
recipient_key_files = ["{self.directory / "recipient.pem"}"]

[[broker]]
name = "city"
host = "{endpoint.host}"
port = {endpoint.port}
client_id = "ingest"
ca_file = "{self.city.authority.service_root()}"
certificate_file = "{credential.certificate}"
key_file = "{credential.key}"
"""

    @asynccontextmanager
    async def senders(self, *devices: str) -> AsyncIterator[list["Sender"]]:
        """Connect gateways for the length of the block."""
        async with contextlib.AsyncExitStack() as opened:
            found = []
            for device in devices:
                files = self.city.gateways[device].credential
                simulated = SimulatedGateway(
                    tenant_of(device),
                    device,
                    [public(self.recipient)],
                    signer=SigningKey.from_private(read_key(files.key)),
                )
                connected = MqttGateway.connected(simulated, self.city.gateway_client(device))
                found.append(Sender(await opened.enter_async_context(connected)))
            yield found


class Sender:
    """A gateway that sends numbered readings, and again until it hears that they are stored."""

    def __init__(self, connection: MqttGateway) -> None:
        self._connection = connection
        self.device = connection.gateway.device
        self.sent: list[Message] = []
        self.readings: set[float] = set()

    async def begin(self) -> None:
        simulated = self._connection.gateway
        counter = int(datetime.now(UTC).timestamp())
        self.sent = [
            simulated.announce(counter, counter=counter),
            simulated.describe(
                description(thing=f"urn:dev:{self.device}", sensor=f"urn:dev:{self.device}:air")
            ),
        ]
        for message in self.sent:
            await self._connection.publish(message)

    async def send(self, messages: int) -> None:
        start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=20)
        for _ in range(messages):
            numbers = [float(len(self.readings) + n) for n in range(READINGS)]
            self.readings.update(numbers)
            sealed = self._connection.gateway.report(
                [
                    reading(
                        number,
                        sensor=f"urn:dev:{self.device}:air",
                        time=start + timedelta(seconds=10 * number),
                    )
                    for number in numbers
                ]
            )
            self.sent.append(sealed)
            await self._connection.publish(sealed)

    async def settled(self) -> None:
        """Return once everything is acknowledged, sending it again like an agent does."""
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(TimeoutError):
                    await self._connection.acknowledged(len(self.sent) - 1, within_seconds=2)
                    return
                for message in self.sent:
                    await self._connection.publish(message)


@pytest.fixture
async def yard(city: City, tmp_path: Path) -> Yard:
    key = X25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "recipient.pem").write_bytes(pem)
    (tmp_path / "service.key").write_text(secrets.token_hex(32))
    return Yard(city, tmp_path, RecipientKey.from_private(key))


async def register(conn: Connection, yard: Yard, *devices: str) -> None:
    known = {row.tenant for row in await registry.gateways(conn, None)}
    for council in yard.city.broker.network.councils:
        tenants = {tenant_of(device) for device in devices} - known
        if council.tenant in tenants:
            await registry.add_council(
                conn, gss=council.gss, tenant=council.tenant, name=council.name
            )
    for device in devices:
        await registry.add_gateway(conn, tenant=tenant_of(device), device=device, label="")
        signer = SigningKey.from_private(read_key(yard.city.gateways[device].credential.key))
        await registry.add_signing_key(
            conn,
            device=device,
            key=SimulatedGateway("x", "x", [], signer=signer).verifying_key,
            valid_from=datetime.now(UTC) - timedelta(hours=1),
            valid_until=datetime.now(UTC) + timedelta(days=7),
        )


async def stored(conn: Connection) -> dict[str, list[float]]:
    """Return the values of each gateway's observations, in order of time."""
    cursor = await conn.execute(
        "SELECT gateway.device, array_agg(value ORDER BY time) FROM observation"
        " JOIN datastream ON datastream.id = datastream_id"
        " JOIN sensor ON sensor.id = sensor_id JOIN gateway ON gateway.id = gateway_id"
        " GROUP BY gateway.device"
    )
    return dict(await cursor.fetchall())


def expected(senders: Sequence[Sender]) -> dict[str, list[float]]:
    return {sender.device: sorted(sender.readings) for sender in senders}


async def all_of(senders: Sequence[Sender], messages: int) -> None:
    async with asyncio.TaskGroup() as tasks:
        for sender in senders:
            tasks.create_task(sender.send(messages))


async def all_settled(senders: Sequence[Sender]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for sender in senders:
            tasks.create_task(sender.settled())


async def test_killed_worker_is_replaced_and_every_reading_is_stored_once(
    yard: Yard, dsn: str, connection: Connection
) -> None:
    assert {owner(device, 4) for device in DEVICES} == {0, 1, 2, 3}
    await register(connection, yard, *DEVICES)
    async with (
        yard.ingest(f'dsn = "{dsn}"\nworkers = 4\n', connections=4) as ingest,
        yard.senders(*DEVICES) as senders,
    ):
        started = {line["child"]: line["pid"] for line in ingest.lines("process started")}
        for sender in senders:
            await sender.begin()
        await all_settled(senders)
        load = asyncio.create_task(all_of(senders, 60))
        await asyncio.sleep(0.2)
        os.kill(started[f"worker {owner(DEVICES[0], 4)}"], signal.SIGKILL)
        await load
        await ingest.said("process ended, starts again")
        await all_settled(senders)
        assert await stored(connection) == expected(senders)
        cursor = await connection.execute("SELECT count(*) FROM signed_batch")
        assert await cursor.fetchone() == (len(DEVICES) * 61,)


@on_plain
async def test_other_number_of_workers_and_a_new_gateway(
    yard: Yard, dsn: str, connection: Connection
) -> None:
    await register(connection, yard, *DEVICES)
    async with yard.senders(*DEVICES, NEWCOMER) as senders:
        *known, newcomer = senders
        async with yard.ingest(f'dsn = "{dsn}"\nworkers = 4\n', connections=4):
            for sender in known:
                await sender.begin()
            await all_of(known, 5)
            await all_settled(known)
        await all_of(known, 5)  # wait at the broker in sessions, of which two are ended
        async with yard.ingest(f'dsn = "{dsn}"\nworkers = 2\n', connections=2) as ingest:
            ended = await ingest.said("session of a former worker ended", 2)
            assert {line["client_id"] for line in ended} == {"ingest-w2", "ingest-w3"}
            await all_settled(known)
            await register(connection, yard, NEWCOMER)
            await newcomer.begin()
            await newcomer.send(5)
            await newcomer.settled()
            assert await stored(connection) == expected(senders)
            rows = await connection.execute("SELECT client_id FROM ingest_session ORDER BY 1")
            assert await rows.fetchall() == [("ingest-w0",), ("ingest-w1",)]


@on_plain
async def test_second_supervisor_says_what_is_the_matter_and_does_no_harm(
    yard: Yard, dsn: str, connection: Connection
) -> None:
    await register(connection, yard, *DEVICES)
    two = f'dsn = "{dsn}"\nworkers = 2\n'
    async with (
        yard.ingest(two, connections=2),
        yard.senders(*DEVICES) as senders,
        yard.ingest(two, connections=0) as second,
        yard.ingest(f'dsn = "{dsn}"\nworkers = 3\n', connections=0) as third,
    ):
        waits = await second.said("another ingest runs in this place", 2)
        assert {line["wanted"] for line in waits} == {"worker 0 of 2", "worker 1 of 2"}
        assert all("since" in line["running"] for line in waits)
        [waits, *_] = await third.said("another ingest runs in this place", 3)
        assert waits["running"] == ["sets of 2 workers"]
        for sender in senders:
            await sender.begin()
        await all_of(senders, 5)
        await all_settled(senders)
        assert await stored(connection) == expected(senders)
        assert not second.lines("broker connected")
        assert not third.lines("broker connected")


@on_plain
async def test_one_ingest_fills_a_database_for_each_share(
    yard: Yard, database_server: DatabaseServer, dsn: str, connection: Connection
) -> None:
    south = await database_server.create()
    try:
        shares = (
            f'[[share]]\nname = "north"\ntenants = ["leeds"]\ndsn = "{dsn}"\n'
            f'[[share]]\nname = "south"\ntenants = ["camden"]\ndsn = "{south}"\n'
        )
        async with await connect(south, autocommit=True, application_name="test") as other:
            await register(connection, yard, *DEVICES[1::2])
            await register(other, yard, *DEVICES[::2])
            async with (
                yard.ingest(shares, connections=2),
                yard.senders(*DEVICES) as senders,
            ):
                for sender in senders:
                    await sender.begin()
                await all_of(senders, 5)
                await all_settled(senders)
                assert await stored(connection) == expected(senders[1::2])
                assert await stored(other) == expected(senders[::2])
    finally:
        await database_server.drop(south)
