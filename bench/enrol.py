"""How fast invited gateways become useful: enrolled, connected, and a first reading acknowledged.

Every gateway goes the real way: the agent's own enrolment client, the service's certificate, the
broker over mutual TLS, the council's key set, an announcement, a description and one reading, and
the centre's acknowledgement of it. All of them share one process, and the machine with the centre.
Beside it stands what TLS alone costs here, since each enrolment needs three connections.
"""

import asyncio
import ssl
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from bench.errors import BenchError
from bench.load import describe, sensor_urn
from bench.machine import describe_machine
from bench.mqtt_load import LoadConnection, LoadError
from device_protocol import topics
from device_protocol.description import CONTENT_FORMAT_CBOR, encode_description
from device_protocol.epoch import Epoch
from device_protocol.first_boot import FirstBoot
from device_protocol.key_set import KeySet, open_key_set
from device_protocol.keys import X25519, SigningKey
from device_protocol.reading import Reading
from device_protocol.senml import CONTENT_FORMAT_SENML_CBOR, encode_cbor
from edge_agent.credentials.enrolment import Enrolled, enrol
from edge_agent.credentials.est import EnrolmentError
from edge_agent.credentials.identity import Generation
from enrolment.files import read_key
from runtime.tls import client_context
from storage.database import connect

GATEWAYS: Final = 500
AT_ONCE: Final = 8
"""Gateways that enrol at the same time, as when an afternoon's van load is switched on."""

_GROUP: Final = "main"
_ANSWER_SECONDS: Final = 5.0
_LISTED_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 120.0
_RAW_HANDSHAKES: Final = 200


@dataclass(frozen=True, slots=True)
class _Times:
    """When one gateway had come how far, in seconds of the monotonic clock."""

    began: float
    enrolled: float
    acknowledged: float


async def measure(
    first_boots: Sequence[FirstBoot],
    directory: Path,
    *,
    dsn: str,
    progress: Callable[[int], None],
) -> dict[str, Any]:
    """Let every invited gateway enrol and send one reading; return rates and times.

    directory: where each gateway keeps its identity. dsn: where the centre stores, to check.
    progress: told how many are through.

    Raises:
        BenchError: a gateway was refused, or its reading is not in the database.
    """
    machine = describe_machine()
    waiting = list(reversed(first_boots))
    times: list[_Times] = []
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="gateway") as threads:

        async def work() -> None:
            while waiting:
                first_boot = waiting.pop()
                own = time.perf_counter()
                identity = directory / first_boot.device
                enrolled = await loop.run_in_executor(threads, enrol, first_boot, identity)
                certified = time.perf_counter()
                await _first_reading(enrolled)
                times.append(_Times(own, certified, time.perf_counter()))
                progress(len(times))

        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(AT_ONCE):
                    tasks.create_task(work(), name=f"gateways {number}")
        except* (EnrolmentError, LoadError, OSError, TimeoutError) as errors:
            first = errors.exceptions[0]
            raise BenchError(f"a gateway did not come through: {first!r}") from errors
    seconds = time.perf_counter() - began
    await _check_stored(dsn, len(times))
    return {
        "machine": machine,
        "gateways": len(times),
        "at_once": AT_ONCE,
        "seconds_to_last_acknowledged_reading": round(seconds, 1),
        "enrolments_per_s": round(len(times) / (max(t.enrolled for t in times) - began), 1),
        "enrolment_ms": _spread([t.enrolled - t.began for t in times]),
        "to_first_acknowledged_reading_ms": _spread([t.acknowledged - t.began for t in times]),
        "raw_tls_handshakes_per_s": round(_raw_handshakes(directory / first_boots[0].device)),
    }


async def _first_reading(enrolled: Enrolled) -> None:
    """Connect, learn for whom to seal, and send one reading until the centre acknowledges it."""
    current = enrolled.current
    where = current.document("network.json")["broker"]
    context = client_context(
        ca_file=current.region_root_file,
        certificate_file=current.certificate_file,
        key_file=current.key_file,
    )
    place = (enrolled.tenant, enrolled.device, _GROUP)
    async with asyncio.timeout(_PATIENCE_SECONDS):
        connection = await _admitted(where["host"], where["port"], enrolled.device, context)
        key_set = _opened(await _key_set_message(connection, enrolled.tenant), enrolled, current)
        await connection.subscribe(topics.acknowledgement(*place))
        epoch = _epoch(key_set, place, SigningKey.from_private(read_key(current.key_file)))
        description = epoch.seal(encode_description(describe(enrolled.device)), CONTENT_FORMAT_CBOR)
        reading = epoch.seal(encode_cbor([_reading(enrolled.device)]), CONTENT_FORMAT_SENML_CBOR)
        messages = [
            (topics.data(*place), description.message),
            (topics.data(*place), reading.message),
        ]
        while True:
            announcement = (topics.announcement(*place), epoch.announcement)
            await connection.publish([announcement], retain=True)
            await connection.publish(messages)
            if await _is_acknowledged(connection, epoch, reading.seq):
                break
    await connection.close()


async def _admitted(host: str, port: int, device: str, context: ssl.SSLContext) -> LoadConnection:
    """Connect once the broker knows the gateway."""
    while True:
        try:
            return await LoadConnection.open(host, port, device, context)
        except (LoadError, asyncio.IncompleteReadError):
            await asyncio.sleep(0.2)


async def _key_set_message(connection: LoadConnection, tenant: str) -> bytes:
    """Subscribe until the retained key set comes: the broker may hear of a new gateway late."""
    while True:
        await connection.subscribe(topics.key_set(tenant))
        try:
            async with asyncio.timeout(_LISTED_SECONDS):
                return await connection.delivered()
        except TimeoutError:
            continue


async def _is_acknowledged(connection: LoadConnection, epoch: Epoch, seq: int) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            while True:
                answer = epoch.open_acknowledgement(await connection.delivered())
                if answer.contiguous_seq >= seq:
                    return True
    except TimeoutError:
        return False


def _opened(message: bytes, enrolled: Enrolled, current: Generation) -> KeySet:
    anchor = x509.load_pem_x509_certificate(current.council_root_file.read_bytes())
    return open_key_set(message, tenant=enrolled.tenant, anchor=anchor, now=int(time.time()))


def _epoch(key_set: KeySet, place: tuple[str, str, str], signer: SigningKey) -> Epoch:
    tenant, device, group = place
    now = int(time.time())
    recipients = [each for each in key_set.recipients(group, now) if each.kind == X25519]
    return Epoch.begin(
        tenant=tenant,
        device=device,
        group=group,
        counter=1,
        issued_at=now,
        clock=2,
        key_set_version=key_set.version,
        recipients=recipients,
        signer=signer,
        previous=None,
    )


def _reading(device: str) -> Reading:
    return Reading(
        sensor=sensor_urn(device),
        name="no2-0",
        phenomenon_time=datetime.now(UTC),
        result=21.5,
        unit="ug/m3",
    )


async def _check_stored(dsn: str, gateways: int) -> None:
    async with await connect(dsn, application_name="kerbstone bench") as conn:
        cursor = await conn.execute("SELECT count(*) FROM observation")
        row = await cursor.fetchone()
    if row is None or row[0] != gateways:
        raise BenchError(f"{gateways} readings were acknowledged, {row and row[0]} are stored")


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "median": round(statistics.median(ordered) * 1000, 1),
        "p99": round(ordered[int(len(ordered) * 0.99)] * 1000, 1),
    }


def _raw_handshakes(identity: Path) -> float:
    """Return mutual TLS handshakes a second in memory, both ends in this process, no socket."""
    current = Generation(identity / "current")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(current.certificate_file, current.key_file)
    server.load_verify_locations(current.council_root_file)
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE  # a gateway's certificate is not for servers
    client.load_cert_chain(current.certificate_file, current.key_file)
    began = time.perf_counter()
    for _ in range(_RAW_HANDSHAKES):
        _shake_hands(client, server)
    return _RAW_HANDSHAKES / (time.perf_counter() - began)


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    done = [False, False]
    while not all(done):
        for index, end in enumerate(ends):
            if not done[index]:
                try:
                    end.do_handshake()
                    done[index] = True
                except ssl.SSLWantReadError:
                    continue
