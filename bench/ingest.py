"""How fast ingest is, beside the fastest its own database could be on the same machine.

One run measures both. Raw: a prepared binary COPY through the staging table into the same schema,
ON CONFLICT DO NOTHING, in transactions of the size ingest uses. End to end: sealed messages from
several gateways over mutual TLS, through the broker, all checks on, to COMMIT. Database, broker,
ingest and load share the machine, so the ratio says what all the rest costs.
"""

import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench.errors import BenchError
from bench.load import READINGS, STEP, STREAMS, TIMES, LoadGateway, Plan
from bench.machine import cpu_seconds, describe_machine
from broker_config.embedded import EmbeddedBroker, default_kind, start_broker
from broker_config.files import BrokerKind
from broker_config.network import Council, Gateway, Network, Service
from device_protocol.keys import RecipientKey, VerifyingKey
from enrolment.authority import Authority, enrol_locally
from enrolment.files import read_certificate
from storage import registry
from storage.batches import Observations, copy_payload, prepare
from storage.database import Connection, connect, query
from storage.embedded import EmbeddedDatabase, remove
from storage.migration import migrate
from storage.partitions import ensure_partitions

EDITIONS: Final = ("plain", "timescaledb")
ROWS: Final = 1_000_000

_COUNCILS: Final = (
    Council(tenant="camden", gss="E09000007", name="Camden"),
    Council(tenant="westminster", gss="E09000033", name="Westminster"),
)
_GATEWAYS: Final = 8
_BATCH_MESSAGES: Final = 500  # ingest's default
_POLL_SECONDS: Final = 0.02
_PATIENCE_SECONDS: Final = 300.0
_ROOT: Final = Path(__file__).parents[1]


def measure(
    *, editions: Sequence[str] = ("plain",), rows: int = ROWS, broker: str = ""
) -> dict[str, Any]:
    """Return rates in rows a second and their ratio, for each edition of the database.

    editions: of "plain" and "timescaledb". rows: how many of each kind, rounded to whole
    messages. broker: "mosquitto" or "nats"; empty: the best there is here.

    Raises:
        BenchError: not every row arrived.
    """
    kind = BrokerKind(broker) if broker else default_kind()
    messages = max(1, rows // (READINGS * _GATEWAYS))
    machine = describe_machine()
    results = {}
    for edition in editions:
        with tempfile.TemporaryDirectory(prefix="kerbstone-bench-") as directory:
            results[edition] = _measure_edition(edition, kind, messages, Path(directory))
    return {
        "machine": machine,
        "broker": kind.value,
        "rows": messages * READINGS * _GATEWAYS,
        "readings_per_message": READINGS,
        "gateways": _GATEWAYS,
        "editions": results,
    }


def _measure_edition(
    edition: str, kind: BrokerKind, messages: int, directory: Path
) -> dict[str, Any]:
    with ExitStack() as opened:
        data = directory / "database"
        database = opened.enter_context(
            EmbeddedDatabase.start(data, timescaledb=edition == "timescaledb")
        )
        opened.callback(remove, data)
        opened.callback(database.stop)
        city = opened.enter_context(_city(kind, directory))
        return asyncio.run(_measure(database, city, messages))


@dataclass(frozen=True, slots=True)
class _City:
    """A broker, its authority and gateways, and the keys of ingest."""

    broker: EmbeddedBroker
    authority: Authority
    directory: Path
    recipient: RecipientKey

    def certificate_of(self, device: str) -> Path:
        return self.directory / device / "gateway.pem"


@contextmanager
def _city(kind: BrokerKind, directory: Path) -> Iterator[_City]:
    authority = Authority(directory / "authority", "Bench")
    tenants = tuple(council.tenant for council in _COUNCILS)
    gateways = tuple(
        Gateway(tenant=tenants[number % len(tenants)], device=f"bench-gateway-{number}")
        for number in range(_GATEWAYS)
    )
    for gateway in gateways:
        enrol_locally(authority, gateway.tenant, gateway.device, directory / gateway.device)
    key = X25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "recipient.pem").write_bytes(pem)
    (directory / "service.key").write_text(secrets.token_hex(32), encoding="ascii")
    network = Network(
        name="Bench",
        host="localhost",
        councils=_COUNCILS,
        gateways=gateways,
        services=(Service(name="ingest", tenants=tenants),),
    )
    certificates = authority.broker_certificates(tenants)
    with start_broker(kind.value, network, directory / "broker", certificates) as broker:
        yield _City(broker, authority, directory, RecipientKey.from_private(key))


async def _measure(database: EmbeddedDatabase, city: _City, messages: int) -> dict[str, Any]:
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start -= messages * TIMES * STEP + timedelta(hours=1)
    raw = [await _raw(database, "raw_before", messages, start)]
    seconds, cpu = await _end_to_end(database, city, messages, start)
    raw.append(await _raw(database, "raw_after", messages, start))
    raw_rate = statistics.mean(raw)
    rate = messages * _GATEWAYS * READINGS / seconds
    async with await connect(database.dsn, application_name="kerbstone bench") as conn:
        server = conn.info.parameter_status("server_version")
    return {
        "server": f"PostgreSQL {server}",
        "raw_copy_rows_per_s": round(raw_rate),
        "raw_copy_rows_per_s_before_and_after": [round(found) for found in raw],
        "end_to_end_rows_per_s": round(rate),
        "end_to_end_seconds": round(seconds, 2),
        "ratio": round(rate / raw_rate, 3),
        "cpu_seconds": cpu,
    }


# Raw: what the database could do


async def _raw(database: EmbeddedDatabase, name: str, messages: int, start: datetime) -> float:
    """Return the rows a second of a prepared COPY into a fresh database."""
    dsn = database.create_database(name)
    await migrate(dsn)
    payloads = [copy_payload(found) for found in _batches(messages, start)]
    async with await connect(dsn, autocommit=True, application_name="kerbstone bench") as conn:
        await prepare(conn)
        await ensure_partitions(conn, start, start + messages * TIMES * STEP)
        began = time.perf_counter()
        for payload in payloads:
            await _copy(conn, payload)
        seconds = time.perf_counter() - began
        await _check_count(conn, messages)
    return messages * _GATEWAYS * READINGS / seconds


async def _copy(conn: Connection, payload: bytes) -> None:
    async with conn.transaction(), conn.cursor() as cursor:
        async with cursor.copy(query("copy_staging")) as copy:
            await copy.write(payload)
        await cursor.execute(
            "INSERT INTO observation (datastream_id, time, value)"
            " SELECT datastream_id, time, value FROM staged_observation ON CONFLICT DO NOTHING"
        )


def _batches(messages: int, start: datetime) -> Iterator[Observations]:
    """Yield the same keys as the load, in batches of the size ingest stores, sorted by key."""
    random = np.random.default_rng(0)
    streams = np.arange(1, _GATEWAYS * STREAMS + 1, dtype=np.int32)
    first = round(start.timestamp()) * 1_000_000
    step = round(STEP.total_seconds()) * 1_000_000
    each = max(1, _BATCH_MESSAGES // _GATEWAYS)
    for begin in range(0, messages, each):
        count = min(each, messages - begin) * TIMES
        times = first + (begin * TIMES + np.arange(count, dtype=np.int64)) * step
        values = random.integers(0, 10_000, count * len(streams)) / 10
        yield Observations(np.repeat(streams, count), np.tile(times, len(streams)), values)


# End to end: what the system does


async def _end_to_end(
    database: EmbeddedDatabase, city: _City, messages: int, start: datetime
) -> tuple[float, dict[str, float | None]]:
    """Return the seconds from the first publication to the last COMMIT, and who used the CPU."""
    await migrate(database.dsn)
    async with await connect(
        database.dsn, autocommit=True, application_name="kerbstone bench"
    ) as conn:
        await _register(conn, city)
        plan = city.directory / "plan.json"
        _plan(city, messages, start).write(plan)
        settings = _write_settings(city, database.dsn)
        with (
            _spawned("command_line", "ingest", "run", "--config", str(settings)) as ingest,
            _spawned("bench.load", str(plan)) as load,
        ):
            await asyncio.to_thread(_await_ready, load)
            processes = {
                "ingest": ingest.pid,
                "database": await _pid_of_store(conn),
                "broker": city.broker.pid,
                "load": load.pid,
            }
            before = {name: cpu_seconds(pid) for name, pid in processes.items()}
            began = time.perf_counter()
            _go(load)
            await _until_stored(conn, _GATEWAYS * (messages + 1), ingest, load)
            seconds = time.perf_counter() - began
            cpu = {
                name: _difference(cpu_seconds(pid), before[name]) for name, pid in processes.items()
            }
        await _check_count(conn, messages)
    return seconds, cpu


async def _pid_of_store(conn: Connection) -> int:
    cursor = await conn.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'kerbstone ingest store'"
    )
    row = await cursor.fetchone()
    if row is None:
        raise BenchError("ingest is not connected to the database")
    return int(row[0])


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else round(after - before, 2)


async def _register(conn: Connection, city: _City) -> None:
    network = city.broker.network
    for council in network.councils:
        await registry.add_council(conn, gss=council.gss, tenant=council.tenant, name=council.name)
    for gateway in network.gateways:
        certificate = read_certificate(city.certificate_of(gateway.device))
        await registry.add_gateway(conn, tenant=gateway.tenant, device=gateway.device)
        await registry.add_signing_key(
            conn,
            device=gateway.device,
            key=VerifyingKey.from_public(certificate.public_key()),
            valid_from=certificate.not_valid_before_utc,
            valid_until=certificate.not_valid_after_utc,
        )


def _plan(city: _City, messages: int, start: datetime) -> Plan:
    found = []
    for gateway in city.broker.network.gateways:
        endpoint = city.broker.council_endpoint(gateway.tenant)
        certificate = city.certificate_of(gateway.device)
        found.append(
            LoadGateway(
                tenant=gateway.tenant,
                device=gateway.device,
                host=endpoint.host,
                port=endpoint.port,
                ca_file=str(city.authority.service_root()),
                certificate_file=str(certificate),
                key_file=str(certificate.with_suffix(".key")),
            )
        )
    return Plan(tuple(found), city.recipient.cose_key.hex(), messages, start.isoformat())


def _write_settings(city: _City, dsn: str) -> Path:
    on_nats = city.broker.kind is BrokerKind.NATS
    lines = [
        f"dsn = {json.dumps(dsn)}",
        'service_key_file = "service.key"',
        'recipient_key_files = ["recipient.pem"]',
    ]
    for tenant in city.broker.network.tenants if on_nats else ("+",):
        served = tenant if on_nats else city.broker.network.tenants[0]
        endpoint = city.broker.service_endpoint(served)
        credential = city.authority.service_client("ingest", tenant if on_nats else "")
        lines += [
            "[[broker]]",
            f'name = "bench {tenant}"',
            f'host = "{endpoint.host}"',
            f"port = {endpoint.port}",
            f'mqtt_version = "{endpoint.mqtt_version}"',
            f'client_id = "ingest-{served}"',
            f"ca_file = {json.dumps(str(city.authority.service_root()))}",
            f"certificate_file = {json.dumps(str(credential.certificate))}",
            f"key_file = {json.dumps(str(credential.key))}",
            f'tenant = "{tenant}"',
        ]
    path = city.directory / "ingest.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@contextmanager
def _spawned(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run one of our modules as a process of its own for the length of the block."""
    with subprocess.Popen(  # noqa: S603 - our own modules
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def _await_ready(load: subprocess.Popen[str]) -> None:
    if load.stdout is None or load.stdout.readline().strip() != "ready":
        raise BenchError("the load ended before it was ready")


def _go(load: subprocess.Popen[str]) -> None:
    if load.stdin is None:
        raise BenchError("the load cannot be started")
    load.stdin.write("go\n")
    load.stdin.flush()


async def _until_stored(
    conn: Connection,
    messages: int,
    ingest: subprocess.Popen[str],
    load: subprocess.Popen[str],
) -> None:
    """Return once the database holds the last message."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            cursor = await conn.execute("SELECT sum(received_messages) FROM epoch")
            if await cursor.fetchone() == (messages,):
                return
            if _ended(ingest) is not None or _ended(load):
                raise BenchError(f"exit codes: ingest {_ended(ingest)}, load {_ended(load)}")
            await asyncio.sleep(_POLL_SECONDS)


def _ended(process: subprocess.Popen[str]) -> int | None:
    """Return how a process ended, None while it runs; its CPU time can still be asked for."""
    found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return None if found is None else found.si_status


async def _check_count(conn: Connection, messages: int) -> None:
    cursor = await conn.execute("SELECT count(*) FROM observation")
    found = await cursor.fetchone()
    expected = messages * _GATEWAYS * READINGS
    if found != (expected,):
        raise BenchError(f"{found} rows are stored, {expected} were sent")
