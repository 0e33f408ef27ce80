"""A key for readings that cannot be copied: in a PKCS #11 token (TPM, secure element, HSM).

The interface of a signer is the library's own: `HardwareKey` is an elliptic-curve private key
whose `sign` asks the token, so that `device_protocol.keys.SigningKey` and a certificate request
take it as they take a key from a file. P-256 only, hence the envelope's suite 2: hardware has
Ed25519 rarely. python-pkcs11 is an extra of its own (`pkcs11`), imported when a token is used;
it costs an agent some 3 MB.

With a token a gateway has two keys and a certificate for each:

- that of TLS stays a file, because Python's `ssl` cannot use a key in a token;
- that of readings is made in the token, never leaves it, and is certified by a second request
  under the first certificate. Both are renewed together, each with a fresh key.

What this does and does not give. Nobody who copies the disk can sign with the key that signed
the readings so far. But the centre lets a device sign with any key it has a certificate for: a
copied disk can connect with its TLS key, and sign with that or get a further key certified,
until the gateway is revoked. Then two sign as one device, and the second epoch of one counter is
refused with an alarm (302). To shut that door as well, the disk must be encrypted with a key
sealed in the same hardware. Each signature waits for the token (a TPM takes some 50 ms), which
at a message every 10 s is of no weight.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    encode_dss_signature,
)

from edge_agent.settings import SignerSettings

_P256: Final = bytes.fromhex("06082a8648ce3d030107")  # its object identifier in DER
_POINT_BYTES: Final = 65  # uncompressed
_COORDINATE_BYTES: Final = 32
_ID_BYTES: Final = 8
_BITS: Final = 256


class HardwareError(OSError):
    """The token cannot be used, perhaps only now; the message says why."""


class HardwareToken:
    """One gateway's keys in a PKCS #11 token; they carry its name as their label.

    A process logs in to a token as a whole, so it has one of these for a token at a time.

    Raises:
        HardwareError: the library, the token or the PIN is not usable.
    """

    def __init__(self, settings: SignerSettings, device: str) -> None:
        self._label = f"kerbstone {device}"
        self._lock = threading.Lock()
        try:
            import pkcs11  # noqa: PLC0415  # optional, and costs memory
        except ImportError as error:
            raise HardwareError("a PKCS #11 token needs the extra: kerbstone[pkcs11]") from error
        self._pkcs11 = pkcs11
        try:
            pin = settings.pin_file.read_text().strip()
            with self._trouble():
                token = pkcs11.lib(str(settings.module)).get_token(token_label=settings.label)
                self._session = token.open(rw=True, user_pin=pin)
        except (OSError, RuntimeError) as error:
            raise HardwareError(f"token {settings.label}: {error}") from error

    def close(self) -> None:
        """Log out; a session that is already gone is none of our business any more."""
        with self._lock, suppress(self._pkcs11.PKCS11Error):
            self._session.close()

    def generate(self) -> "HardwareKey":
        """Make a key in the token.

        Raises:
            HardwareError: it failed.
        """
        attribute = self._pkcs11.Attribute
        with self._lock, self._trouble():
            parameters = self._session.create_domain_parameters(
                self._pkcs11.KeyType.EC, {attribute.EC_PARAMS: _P256}, local=True
            )
            public, private = parameters.generate_keypair(
                store=True,
                label=self._label,
                id=os.urandom(_ID_BYTES),
                private_template={attribute.SENSITIVE: True, attribute.EXTRACTABLE: False},
            )
            return HardwareKey(self, private, _point(public[attribute.EC_POINT]))

    def find(self, public_key: ec.EllipticCurvePublicKey) -> "HardwareKey":
        """Return the private half of `public_key`.

        Raises:
            HardwareError: it is not in this token.
        """
        attribute, kind = self._pkcs11.Attribute, self._pkcs11.ObjectClass
        with self._lock, self._trouble():
            for public in self._objects(kind.PUBLIC_KEY):
                if _point(public[attribute.EC_POINT]).public_numbers() == (
                    public_key.public_numbers()
                ):
                    wanted = {attribute.CLASS: kind.PRIVATE_KEY, attribute.ID: public[attribute.ID]}
                    for private in list(self._session.get_objects(wanted)):
                        return HardwareKey(self, private, public_key)
        raise HardwareError("the key of the signing certificate is not in the token")

    def keep_only(self, keys: "list[ec.EllipticCurvePublicKey]") -> None:
        """Destroy this gateway's keys in the token, but for these.

        Raises:
            HardwareError: it failed.
        """
        attribute, kind = self._pkcs11.Attribute, self._pkcs11.ObjectClass
        kept = [key.public_numbers() for key in keys]
        with self._lock, self._trouble():
            for public in self._objects(kind.PUBLIC_KEY):
                if _point(public[attribute.EC_POINT]).public_numbers() in kept:
                    continue
                for each in list(self._session.get_objects({attribute.ID: public[attribute.ID]})):
                    each.destroy()

    def sign(self, private: Any, digest: bytes) -> bytes:
        """Return r‖s over a SHA-256 digest.

        Raises:
            HardwareError: the token does not sign.
        """
        with self._lock, self._trouble():
            signature = private.sign(digest, mechanism=self._pkcs11.Mechanism.ECDSA)
        return bytes(signature)

    def _objects(self, kind: Any) -> list[Any]:
        attribute = self._pkcs11.Attribute
        wanted = {attribute.CLASS: kind, attribute.LABEL: self._label}
        return list(self._session.get_objects(wanted))

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except self._pkcs11.PKCS11Error as error:
            said = str(error) or type(error).__name__
            raise HardwareError(f"the PKCS #11 token says: {said}") from error


class HardwareKey(ec.EllipticCurvePrivateKey):
    """A P-256 private key that stays in its token; only what signing needs is possible."""

    def __init__(
        self, token: HardwareToken, private: Any, public_key: ec.EllipticCurvePublicKey
    ) -> None:
        self._token = token
        self._private = private
        self._public_key = public_key

    def sign(
        self,
        data: "bytes | bytearray | memoryview[int]",
        signature_algorithm: ec.EllipticCurveSignatureAlgorithm,
    ) -> bytes:
        """Return the DER signature (ECDSA with SHA-256) over `data`.

        Raises:
            HardwareError: the token does not sign.
        """
        algorithm = signature_algorithm.algorithm
        if isinstance(algorithm, Prehashed) or not isinstance(algorithm, hashes.SHA256):
            self._refuse()
        digest = hashes.Hash(hashes.SHA256())
        digest.update(data)
        signature = self._token.sign(self._private, digest.finalize())
        return encode_dss_signature(
            int.from_bytes(signature[:_COORDINATE_BYTES], "big"),
            int.from_bytes(signature[_COORDINATE_BYTES:], "big"),
        )

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public half."""
        return self._public_key

    @property
    def curve(self) -> ec.EllipticCurve:
        """P-256."""
        return self._public_key.curve

    @property
    def key_size(self) -> int:
        """Bits."""
        return _BITS

    def exchange(self, *_arguments: Any, **_keywords: Any) -> bytes:
        """Refuse: this key signs."""
        self._refuse()

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        """Refuse: they are known to the token alone."""
        self._refuse()

    def private_bytes(self, *_arguments: Any, **_keywords: Any) -> bytes:
        """Refuse: they are known to the token alone."""
        self._refuse()

    def __copy__(self) -> "HardwareKey":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "HardwareKey":
        return self

    def _refuse(self) -> NoReturn:
        raise HardwareError("this key signs with SHA-256 and does nothing else")


def _point(encoded: bytes) -> ec.EllipticCurvePublicKey:
    """Read CKA_EC_POINT, an octet string in DER, or, from some tokens, without that."""
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), encoded[-_POINT_BYTES:])
