"""COSE structures, thin: RFC 9052's Sign1, Encrypt0, Encrypt and Mac0, and the ciphers they name.

A structure is taken apart and put together here, and the bytes its primitive covers are built
here. Which headers and algorithms are acceptable is the profile's business (`receiver`,
`announcement`, `key_set`, `acknowledgement`); keys and signing are in `keys`.
"""

from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from device_protocol import cbor
from device_protocol.errors import AeadError, AlgorithmError, StructureError

# Header parameters (RFC 9052 section 3.1, RFC 9053 section 6.3.1, RFC 9360)
ALG = 1
CONTENT_TYPE = 3
KID = 4
IV = 5
PARTIAL_IV = 6
X5CHAIN = 33
EPHEMERAL_KEY = -1
ENCAPSULATED_KEY = -4
"""`ek` of COSE-HPKE, whose numbers are not assigned yet."""

# Algorithms (RFC 9053, RFC 9864)
A256GCM = 3
HMAC_256 = 5
CHACHA20_POLY1305 = 24
ESP256 = -9
ED25519 = -19
ECDH_ES_HKDF_256 = -25
HPKE_MLKEM768_X25519 = -65601
"""HPKE with KEM 0x647a, HKDF-SHA256 and AES-256-GCM; for private use until one is assigned."""

CONTENT_ALGORITHMS = frozenset({CHACHA20_POLY1305, A256GCM})
SIGNATURE_ALGORITHMS = frozenset({ED25519, ESP256})

NONCE_BYTES = 12
CONTENT_KEY_BYTES = 32

_ENCRYPT0, _MAC0, _SIGN1, _ENCRYPT = 16, 17, 18, 96
_ENCRYPT0_HEAD = b"\xd0"  # the only deterministic head of tag 16
_ENCRYPT0_HEADS = (b"\x83", b"\xd0\x83")
_SIGN1_HEADS = (b"\x84", b"\xd2\x84")
"""How the structures begin, without and with their tag: an array of so many items."""
_NO_HEADERS = b"\xa0"
_SIGNATURE1 = b"\x84" + cbor.encode("Signature1")


@dataclass(frozen=True, slots=True)
class Sign1:
    """COSE_Sign1 (RFC 9052, section 4.2); `protected` is the header map as it was sent."""

    protected: bytes
    unprotected: dict[int, object]
    payload: bytes
    signature: bytes

    def to_be_signed(self, external_aad: bytes) -> bytes:
        """Return what the signature covers (section 4.4)."""
        return to_be_signed(self.protected, external_aad, self.payload)

    def encode(self, *, tagged: bool = True) -> bytes:
        """Encode, with tag 18 unless the context tells what it is."""
        return _encode(
            _SIGN1 if tagged else None,
            (self.protected, self.unprotected, self.payload, self.signature),
        )


@dataclass(frozen=True, slots=True)
class Encrypt0:
    """COSE_Encrypt0 (RFC 9052, section 5.2)."""

    protected: bytes
    unprotected: dict[int, object]
    ciphertext: bytes

    def associated_data(self, external_aad: bytes) -> bytes:
        """Return what the tag covers besides the plaintext (section 5.3)."""
        return associated_data("Encrypt0", self.protected, external_aad)

    def encode(self, *, tagged: bool = True) -> bytes:
        """Encode, with tag 16 unless the context tells what it is."""
        return _encode(
            _ENCRYPT0 if tagged else None, (self.protected, self.unprotected, self.ciphertext)
        )


@dataclass(frozen=True, slots=True)
class Recipient:
    """COSE_recipient without recipients of its own (RFC 9052, section 5.1)."""

    protected: bytes
    unprotected: dict[int, object]
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class Encrypt:
    """COSE_Encrypt (RFC 9052, section 5.1)."""

    protected: bytes
    unprotected: dict[int, object]
    ciphertext: bytes
    recipients: tuple[Recipient, ...]

    def associated_data(self, external_aad: bytes) -> bytes:
        """Return what the tag covers besides the plaintext (section 5.3)."""
        return associated_data("Encrypt", self.protected, external_aad)

    def encode(self) -> bytes:
        """Encode, with tag 96."""
        recipients = [(r.protected, r.unprotected, r.ciphertext) for r in self.recipients]
        return _encode(_ENCRYPT, (self.protected, self.unprotected, self.ciphertext, recipients))


@dataclass(frozen=True, slots=True)
class Mac0:
    """COSE_Mac0 (RFC 9052, section 6.2)."""

    protected: bytes
    unprotected: dict[int, object]
    payload: bytes
    tag: bytes

    def to_be_maced(self, external_aad: bytes) -> bytes:
        """Return what the tag covers (section 6.3)."""
        return to_be_maced(self.protected, external_aad, self.payload)

    def encode(self) -> bytes:
        """Encode, with tag 17."""
        return _encode(_MAC0, (self.protected, self.unprotected, self.payload, self.tag))


def decode_sign1(data: bytes, *, tagged: bool = True) -> Sign1:
    """Take a COSE_Sign1 apart.

    Raises:
        EncodingError: not deterministic CBOR.
        StructureError: not a COSE_Sign1.
    """
    usual = _without_unprotected(data, _SIGN1_HEADS[tagged], 3)
    if usual is not None:
        return Sign1(usual[0], {}, usual[1], usual[2])
    protected, unprotected, payload, signature = _decode(data, _SIGN1 if tagged else None, 4)
    return Sign1(
        cbor.octets(protected),
        _header_map(unprotected),
        cbor.octets(payload),
        cbor.octets(signature),
    )


def is_encrypt0(data: bytes) -> bool:
    """Tell whether this can only be a tagged COSE_Encrypt0, by its first byte."""
    return data[:1] == _ENCRYPT0_HEAD


def decode_encrypt0(data: bytes, *, tagged: bool = True) -> Encrypt0:
    """Take a COSE_Encrypt0 apart.

    Raises:
        EncodingError: not deterministic CBOR.
        StructureError: not a COSE_Encrypt0.
    """
    usual = _without_unprotected(data, _ENCRYPT0_HEADS[tagged], 2)
    if usual is not None:
        return Encrypt0(usual[0], {}, usual[1])
    protected, unprotected, ciphertext = _decode(data, _ENCRYPT0 if tagged else None, 3)
    return Encrypt0(cbor.octets(protected), _header_map(unprotected), cbor.octets(ciphertext))


def decode_encrypt(data: bytes) -> Encrypt:
    """Take a COSE_Encrypt apart.

    Raises:
        EncodingError: not deterministic CBOR.
        StructureError: not a COSE_Encrypt, or a recipient with recipients of its own.
    """
    protected, unprotected, ciphertext, recipients = _decode(data, _ENCRYPT, 4)
    return Encrypt(
        cbor.octets(protected),
        _header_map(unprotected),
        cbor.octets(ciphertext),
        tuple(_recipient(recipient) for recipient in cbor.array(recipients)),
    )


def decode_mac0(data: bytes) -> Mac0:
    """Take a COSE_Mac0 apart.

    Raises:
        EncodingError: not deterministic CBOR.
        StructureError: not a COSE_Mac0.
    """
    protected, unprotected, payload, tag = _decode(data, _MAC0, 4)
    return Mac0(
        cbor.octets(protected), _header_map(unprotected), cbor.octets(payload), cbor.octets(tag)
    )


def protected_headers(protected: bytes) -> dict[int, object]:
    """Return the header map a protected byte string holds; none for the empty string.

    Raises:
        EncodingError: not deterministic CBOR.
        StructureError: not a header map.
    """
    return _header_map(cbor.decode(protected)) if protected else {}


def to_be_signed(protected: bytes, external_aad: bytes, payload: bytes) -> bytes:
    """Encode a Sig_structure for one signature (RFC 9052, section 4.4)."""
    parts = (_covered(protected), external_aad, payload)
    return b"".join((_SIGNATURE1, *map(cbor.encode_octets, parts)))


def associated_data(context: str, protected: bytes, external_aad: bytes) -> bytes:
    """Encode an Enc_structure (RFC 9052, section 5.3)."""
    parts = (_covered(protected), external_aad)
    return b"".join((_enc_structure(context), *map(cbor.encode_octets, parts)))


@lru_cache(maxsize=8)
def _enc_structure(context: str) -> bytes:
    """Return an array of three up to and with its first item."""
    return b"\x83" + cbor.encode(context)


def to_be_maced(protected: bytes, external_aad: bytes, payload: bytes) -> bytes:
    """Encode a MAC_structure for an implicit key (RFC 9052, section 6.3)."""
    return cbor.encode(("MAC0", _covered(protected), external_aad, payload))


def nonce(base_iv: bytes, partial_iv: bytes) -> bytes:
    """Combine them as RFC 9052, section 3.1 says: left-padded with zeros, then XOR."""
    combined = int.from_bytes(base_iv, "big") ^ int.from_bytes(partial_iv, "big")
    return combined.to_bytes(len(base_iv), "big")


def encrypt(algorithm: int, key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """Return ciphertext and tag.

    Raises:
        AlgorithmError: not a content algorithm of this protocol.
    """
    return _cipher(algorithm, key).encrypt(nonce, plaintext, aad)


def decrypt(algorithm: int, key: bytes, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes:
    """Return the plaintext.

    Raises:
        AlgorithmError: not a content algorithm of this protocol.
        AeadError: key, nonce, ciphertext and associated data do not belong together.
    """
    try:
        return _cipher(algorithm, key).decrypt(nonce, ciphertext, aad)
    except InvalidTag:
        raise AeadError(f"tag of {len(ciphertext)} bytes of ciphertext is wrong") from None


def _cipher(algorithm: int, key: bytes) -> AESGCM | ChaCha20Poly1305:
    if algorithm == CHACHA20_POLY1305:
        return ChaCha20Poly1305(key)
    if algorithm == A256GCM:
        return AESGCM(key)
    raise AlgorithmError(f"content algorithm {algorithm}")


def _encode(tag: int | None, parts: tuple[object, ...]) -> bytes:
    return cbor.encode(parts if tag is None else cbor.Tag(tag, parts))


def _decode(data: bytes, tag: int | None, length: int) -> list[object]:
    item = cbor.decode(data)
    if tag is not None:
        if type(item) is not cbor.Tag or item.number != tag:
            raise StructureError(f"not tagged {tag}")
        item = item.value
    return cbor.array(item, length)


def _without_unprotected(data: bytes, head: bytes, strings: int) -> list[bytes] | None:
    """Return the byte strings of a structure whose second item, between them, is an empty map.

    That is every structure of section 6, so this is the short way for what comes with each
    message. It takes nothing that `_decode` would not take, or would take otherwise: head, map and
    byte strings are whole items, and follow each other to the last byte. None: `_decode` decides.
    """
    if not data.startswith(head):
        return None
    found = []
    at = len(head)
    for position in range(strings):
        item = cbor.octets_at(data, at)
        if item is None:
            return None
        octets, at = item
        found.append(octets)
        if not position:
            if data[at : at + 1] != _NO_HEADERS:
                return None
            at += 1
    return found if at == len(data) else None


def _recipient(item: object) -> Recipient:
    protected, unprotected, ciphertext = cbor.array(item, 3)
    return Recipient(cbor.octets(protected), _header_map(unprotected), cbor.octets(ciphertext))


def _header_map(item: object) -> dict[int, object]:
    if type(item) is not dict:
        raise StructureError(f"{type(item).__name__} where a header map belongs")
    return item


def _covered(protected: bytes) -> bytes:
    """Return what stands for the protected headers: an empty map counts as the empty string."""
    return b"" if protected == b"\xa0" else protected
