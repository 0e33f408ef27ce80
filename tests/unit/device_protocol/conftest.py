"""One gateway and one recipient in each suite, and the vectors."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device_protocol import cose, topics
from device_protocol.epoch import Epoch
from device_protocol.keys import RecipientKey, SigningKey, VerifyingKey
from device_protocol.receiver import Device, Policy, Receiver, Signer

NOW = 1_795_000_000
DATA = Path(__file__).parents[2] / "data" / "cose"


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A gateway's and a recipient's keys, and what the registry knows of the gateway."""

    number: int
    content_algorithm: int
    signer: SigningKey
    recipient: RecipientKey
    stranger: RecipientKey
    tenant: str = "bristol"
    device: str = "k7q2m9xd4t"
    group: str = "main"
    now: int = NOW

    @property
    def announcement_topic(self) -> str:
        return topics.announcement(self.tenant, self.device, self.group)

    @property
    def data_topic(self) -> str:
        return topics.data(self.tenant, self.device, self.group)

    def registered(self, *, revoked: bool = False) -> Device:
        key = VerifyingKey.from_cose_key(self.signer.cose_key)
        signer = Signer(key=key, valid_from=NOW - 86_400, valid_until=NOW + 518_400)
        return Device(self.tenant, self.device, revoked=revoked, signers={key.kid: signer})

    def receiver(self, policy: Policy | None = None) -> Receiver:
        return Receiver(
            devices=[self.registered()],
            recipients=[self.recipient],
            policy=policy,
        )

    def begin(self, **changes: Any) -> Epoch:
        """Begin an epoch as this gateway would, but for `changes`."""
        arguments: dict[str, Any] = {
            "tenant": self.tenant,
            "device": self.device,
            "group": self.group,
            "counter": 1,
            "content_algorithm": self.content_algorithm,
            "issued_at": NOW,
            "clock": 2,
            "key_set_version": 7,
            "recipients": [self.stranger.public(), self.recipient.public()],
            "signer": self.signer,
            "previous": None,
        }
        return Epoch.begin(**(arguments | changes))

    def as_device(self, device: str) -> "Suite":
        return replace(self, device=device)


def make_suite(number: int) -> Suite:
    if number == 1:
        return Suite(
            number=1,
            content_algorithm=cose.CHACHA20_POLY1305,
            signer=SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32)))),
            recipient=RecipientKey(X25519PrivateKey.from_private_bytes(bytes(range(32, 64)))),
            stranger=RecipientKey(X25519PrivateKey.from_private_bytes(bytes(range(64, 96)))),
        )
    return Suite(
        number=2,
        content_algorithm=cose.A256GCM,
        signer=SigningKey(ec.derive_private_key(0xA1, ec.SECP256R1())),
        recipient=RecipientKey(ec.derive_private_key(0xB2, ec.SECP256R1())),
        stranger=RecipientKey(ec.derive_private_key(0xC3, ec.SECP256R1())),
    )


@pytest.fixture(scope="session", params=[1, 2], ids=["suite1", "suite2"])
def suite(request: pytest.FixtureRequest) -> Suite:
    return make_suite(request.param)


@pytest.fixture(scope="session")
def vectors() -> dict[int, dict[str, Any]]:
    """The envelope's vectors by suite."""
    return {
        number: json.loads((DATA / f"envelope-v1-suite{number}-dev.json").read_bytes())
        for number in (1, 2)
    }
