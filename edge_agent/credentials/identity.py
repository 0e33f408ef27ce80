"""Where a gateway keeps who it is, and how that changes in one step.

    <directory>/first-boot.toml     the invitation; gone once its token is spent
               /pending/<digest>.key   the key that a token is being spent on
               /generations/<n>/    one identity, never changed once it is in use:
                   gateway.key, gateway.pem       for TLS, and for readings unless...
                   signing.pem                    ...their key lives in a PKCS #11 token
                   region-root.pem, council-root.pem, network.json, site.json, enrolment.json
               /current -> generations/<n>

A generation is whole and on the disk before `current` leads to it, and one rename makes it do
so: whenever the power goes, `current` leads to a whole identity, or to none if there never was
one. The generation before is kept for those who have just opened a file of it. What is put
into a generation is decided in `credentials.enrolment` and `credentials.renewal`; state that must
outlive a new identity (spool, epoch counter) is not here.
"""

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from device_protocol.first_boot import FirstBoot, FirstBootError
from edge_agent import durable

KEY: Final = "gateway.key"
CERTIFICATE: Final = "gateway.pem"
SIGNING_CERTIFICATE: Final = "signing.pem"
REGION_ROOT: Final = "region-root.pem"
COUNCIL_ROOT: Final = "council-root.pem"
NETWORK: Final = "network.json"
SITE: Final = "site.json"
ENROLMENT: Final = "enrolment.json"
FIRST_BOOT: Final = "first-boot.toml"
_HANDED_ON: Final = (REGION_ROOT, COUNCIL_ROOT, NETWORK, SITE, ENROLMENT)
_CURRENT: Final = "current"

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey


class BusyError(OSError):
    """Another process is enrolling or renewing in this directory: try again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """How an identity came about.

    url: of the certificate service that said so. spent_tokens: digests of all tokens it has
    used, in hexadecimal: an invitation of old is not followed again.
    """

    tenant: str
    device: str
    url: str
    spent_tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Generation:
    """One identity: its directory, and what is in it."""

    directory: Path

    @property
    def certificate_file(self) -> Path:
        """The certificate for TLS, PEM."""
        return self.directory / CERTIFICATE

    @property
    def key_file(self) -> Path:
        """Its private key, PEM, for the owner alone."""
        return self.directory / KEY

    @property
    def region_root_file(self) -> Path:
        """The root to believe servers by, PEM."""
        return self.directory / REGION_ROOT

    @property
    def council_root_file(self) -> Path:
        """The root to believe the council by, PEM."""
        return self.directory / COUNCIL_ROOT

    def put(self, name: str, content: bytes) -> None:
        """Add a file, durably.

        Raises:
            OSError: it could not be written.
        """
        durable.write_durably(self.directory / name, content, private=name == KEY)

    def put_key(self, key: PrivateKey) -> None:
        """Add the private key, durably.

        Raises:
            OSError: it could not be written.
        """
        self.put(KEY, _pem(key))

    def put_certificate(self, certificate: x509.Certificate) -> None:
        """Add the certificate for TLS, durably.

        Raises:
            OSError: it could not be written.
        """
        self.put(CERTIFICATE, certificate.public_bytes(Encoding.PEM))

    def put_origin(self, origin: Origin) -> None:
        """Add how it came about.

        Raises:
            OSError: it could not be written.
        """
        self.put(ENROLMENT, json.dumps(asdict(origin), indent=1).encode())

    def origin(self) -> Origin:
        """Return how it came about.

        Raises:
            OSError, ValueError: it does not say so.
        """
        found = self.document(ENROLMENT)
        try:
            return Origin(**(found | {"spent_tokens": tuple(found["spent_tokens"])}))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{ENROLMENT}: {error}") from error

    def document(self, name: str) -> dict[str, Any]:
        """Return one of the JSON files.

        Raises:
            OSError, ValueError: it is missing, or no JSON object.
        """
        found = json.loads((self.directory / name).read_bytes())
        if not isinstance(found, dict):
            raise ValueError(f"{name} is no JSON object")  # noqa: TRY004  # bad content, no bug
        return found

    def hand_on(self, to: "Generation") -> None:
        """Put what a renewal does not change into the next generation.

        Raises:
            OSError: a file could not be read or written.
        """
        for name in _HANDED_ON:
            to.put(name, (self.directory / name).read_bytes())


class IdentityDirectory:
    """One gateway's directory; made, for its owner alone, when first written to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first_boot_file = path / FIRST_BOOT
        self._generations = path / "generations"
        self._pending = path / "pending"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all others from changing the directory meanwhile.

        Raises:
            BusyError: somebody is changing it.
            OSError: it cannot be written.
        """
        durable.make_directory(self.path)
        with (self.path / "enrolment.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BusyError(f"{self.path} is just being changed by another process") from error
            yield

    def current(self) -> Generation | None:
        """Return the identity in use, under a path that stays good when another takes over."""
        number = self._current_number()
        return Generation(self._generations / str(number)) if number else None

    def generations(self) -> list[Generation]:
        """Return the identity in use and those kept from before, the oldest first."""
        current = self._current_number()
        return [
            Generation(self._generations / str(number))
            for number in self._numbers()
            if number <= current
        ]

    def begin(self) -> Generation:
        """Make room for the next identity; what an earlier attempt has left is removed.

        Raises:
            OSError: it could not be made.
        """
        durable.make_directory(self.path)
        durable.make_directory(self._generations)
        current = self._current_number()
        for number in self._numbers():
            if number > current:
                durable.remove_directory(self._generations / str(number))
        generation = Generation(self._generations / str(current + 1))
        durable.make_directory(generation.directory)
        return generation

    def unfinished_key(self) -> PrivateKey | None:
        """Return the key of an identity that was begun and not finished, None if there is none."""
        return _read_key(Generation(self._generations / str(self._current_number() + 1)).key_file)

    def give_up(self, generation: Generation) -> None:
        """Forget an identity that was begun, with its key."""
        durable.remove_directory(generation.directory)

    def commit(self, generation: Generation) -> Generation:
        """Let `generation`, whole by now, be the identity in use; return it.

        Raises:
            OSError: it could not be done, and the identity in use is the one before.
        """
        durable.sync_directory(generation.directory)
        durable.point(self.path / _CURRENT, f"{self._generations.name}/{generation.directory.name}")
        return generation

    def invitation(self) -> FirstBoot | None:
        """Return the invitation that lies here, if there is one.

        Raises:
            FirstBootError: it cannot be used.
            OSError: it cannot be read.
        """
        try:
            return FirstBoot.from_toml(self.first_boot_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            raise FirstBootError(f"{self.first_boot_file} is not UTF-8 text") from error

    def keep_invitation(self, invitation: FirstBoot) -> None:
        """Keep an invitation until `tidy`, so that it can be followed after a power cut.

        Raises:
            OSError: it could not be written.
        """
        durable.make_directory(self.path)
        content = invitation.to_toml().encode()
        durable.write_durably(self.first_boot_file, content, private=True)

    def tidy(self, spent: FirstBoot | None = None) -> None:
        """Forget an invitation that was followed, its key's copy, and identities long replaced.

        Raises:
            OSError: something could not be removed; nothing hangs on it.
        """
        if spent is not None:
            try:
                is_spent = self.invitation() == spent
            except (FirstBootError, OSError):
                is_spent = False
            if is_spent:
                durable.remove(self.first_boot_file)
            self.forget_pending()
        current = self._current_number()
        for number in self._numbers():
            if number < current - 1:
                durable.remove_directory(self._generations / str(number))

    def forget_pending(self) -> None:
        """Remove keys whose certificate never came.

        Raises:
            OSError: one could not be removed.
        """
        for file in self._pending.glob("*"):
            durable.remove(file)

    def pending_key(self, token_sha256: bytes) -> PrivateKey | None:
        """Return the key kept by `keep_pending`, None if there is none or it is damaged."""
        return _read_key(self._pending_file(token_sha256))

    def keep_pending(self, token_sha256: bytes, key: PrivateKey) -> None:
        """Keep the key that a token is spent on, before it is: the token is good for it alone.

        Raises:
            OSError: it could not be written.
        """
        durable.make_directory(self.path)
        durable.make_directory(self._pending)
        self.forget_pending()
        durable.write_durably(self._pending_file(token_sha256), _pem(key), private=True)

    def _pending_file(self, token_sha256: bytes) -> Path:
        # A digest of the digest: the latter is what the centre knows tokens by.
        return self._pending / f"{hashlib.sha256(token_sha256).hexdigest()[:16]}.key"

    def _current_number(self) -> int:
        try:
            name = (self.path / _CURRENT).readlink().name
        except OSError:
            return 0
        return int(name) if name.isdecimal() else 0

    def _numbers(self) -> list[int]:
        try:
            names = [directory.name for directory in self._generations.iterdir()]
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if name.isdecimal())


def _read_key(path: Path) -> PrivateKey | None:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        return None
    return key if isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey) else None


def _pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
