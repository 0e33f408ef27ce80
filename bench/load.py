"""The load of an ingest measurement: gateways in a process of their own, sealed beforehand.

Run as `python -m bench.load PLAN`, by `bench.ingest` alone. It seals every message, lets each
gateway announce and describe itself, says "ready", waits for a line, and publishes as fast as
the broker confirms.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
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
TIMES: Final = 10
READINGS: Final = STREAMS * TIMES
"""In each message: ten times of ten datastreams of one sensor."""

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
    """What the load does. recipient: COSE_Key in hexadecimal. start: ISO time of the first row."""

    gateways: tuple[LoadGateway, ...]
    recipient: str
    messages: int
    start: str

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
            counter=1,
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
        self._messages = [
            (topic, self._epoch.seal(payload, CONTENT_FORMAT_SENML_CBOR).message)
            for payload in payloads(gateway.device, plan, seed)
        ]

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

    async def publish(self, connection: LoadConnection) -> None:
        """Publish every message."""
        await connection.publish(self._messages)


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
                    phenomenon_time=start + (message * TIMES + step) * STEP,
                    result=random.randrange(10_000) / 10,
                    unit="ug/m3",
                )
                for step in range(TIMES)
                for stream in range(STREAMS)
            ]
        )


async def load(plan: Plan) -> None:
    """Seal, introduce, wait for the word, publish."""
    gateways = [LoadedGateway(gateway, plan, n) for n, gateway in enumerate(plan.gateways)]
    connections = [await gateway.introduce() for gateway in gateways]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    async with asyncio.TaskGroup() as tasks:
        for gateway, connection in zip(gateways, connections, strict=True):
            tasks.create_task(gateway.publish(connection), name=gateway.gateway.device)
    for connection in connections:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(load(Plan.read(Path(sys.argv[1]))))
