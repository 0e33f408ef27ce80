import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from enrolment.csr import MAX_REQUEST_BYTES, read_request
from enrolment.refusal import RefusedError

P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = Ed25519PrivateKey.generate()


def request_for(
    key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey | rsa.RSAPrivateKey,
    digest: hashes.HashAlgorithm | None = None,
) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "anything")])
    )
    if digest is None and not isinstance(key, Ed25519PrivateKey):
        digest = hashes.SHA256()
    return builder.sign(key, digest).public_bytes(Encoding.DER)  # type: ignore[arg-type]


def refusal(body: bytes) -> str:
    with pytest.raises(RefusedError) as refused:
        read_request(body)
    return refused.value.reason


@pytest.mark.parametrize("key", [P256, ED25519], ids=["p-256", "ed25519"])
def test_key_is_read_in_one_line_or_many(
    key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey,
) -> None:
    der = request_for(key)
    assert read_request(base64.b64encode(der)) == key.public_key()
    assert read_request(base64.encodebytes(der)) == key.public_key()
    assert read_request(base64.encodebytes(der).replace(b"\n", b"\r\n")) == key.public_key()


def test_another_kind_of_key_is_refused() -> None:
    keys = [
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
    ]
    assert {refusal(base64.b64encode(request_for(key))) for key in keys} == {"request-key"}


def test_request_signed_by_another_key_is_refused() -> None:
    """Its key swapped for one that the requester does not hold; both are 65 bytes of point."""
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = PublicFormat.UncompressedPoint
    der = request_for(P256)
    forged = der.replace(
        P256.public_key().public_bytes(Encoding.X962, point),
        other.public_bytes(Encoding.X962, point),
    )
    assert forged != der
    assert refusal(base64.b64encode(forged)) == "request-signature"


def test_weak_digest_proves_nothing() -> None:
    der = request_for(P256)
    sha256, sha1 = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d040301")
    assert sha256 in der
    assert refusal(base64.b64encode(der.replace(sha256, sha1))) == "request-signature"


def test_largest_request_is_read_and_a_larger_one_is_not_even_decoded() -> None:
    body = base64.b64encode(request_for(P256))
    assert read_request(body.ljust(MAX_REQUEST_BYTES, b"\n")) == P256.public_key()
    assert refusal(body.ljust(MAX_REQUEST_BYTES + 1, b"\n")) == "request-too-large"


def test_pem_is_told_from_base64() -> None:
    pem = x509.load_der_x509_csr(request_for(P256)).public_bytes(Encoding.PEM)
    with pytest.raises(RefusedError, match="PEM") as refused:
        read_request(pem)
    assert refused.value.reason == "request-encoding"


@pytest.mark.parametrize("body", [b"=", b"MIIB!", "MIIBü".encode(), b"MIIB\x00"])
def test_what_is_not_base64_is_refused(body: bytes) -> None:
    assert refusal(body) == "request-encoding"


@pytest.mark.parametrize("der", [b"", b"\x30", b"\x30\x80\x00\x00", b"\x30\x03\x02\x01\x00"])
def test_what_is_no_request_is_refused(der: bytes) -> None:
    assert refusal(base64.b64encode(der)) == "request-malformed"


@given(
    key=st.sampled_from([P256, ED25519]),
    at=st.integers(0, 10_000),
    put=st.binary(min_size=1, max_size=4),
    cut=st.integers(0, 4),
)
def test_damaged_request_is_refused_or_read_and_nothing_else(
    key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey, at: int, put: bytes, cut: int
) -> None:
    der = request_for(key)
    at %= len(der)
    damaged = der[:at] + put + der[at + cut :]
    if damaged == der:
        assert read_request(base64.b64encode(damaged)) == key.public_key()
    else:
        assert refusal(base64.b64encode(damaged)).startswith("request-")
