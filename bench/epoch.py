"""What an announcement costs by suite and number of recipients: bytes, and time to make and open.

A gateway makes one an hour, and ingest opens it. Beside it stands the bare signature that no suite
can do without.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.machine import describe_machine
from device_protocol import keys, recipient_pem, suites, topics
from device_protocol.epoch import Epoch
from device_protocol.keys import SigningKey, VerifyingKey
from device_protocol.receiver import Channel, Device, Policy, Signer, open_announcement

RECIPIENTS: Final = (1, 2, 4, 8)

_PLACE: Final = ("bristol", "k7q2m9xd4t", "main")
_NOW: Final = 1_795_000_000
_TIMES: Final = 200
_ROUNDS: Final = 5
_RECIPIENT_KIND: Final = {1: keys.X25519, 2: keys.P256, 3: keys.X_WING}


def measure() -> dict[str, Any]:
    """Return, for each suite and number of recipients, bytes and microseconds of processor time."""
    machine = describe_machine()
    found: dict[str, Any] = {"machine": machine}
    for suite in _RECIPIENT_KIND:
        signer = _signer(suite)
        found[f"suite_{suite}"] = {
            "bare_signature_us": _microseconds(partial(signer.sign, b"x" * 300)),
            **{f"recipients_{count}": _measure(suite, signer, count) for count in RECIPIENTS},
        }
    return found


def _signer(suite: int) -> SigningKey:
    p256 = ec.generate_private_key(ec.SECP256R1())
    return SigningKey.from_private(p256 if suite == 2 else Ed25519PrivateKey.generate())  # noqa: PLR2004


def _measure(suite: int, signer: SigningKey, count: int) -> dict[str, Any]:
    tenant, device, group = _PLACE
    recipients = [recipient_pem.generate(_RECIPIENT_KIND[suite]) for _ in range(count)]
    listed = [recipient.public() for recipient in recipients]

    def make() -> Epoch:
        return Epoch.begin(
            tenant=tenant,
            device=device,
            group=group,
            counter=1,
            issued_at=_NOW,
            clock=2,
            key_set_version=1,
            recipients=listed,
            signer=signer,
            previous=None,
        )

    announcement = make().announcement
    topic = topics.parse(topics.announcement(*_PLACE))
    known = VerifyingKey.from_cose_key(signer.cose_key)
    registered = Device(tenant, device, False, {known.kid: Signer(known, _NOW, _NOW)})  # noqa: FBT003
    policy = Policy(delivery_algorithms=suites.delivery_algorithms((suite,)))
    mine = {recipients[-1].kid: recipients[-1]}

    def open_it() -> None:
        open_announcement(
            topic,
            announcement,
            devices={(tenant, device): registered},
            channel=Channel(),
            recipients=mine,
            policy=policy,
            now=_NOW,
        )

    return {
        "bytes": len(announcement),
        "make_us": _microseconds(make),
        "open_us": _microseconds(open_it),
    }


def _microseconds(act: Callable[[], object]) -> float:
    """Return the processor time of one call, the best of some rounds."""
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.process_time()
        for _ in range(_TIMES):
            act()
        best = min(best, (time.process_time() - began) / _TIMES)
    return round(best * 1_000_000, 1)
