"""A centre that can be misused: opens what gateways send, and acknowledges only when told to.

It keeps everything in memory and judges with `device_protocol.receiver`, so that the agent is
tried against an independent reader of the envelope. It connects as the ingest service does.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import aiomqtt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from device_protocol import associated_data, cbor, signed_by_council, suites, topics
from device_protocol.acknowledgement import Acknowledgement, seal_acknowledgement
from device_protocol.configuration import Scalar
from device_protocol.description import GatewayDescription, decode_description
from device_protocol.errors import DuplicateError, RejectionError, UnknownEpochError
from device_protocol.key_set import KeySet, Recipient, certificate_chain, sign_key_set
from device_protocol.keys import RecipientKey, SigningKey, VerifyingKey
from device_protocol.receiver import (
    Announcement,
    Device,
    OpenedMessage,
    OpenEpoch,
    Policy,
    Receiver,
    Signer,
)
from device_protocol.senml import Record, decode_cbor
from enrolment.authority import Authority, GatewayFiles


def key_set_of(
    authority: Authority,
    tenant: str,
    recipients: Mapping[str, RecipientKey],
    *,
    version: int = 1,
    issued_at: int | None = None,
    signed_by: str = "",
    allowed: tuple[int, ...] = suites.DEFAULT,
) -> bytes:
    """Return message R naming one recipient for each group, good for a day from `issued_at`.

    allowed: the suites it offers.

    signed_by: another council than `tenant`, whose business this is not.
    """
    now = int(time.time()) if issued_at is None else issued_at
    key_set = KeySet(
        version=version,
        issued_at=now,
        soft_expiry=now + 43_200,
        hard_expiry=now + 86_400,
        suites=allowed,
        groups={
            group: (Recipient(key.public(), "council", now - 60, now + 86_400),)
            for group, key in recipients.items()
        },
    )
    credential = authority.key_set_signer(signed_by or tenant)
    signer = load_pem_private_key(credential.key.read_bytes(), password=None)
    chain = certificate_chain([x509.load_pem_x509_certificate(credential.certificate.read_bytes())])
    return sign_key_set(
        key_set,
        tenant=tenant,
        signer=SigningKey.from_private(signer),  # type: ignore[arg-type]
        chain=chain,
    )


def configuration_of(
    authority: Authority,
    tenant: str,
    device: str,
    settings: Mapping[str, Scalar],
    *,
    version: int = 1,
    issued_at: int | None = None,
    signed_by: str = "",
    as_key_sets: bool = False,
) -> bytes:
    """Return message C, to be taken up within a day of `issued_at`.

    signed_by: another council than `tenant`. as_key_sets: by the signer of message R. Neither's
    business is this, and what `settings` hold is not checked.
    """
    now = int(time.time()) if issued_at is None else issued_at
    of = signed_by or tenant
    sign_as = (
        authority.sign_as_key_set_signer if as_key_sets else authority.sign_as_configuration_signer
    )
    signer, certificates = sign_as(of)
    payload = {1: 1, 2: version, 4: now, 5: now + 86_400, 6: dict(settings)}
    return signed_by_council.sign(
        cbor.encode(payload),
        external_aad=associated_data.configuration(tenant, device),
        signer=signer,
        chain=certificate_chain(certificates),
    )


def registered(tenant: str, device: str, files: GatewayFiles) -> Device:
    """Return what a registry would know of an enrolled gateway."""
    certificate = x509.load_pem_x509_certificate(files.credential.certificate.read_bytes())
    key = VerifyingKey.from_public(certificate.public_key())  # type: ignore[arg-type]
    begins = int(certificate.not_valid_before_utc.timestamp())
    ends = int(certificate.not_valid_after_utc.timestamp())
    return Device(tenant, device, False, {key.kid: Signer(key, begins, ends)})  # noqa: FBT003


@dataclass
class Heard:
    """Everything one centre has opened, in the order of arrival."""

    announcements: list[Announcement] = field(default_factory=list)
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    opened: list[OpenedMessage] = field(default_factory=list)
    refusals: list[RejectionError] = field(default_factory=list)
    descriptions: list[GatewayDescription] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    repeated: int = 0

    def results(self, name: str) -> dict[int, object]:
        """Return results by time in microseconds for a SenML name, duplicates removed."""
        return {each.time_microseconds: each.value for each in self.records if each.name == name}


class Centre:
    """One council's centre for some gateways.

    client: makes a connection to the broker. withheld: acknowledge nothing. highest_counter:
    what acknowledgements say instead of the truth, if set. connected: set while it is. allowed: the
    suites that it accepts and its key set offers.
    """

    def __init__(
        self,
        client: Callable[[], aiomqtt.Client],
        *,
        authority: Authority,
        tenant: str,
        devices: list[Device],
        recipient: RecipientKey | None = None,
        allowed: tuple[int, ...] = suites.DEFAULT,
    ) -> None:
        self.recipient = recipient or RecipientKey.from_private(X25519PrivateKey.generate())
        self.heard = Heard()
        self.withheld = False
        self.highest_counter: int | None = None
        self.key_set = key_set_of(authority, tenant, {"main": self.recipient}, allowed=allowed)
        self.connected = asyncio.Event()
        self._client = client
        self._tenant = tenant
        policy = Policy(delivery_algorithms=suites.delivery_algorithms(allowed))
        self._receiver = Receiver(devices=devices, recipients=[self.recipient], policy=policy)
        self._epochs: dict[bytes, OpenEpoch] = {}
        self._stored: dict[bytes, set[int]] = {}
        self._counters: dict[str, int] = {}
        self._connection: aiomqtt.Client | None = None
        self._changed = asyncio.Event()
        self._parked: list[tuple[str, bytes]] = []

    async def run(self) -> None:
        """Publish the key set and receive until cancelled, through every outage."""
        while True:
            with suppress(aiomqtt.MqttError, OSError):
                async with self._client() as self._connection:
                    for kind in ("k", "d"):
                        await self._connection.subscribe(f"snaas/1/{self._tenant}/+/{kind}/+", 1)
                    await self.publish_key_set(self.key_set)
                    self.connected.set()
                    async for message in self._connection.messages:
                        await self._take(message)
            self.connected.clear()
            await asyncio.sleep(0.05)

    async def publish_key_set(self, message: bytes) -> None:
        """Replace the retained key set."""
        self.key_set = message
        assert self._connection is not None
        await self._connection.publish(topics.key_set(self._tenant), message, 1, retain=True)

    async def until(self, holds: Callable[[Heard], bool], seconds: float = 30.0) -> None:
        """Wait until `holds` of what was heard.

        Raises:
            TimeoutError: it did not in time.
        """
        async with asyncio.timeout(seconds):
            while not holds(self.heard):
                self._changed.clear()
                await self._changed.wait()

    async def acknowledge(self, device: str, group: str = "main") -> None:
        """Acknowledge every epoch's contiguous messages, as a centre may at any time."""
        for epoch_id in self._epochs:
            await self._acknowledge(device, group, epoch_id)

    async def _take(self, message: aiomqtt.Message) -> None:
        topic, content = message.topic.value, bytes(message.payload)  # type: ignore[arg-type]
        if topics.parse(topic).kind is topics.Kind.DATA:
            self.heard.messages.append((topic, content))
        await self._open(topic, content, retained=message.retain)
        self._changed.set()

    async def _open(self, topic: str, content: bytes, *, retained: bool = False) -> None:
        place = topics.parse(topic)
        try:
            accepted = self._receiver.receive(
                topic, content, retained=retained, now=int(time.time())
            )
        except DuplicateError:
            self.heard.repeated += 1
            await self.acknowledge(place.device, place.group)
        except UnknownEpochError:  # a broker may deliver one topic before another
            self._parked.append((topic, content))
        except RejectionError as refusal:
            self.heard.refusals.append(refusal)
        else:
            self._keep(place.device, accepted)
            if isinstance(accepted, OpenedMessage):
                await self._acknowledge(place.device, place.group, accepted.epoch_id)
            else:
                await self._acknowledge(place.device, place.group, accepted.epoch.epoch_id)
                parked, self._parked = self._parked, []
                for each in parked:
                    await self._open(*each)

    def _keep(self, device: str, accepted: Announcement | OpenedMessage) -> None:
        if isinstance(accepted, Announcement):
            self.heard.announcements.append(accepted)
            self._epochs[accepted.epoch.epoch_id] = accepted.epoch
            self._stored[accepted.epoch.epoch_id] = set()
            self._counters[device] = accepted.epoch.counter
            return
        self.heard.opened.append(accepted)
        self._stored[accepted.epoch_id].add(accepted.seq)
        if accepted.content_format == 60:
            self.heard.descriptions.append(decode_description(accepted.payload))
        else:
            self.heard.records += decode_cbor(accepted.payload)

    async def _acknowledge(self, device: str, group: str, epoch_id: bytes) -> None:
        if self.withheld or self._connection is None:
            return
        contiguous = 0
        while contiguous + 1 in self._stored[epoch_id]:
            contiguous += 1
        message = seal_acknowledgement(
            Acknowledgement(
                contiguous_seq=contiguous,
                highest_counter=self.highest_counter or self._counters[device],
                last_refusal=0,
                time=int(time.time()),
            ),
            tenant=self._tenant,
            device=device,
            group=group,
            epoch_id=epoch_id,
            epoch_key=self._epochs[epoch_id].key,
        )
        topic = topics.acknowledgement(self._tenant, device, group)
        await self._connection.publish(topic, message, 1, timeout=1)
