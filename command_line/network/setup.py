"""Makes a network real in a directory: authority, the centre's keys, settings files, database.

Everything may be run again over the same directory: what is there and still good is kept. The
terminal is `command_line.network.commands.init`; councils are added by
`command_line.network.councils`.
"""

import getpass
import os
import re
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from command_line.network import recipient_keys, settings_files
from command_line.network.directory import (
    PRIVATE,
    Description,
    NetworkDirectory,
    read_description,
    write_description,
)
from command_line.network.options import InitOptions
from device_protocol.first_boot import EST_PATH, FirstBootError, check_url
from enrolment.authority import Authority
from runtime.atomic_files import write_atomically
from storage import audit
from storage.migration import migrate

__all__ = ["InitOptions", "SetupError", "init", "open_authority", "operator", "region_root_key"]

REGION_ROOT_KEY: Final = "region-root.key"


class SetupError(Exception):
    """The network cannot be made as asked; the message names the value and the remedy."""


def operator() -> str:
    """Return how the audit names whoever sits at this terminal."""
    return f"operator {os.environ.get('SUDO_USER') or getpass.getuser()}"


async def init(options: InitOptions) -> NetworkDirectory:
    """Make the network, or what of it is missing; return its directory.

    Raises:
        SetupError: another network lives there, or a value is not possible.
        NetworkError: host, bind or port is not possible.
        CredentialError: a key or certificate there is damaged, or the passphrase is wrong.
        MigrationError, psycopg.OperationalError: the database.
    """
    _check_url(options.public_url)
    _check_readers(options)
    directory = NetworkDirectory(options.directory.absolute())
    with directory.locked():
        described = _describe(directory, options)
        _check_database(directory, options)
        applied = await migrate(options.dsn)
        authority = _make_authority(directory, options)
        made = _make_centre(directory, options)
        made += settings_files.write(directory, options, described, authority)
        write_description(directory, described)
    if applied or made:
        async with directory.connection() as conn:
            await audit.record(
                conn,
                actor=options.actor or operator(),
                tenant="",
                action="network.init",
                subject=options.name,
                detail={"migrations": applied, "files": [path.name for path in made]},
            )
    return directory


def open_authority(
    directory: NetworkDirectory,
    passphrase: bytes | None,
    region_passphrase: bytes | None = None,
) -> Authority:
    """Return the network's certificate authority.

    Raises:
        NetworkDirectoryError: no network has been made here.
    """
    name = read_description(directory).name
    return Authority(
        directory.authority, name, passphrase=passphrase, region_passphrase=region_passphrase
    )


def region_root_key(directory: NetworkDirectory, elsewhere: Path | None = None) -> Path:
    """Return where the region root's key is put, until somebody takes it offline."""
    return (elsewhere or directory.authority / "offline") / REGION_ROOT_KEY


def _check_url(url: str) -> None:
    try:
        check_url(f"{url}{EST_PATH}council")
    except FirstBootError as error:
        raise SetupError(
            f"--enrolment-url {url}: write it as https://host:port, without a path ({error})"
        ) from error


def _check_readers(options: InitOptions) -> None:
    if options.readers_port is None:
        return
    if not 1 <= options.readers_port <= 65535:  # noqa: PLR2004 - the largest port there is
        raise SetupError(f"--readers-port {options.readers_port}: allowed are 1 to 65535")
    if options.readers_port in {options.service_port, options.keeper_port, options.enrolment_port}:
        raise SetupError(f"--readers-port {options.readers_port} is another listener's; change one")
    if not re.fullmatch(r"https?://[^\s/]+", options.api_url):
        raise SetupError(
            f"--api-url {options.api_url!r}: with --readers-port, say how people reach the API, "
            "as https://host or https://host:port"
        )


def _describe(directory: NetworkDirectory, options: InitOptions) -> Description:
    """Return what `network.toml` is to say; councils that it holds stay.

    Raises:
        SetupError: it says something else already.
    """
    wanted = Description(
        name=options.name,
        host=options.host,
        bind=options.bind,
        service_port=options.service_port,
        keeper_port=options.keeper_port,
    )
    if not directory.exists():
        return wanted
    held = read_description(directory)
    if held.name != wanted.name:
        raise SetupError(
            f"{directory.root} holds the network {held.name!r}, not {wanted.name!r}; its name "
            "stands in its certificates and cannot change. Name another --directory"
        )
    wanted = replace(
        wanted,
        councils=held.councils,
        services=held.services,
        nodes=held.nodes,
        council_store_bytes=held.council_store_bytes,
    )
    for key in ("host", "bind", "service_port", "keeper_port"):
        before, now = getattr(held, key), getattr(wanted, key)
        if before != now and not options.replace_settings:
            raise SetupError(
                f"--{key.replace('_', '-')} {now}: {directory.network_file} says {before}; leave "
                "it as it is, or write it and the settings files anew with --force"
            )
    return wanted


def _named_database(directory: NetworkDirectory) -> str:
    """Return what `database.url` says, "" where there is none."""
    if not directory.database_file.exists():
        return ""
    return directory.database_file.read_text(encoding="utf-8").strip()


def _check_database(directory: NetworkDirectory, options: InitOptions) -> None:
    if _named_database(directory) not in ("", options.dsn) and not options.replace_settings:
        raise SetupError(
            f"--database: {directory.database_file} names another one; leave it as it is, or "
            "change it, and the settings files anew, with --force"
        )


def _make_authority(directory: NetworkDirectory, options: InitOptions) -> Authority:
    """Make both roots and the certificates of servers and services; put the region's key away."""
    authority = Authority(
        directory.authority,
        options.name,
        passphrase=options.passphrase,
        region_passphrase=options.region_passphrase,
    )
    directory.authority.mkdir(parents=True, exist_ok=True)
    directory.authority.chmod(0o755)
    authority.service_root()
    authority.broker_server([options.host])
    authority.enrolment_server([urlsplit(options.public_url).hostname or options.host])
    key = directory.authority / REGION_ROOT_KEY
    if key.exists():
        away = region_root_key(directory, options.region_root_key)
        content = key.read_bytes()
        if away.exists() and away.read_bytes() != content:  # else the power went just before unlink
            raise SetupError(f"{away} exists; it may be another region's only key: move it away")
        write_atomically(away, content, PRIVATE)
        key.unlink()
    return authority


def _make_centre(directory: NetworkDirectory, options: InitOptions) -> list[Path]:
    """Write the centre's keys and the way to the database; return what is new."""
    made = []
    if not directory.service_key.exists():
        write_atomically(directory.service_key, secrets.token_hex(32).encode(), PRIVATE)
        made.append(directory.service_key)
    held = {file.key.kind for file in recipient_keys.read_all(directory.recipients)}
    for kind in recipient_keys.DEFAULT_KINDS:
        if kind not in held:
            file = recipient_keys.make(directory.recipients, kind, prefix="main")
            made.append(file.path)
    if options.readers_port is not None and not directory.publisher_secret.exists():
        write_atomically(directory.publisher_secret, secrets.token_hex(32).encode(), PRIVATE)
        made.append(directory.publisher_secret)
    if _named_database(directory) != options.dsn:
        write_atomically(directory.database_file, options.dsn.encode() + b"\n", PRIVATE)
        made.append(directory.database_file)
    return made
