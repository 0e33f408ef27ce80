"""What a council signs for its gateways: the frame that messages R and C share (envelope, 6).

A COSE_Sign1 whose certificates lead to the council's root; the extended key usage of the leaf
tells which of the two messages its key may sign. What is inside is `key_set`'s and
`configuration`'s business.
"""

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ObjectIdentifier

from device_protocol import cbor, cose, identity, keys
from device_protocol.errors import AlgorithmError, SignerError, StructureError
from device_protocol.keys import SigningKey, VerifyingKey
from device_protocol.limits import MAX_OTHER_BYTES, check_size


def sign(
    payload: bytes, *, external_aad: bytes, signer: SigningKey, chain: Sequence[bytes]
) -> bytes:
    """Return the message; `chain` holds DER certificates, that of `signer` first.

    Raises:
        SizeError: it would be over 16 384 bytes.
    """
    x5chain = chain[0] if len(chain) == 1 else list(chain)
    protected = cbor.encode({cose.ALG: signer.algorithm, cose.X5CHAIN: x5chain})
    signature = signer.sign(cose.to_be_signed(protected, external_aad, payload))
    message = cose.Sign1(protected, {}, payload, signature).encode()
    check_size(message, MAX_OTHER_BYTES)
    return message


def open_signed(
    message: bytes,
    *,
    external_aad: bytes,
    anchor: x509.Certificate,
    now: int,
    usage: ObjectIdentifier,
) -> bytes:
    """Return the payload of a message that `anchor` stands behind at `now` (Unix seconds).

    usage: the extended key usage its leaf certificate must have.

    Raises:
        SizeError, EncodingError, StructureError: not such a message.
        SignerError, SignerTimeError: its certificates do not lead to `anchor`, or the leaf has
            not that usage.
        AlgorithmError, SignatureError: its signature is not the leaf's.
    """
    check_size(message, MAX_OTHER_BYTES)
    signed = cose.decode_sign1(message)
    cbor.fields(signed.unprotected, ())
    cbor.octets(signed.signature, keys.SIGNATURE_BYTES)
    headers = cbor.fields(cose.protected_headers(signed.protected), (cose.ALG, cose.X5CHAIN))
    algorithm = cbor.integer(headers[cose.ALG])
    chain = _read_chain(headers[cose.X5CHAIN])
    identity.check_chain(chain, anchor, now, usage)
    signer = _verifying_key(chain[0])
    if algorithm != signer.algorithm:
        raise AlgorithmError(f"algorithm {algorithm}, the certificate's is {signer.algorithm}")
    signer.verify(signed.signature, signed.to_be_signed(external_aad))
    return signed.payload


def certificate_chain(certificates: Sequence[x509.Certificate]) -> list[bytes]:
    """Return certificates as `sign` wants them."""
    return [certificate.public_bytes(Encoding.DER) for certificate in certificates]


def _verifying_key(certificate: x509.Certificate) -> VerifyingKey:
    try:
        return VerifyingKey.from_public(certificate.public_key())
    except (StructureError, *identity.DAMAGED) as error:
        raise SignerError(f"certificate of an unusable key: {error}") from error


def _read_chain(item: object) -> list[x509.Certificate]:
    if type(item) is bytes:
        encoded = [item]
    else:
        encoded = [cbor.octets(certificate) for certificate in cbor.array(item)]
        if len(encoded) < 2:  # noqa: PLR2004 - RFC 9360: one certificate is not put in an array
            raise StructureError(f"x5chain as an array of {len(encoded)}")
    try:
        return [x509.load_der_x509_certificate(certificate) for certificate in encoded]
    except identity.DAMAGED as error:
        raise StructureError("x5chain holds something else than certificates") from error
