"""Certification requests (RFC 2986) as EST brings them: which key, and who holds it. Pure.

Only the public key is taken from a request. Whatever else it says (subject, names, wishes for
usages or for being an authority) is not even looked at: `enrolment.policy` decides all that.
"""

import base64
import binascii
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from device_protocol.identity import DAMAGED
from enrolment.issuing import PublicKey
from enrolment.refusal import RefusedError

MAX_REQUEST_BYTES: Final = 16 * 1024
"""Of the base64 text. A real request with an Ed25519 or P-256 key is some 300 to 1 500 bytes."""

_LINE_BREAKS = b" \t\r\n"
_STRONG = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


def read_request(body: bytes) -> PublicKey:
    """Return the key that a request is about, once the requester has proved to hold it.

    body: PKCS #10 in DER, in base64, with line breaks or without (RFC 7030, section 4.2.1; the
    Content-Transfer-Encoding header is of no consequence, RFC 8951).

    Raises:
        RefusedError: too large, not such a request, a key that is neither Ed25519 nor
            P-256, or a signature that is not that key's.
    """
    if len(body) > MAX_REQUEST_BYTES:
        raise RefusedError("request-too-large", f"{len(body)} bytes, limit {MAX_REQUEST_BYTES}")
    der = _decoded(body)
    try:
        request = x509.load_der_x509_csr(der)
        key = request.public_key()
    except DAMAGED as error:
        raise RefusedError("request-malformed", "not a PKCS #10 request") from error
    if not isinstance(key, Ed25519PublicKey | ec.EllipticCurvePublicKey) or not _is_ours(key):
        # Before the signature is looked at: checking one of a huge RSA key takes long.
        raise RefusedError("request-key", f"a {type(key).__name__}")
    _check_possession(request)
    return key


def _decoded(body: bytes) -> bytes:
    if body.lstrip(_LINE_BREAKS).startswith(b"-----BEGIN"):
        raise RefusedError("request-encoding", "PEM, not the base64 of the DER alone")
    try:
        return base64.b64decode(body.translate(None, _LINE_BREAKS), validate=True)
    except binascii.Error as error:
        raise RefusedError("request-encoding", "not base64") from error


def _is_ours(key: PublicKey) -> bool:
    return isinstance(key, Ed25519PublicKey) or isinstance(key.curve, ec.SECP256R1)


def _check_possession(request: x509.CertificateSigningRequest) -> None:
    try:
        digest = request.signature_hash_algorithm
        proved = (digest is None or isinstance(digest, _STRONG)) and request.is_signature_valid
    except (InvalidSignature, *DAMAGED):
        proved = False
    if not proved:
        raise RefusedError("request-signature")
