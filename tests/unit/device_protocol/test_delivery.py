from dataclasses import replace
from typing import Any

import pytest

from device_protocol import associated_data, cbor, cose, delivery
from device_protocol.delivery import EpochKey
from device_protocol.errors import AlgorithmError, StructureError, UnwrapError

EPOCH_ID = bytes(range(8))
KEY = EpochKey(
    epoch_id=EPOCH_ID, content_algorithm=24, key=bytes(range(32)), base_iv=bytes(range(12))
)
AAD = associated_data.wrapped("bristol", "k7q2m9xd4t", "main", 41, EPOCH_ID)


def _unwrap(suite: Any, box: bytes, external_aad: bytes = AAD) -> EpochKey:
    wrapped = delivery.parse(box)
    return delivery.unwrap(wrapped, suite.recipient, epoch_id=EPOCH_ID, external_aad=external_aad)


def _wrap(suite: Any, key: EpochKey = KEY) -> bytes:
    return delivery.wrap(key, suite.recipient.public(), external_aad=AAD)


def _damaged(suite: Any, **changes: Any) -> bytes:
    return replace(cose.decode_encrypt(_wrap(suite)), **changes).encode()


def test_only_the_recipient_opens_its_box(suite: Any) -> None:
    assert _unwrap(suite, _wrap(suite)) == KEY
    with pytest.raises(UnwrapError):
        delivery.unwrap(
            delivery.parse(_wrap(suite)), suite.stranger, epoch_id=EPOCH_ID, external_aad=AAD
        )


@pytest.mark.parametrize("counter", [40, 42])
def test_a_box_belongs_to_one_announcement(suite: Any, counter: int) -> None:
    elsewhere = associated_data.wrapped("bristol", "k7q2m9xd4t", "main", counter, EPOCH_ID)
    with pytest.raises(UnwrapError):
        _unwrap(suite, _wrap(suite), elsewhere)


def test_a_key_of_another_epoch_is_refused(suite: Any) -> None:
    with pytest.raises(UnwrapError, match="0000000000000000"):
        _unwrap(suite, _wrap(suite, replace(KEY, epoch_id=bytes(8))))


def test_a_box_has_one_recipient(suite: Any) -> None:
    (recipient,) = cose.decode_encrypt(_wrap(suite)).recipients
    for recipients in ((), (recipient, recipient)):
        with pytest.raises(StructureError):
            delivery.parse(_damaged(suite, recipients=recipients))


def test_headers_are_exactly_those_of_the_envelope(suite: Any) -> None:
    (recipient,) = cose.decode_encrypt(_wrap(suite)).recipients
    ephemeral = recipient.unprotected[cose.EPHEMERAL_KEY]
    for changes in (
        {"protected": b""},
        {"protected": cbor.encode({1: 3, 4: b""})},
        {"unprotected": {}},
        {"unprotected": {5: bytes(11)}},
        {"recipients": (replace(recipient, ciphertext=b"x"),)},
        {"recipients": (replace(recipient, unprotected={4: bytes(8)}),)},
        {"recipients": (replace(recipient, unprotected={4: bytes(7), -1: ephemeral}),)},
        {"recipients": (replace(recipient, unprotected={4: bytes(8), -1: {1: 1}}),)},
    ):
        with pytest.raises(StructureError):
            delivery.parse(_damaged(suite, **changes))


def test_only_the_suites_algorithms_deliver(suite: Any) -> None:
    (recipient,) = cose.decode_encrypt(_wrap(suite)).recipients
    for changes in (
        {"protected": cbor.encode({1: 1})},
        {"recipients": (replace(recipient, protected=cbor.encode({1: -29})),)},
    ):
        with pytest.raises(AlgorithmError):
            _unwrap(suite, _damaged(suite, **changes))


def test_degenerate_ephemeral_keys_are_refused(suite: Any) -> None:
    (recipient,) = cose.decode_encrypt(_wrap(suite)).recipients
    for ephemeral in (
        {1: 1, -1: 4, -2: bytes(32)},  # gives the all-zero secret
        {1: 1, -1: 6, -2: bytes(range(32))},  # Ed25519
        {1: 2, -1: 1, -2: bytes(32), -3: bytes(32)},  # off the curve
        {1: 2, -1: 2, -2: bytes(range(32)), -3: bytes(32)},  # P-384
    ):
        headers = {4: suite.recipient.kid, -1: ephemeral}
        box = _damaged(suite, recipients=(replace(recipient, unprotected=headers),))
        with pytest.raises(UnwrapError):
            _unwrap(suite, box)


@pytest.mark.parametrize(
    "members",
    [
        {1: 1, 2: EPOCH_ID, 3: 24, 5: bytes(12), -1: bytes(32)},
        {1: 4, 2: EPOCH_ID, 3: 24, 5: bytes(12), -1: bytes(16)},
        {1: 4, 2: EPOCH_ID, 3: 24, 5: bytes(13), -1: bytes(32)},
        {1: 4, 2: bytes(7), 3: 24, 5: bytes(12), -1: bytes(32)},
        {1: 4, 2: EPOCH_ID, 3: "24", 5: bytes(12), -1: bytes(32)},
        {1: 4, 2: EPOCH_ID, 3: 24, -1: bytes(32)},
        {1: 4, 2: EPOCH_ID, 3: 24, 4: [], 5: bytes(12), -1: bytes(32)},
    ],
)
def test_a_box_that_holds_no_epoch_key_does_not_open(suite: Any, members: Any) -> None:
    class Other(EpochKey):
        def encode(self) -> bytes:
            return cbor.encode(members)

    other = Other(EPOCH_ID, 24, KEY.key, KEY.base_iv)
    with pytest.raises(UnwrapError):
        _unwrap(suite, _wrap(suite, other))


def test_printing_an_epoch_key_shows_no_key() -> None:
    assert repr(KEY.key) not in repr(KEY)
    assert repr(KEY.base_iv) not in repr(KEY)
