import pytest

from device_protocol import cose
from device_protocol.errors import AeadError, AlgorithmError

KEY, NONCE = bytes(32), bytes(12)


@pytest.mark.parametrize("algorithm", sorted(cose.CONTENT_ALGORITHMS))
def test_a_ciphertext_opens_under_its_own_key_nonce_and_data(algorithm: int) -> None:
    sealed = cose.encrypt(algorithm, KEY, NONCE, b"text", b"aad")
    assert cose.decrypt(algorithm, KEY, NONCE, sealed, b"aad") == b"text"
    for key, nonce, ciphertext, aad in (
        (b"\1" * 32, NONCE, sealed, b"aad"),
        (KEY, b"\1" * 12, sealed, b"aad"),
        (KEY, NONCE, sealed[:-1], b"aad"),
        (KEY, NONCE, b"", b"aad"),
        (KEY, NONCE, sealed, b""),
    ):
        with pytest.raises(AeadError):
            cose.decrypt(algorithm, key, nonce, ciphertext, aad)


@pytest.mark.parametrize("algorithm", [0, 1, 2, 10, -1])
def test_no_other_content_algorithm_is_offered(algorithm: int) -> None:
    with pytest.raises(AlgorithmError):
        cose.encrypt(algorithm, KEY, NONCE, b"", b"")


def test_nonce_of_the_worked_example() -> None:
    base_iv = bytes.fromhex("2922f17fa60e2d01ef4a96a9")
    assert cose.nonce(base_iv, b"\1").hex() == "2922f17fa60e2d01ef4a96a8"
    assert cose.nonce(base_iv, b"\x10\0\0").hex() == "2922f17fa60e2d01ef5a96a9"


def test_an_empty_header_map_is_covered_as_the_empty_string() -> None:
    assert cose.to_be_signed(b"\xa0", b"", b"") == cose.to_be_signed(b"", b"", b"")
    assert cose.protected_headers(b"") == cose.protected_headers(b"\xa0") == {}
