"""Project Wycheproof against the primitives as this package calls them.

Groups outside the profile (keys other than 32 bytes, nonces other than 12) are left out by what
they say of themselves; the count of cases run is fixed, so that none is lost unnoticed.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device_protocol import cose
from device_protocol.errors import AeadError, SignatureError, UnwrapError
from device_protocol.keys import RecipientKey, VerifyingKey

DATA = Path(__file__).parents[2] / "data" / "cose" / "wycheproof"


def _groups(name: str) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = json.loads((DATA / f"{name}.json").read_bytes())["testGroups"]
    return groups


def _cases(groups: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for group in groups:
        for case in group["tests"]:
            yield group, case


def _octets(case: dict[str, Any], *names: str) -> list[bytes]:
    return [bytes.fromhex(case[name]) for name in names]


def _verifies(key: VerifyingKey, case: dict[str, Any]) -> bool:
    message, signature = _octets(case, "msg", "sig")
    try:
        key.verify(signature, message)
    except SignatureError:
        return False
    return True


@pytest.mark.parametrize(
    ("name", "algorithm", "count"),
    [
        ("aes_gcm_test", cose.A256GCM, 33),
        ("chacha20_poly1305_test", cose.CHACHA20_POLY1305, 158),
    ],
)
def test_content_encryption(name: str, algorithm: int, count: int) -> None:
    groups = [group for group in _groups(name) if group["keySize"] == 256 and group["ivSize"] == 96]
    ran = 0
    for _, case in _cases(groups):
        key, nonce, aad, plaintext, ciphertext, tag = _octets(
            case, "key", "iv", "aad", "msg", "ct", "tag"
        )
        sealed = ciphertext + tag
        ran += 1
        if case["result"] == "valid":
            assert cose.decrypt(algorithm, key, nonce, sealed, aad) == plaintext, case["tcId"]
            assert cose.encrypt(algorithm, key, nonce, plaintext, aad) == sealed, case["tcId"]
        else:
            with pytest.raises(AeadError):
                cose.decrypt(algorithm, key, nonce, sealed, aad)
    assert ran == count


def test_ed25519() -> None:
    ran = 0
    for group, case in _cases(_groups("ed25519_test")):
        public = bytes.fromhex(group["publicKey"]["pk"])
        key = VerifyingKey(Ed25519PublicKey.from_public_bytes(public))
        assert _verifies(key, case) == (case["result"] == "valid"), case["tcId"]
        ran += 1
    assert ran == 75


def test_ecdsa_p256() -> None:
    ran = 0
    for group, case in _cases(_groups("ecdsa_secp256r1_sha256_p1363_test")):
        point = bytes.fromhex(group["publicKey"]["uncompressed"])
        key = VerifyingKey(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))
        assert _verifies(key, case) == (case["result"] == "valid"), case["tcId"]
        ran += 1
    assert ran == 131


def test_x25519() -> None:
    ran = 0
    for _, case in _cases(_groups("x25519_test")):
        private, public, shared = _octets(case, "private", "public", "shared")
        key = RecipientKey(X25519PrivateKey.from_private_bytes(private))
        ephemeral: dict[int, object] = {1: 1, -1: 4, -2: public}
        ran += 1
        if shared == bytes(32):  # RFC 7748, section 6.1: the one acceptable result we refuse
            with pytest.raises(UnwrapError):
                key.agree(ephemeral)
        else:
            assert key.agree(ephemeral) == shared, case["tcId"]
    assert ran == 259


def test_the_vectors_are_those_of_the_source() -> None:
    names = {path.name for path in DATA.iterdir()}
    assert names == {
        "aes_gcm_test.json",
        "chacha20_poly1305_test.json",
        "ecdsa_secp256r1_sha256_p1363_test.json",
        "ed25519_test.json",
        "x25519_test.json",
    }
