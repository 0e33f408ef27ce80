"""The load of an ingest measurement: gateways in a process of their own, sealed beforehand.

Run as `python -m bench.load PLAN`, by `bench.ingest` alone. It seals every message, lets each
gateway announce and describe itself, says "ready" and how many bytes it has sealed, waits for a
line, and publishes: as fast as the broker confirms, or at a steady rate, when it also says how
long each message waited for the centre's acknowledgement.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final

from bench.mqtt_load import LoadConnection
from device_protocol import topics
from device_protocol.description import (
    CONTENT_FORMAT_CBOR,
    Datastream,
    GatewayDescription,
    Sensor,
    Thing,
    encode_description,
)
from device_protocol.epoch import Epoch
from device_protocol.keys import RecipientPublicKey, SigningKey
from device_protocol.reading import Reading
from device_protocol.senml import CONTENT_FORMAT_SENML_CBOR, encode_cbor
from enrolment.files import read_key
from runtime.tls import client_context

STREAMS: Final = 10
"""Datastreams of each gateway's one sensor; every message has each of them, once or more often."""

STEP: Final = timedelta(minutes=1)
GROUP: Final = "main"
_ANSWER_SECONDS: Final = 5.0
_INTRODUCTION_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class LoadGateway:
    """A gateway of the load: where it connects and its credential's files."""

    tenant: str
    device: str
    host: str
    port: int
    ca_file: str
    certificate_file: str
    key_file: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What the load does.

    recipient: COSE_Key in hexadecimal. messages: of each gateway. times: moments in each message.
    start: ISO time of the first row. counter: of the epoch. rate: messages a second of all
    gateways together; 0: as fast as the broker confirms.
    """

    gateways: tuple[LoadGateway, ...]
    recipient: str
    messages: int
    times: int
    start: str
    counter: int = 1
    rate: float = 0.0

    def write(self, path: Path) -> None:
        """Keep the plan for the load process."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Return the plan `write` kept."""
        found = json.loads(path.read_text(encoding="utf-8"))
        gateways = tuple(LoadGateway(**gateway) for gateway in found.pop("gateways"))
        return cls(gateways=gateways, **found)


class LoadedGateway:
    """One gateway with all its messages sealed."""

    def __init__(self, gateway: LoadGateway, plan: Plan, seed: int) -> None:
        self.gateway = gateway
        self._place = (gateway.tenant, gateway.device, GROUP)
        self._epoch = Epoch.begin(
            tenant=gateway.tenant,
            device=gateway.device,
            group=GROUP,
            counter=plan.counter,
            issued_at=int(time.time()),
            clock=2,
            key_set_version=1,
            recipients=[RecipientPublicKey.from_cose_key(bytes.fromhex(plan.recipient))],
            signer=SigningKey.from_private(read_key(Path(gateway.key_file))),
            previous=None,
        )
        description = encode_description(describe(gateway.device))
        self._description = self._epoch.seal(description, CONTENT_FORMAT_CBOR).message
        topic = topics.data(*self._place)
        sealed = [
            self._epoch.seal(payload, CONTENT_FORMAT_SENML_CBOR)
            for payload in payloads(gateway.device, plan, seed)
        ]
        self._messages = [(topic, found.message) for found in sealed]
        self._seqs = [found.seq for found in sealed]

    async def introduce(self) -> LoadConnection:
        """Connect, announce, describe, and wait until the centre has stored the description."""
        gateway = self.gateway
        context = client_context(
            ca_file=Path(gateway.ca_file),
            certificate_file=Path(gateway.certificate_file),
            key_file=Path(gateway.key_file),
        )
        connection = await LoadConnection.open(gateway.host, gateway.port, gateway.device, context)
        await connection.subscribe(topics.acknowledgement(*self._place))
        async with asyncio.timeout(_INTRODUCTION_SECONDS):
            while not await self._is_known(connection):
                pass
        return connection

    async def _is_known(self, connection: LoadConnection) -> bool:
        """Announce and describe; return whether the centre has said that it stored both.

        While ingest has never subscribed, the broker throws data away: then it is sent again.
        """
        announcement = (topics.announcement(*self._place), self._epoch.announcement)
        await connection.publish([announcement], retain=True)
        await connection.publish([(topics.data(*self._place), self._description)])
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                while True:
                    answer = self._epoch.open_acknowledgement(await connection.delivered())
                    if answer.contiguous_seq:
                        return True
        except TimeoutError:
            return False

    @property
    def bytes(self) -> int:
        """How long all messages are together, topics not counted."""
        return sum(len(message) for _, message in self._messages)

    async def publish(self, connection: LoadConnection) -> None:
        """Publish every message as fast as may be."""
        await connection.publish(self._messages)

    async def publish_steadily(
        self, connection: LoadConnection, first: float, period: float
    ) -> list[float]:
        """Publish every `period` seconds from `first` (the loop's time) on.

        Returns how long each message waited for its acknowledgement, in seconds, from the moment
        it was due: a load that falls behind hides nothing.
        """
        clock = asyncio.get_running_loop().time
        due = [first + n * period for n in range(len(self._messages))]
        waited: list[float] = []

        def heard(message: bytes) -> bool:
            contiguous = self._epoch.open_acknowledgement(message).contiguous_seq
            while len(waited) < len(due) and self._seqs[len(waited)] <= contiguous:
                waited.append(clock() - due[len(waited)])
            return len(waited) == len(due)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(connection.listen(heard), name="acknowledgements")
            tasks.create_task(connection.publish_on_schedule(self._messages, due), name="publish")
        return waited


def describe(device: str) -> GatewayDescription:
    """Return the description of one site with one sensor."""
    datastreams = tuple(
        Datastream(
            name=f"no2-{stream}",
            title=f"Nitrogen dioxide {stream}",
            description="Load of a measurement",
            observed_property="no2",
            unit="ug/m3",
            period_seconds=60,
            valid_minimum=0.0,
            valid_maximum=1000.0,
        )
        for stream in range(STREAMS)
    )
    sensor = Sensor(
        urn=sensor_urn(device), name="Sensor", description="", metadata="", datastreams=datastreams
    )
    thing = Thing(
        urn=f"urn:dev:bench:{device}",
        name="Site",
        description="",
        longitude=-0.1,
        latitude=51.5,
        place_name="Bench",
        sensors=(sensor,),
    )
    return GatewayDescription((thing,))


def sensor_urn(device: str) -> str:
    """Return the URN of a gateway's sensor."""
    return f"urn:dev:bench:{device}:air"


def payloads(device: str, plan: Plan, seed: int) -> Iterator[bytes]:
    """Yield SenML packs, minute after minute, with one decimal as sensors have it."""
    random = Random(seed)  # noqa: S311 - a load, not a secret
    start = datetime.fromisoformat(plan.start).astimezone(UTC)
    sensor = sensor_urn(device)
    for message in range(plan.messages):
        yield encode_cbor(
            [
                Reading(
                    sensor=sensor,
                    name=f"no2-{stream}",
                    phenomenon_time=start + (message * plan.times + step) * STEP,
                    result=random.randrange(10_000) / 10,
                    unit="ug/m3",
                )
                for step in range(plan.times)
                for stream in range(STREAMS)
            ]
        )


async def load(plan: Plan) -> None:
    """Seal, introduce, wait for the word, publish."""
    gateways = [LoadedGateway(gateway, plan, n) for n, gateway in enumerate(plan.gateways)]
    connections = [await gateway.introduce() for gateway in gateways]
    print(f"ready {sum(gateway.bytes for gateway in gateways)}", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    pairs = list(zip(gateways, connections, strict=True))
    if plan.rate:
        print(json.dumps(await _steadily(plan, pairs)), flush=True)
    else:
        async with asyncio.TaskGroup() as tasks:
            for gateway, connection in pairs:
                tasks.create_task(gateway.publish(connection), name=gateway.gateway.device)
    for connection in connections:
        await connection.close()


async def _steadily(
    plan: Plan, pairs: Sequence[tuple[LoadedGateway, LoadConnection]]
) -> list[float]:
    """Publish at the plan's rate, the gateways in turn; return every message's wait in seconds."""
    period = len(pairs) / plan.rate
    first = asyncio.get_running_loop().time() + period
    async with asyncio.TaskGroup() as tasks:
        waits = [
            tasks.create_task(
                gateway.publish_steadily(connection, first + n * period / len(pairs), period),
                name=gateway.gateway.device,
            )
            for n, (gateway, connection) in enumerate(pairs)
        ]
    return [wait for found in waits for wait in found.result()]


if __name__ == "__main__":
    asyncio.run(load(Plan.read(Path(sys.argv[1]))))
