"""A simulated gateway: seals what it is told, keeps what was sealed, and can misbehave.

It speaks the protocol through `device_protocol.epoch` and no code of the edge agent. Carrying its
messages to a broker is `MqttGateway`'s part; tests that need no broker use `SimulatedGateway`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias

import aiomqtt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device_protocol import topics
from device_protocol.acknowledgement import Acknowledgement
from device_protocol.description import (
    CONTENT_FORMAT_CBOR,
    Datastream,
    GatewayDescription,
    Sensor,
    Thing,
    encode_description,
)
from device_protocol.epoch import Epoch
from device_protocol.keys import RecipientKey, RecipientPublicKey, SigningKey, VerifyingKey
from device_protocol.reading import UNFLAGGED, Quality, Reading
from device_protocol.senml import CONTENT_FORMAT_SENML_CBOR, encode_cbor

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


Result: TypeAlias = float | bool | str


class Message(NamedTuple):
    """A topic and what is published on it."""

    topic: str
    payload: bytes


def new_signing_key(*, suite: int = 1) -> SigningKey:
    """Return a key of a gateway: Ed25519 in suite 1, P-256 in suite 2."""
    private = Ed25519PrivateKey.generate() if suite == 1 else generate_private_key(SECP256R1())
    return SigningKey.from_private(private)


def new_recipient_key() -> RecipientKey:
    """Return a key of the centre."""
    return RecipientKey.from_private(X25519PrivateKey.generate())


def public(key: RecipientKey) -> RecipientPublicKey:
    """Return the half that gateways get."""
    return RecipientPublicKey.from_cose_key(key.cose_key)


@dataclass
class SimulatedGateway:
    """One gateway and group.

    clock: the quality it announces. counter: of the newest epoch, 0 before the first.
    key_set_version: of the set that named `recipients`.
    """

    tenant: str
    device: str
    recipients: Sequence[RecipientPublicKey]
    signer: SigningKey = field(default_factory=new_signing_key)
    group: str = "main"
    clock: int = 2
    counter: int = 0
    key_set_version: int = 1

    def __post_init__(self) -> None:
        self.epoch: Epoch | None = None

    @property
    def verifying_key(self) -> VerifyingKey:
        """The public key to register."""
        return VerifyingKey.from_cose_key(self.signer.cose_key)

    def announce(
        self,
        now: int,
        *,
        counter: int | None = None,
        previous: tuple[int, int] | None = None,
        issued_at: int | None = None,
        lifetime_seconds: int = 3600,
        content_algorithm: int = 24,
        recipients: Sequence[RecipientPublicKey] | None = None,
    ) -> Message:
        """Begin an epoch and return its message K; by default the next counter is used."""
        if previous is None and self.epoch is not None:
            previous = (self.epoch.counter, self.epoch.last_seq)
        self.counter = self.counter + 1 if counter is None else counter
        self.epoch = Epoch.begin(
            tenant=self.tenant,
            device=self.device,
            group=self.group,
            counter=self.counter,
            content_algorithm=content_algorithm,
            issued_at=now if issued_at is None else issued_at,
            lifetime_seconds=lifetime_seconds,
            clock=self.clock,
            key_set_version=self.key_set_version,
            recipients=self.recipients if recipients is None else recipients,
            signer=self.signer,
            previous=previous,
        )
        return self.announcement()

    def announcement(self) -> Message:
        """Return message K of the running epoch once more."""
        topic = topics.announcement(self.tenant, self.device, self.group)
        return Message(topic, self._running().announcement)

    def seal(self, payload: bytes, content_format: int = CONTENT_FORMAT_SENML_CBOR) -> Message:
        """Return the next message D, whatever it holds."""
        topic = topics.data(self.tenant, self.device, self.group)
        return Message(topic, self._running().seal(payload, content_format).message)

    def report(self, readings: Sequence[Reading]) -> Message:
        """Return the next message D with these readings."""
        return self.seal(encode_cbor(readings))

    def describe(self, description: GatewayDescription) -> Message:
        """Return the next message D with this description."""
        return self.seal(encode_description(description), CONTENT_FORMAT_CBOR)

    def open(self, acknowledgement: bytes) -> Acknowledgement:
        """Open a message A of the running epoch."""
        return self._running().open_acknowledgement(acknowledgement)

    def _running(self) -> Epoch:
        if self.epoch is None:
            raise RuntimeError("announce an epoch first")
        return self.epoch


def reading(
    result: Result,
    *,
    name: str = "no2",
    unit: str = "ug/m3",
    sensor: str = "urn:dev:air",
    time: datetime = NOON,
    quality: Quality = UNFLAGGED,
) -> Reading:
    """Return one reading, of nitrogen dioxide unless told otherwise."""
    return Reading(
        sensor=sensor, name=name, phenomenon_time=time, result=result, unit=unit, quality=quality
    )


def series(
    results: Iterable[float], *, start: datetime = NOON, step: timedelta = timedelta(minutes=1)
) -> list[Reading]:
    """Return readings of one datastream, one a step."""
    return [reading(result, time=start + index * step) for index, result in enumerate(results)]


def datastream(
    name: str = "no2",
    observed_property: str = "no2",
    unit: str = "ug/m3",
    *,
    valid: tuple[float | None, float | None] = (None, None),
) -> Datastream:
    """Return the description of one datastream."""
    return Datastream(
        name=name,
        title=f"{name} at the kerb",
        description=f"Measured {name}",
        observed_property=observed_property,
        unit=unit,
        period_seconds=60,
        valid_minimum=valid[0],
        valid_maximum=valid[1],
    )


def description(
    *datastreams: Datastream,
    thing: str = "urn:dev:site",
    sensor: str = "urn:dev:air",
    place: tuple[float, float, str] = (-0.1259, 51.5223, "Bloomsbury"),
    properties: Mapping[str, str] | None = None,
) -> GatewayDescription:
    """Return the description of one Thing with one Sensor."""
    longitude, latitude, place_name = place
    return GatewayDescription(
        things=(
            Thing(
                urn=thing,
                name="Site",
                description="A monitoring site",
                longitude=longitude,
                latitude=latitude,
                place_name=place_name,
                properties=properties or {},
                sensors=(
                    Sensor(
                        urn=sensor,
                        name="Analyser",
                        description="Chemiluminescence",
                        metadata="https://example.org/analyser",
                        datastreams=datastreams or (datastream(),),
                    ),
                ),
            ),
        )
    )


class MqttGateway:
    """A simulated gateway on a broker: publishes, and listens for acknowledgements."""

    def __init__(self, gateway: SimulatedGateway, client: aiomqtt.Client) -> None:
        self.gateway = gateway
        self._client = client

    @classmethod
    @asynccontextmanager
    async def connected(
        cls, gateway: SimulatedGateway, client: aiomqtt.Client
    ) -> AsyncIterator["MqttGateway"]:
        """Connect and subscribe for the length of the block."""
        async with client:
            topic = topics.acknowledgement(gateway.tenant, gateway.device, gateway.group)
            await client.subscribe(topic, qos=1)
            yield cls(gateway, client)

    async def publish(self, message: Message, *, retain: bool | None = None) -> None:
        """Publish as the protocol says: message K retained, D not."""
        if retain is None:
            retain = "/k/" in message.topic
        await self._client.publish(message.topic, message.payload, qos=1, retain=retain)

    async def acknowledged(
        self, contiguous_seq: int, *, within_seconds: float = 15
    ) -> Acknowledgement:
        """Return the first acknowledgement that covers this sequence number."""
        async with asyncio.timeout(within_seconds):
            async for message in self._client.messages:
                found = self.gateway.open(bytes(message.payload))
                if found.contiguous_seq >= contiguous_seq:
                    return found
        raise AssertionError("the messages of a client never end")

    async def no_acknowledgement(self, seconds: float) -> None:
        """Return if nothing is heard for so long."""
        try:
            async with asyncio.timeout(seconds):
                async for message in self._client.messages:
                    raise AssertionError(f"heard {self.gateway.open(bytes(message.payload))}")
        except TimeoutError:
            return
