import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from enrolment.encrypted_key import MIN_PASSPHRASE_BYTES, encrypt
from enrolment.files import PrivateKey

PASSPHRASE = "three words and a tür".encode()


def plain(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    "key", [Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())]
)
def test_library_opens_it_with_the_passphrase_alone(key: PrivateKey) -> None:
    sealed = encrypt(plain(key), PASSPHRASE)
    opened = load_der_private_key(sealed, PASSPHRASE)
    assert isinstance(opened, Ed25519PrivateKey | ec.EllipticCurvePrivateKey)
    assert plain(opened) == plain(key)
    with pytest.raises(ValueError, match="Incorrect password"):
        load_der_private_key(sealed, PASSPHRASE + b"!")


def test_same_key_and_passphrase_never_look_alike() -> None:
    key = plain(Ed25519PrivateKey.generate())
    assert encrypt(key, PASSPHRASE) != encrypt(key, PASSPHRASE)
    assert key[-32:] not in encrypt(key, PASSPHRASE)


def test_short_passphrase_is_refused() -> None:
    with pytest.raises(ValueError, match="passphrase of 11 bytes; at least 12"):
        encrypt(b"key", b"x" * (MIN_PASSPHRASE_BYTES - 1))
