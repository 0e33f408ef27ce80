import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_protocol import associated_data, cbor, cose
from device_protocol.acknowledgement import (
    Acknowledgement,
    acknowledgement_key,
    open_acknowledgement,
    seal_acknowledgement,
)
from device_protocol.errors import (
    AeadError,
    AlgorithmError,
    EncodingError,
    RejectionError,
    SizeError,
    StructureError,
    UnknownEpochError,
)

PLACE: dict[str, str] = {"tenant": "bristol", "device": "k7q2m9xd4t", "group": "main"}
EPOCH_ID, EPOCH_KEY = bytes.fromhex("dfd2c11537921375"), bytes(range(32))
COUNTS = st.integers(0, 2**64 - 1)


def _seal(ack: Acknowledgement) -> bytes:
    return seal_acknowledgement(ack, **PLACE, epoch_id=EPOCH_ID, epoch_key=EPOCH_KEY)


def _open(message: bytes) -> Acknowledgement:
    return open_acknowledgement(message, **PLACE, epoch_id=EPOCH_ID, epoch_key=EPOCH_KEY)


def _forge(
    *, headers: Any = None, unprotected: Any = None, payload: bytes | None = None, tag: Any = None
) -> bytes:
    """Put a message A together by hand, its tag right unless one is given."""
    protected = cbor.encode({1: 5, 4: EPOCH_ID} if headers is None else headers)
    body = cbor.encode({1: 1, 2: 1, 3: 0, 4: 9}) if payload is None else payload
    aad = associated_data.acknowledgement(*PLACE.values(), EPOCH_ID)
    covered = cose.to_be_maced(protected, aad, body)
    right = hmac.digest(acknowledgement_key(EPOCH_KEY, EPOCH_ID), covered, "sha256")
    message = cose.Mac0(protected, unprotected or {}, body, right if tag is None else tag)
    return message.encode()


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_what_is_sealed_is_what_is_opened(seq: int, counter: int, code: int, time: int) -> None:
    ack = Acknowledgement(seq, counter, code, time)
    assert _open(_seal(ack)) == ack


def test_any_flipped_bit_is_refused() -> None:
    message = _seal(Acknowledgement(812, 41, 0, 1_795_000_000))
    for bit in range(8 * len(message)):
        flipped = bytearray(message)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RejectionError) as refusal:
            _open(bytes(flipped))
        assert refusal.value.code in {101, 102, 300, 400, 401}


@given(st.binary(max_size=120))
def test_random_bytes_raise_nothing_but_a_refusal(message: bytes) -> None:
    with pytest.raises(RejectionError):
        _open(message)


def test_what_is_put_together_by_hand_opens() -> None:
    assert _open(_forge()) == Acknowledgement(1, 1, 0, 9)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (bytes(16_385), SizeError),
        (b"", EncodingError),
        (_forge()[1:], StructureError),
        (_forge(headers={1: 5}), StructureError),
        (_forge(headers={1: 5, 4: EPOCH_ID, 3: 60}), StructureError),
        (_forge(headers={1: 5, 4: b"short"}), StructureError),
        (_forge(headers={1: 4, 4: EPOCH_ID}), AlgorithmError),
        (_forge(headers={1: 5, 4: bytes(8)}), UnknownEpochError),
        (_forge(unprotected={4: b"x"}), StructureError),
        (_forge(tag=bytes(16)), StructureError),
        (_forge(tag=bytes(32)), AeadError),
        (_forge(payload=b""), EncodingError),
        (_forge(payload=cbor.encode({1: 1, 2: 1, 3: 0})), StructureError),
        (_forge(payload=cbor.encode({1: -1, 2: 1, 3: 0, 4: 9})), StructureError),
        (_forge(payload=cbor.encode({1: 1, 2: 1, 3: 0, 4: 9, 5: 0})), StructureError),
    ],
)
def test_something_else_is_refused(message: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        _open(message)
