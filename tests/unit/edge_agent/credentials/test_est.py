"""What a gateway asks a certificate service for, and what it makes of the answers."""

import base64
import textwrap

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from hypothesis import given
from hypothesis import strategies as st

from device_protocol.keys import VerifyingKey
from edge_agent.credentials.est import UnusableError, certificate_request, read_certificates
from enrolment.authority import Authority
from enrolment.csr import read_request


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> x509.Certificate:
    authority = Authority(tmp_path_factory.mktemp("authority"), "Test")
    return authority.council_certificate("camden")


@pytest.mark.parametrize(
    "key", [Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())]
)
def test_a_request_proves_possession_of_its_key_to_the_service(
    key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey,
) -> None:
    request = certificate_request(key, "k7q2m9xd4t")
    asked = read_request(base64.b64encode(request))
    assert VerifyingKey(asked) == VerifyingKey(key.public_key())


def test_an_answer_is_read_with_and_without_line_breaks(root: x509.Certificate) -> None:
    text = base64.b64encode(pkcs7.serialize_certificates([root], Encoding.DER)).decode()
    wrapped = "\r\n".join(textwrap.wrap(text, 64)) + "\r\n"
    assert read_certificates(text.encode()) == read_certificates(wrapped.encode()) == [root]


def test_an_answer_without_certificates_or_with_too_many_is_unusable(
    root: x509.Certificate,
) -> None:
    many = pkcs7.serialize_certificates([root] * 17, Encoding.DER)
    with pytest.raises(UnusableError, match="17 certificates"):
        read_certificates(base64.b64encode(many))
    with pytest.raises(UnusableError, match="no PKCS #7"):
        read_certificates(b"")


@given(st.binary(max_size=200), st.booleans())
def test_any_answer_is_certificates_or_unusable(content: bytes, encoded: bool) -> None:  # noqa: FBT001
    try:
        assert read_certificates(base64.b64encode(content) if encoded else content) == []
    except UnusableError:
        return
