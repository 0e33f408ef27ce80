from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from device_protocol import cbor
from device_protocol.errors import EncodingError, SignatureError, StructureError, UnwrapError
from device_protocol.keys import (
    RecipientKey,
    RecipientPublicKey,
    SigningKey,
    VerifyingKey,
    thumbprint,
)


def test_kid_is_the_thumbprint_of_rfc_9679() -> None:
    # The example key of that RFC, and the digest it gives for it.
    key = {
        1: 2,
        -1: 1,
        -2: bytes.fromhex("65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d"),
        -3: bytes.fromhex("1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c"),
    }
    digest = "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec"
    assert thumbprint(cbor.encode(key)).hex() == digest[:16]
    assert VerifyingKey.from_cose_key(cbor.encode(key)).kid.hex() == digest[:16]


def test_kids_of_the_vectors(vectors: dict[int, dict[str, Any]]) -> None:
    recipients = {
        1: X25519PrivateKey.from_private_bytes,
        2: lambda private: ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256R1()),
    }
    for number, document in vectors.items():
        told = document["receiver"]
        recipient = RecipientKey(recipients[number](bytes.fromhex(told["recipient_private"])))
        assert recipient.kid.hex() == told["recipient_kid"]
        assert RecipientPublicKey.from_cose_key(recipient.cose_key) == recipient.public()


def test_a_key_and_its_cose_key_are_the_same_key(suite: Any) -> None:
    verifying = VerifyingKey.from_cose_key(suite.signer.cose_key)
    assert verifying.kid == suite.signer.kid
    assert verifying.algorithm == suite.signer.algorithm == {1: -19, 2: -9}[suite.number]
    assert len({verifying, VerifyingKey.from_cose_key(suite.signer.cose_key)}) == 1
    assert len({suite.recipient.public(), suite.stranger.public()}) == 2
    assert SigningKey.from_private(suite.signer._key).kid == suite.signer.kid
    assert RecipientKey.from_private(suite.recipient._key).kid == suite.recipient.kid


def test_signatures_are_64_bytes_and_verify(suite: Any) -> None:
    verifying = VerifyingKey.from_cose_key(suite.signer.cose_key)

    @given(st.binary(max_size=100), st.integers(0, 511))
    def check(data: bytes, flipped: int) -> None:
        signature = suite.signer.sign(data)
        assert len(signature) == 64
        verifying.verify(signature, data)
        forged = bytearray(signature)
        forged[flipped // 8] ^= 1 << flipped % 8
        with pytest.raises(SignatureError):
            verifying.verify(bytes(forged), data)
        with pytest.raises(SignatureError):
            verifying.verify(signature, data + b"\0")

    check()


@pytest.mark.parametrize("length", [0, 32, 63, 65, 72])
def test_signature_of_another_length_is_refused(suite: Any, length: int) -> None:
    verifying = VerifyingKey.from_cose_key(suite.signer.cose_key)
    signature = (suite.signer.sign(b"") + bytes(8))[:length]
    with pytest.raises(SignatureError):
        verifying.verify(signature, b"")


def test_both_sides_of_an_agreement_share_the_secret(suite: Any) -> None:
    ephemeral, secret = suite.recipient.public().agree()
    assert suite.recipient.agree(ephemeral) == secret
    assert suite.stranger.agree(ephemeral) != secret
    other, another = suite.recipient.public().agree()
    assert other != ephemeral
    assert another != secret


def test_ephemeral_key_is_the_one_drawn(suite: Any) -> None:
    drawn = iter([bytes(32), b"\xff" * 32, bytes(range(1, 33))])
    if suite.number == 1:  # every 32 bytes are a key; of P-256, none is zero or above the order
        drawn = iter([bytes(range(1, 33))])
    ephemeral, secret = suite.recipient.public().agree(lambda _: next(drawn))
    assert next(drawn, None) is None
    assert suite.recipient.agree(ephemeral) == secret
    again, _ = suite.recipient.public().agree(lambda count: bytes(range(1, count + 1)))
    assert again == ephemeral


def test_ephemeral_key_of_the_other_suite_is_refused(suite: Any) -> None:
    other: Any = (
        RecipientKey(ec.derive_private_key(5, ec.SECP256R1()))
        if suite.number == 1
        else RecipientKey(X25519PrivateKey.generate())
    )
    ephemeral, _ = other.public().agree()
    with pytest.raises(UnwrapError, match="curve"):
        suite.recipient.agree(ephemeral)


X, Y = bytes(range(32)), bytes(range(32, 64))
GENERATOR_X = bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")


@pytest.mark.parametrize(
    "members",
    [
        {},
        [1, 2],
        {1: 1, -1: 6},
        {1: 1, -1: 6, -2: X[:31]},
        {1: 1, -1: 6, -2: X, -3: Y},
        {1: 1, -1: 6, -2: X, -4: Y},
        {1: 1, -1: 6, -2: X, 2: b"kid"},
        {1: 1, -1: 7, -2: X},
        {1: True, -1: 6, -2: X},
        {1: 2, -1: 1, -2: X},
        {1: 2, -1: 2, -2: X, -3: Y},
        {1: 2, -1: 1, -2: GENERATOR_X, -3: Y},
        {1: 2, -1: 1, -2: GENERATOR_X, -3: True},
        {1: 4, -1: X, -2: Y},
    ],
)
def test_other_members_make_no_key(members: object) -> None:
    for kind in (VerifyingKey, RecipientPublicKey):
        with pytest.raises(StructureError):
            kind.from_cose_key(cbor.encode(members))


def test_a_key_serves_one_purpose(suite: Any) -> None:
    if suite.number == 1:
        with pytest.raises(StructureError):
            RecipientPublicKey.from_cose_key(suite.signer.cose_key)
        with pytest.raises(StructureError):
            VerifyingKey.from_cose_key(suite.recipient.cose_key)
    with pytest.raises(EncodingError):
        VerifyingKey.from_cose_key(suite.signer.cose_key + b"\0")


def test_keys_outside_the_suites_are_refused() -> None:
    large = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(StructureError, match="secp384r1"):
        SigningKey(large)
    with pytest.raises(StructureError, match="secp384r1"):
        RecipientKey(large)
    old = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(StructureError):
        VerifyingKey.from_public(old.public_key())
    with pytest.raises(StructureError):
        RecipientPublicKey.from_public(Ed25519PrivateKey.generate().public_key())


def test_printing_a_key_shows_its_name_only(suite: Any) -> None:
    for key in (
        suite.signer,
        suite.recipient,
        suite.recipient.public(),
        VerifyingKey.from_cose_key(suite.signer.cose_key),
    ):
        assert repr(key) == f"{type(key).__name__}({key.kid.hex()})"
