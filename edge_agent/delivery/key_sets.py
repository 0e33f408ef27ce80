"""For whom readings are sealed: the newest recipient key set the council has signed (message R).

The set and the highest version ever seen are kept on disk, so that neither a restart nor an old
message brings back a recipient that was removed (envelope, section 7, rule 8).

Here is also decided in which suite: the highest that the council allows and this gateway
supports. A party lists a key of each kind it can open, so suite 3 is used only where nobody would
be left out by it, unless the council allows nothing else.
"""

import logging
from pathlib import Path

from cryptography import x509

from device_protocol import suites
from device_protocol.errors import KeySetRollbackError, RejectionError
from device_protocol.key_set import KeySet, Recipient, open_key_set
from device_protocol.keys import RecipientPublicKey, SigningKey
from edge_agent.clock import Clock
from edge_agent.durable import stored_version, write_durably

log = logging.getLogger(__name__)

_SUITE_OF_SIGNATURE = {-19: 1, -9: 2}
_CONTENT_ALGORITHM = {1: 24, 2: 3}
_MOST_RECIPIENTS = 8
_HYBRID_SUITE = 3
_PARTNER = "partner"


class NoRecipientsError(Exception):
    """Nothing can be sealed for the centre at present; the message says why."""


class KeySets:
    """The key sets of one council, as far as this gateway believes them.

    current: the newest, or None while there is none.
    suite_3: whether this gateway delivers keys by X-Wing where it may.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tenant: str,
        council_root_file: Path,
        clock: Clock,
        suite_3: bool = False,
    ) -> None:
        self.current: KeySet | None = None
        self._message_file = directory / "key_set.cbor"
        self._version_file = directory / "key_set_version"
        self._tenant = tenant
        self._council_root_file = council_root_file
        self._clock = clock
        self._suite_3 = suite_3
        self._floor = stored_version(self._version_file)
        self._message = b""
        self._load()

    def offer(self, message: bytes) -> bool:
        """Follow a message R if it is newer and signed by the council; return whether it is.

        Raises:
            OSError: it could not be stored; the current set stays.
        """
        if message == self._message:
            return False
        held = self._floor if self.current else self._floor - 1
        try:
            key_set = self._open(message, newer_than=max(held, 0))
        except KeySetRollbackError as refusal:
            log.info("old key set refused", extra={"detail": str(refusal)})
            return False
        except (RejectionError, OSError, ValueError) as refusal:
            log.warning("key set refused", extra={"detail": str(refusal)})
            return False
        write_durably(self._message_file, message)
        self._raise_floor(key_set.version)
        self.current, self._message = key_set, message
        log.info("key set followed", extra={"version": key_set.version})
        return True

    def recipients(self, group: str, signer: SigningKey) -> tuple[RecipientPublicKey, ...]:
        """Return whom to seal for now, in the highest suite there is; `signer` is this gateway's.

        Raises:
            NoRecipientsError: there is no usable set, or it has nobody for this group and suite.
        """
        now = int(self._clock.unix())
        key_set = self.current
        if key_set is None:
            raise NoRecipientsError("no key set has come from the council yet")
        if now > key_set.hard_expiry:
            raise NoRecipientsError(f"key set {key_set.version} is past its hard expiry")
        valid = key_set.valid(group, now)
        suite = self._choose_suite(key_set, valid, _SUITE_OF_SIGNATURE[signer.algorithm])
        chosen = _of_suite(valid, suite)
        if not 1 <= len(chosen) <= _MOST_RECIPIENTS:
            raise NoRecipientsError(
                f"key set {key_set.version} has {len(chosen)} recipients for group {group} "
                f"in suite {suite}, from 1 to {_MOST_RECIPIENTS} are possible"
            )
        return tuple(recipient.key for recipient in chosen)

    def _choose_suite(
        self, key_set: KeySet, valid: tuple[Recipient, ...], of_signature: int
    ) -> int:
        may_3 = self._suite_3 and _HYBRID_SUITE in key_set.suites
        if of_signature not in key_set.suites:
            if may_3:
                return _HYBRID_SUITE
            raise NoRecipientsError(
                f"key set {key_set.version} does not allow suite {of_signature}"
            )
        if may_3 and _leaves_nobody_out(valid, of_signature):
            return _HYBRID_SUITE
        return of_signature

    def is_stale(self) -> bool:
        """Tell whether the current set is past its soft expiry: in use, but to be reported."""
        return self.current is not None and self._clock.unix() > self.current.soft_expiry

    def _load(self) -> None:
        try:
            message = self._message_file.read_bytes()
            self.current = self._open(message, newer_than=max(self._floor - 1, 0))
            self._raise_floor(self.current.version)
        except FileNotFoundError:
            return
        except (RejectionError, OSError, ValueError) as refusal:
            log.warning("stored key set refused", extra={"detail": str(refusal)})
            return
        self._message = message

    def _open(self, message: bytes, *, newer_than: int) -> KeySet:
        return open_key_set(
            message,
            tenant=self._tenant,
            anchor=x509.load_pem_x509_certificate(self._council_root_file.read_bytes()),
            now=int(self._clock.unix()),
            newer_than=newer_than,
        )

    def _raise_floor(self, version: int) -> None:
        if version > self._floor:
            write_durably(self._version_file, f"{version}\n".encode())
            self._floor = version


def _of_suite(recipients: tuple[Recipient, ...], suite: int) -> list[Recipient]:
    kind = suites.SUPPORTED[suite].recipient_kind
    return [recipient for recipient in recipients if recipient.key.kind == kind]


def _leaves_nobody_out(recipients: tuple[Recipient, ...], classic_suite: int) -> bool:
    """Tell whether everybody who has a classic key has one of suite 3 as well.

    Region and council are one party each, however many keys they have while they rotate them.
    Partners are not told apart, so as many keys of suite 3 as of the other are wanted of them.
    """
    classic = [recipient.role for recipient in _of_suite(recipients, classic_suite)]
    hybrid = [recipient.role for recipient in _of_suite(recipients, _HYBRID_SUITE)]
    return (
        bool(hybrid)
        and set(classic) <= set(hybrid)
        and classic.count(_PARTNER) <= hybrid.count(_PARTNER)
    )


def content_algorithm(signer: SigningKey) -> int:
    """Return the COSE algorithm that encrypts what `signer` signs (envelope, section 4)."""
    return _CONTENT_ALGORITHM[_SUITE_OF_SIGNATURE[signer.algorithm]]
