"""What each cryptographic operation covers besides its content (envelope, section 5).

Tenant, device and group always come from the topic a message arrived on, never from its body:
that is what nails a message to its place.
"""

from functools import lru_cache

from device_protocol import cbor

_PROTOCOL = "SNaaS/1"
_KNOWN = 4096
"""Places of which the encoding is kept: a centre needs it for every message of theirs."""


@lru_cache(maxsize=_KNOWN)
def data(tenant: str, device: str, group: str) -> bytes:
    """Encrypt0 of message D."""
    return cbor.encode((_PROTOCOL, "D", tenant, device, group))


def signed(tenant: str, device: str, group: str, epoch_id: bytes, seq: int) -> bytes:
    """Sign1 inside message D."""
    return _signed_but_seq(tenant, device, group, epoch_id) + cbor.encode(seq)


@lru_cache(maxsize=_KNOWN)
def _signed_but_seq(tenant: str, device: str, group: str, epoch_id: bytes) -> bytes:
    """Return the array of seven without its last item."""
    whole = cbor.encode((_PROTOCOL, "S", tenant, device, group, epoch_id, 0))
    return whole[:-1]


def announcement(tenant: str, device: str, group: str) -> bytes:
    """Sign1 of message K."""
    return cbor.encode((_PROTOCOL, "K", tenant, device, group))


def wrapped(tenant: str, device: str, group: str, counter: int, epoch_id: bytes) -> bytes:
    """Encrypt of the epoch key inside message K."""
    return cbor.encode((_PROTOCOL, "W", tenant, device, group, counter, epoch_id))


def acknowledgement(tenant: str, device: str, group: str, epoch_id: bytes) -> bytes:
    """Mac0 of message A."""
    return cbor.encode((_PROTOCOL, "A", tenant, device, group, epoch_id))


def key_set(tenant: str) -> bytes:
    """Sign1 of message R."""
    return cbor.encode((_PROTOCOL, "R", tenant))


def configuration(tenant: str, device: str) -> bytes:
    """Sign1 of message C."""
    return cbor.encode((_PROTOCOL, "C", tenant, device))
