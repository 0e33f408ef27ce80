"""Passphrases of the authority's keys: from a file, from the terminal, or drawn."""

import getpass
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import Final

from command_line.network.directory import PRIVATE, NetworkDirectory
from enrolment.encrypted_key import MIN_PASSPHRASE_BYTES
from enrolment.settings import PASSPHRASE_CREDENTIAL, EnrolmentSettings
from runtime.atomic_files import write_atomically
from runtime.settings import load

_DRAWN_BYTES: Final = 24
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class PassphraseError(Exception):
    """There is no usable passphrase; the message says how to give one."""


def read(file: Path) -> bytes:
    """Return the passphrase in a file, without the end of its line.

    Raises:
        PassphraseError: it cannot be read, others may read it, or it is too short.
    """
    try:
        found = file.read_bytes().strip()
        mode = file.stat().st_mode
    except OSError as error:
        raise PassphraseError(f"{file} cannot be read: {error.strerror}") from error
    if mode & _OTHERS:
        raise PassphraseError(f"{file} can be read by others: chmod 600 {file}")
    return _checked(found, str(file))


def drawn(file: Path) -> bytes:
    """Return a new random passphrase, kept in `file` with mode 0600; that of a file that exists.

    Raises:
        PassphraseError: as `read`.
    """
    if not file.exists():
        write_atomically(file, secrets.token_urlsafe(_DRAWN_BYTES).encode() + b"\n", PRIVATE)
    return read(file)


def asked(what: str, *, twice: bool) -> bytes:
    """Return a passphrase typed at the terminal, twice where it is a new one.

    Raises:
        PassphraseError: there is no terminal, the two differ, or it is too short.
    """
    if not sys.stdin.isatty():
        raise PassphraseError(
            f"the passphrase of {what} is needed and there is no terminal to ask: name a file "
            "that holds it"
        )
    typed = getpass.getpass(f"Passphrase of {what}: ")
    if twice and getpass.getpass("Again: ") != typed:
        raise PassphraseError("the two passphrases differ; nothing was done")
    return _checked(typed.encode(), "the passphrase")


def of_authority(directory: NetworkDirectory, file: Path | None) -> bytes | None:
    """Return the passphrase of the authority's keys, as the enrolment service finds it or asked.

    file: where to find it first. None if the keys are not encrypted, which is for trials.

    Raises:
        PassphraseError: as `read` and `asked`.
        SettingsError: the enrolment service's settings hold mistakes.
    """
    if file is not None:
        return read(file)
    settings = load(EnrolmentSettings, directory.enrolment_settings)
    if settings.passphrase_file is not None:
        return read(settings.passphrase_file)
    if not is_encrypted(directory.authority / "service-root.key"):
        return None
    if credentials := os.environ.get("CREDENTIALS_DIRECTORY"):
        return read(Path(credentials) / PASSPHRASE_CREDENTIAL)
    return asked("the authority's keys", twice=False)


def is_encrypted(key: Path) -> bool:
    """Tell whether a key is not plain to see; one that is missing counts as encrypted."""
    return not key.exists() or b"ENCRYPTED" in key.read_bytes()


def _checked(found: bytes, where: str) -> bytes:
    if len(found) < MIN_PASSPHRASE_BYTES:
        raise PassphraseError(
            f"{where} has {len(found)} characters; take at least {MIN_PASSPHRASE_BYTES}"
        )
    return found
