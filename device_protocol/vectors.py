"""Check a vectors document against this receiver (envelope, section 12).

Pure: the caller reads the file. The document's cases are fed in order to one receiver, and each
must give exactly its code, and its output where it has one.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device_protocol import cbor
from device_protocol.errors import RejectionError
from device_protocol.keys import RecipientKey, VerifyingKey
from device_protocol.receiver import (
    Announcement,
    Device,
    OpenedMessage,
    Policy,
    Receiver,
    Signer,
)

_FILLER = re.compile(r"(\d{1,7}) bytes of 0x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What one case gave; codes are 0 for accepted; `detail` tells what differs, or is empty."""

    name: str
    expected: int
    actual: int
    detail: str

    @property
    def passed(self) -> bool:
        """True if code and output are those expected."""
        return not self.detail


def check_vectors(document: Mapping[str, Any]) -> list[CaseResult]:
    """Return the result of every case, in order.

    Raises:
        KeyError, TypeError, ValueError: not a vectors document.
    """
    return list(_check(document))


def _check(document: Mapping[str, Any]) -> Iterator[CaseResult]:
    receiver = _receiver(document)
    for case in document["cases"]:
        actual, detail = 0, ""
        try:
            accepted = receiver.receive(
                case["topic"], _message(case), retained=case["retain"], now=case["now"]
            )
        except RejectionError as refusal:
            actual = refusal.code
            if actual != case["expect"]:
                detail = f"{refusal.reason}: {refusal}"
        else:
            if case["expect"]:
                detail = "accepted"
            elif _output(accepted) != case["out"]:
                detail = f"gave {_output(accepted)}"
        yield CaseResult(case["name"], case["expect"], actual, detail)


def _receiver(document: Mapping[str, Any]) -> Receiver:
    told = document["receiver"]
    policy = Policy(
        content_algorithms=frozenset(told["allowed_content_algs"]),
        max_delay_seconds=told["max_delay_s"],
        window=told["window"],
        content_formats=frozenset(told["allowed_content_types"]),
    )
    return Receiver(
        devices=[_device(device, policy) for device in document["devices"]],
        recipients=[_recipient(document["suite"], bytes.fromhex(told["recipient_private"]))],
        policy=policy,
    )


def _recipient(suite: int, private: bytes) -> RecipientKey:
    if suite == 1:
        return RecipientKey(X25519PrivateKey.from_private_bytes(private))
    return RecipientKey(ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256R1()))


def _device(told: Mapping[str, Any], policy: Policy) -> Device:
    signers = [
        Signer(
            key=_verifying_key(key["public"]),
            valid_from=key["nbf"],
            # A vector's `exp` ends the key's window, to which max_delay has been added already.
            valid_until=key["exp"] - policy.max_delay_seconds,
        )
        for key in told["keys"]
    ]
    return Device(
        tenant=told["tenant"],
        device=told["device"],
        revoked=told["revoked"],
        signers={signer.key.kid: signer for signer in signers},
    )


def _verifying_key(members: Mapping[str, Any]) -> VerifyingKey:
    cose_key = {
        int(label): bytes.fromhex(value) if isinstance(value, str) else value
        for label, value in members.items()
    }
    try:
        return VerifyingKey.from_cose_key(cbor.encode(cose_key))
    except RejectionError as error:
        raise ValueError(f"not a signing key: {error}") from error


def _message(case: Mapping[str, Any]) -> bytes:
    if case["message"] is not None:
        return bytes.fromhex(case["message"])
    filler = _FILLER.fullmatch(case["message_rule"])
    if filler is None:
        raise ValueError(f"unknown message rule {case['message_rule']!r}")
    return int(filler[1]) * bytes.fromhex(filler[2])


def _output(accepted: Announcement | OpenedMessage) -> dict[str, object]:
    if isinstance(accepted, Announcement):
        return {
            "counter": accepted.epoch.counter,
            "epoch": accepted.epoch.epoch_id.hex(),
            "prev": None if accepted.previous is None else list(accepted.previous),
        }
    return {
        "payload": accepted.payload.hex(),
        "content_type": accepted.content_format,
        "epoch": accepted.epoch_id.hex(),
        "seq": accepted.seq,
        "signer": accepted.signer_kid.hex(),
    }
