"""`kerbstone network init`."""

import argparse
import shlex
from pathlib import Path

from broker_config.files import BrokerKind
from command_line.network import passphrases
from command_line.network.commands.terminal import (
    Actions,
    MisusedError,
    add_action,
    add_yes,
    confirm,
    show,
)
from command_line.network.directory import NetworkDirectory
from command_line.network.options import (
    BIND,
    ENROLMENT_PORT,
    KEEPER_PORT,
    SERVICE_PORT,
    InitOptions,
)
from command_line.network.setup import init, region_root_key

AUTHORITY_PASSPHRASE = "authority.passphrase"  # noqa: S105 - the name of a file
REGION_PASSPHRASE = "region-root.passphrase"  # noqa: S105 - the name of a file


def configure(actions: Actions) -> None:
    """Add the command."""
    parser = add_action(
        actions,
        "init",
        _init,
        "make a network: its authority, keys and settings files, and its database's tables",
        detail="Run again, it makes what is missing and keeps what is there.",
    )
    parser.add_argument(
        "--name", required=True, help="of the network, in its certificates for good"
    )
    parser.add_argument("--host", required=True, help="DNS name or address gateways connect to")
    parser.add_argument("--bind", default=BIND, help="address listened on (default %(default)s)")
    _add_ports(parser)
    database = parser.add_mutually_exclusive_group(required=True)
    database.add_argument("--database", metavar="URL", help="postgresql://user@host:port/name")
    database.add_argument("--database-file", type=Path, metavar="FILE", help="file that holds it")
    _add_broker(parser)
    _add_passphrases(parser)
    parser.add_argument(
        "--force", action="store_true", help="write host, ports and settings files anew"
    )
    add_yes(parser)


def _add_ports(parser: argparse.ArgumentParser) -> None:
    port = "(default %(default)s)"
    parser.add_argument(
        "--service-port", type=int, default=SERVICE_PORT, help=f"of the central services {port}"
    )
    parser.add_argument(
        "--keeper-port", type=int, default=KEEPER_PORT, help=f"where sessions are ended {port}"
    )
    parser.add_argument(
        "--enrolment-port", type=int, default=ENROLMENT_PORT, help=f"where gateways enrol {port}"
    )
    parser.add_argument(
        "--readers-port",
        type=int,
        metavar="PORT",
        help="let everybody subscribe to open data by MQTT here, at a broker apart from the "
        "gateways' (default: nobody can)",
    )
    parser.add_argument(
        "--api-url",
        default="",
        metavar="URL",
        help="with --readers-port: how people reach the API, for the links in what is published",
    )
    parser.add_argument(
        "--enrolment-url",
        default="",
        metavar="URL",
        help="how gateways reach it (default https://HOST:PORT)",
    )


def _add_broker(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--broker",
        choices=[kind.value for kind in BrokerKind],
        default=BrokerKind.MOSQUITTO.value,
        help="which one it is (default %(default)s)",
    )
    parser.add_argument(
        "--broker-data", type=Path, metavar="DIR", help="its own store (default: as Debian has it)"
    )
    reload = parser.add_mutually_exclusive_group()
    reload.add_argument(
        "--reload-command", metavar="CMD", help="makes it reload (default: systemctl reload …)"
    )
    reload.add_argument(
        "--pid-file", type=Path, metavar="FILE", help="or: holds the process that is sent SIGHUP"
    )
    parser.add_argument(
        "--restart-command", metavar="CMD", help="starts it anew when a council is added"
    )


def _add_passphrases(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--region-root-key",
        type=Path,
        metavar="DIR",
        help="where the region root's key is put, e.g. a removable disk",
    )
    parser.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help="passphrase of the authority's keys, for the enrolment service, too (default: ask)",
    )
    parser.add_argument(
        "--region-passphrase-file",
        type=Path,
        metavar="FILE",
        help="passphrase of the region root's key (default: ask)",
    )
    parser.add_argument(
        "--generate-passphrases",
        action="store_true",
        help="draw those that no file gives, and keep them in files of mode 0600",
    )


async def _init(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    before = directory.exists()
    if before and arguments.force:
        confirm(
            arguments,
            f"This writes the settings files in {directory.centre} anew; changes made there by "
            "hand are lost. Keys and certificates stay.",
            arguments.name,
        )
    options = _options(arguments, directory)
    await init(options)
    key = region_root_key(directory, arguments.region_root_key)
    document = {
        "directory": directory.root,
        "name": options.name,
        "new": not before,
        "enrolment_url": options.public_url,
        "region_root": directory.region_root,
        "region_root_key": key if key.exists() else None,
        "passphrase_file": options.passphrase_file,
    }
    show(arguments, document, _lines(options, directory, key, new=not before))
    return 0


def _options(arguments: argparse.Namespace, directory: NetworkDirectory) -> InitOptions:
    passphrase_file = arguments.passphrase_file
    if passphrase_file is None and arguments.generate_passphrases:
        passphrase_file = directory.root / AUTHORITY_PASSPHRASE
        passphrases.drawn(passphrase_file)
    return InitOptions(
        directory=directory.root,
        name=arguments.name,
        host=arguments.host,
        dsn=_dsn(arguments),
        bind=arguments.bind,
        service_port=arguments.service_port,
        keeper_port=arguments.keeper_port,
        enrolment_port=arguments.enrolment_port,
        enrolment_url=arguments.enrolment_url.rstrip("/"),
        readers_port=arguments.readers_port,
        api_url=arguments.api_url.rstrip("/"),
        broker=BrokerKind(arguments.broker),
        passphrase=_passphrase(directory, passphrase_file),
        passphrase_file=passphrase_file,
        region_passphrase=_region_passphrase(arguments, directory),
        region_root_key=arguments.region_root_key,
        broker_data=arguments.broker_data,
        reload_command=_words(arguments.reload_command),
        restart_command=_words(arguments.restart_command),
        pid_file=arguments.pid_file,
        replace_settings=arguments.force,
    )


def _words(command: str | None) -> tuple[str, ...] | None:
    return tuple(shlex.split(command)) if command else None


def _dsn(arguments: argparse.Namespace) -> str:
    if arguments.database is not None:
        return str(arguments.database)
    try:
        found: str = arguments.database_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise MisusedError(f"--database-file {arguments.database_file}: {error}") from error
    return found


def _passphrase(directory: NetworkDirectory, file: Path | None) -> bytes | None:
    if directory.exists():
        return passphrases.of_authority(directory, file)
    if file is not None:
        return passphrases.read(file)
    return passphrases.asked("the authority's keys", twice=True)


def _region_passphrase(arguments: argparse.Namespace, directory: NetworkDirectory) -> bytes | None:
    """Return the region root's passphrase; None where its key has been made already."""
    if directory.region_root.exists() and (directory.authority / "service-root.pem").exists():
        return None
    if arguments.region_passphrase_file is not None:
        return passphrases.read(arguments.region_passphrase_file)
    if arguments.generate_passphrases:
        away = region_root_key(directory, arguments.region_root_key).parent
        return passphrases.drawn(away / REGION_PASSPHRASE)
    return passphrases.asked("the region root's key", twice=True)


def _lines(options: InitOptions, directory: NetworkDirectory, key: Path, *, new: bool) -> list[str]:
    lines = [
        f"Network {options.name!r} is {'made' if new else 'whole'} in {directory.root}.",
        f"Gateways enrol at {options.public_url}.",
    ]
    if options.passphrase_file is not None:
        lines.append(f"The authority's passphrase is in {options.passphrase_file.absolute()}.")
    if key.exists():
        drawn = key.with_name(REGION_PASSPHRASE)
        held = [path for path in (key, drawn) if path.exists()]
        lines += [
            "",
            "Now move to media that are kept offline, under locks, and delete here:",
            *(f"  {path}" for path in held),
            *(["Keep key and passphrase apart."] if len(held) > 1 else []),
            "Whoever has them can pose as this network; without them the service root cannot be",
            "renewed in five years.",
        ]
    lines += ["", "Next: kerbstone network council add"] if new else []
    return lines
