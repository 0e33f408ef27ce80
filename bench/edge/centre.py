"""A centre as small as can be: it opens every message and acknowledges at once; keeps nothing.

So that what is measured is the agent.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.edge.place import DEVICE, GROUP, TENANT, Place
from device_protocol import topics
from device_protocol.acknowledgement import Acknowledgement, seal_acknowledgement
from device_protocol.errors import DuplicateError
from device_protocol.key_set import KeySet, Recipient, certificate_chain, sign_key_set
from device_protocol.keys import RecipientKey, SigningKey, VerifyingKey
from device_protocol.receiver import (
    Announcement,
    Device,
    OpenedMessage,
    OpenEpoch,
    Receiver,
    Signer,
)
from enrolment.authority import Authority, GatewayFiles
from enrolment.files import read_certificate, read_key
from ingest.receiving.inbox import Inbox
from ingest.receiving.intake import Intake
from ingest.settings import BrokerSettings

_DAY_SECONDS: Final = 86_400


class Centre:
    """Opens what one gateway sends and acknowledges it at once; keeps nothing.

    on_message: called with each message that was new.
    """

    def __init__(self, place: Place, files: GatewayFiles) -> None:
        endpoint = place.broker.service_endpoint(TENANT)
        recipient = RecipientKey.from_private(X25519PrivateKey.generate())
        self.messages = 0
        self.first_message_at = 0.0
        self.on_message: Callable[[OpenedMessage], None] = lambda _: None
        self._receiver = Receiver(devices=[_registered(files)], recipients=[recipient])
        self._epoch: OpenEpoch | None = None
        self._stored: set[int] = set()
        self._contiguous = 0
        self._inbox = Inbox(10_000, 1 << 28)
        key_set = key_set_of(place.authority, recipient)
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
                tenant=TENANT,
            ),
            self._inbox,
            lambda _: {topics.key_set(TENANT): key_set},
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
        if retained and topic == topics.announcement(TENANT, DEVICE, GROUP):
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
        self.on_message(accepted)
        self.first_message_at = self.first_message_at or time.monotonic()

    def _acknowledge(self, epoch: OpenEpoch) -> None:
        message = seal_acknowledgement(
            Acknowledgement(self._contiguous, epoch.counter, 0, int(time.time())),
            tenant=TENANT,
            device=DEVICE,
            group=GROUP,
            epoch_id=epoch.epoch_id,
            epoch_key=epoch.key,
        )
        self._intake.acknowledge("all", topics.acknowledgement(TENANT, DEVICE, GROUP), message)


def _registered(files: GatewayFiles) -> Device:
    certificate = read_certificate(files.credential.certificate)
    key = VerifyingKey.from_public(certificate.public_key())
    signer = Signer(
        key,
        int(certificate.not_valid_before_utc.timestamp()),
        int(certificate.not_valid_after_utc.timestamp()),
    )
    return Device(tenant=TENANT, device=DEVICE, revoked=False, signers={key.kid: signer})


def key_set_of(authority: Authority, recipient: RecipientKey) -> bytes:
    """Return message R that names one recipient for a day."""
    now = int(time.time())
    key_set = KeySet(
        version=1,
        issued_at=now,
        soft_expiry=now + _DAY_SECONDS,
        hard_expiry=now + _DAY_SECONDS,
        suites=(1,),
        groups={GROUP: (Recipient(recipient.public(), "council", now - 60, now + _DAY_SECONDS),)},
    )
    credential = authority.key_set_signer(TENANT)
    return sign_key_set(
        key_set,
        tenant=TENANT,
        signer=SigningKey.from_private(read_key(credential.key)),
        chain=certificate_chain([read_certificate(credential.certificate)]),
    )
