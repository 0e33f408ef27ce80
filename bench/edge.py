"""What an agent costs the computer it runs on: memory, processor, bytes written, time to start.

Three runs. Steady: a real agent process measures its own computer about ten times a second and
delivers over mutual TLS, with the settings a gateway has by default. Backlog: an agent with
weeks of readings to deliver at once. Sealing: packing, signing and encrypting alone, in this
process. The centre is as small as can be: it opens every message and acknowledges at once, so
that what is measured is the agent. Numbers are reported, none is judged.
"""

import asyncio
import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.machine import cpu_seconds, describe_machine
from broker_config.embedded import EmbeddedBroker, default_kind, start_broker
from broker_config.files import BrokerKind
from broker_config.network import Council, Gateway, Network, Service
from device_protocol import topics
from device_protocol.acknowledgement import Acknowledgement, seal_acknowledgement
from device_protocol.epoch import Epoch
from device_protocol.errors import DuplicateError
from device_protocol.key_set import KeySet, Recipient, certificate_chain, sign_key_set
from device_protocol.keys import RecipientKey, SigningKey, VerifyingKey
from device_protocol.reading import Reading
from device_protocol.receiver import Announcement, Device, OpenEpoch, Receiver, Signer
from device_protocol.senml import CONTENT_FORMAT_SENML_CBOR, encode_cbor
from enrolment.authority import Authority, CredentialFiles, GatewayFiles, enrol_locally
from enrolment.files import read_certificate, read_key
from ingest.inbox import Inbox
from ingest.intake import Intake
from ingest.settings import BrokerSettings

SECONDS: Final = 30.0
BACKLOG_READINGS: Final = 20_000

_TENANT, _DEVICE, _GROUP = "camden", "bench0gateway", "main"
_DAY_SECONDS: Final = 86_400
_COLUMNS: Final = 10
_BATCH_READINGS: Final = 100
_BATCHES: Final = 200
_PATIENCE_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.02
_ROOT: Final = Path(__file__).parents[1]

_AGENT: Final = """
import asyncio, pathlib, sys
from edge_agent.agent import run
from edge_agent.settings import AgentSettings
from runtime.settings import load
from runtime.signals import run_until_stopped
settings = load(AgentSettings, pathlib.Path(sys.argv[1]))
sys.exit(asyncio.run(run_until_stopped(run(settings))))
"""

_SETTINGS: Final = """
tenant = "{tenant}"
device = "{device}"
state_directory = "{name}"
[broker]
host = "{endpoint.host}"
port = {endpoint.port}
mqtt_version = "{endpoint.mqtt_version}"
ca_file = "{files.service_root}"
certificate_file = "{files.credential.certificate}"
key_file = "{files.credential.key}"
[trust]
council_root_file = "{files.council_root}"
[[thing]]
urn = "urn:dev:bench:computer"
name = "This computer"
description = "What the measurement runs on."
longitude = -0.1
latitude = 51.5
place_name = "Here"
[[sensor]]
urn = "urn:dev:bench:sensor"
thing = "urn:dev:bench:computer"
name = "Sensor"
description = "A sensor."
"""
_HOST: Final = """
adapter = "host"
interval_seconds = 0.3
"""
_REPLAY: Final = """
adapter = "replay"
file = "{file}"
recorded = "never"
source = "made up"
licence = "none"
live_interval_seconds = 3600
"""
_COLUMN: Final = """
[sensor.columns.{name}]
name = "{name}"
title = "{name}"
description = "{name}"
observed_property = "no2"
unit = "ug/m3"
"""


class BenchError(Exception):
    """The measurement is void: the agent ended or did not deliver in time."""


def measure(
    *, seconds: float = SECONDS, backlog_readings: int = BACKLOG_READINGS, broker: str = ""
) -> dict[str, Any]:
    """Return what an agent costs, each figure with its unit in its name.

    seconds: of the steady run, after its start. backlog_readings: about how many are waiting
    in the backlog run. broker: "mosquitto" or "nats"; empty: the best there is here.

    Raises:
        BenchError: the agent ended or did not deliver in time.
    """
    kind = BrokerKind(broker) if broker else default_kind()
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="kerbstone-bench-") as directory:
        runs = asyncio.run(_measure_agents(kind, Path(directory), seconds, backlog_readings))
    return {"machine": machine, "broker": kind.value, **runs, "sealing": measure_sealing()}


def measure_sealing() -> dict[str, Any]:
    """Return what packing, signing and encrypting cost, in messages of 100 readings."""
    epoch = Epoch.begin(
        tenant=_TENANT,
        device=_DEVICE,
        group=_GROUP,
        counter=1,
        issued_at=int(time.time()),
        clock=2,
        key_set_version=1,
        recipients=[RecipientKey.from_private(X25519PrivateKey.generate()).public()],
        signer=SigningKey.from_private(Ed25519PrivateKey.generate()),
        previous=None,
    )
    begin = datetime.now(UTC)
    readings = [
        Reading(
            sensor="urn:dev:bench:sensor",
            name=f"stream{index % _COLUMNS}",
            phenomenon_time=begin + timedelta(seconds=index),
            result=20.0 + index / 7,
            unit="ug/m3",
        )
        for index in range(_BATCH_READINGS)
    ]
    message = b""
    begun = time.process_time()
    for _ in range(_BATCHES):
        message = epoch.seal(encode_cbor(readings), CONTENT_FORMAT_SENML_CBOR).message
    used = time.process_time() - begun
    return {
        "readings_per_message": _BATCH_READINGS,
        "message_bytes": len(message),
        "microseconds_per_reading": round(used / _BATCHES / _BATCH_READINGS * 1e6, 2),
    }


async def _measure_agents(
    kind: BrokerKind, directory: Path, seconds: float, backlog_readings: int
) -> dict[str, Any]:
    authority = Authority(directory / "authority", "Bench")
    network = Network(
        name="Bench",
        host="localhost",
        councils=(Council(tenant=_TENANT, gss="E09000007", name="Camden"),),
        gateways=(Gateway(_TENANT, _DEVICE),),
        services=(Service("ingest", (_TENANT,)),),
    )
    certificates = authority.broker_certificates((_TENANT,))
    with start_broker(kind, network, directory / "broker", certificates) as broker:
        service = authority.service_client("ingest", _TENANT if kind is BrokerKind.NATS else "")
        return {
            "steady": await _steady(_Place(broker, authority, service, directory), seconds),
            "backlog": await _backlog(
                _Place(broker, authority, service, directory), backlog_readings
            ),
        }


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an agent is measured."""

    broker: EmbeddedBroker
    authority: Authority
    service: CredentialFiles
    directory: Path


async def _steady(place: _Place, seconds: float) -> dict[str, Any]:
    async with _agent(place, "steady", _HOST) as run:
        await run.until(lambda: run.centre.messages > 1)
        first = run.figures()
        await asyncio.sleep(seconds)
        last = run.figures()
    readings = last.readings - first.readings
    elapsed = last.at - first.at
    return {
        "seconds": round(elapsed, 1),
        "readings_per_second": round(readings / elapsed, 2),
        "resident_bytes": last.resident_bytes,
        "resident_peak_bytes": last.resident_peak_bytes,
        "processor_percent": round(100 * (last.cpu_seconds - first.cpu_seconds) / elapsed, 2),
        "written_bytes_per_reading": round(
            (last.written_bytes - first.written_bytes) / max(1, readings)
        ),
        "seconds_to_first_message": round(run.seconds_to_first_message, 2),
    }


async def _backlog(place: _Place, readings: int) -> dict[str, Any]:
    file = place.directory / "recording.csv"
    names = [f"stream{index}" for index in range(_COLUMNS)]
    rows = max(1, readings // _COLUMNS)
    # The last day becomes today, so that what lies after now is not delivered: one day more.
    begin = datetime(2009, 1, 1, tzinfo=UTC)
    with file.open("w", newline="", encoding="utf-8") as opened:
        table = csv.writer(opened)
        table.writerow(["date", *names])
        for row in range(rows + 24):
            moment = begin + timedelta(hours=row)
            table.writerow([moment.isoformat(), *(row + index for index in range(_COLUMNS))])
    sensor = _REPLAY.format(file=file) + "backfill_days = 3660\n"
    sensor += "".join(_COLUMN.format(name=name) for name in names)
    async with _agent(place, "backlog", sensor) as run:
        await run.until(lambda: run.centre.messages > 1)
        begun = time.monotonic()
        wanted = rows * _COLUMNS // _BATCH_READINGS - 24
        await run.until(lambda: run.centre.messages > wanted)
        elapsed = time.monotonic() - begun
        last = run.figures()
    return {
        "readings": wanted * _BATCH_READINGS,
        "readings_per_second": round(wanted * _BATCH_READINGS / elapsed),
        "resident_bytes": last.resident_bytes,
        "resident_peak_bytes": last.resident_peak_bytes,
        "written_bytes_per_reading": round(last.written_bytes / (wanted * _BATCH_READINGS)),
    }


@dataclass(frozen=True, slots=True)
class _Figures:
    """A process at one moment."""

    at: float
    readings: int
    resident_bytes: int
    resident_peak_bytes: int
    written_bytes: int
    cpu_seconds: float


class _Run:
    """A running agent and its centre."""

    def __init__(self, pid: int, directory: Path, centre: "_Centre", begun: float) -> None:
        self.centre = centre
        self._pid = pid
        self._directory = directory
        self._begun = begun

    @property
    def seconds_to_first_message(self) -> float:
        return self.centre.first_message_at - self._begun

    async def until(self, holds: Any) -> None:
        """Wait until `holds()` is true.

        Raises:
            BenchError: it is not, after two minutes.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                raise BenchError(f"the agent delivered {self.centre.messages} messages")
            await asyncio.sleep(_POLL_SECONDS)

    def figures(self) -> _Figures:
        """Ask the kernel about the process, and the agent about its readings.

        Raises:
            BenchError: the agent has ended.
        """
        try:
            status = _table(Path(f"/proc/{self._pid}/status"))
            disk = _table(Path(f"/proc/{self._pid}/io"))
            facts = json.loads((self._directory / "status.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise BenchError(f"the agent has ended: {error}") from error
        return _Figures(
            at=time.monotonic(),
            readings=facts["readings"],
            resident_bytes=int(status["VmRSS"].split()[0]) * 1024,
            resident_peak_bytes=int(status["VmHWM"].split()[0]) * 1024,
            written_bytes=int(disk["write_bytes"]),
            cpu_seconds=cpu_seconds(self._pid) or 0.0,
        )


@asynccontextmanager
async def _agent(place: _Place, name: str, sensor: str) -> AsyncIterator[_Run]:
    """Run an agent process and a centre for it, and stop both."""
    files = enrol_locally(place.authority, _TENANT, _DEVICE, place.directory / name)
    settings = _SETTINGS.format(
        tenant=_TENANT,
        device=_DEVICE,
        name=f"{name}/state",
        endpoint=place.broker.council_endpoint(_TENANT),
        files=files,
    )
    path = place.directory / f"{name}.toml"
    path.write_text(settings + sensor, encoding="utf-8")
    centre = _Centre(place, files)
    async with asyncio.TaskGroup() as tasks:
        receiving = [tasks.create_task(work, name="centre") for work in centre.work()]
        begun = time.monotonic()
        agent = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _AGENT,
            str(path),
            cwd=_ROOT,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        try:
            yield _Run(agent.pid, place.directory / name / "state", centre, begun)
        finally:
            if agent.returncode is None:
                agent.terminate()
            await agent.wait()
            for task in receiving:
                task.cancel()


class _Centre:
    """Opens what one gateway sends and acknowledges it at once; keeps nothing."""

    def __init__(self, place: _Place, files: GatewayFiles) -> None:
        endpoint = place.broker.service_endpoint(_TENANT)
        recipient = RecipientKey.from_private(X25519PrivateKey.generate())
        self.messages = 0
        self.first_message_at = 0.0
        self._receiver = Receiver(devices=[_registered(files)], recipients=[recipient])
        self._epoch: OpenEpoch | None = None
        self._stored: set[int] = set()
        self._contiguous = 0
        self._inbox = Inbox(10_000, 1 << 28)
        key_set = _key_set(place.authority, recipient)
        self._intake = Intake(
            BrokerSettings(
                name="bench",
                host=endpoint.host,
                port=endpoint.port,
                mqtt_version="5" if endpoint.mqtt_version == "5" else "3.1.1",
                client_id=f"bench-{time.monotonic_ns()}",
                ca_file=place.authority.service_root(),
                certificate_file=place.service.certificate,
                key_file=place.service.key,
                tenant=_TENANT,
            ),
            self._inbox,
            lambda _: {topics.key_set(_TENANT): key_set},
        )

    def work(self) -> list[Any]:
        """Return the coroutines to run."""
        return [self._intake.run(), self._receive()]

    async def _receive(self) -> None:
        while True:
            await self._inbox.arrived(None)
            for delivery in self._inbox.take(100):
                self._take(delivery.topic, delivery.message, retained=delivery.retained)
            if self._epoch is not None:
                self._acknowledge(self._epoch)
            await asyncio.sleep(0)

    def _take(self, topic: str, message: bytes, *, retained: bool) -> None:
        if retained and topic == topics.announcement(_TENANT, _DEVICE, _GROUP):
            return  # left behind by the run before
        try:
            accepted = self._receiver.receive(
                topic, message, retained=retained, now=int(time.time())
            )
        except DuplicateError:
            return
        if isinstance(accepted, Announcement):
            self._epoch, self._stored, self._contiguous = accepted.epoch, set(), 0
            return
        self._stored.add(accepted.seq)
        while self._contiguous + 1 in self._stored:
            self._contiguous += 1
            self._stored.discard(self._contiguous)
        self.messages += 1
        self.first_message_at = self.first_message_at or time.monotonic()

    def _acknowledge(self, epoch: OpenEpoch) -> None:
        message = seal_acknowledgement(
            Acknowledgement(self._contiguous, epoch.counter, 0, int(time.time())),
            tenant=_TENANT,
            device=_DEVICE,
            group=_GROUP,
            epoch_id=epoch.epoch_id,
            epoch_key=epoch.key,
        )
        self._intake.acknowledge("all", topics.acknowledgement(_TENANT, _DEVICE, _GROUP), message)


def _registered(files: GatewayFiles) -> Device:
    certificate = read_certificate(files.credential.certificate)
    key = VerifyingKey.from_public(certificate.public_key())
    signer = Signer(
        key,
        int(certificate.not_valid_before_utc.timestamp()),
        int(certificate.not_valid_after_utc.timestamp()),
    )
    return Device(tenant=_TENANT, device=_DEVICE, revoked=False, signers={key.kid: signer})


def _key_set(authority: Authority, recipient: RecipientKey) -> bytes:
    now = int(time.time())
    key_set = KeySet(
        version=1,
        issued_at=now,
        soft_expiry=now + _DAY_SECONDS,
        hard_expiry=now + _DAY_SECONDS,
        suites=(1,),
        groups={_GROUP: (Recipient(recipient.public(), "council", now - 60, now + _DAY_SECONDS),)},
    )
    credential = authority.key_set_signer(_TENANT)
    return sign_key_set(
        key_set,
        tenant=_TENANT,
        signer=SigningKey.from_private(read_key(credential.key)),
        chain=certificate_chain([read_certificate(credential.certificate)]),
    )


def _table(path: Path) -> dict[str, str]:
    """Return a file of /proc with a name, a colon and a value on each line."""
    lines = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
    return {name: value.strip() for name, _, value in lines}
