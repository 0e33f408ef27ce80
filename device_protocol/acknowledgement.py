"""Message A: the centre's proof that it has stored a gateway's messages (envelope, section 6).

Authenticated under a key that every recipient of the epoch can derive: it protects against the
broker, not against a council's own recipient. When to send one is ingest's business.
"""

import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from device_protocol import associated_data, cbor, cose
from device_protocol.errors import AeadError, AlgorithmError, UnknownEpochError
from device_protocol.limits import MAX_OTHER_BYTES, check_size

_KEY_BYTES = 32
_TAG_BYTES = 32
_INFO = b"SNaaS/1 ack"


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What the centre has done.

    contiguous_seq: 1 to this are all stored durably.
    highest_counter: of this device's and group's accepted announcements.
    last_refusal: code of the last refusal, 0 if there was none.
    time: the centre's, Unix seconds.
    """

    contiguous_seq: int
    highest_counter: int
    last_refusal: int
    time: int


def acknowledgement_key(epoch_key: bytes, epoch_id: bytes) -> bytes:
    """Derive the key that authenticates the acknowledgements of an epoch."""
    return HKDF(hashes.SHA256(), _KEY_BYTES, salt=epoch_id, info=_INFO).derive(epoch_key)


def seal_acknowledgement(
    ack: Acknowledgement,
    *,
    tenant: str,
    device: str,
    group: str,
    epoch_id: bytes,
    epoch_key: bytes,
) -> bytes:
    """Return message A."""
    protected = cbor.encode({cose.ALG: cose.HMAC_256, cose.KID: epoch_id})
    payload = cbor.encode(
        {1: ack.contiguous_seq, 2: ack.highest_counter, 3: ack.last_refusal, 4: ack.time}
    )
    aad = associated_data.acknowledgement(tenant, device, group, epoch_id)
    tag = _tag(epoch_key, epoch_id, cose.to_be_maced(protected, aad, payload))
    return cose.Mac0(protected, {}, payload, tag).encode()


def open_acknowledgement(
    message: bytes,
    *,
    tenant: str,
    device: str,
    group: str,
    epoch_id: bytes,
    epoch_key: bytes,
) -> Acknowledgement:
    """Return what a message A says; the names are those of its topic.

    Raises:
        SizeError, EncodingError, StructureError: not a message A.
        AlgorithmError: authenticated by something else than HMAC 256/256.
        UnknownEpochError: of another epoch than `epoch_id`.
        AeadError: its tag is wrong.
    """
    check_size(message, MAX_OTHER_BYTES)
    mac = cose.decode_mac0(message)
    headers = cbor.fields(cose.protected_headers(mac.protected), (cose.ALG, cose.KID))
    cbor.fields(mac.unprotected, ())
    cbor.octets(mac.tag, _TAG_BYTES)
    if cbor.integer(headers[cose.ALG]) != cose.HMAC_256:
        raise AlgorithmError(f"algorithm {headers[cose.ALG]}, expected {cose.HMAC_256}")
    if cbor.octets(headers[cose.KID], len(epoch_id)) != epoch_id:
        raise UnknownEpochError("acknowledgement of another epoch")
    aad = associated_data.acknowledgement(tenant, device, group, epoch_id)
    if not hmac.compare_digest(_tag(epoch_key, epoch_id, mac.to_be_maced(aad)), mac.tag):
        raise AeadError("tag of the acknowledgement is wrong")
    found = cbor.fields(cbor.decode(mac.payload), (1, 2, 3, 4))
    return Acknowledgement(*(cbor.unsigned(found[field]) for field in (1, 2, 3, 4)))


def _tag(epoch_key: bytes, epoch_id: bytes, covered: bytes) -> bytes:
    return hmac.digest(acknowledgement_key(epoch_key, epoch_id), covered, "sha256")
