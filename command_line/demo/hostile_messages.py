"""What an attacker makes of the messages that pass: bent, moved, forged, or signed by a stolen key.

Pure. Carrying them to a broker and hearing what became of them is `attack`'s.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device_protocol import announcement, cbor, cose, topics
from device_protocol.epoch import Epoch
from device_protocol.keys import RecipientPublicKey, SigningKey
from device_protocol.limits import MAX_DATA_BYTES

Message = tuple[str, bytes]
"""Topic and payload."""

A128GCM: Final = 1
_NO_SUCH_DEVICE: Final = "0000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What the attacker has seen of one gateway, and knows of the network.

    announced, data: a message K and a message D of its running epoch, oldest and newest. now:
    Unix seconds. neighbour: another gateway of its council. elsewhere: another council and a
    gateway of it.
    """

    tenant: str
    device: str
    group: str
    announced: bytes
    data: bytes
    now: int
    neighbour: str
    elsewhere: tuple[str, str]

    @property
    def place(self) -> tuple[str, str, str]:
        """Tenant, device and group."""
        return self.tenant, self.device, self.group

    @property
    def counter(self) -> int:
        """The counter of its epoch: an announcement is signed, not secret."""
        return announcement.decode(cose.decode_sign1(self.announced).payload).counter


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One thing that is done. reason: what must refuse every one of its messages."""

    name: str
    what: str
    reason: str
    code: int
    messages: tuple[Message, ...]


def by_the_operator(seen: Observed) -> Iterator[Attack]:
    """Yield what somebody does who holds the broker, and no key of a gateway."""
    k, d = topics.announcement(*seen.place), topics.data(*seen.place)
    yield Attack(
        name="forge",
        what="announces an epoch under a key of its own",
        reason="signer",
        code=203,
        messages=((k, _announced(seen, _new_key(), seen.counter + 1)),),
    )
    sealed = cose.decode_encrypt0(seen.data)
    invented = cose.Encrypt0(sealed.protected, {}, os.urandom(len(sealed.ciphertext))).encode()
    yield Attack(
        name="forge",
        what="invents a message in the gateway's epoch",
        reason="aead",
        code=401,
        messages=((d, invented),),
    )
    yield Attack(
        name="alter",
        what="flips one bit of a message",
        reason="aead",
        code=401,
        messages=((d, flipped(seen.data)),),
    )
    yield Attack(
        name="alter",
        what="flips one bit of an announcement",
        reason="signature",
        code=402,
        messages=((k, flipped(seen.announced)),),
    )
    yield Attack(
        name="truncate, append",
        what="cuts a message short, and adds to one",
        reason="encoding",
        code=101,
        messages=((d, seen.data[:-20]), (d, seen.data + b"\x00")),
    )
    yield from _moved(seen)
    yield Attack(
        name="downgrade",
        what="says that a weaker cipher was used",
        reason="algorithm",
        code=400,
        messages=((d, _with_algorithm(seen.data, A128GCM)),),
    )
    yield Attack(
        name="flood by size",
        what="sends what no gateway may send",
        reason="size",
        code=100,
        messages=((d, bytes(MAX_DATA_BYTES + 1)),) * 5,
    )


def _moved(seen: Observed) -> Iterator[Attack]:
    council, other = seen.elsewhere
    moves = (
        ("another gateway", (seen.tenant, seen.neighbour, seen.group), "signer", 203),
        ("another council's gateway", (council, other, seen.group), "signer", 203),
        (
            "a gateway that is none",
            (seen.tenant, _NO_SUCH_DEVICE, seen.group),
            "unknown-device",
            200,
        ),
    )
    for where, place, reason, code in moves:
        yield Attack(
            name="move",
            what=f"moves an announcement to {where}",
            reason=reason,
            code=code,
            messages=((topics.announcement(*place), seen.announced),),
        )
    yield Attack(
        name="move",
        what="passes a message off as an announcement",
        reason="structure",
        code=102,
        messages=((topics.announcement(*seen.place), seen.data),),
    )


def by_a_stolen_gateway(seen: Observed, key: SigningKey) -> Iterator[Attack]:
    """Yield what somebody does who holds a gateway's own key."""
    k = topics.announcement(*seen.place)
    if seen.counter > 1:  # in the first hour of a demo there is no earlier one
        yield Attack(
            name="roll an epoch back",
            what="announces with a counter of long ago",
            reason="epoch-rollback",
            code=301,
            messages=((k, _announced(seen, key, 1)),),
        )
    yield Attack(
        name="clone",
        what="announces a second epoch under the running one's counter",
        reason="epoch-conflict",
        code=302,
        messages=((k, _announced(seen, key, seen.counter)),),
    )
    yield Attack(
        name="swap recipients",
        what="seals for somebody else than the council chose",
        reason="not-recipient",
        code=305,
        messages=((k, _announced(seen, key, seen.counter + 1)),),
    )


def flood(seen: Observed, messages: int) -> Attack:
    """Return so many forgeries, each another."""
    d = topics.data(*seen.place)
    return Attack(
        name="flood by rate",
        what="sends forgeries as fast as the broker takes them",
        reason="aead",
        code=401,
        messages=tuple((d, flipped(seen.data, -1 - number % 64)) for number in range(messages)),
    )


def flipped(message: bytes, at: int = -1) -> bytes:
    """Return a message with one bit changed."""
    return bytes((*message[:at], message[at] ^ 1, *(message[at + 1 :] if at != -1 else b"")))


def _new_key() -> SigningKey:
    return SigningKey.from_private(Ed25519PrivateKey.generate())


def _announced(seen: Observed, key: SigningKey, counter: int) -> bytes:
    """Return message K, sealed for the attacker's own recipient."""
    tenant, device, group = seen.place
    return Epoch.begin(
        tenant=tenant,
        device=device,
        group=group,
        counter=counter,
        issued_at=seen.now,
        clock=2,
        key_set_version=1,
        recipients=[RecipientPublicKey.from_public(X25519PrivateKey.generate().public_key())],
        signer=key,
        previous=None,
    ).announcement


def _with_algorithm(message: bytes, algorithm: int) -> bytes:
    sealed = cose.decode_encrypt0(message)
    headers: Any = cbor.decode(sealed.protected)
    headers[cose.ALG] = algorithm
    return cose.Encrypt0(cbor.encode(headers), {}, sealed.ciphertext).encode()
