"""`kerbstone map`: a SenML pack in the words of an open standard, without a server.

For whoever has sensors and no Kerbstone, or wants to see what the service would say. The mapping
is the service's own (`standards_mapping`); here files are read and written.
"""

import argparse
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from command_line.map.outputs import WRITERS, Mapped, csv_metadata
from command_line.map.registry_file import EXAMPLE, read_registry, registered
from command_line.process import USAGE_ERROR
from device_protocol.errors import RejectionError
from device_protocol.senml import Record, decode_cbor, decode_json
from runtime.atomic_files import write_atomically
from runtime.settings import SettingsError
from standards_mapping.ngsi_ld.forms import Form
from standards_mapping.observe import Refused, observe_all

STANDARD_STREAM: Final = "-"
_MODE: Final = 0o644
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FORMS: Final = [form.value for form in Form]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "pack", nargs="?", metavar="PACK", help="SenML in CBOR or JSON; - for standard input"
    )
    parser.add_argument(
        "--registry",
        type=Path,
        metavar="FILE",
        help="what the records are about, TOML or (.json) JSON",
    )
    parser.add_argument("--to", choices=list(WRITERS), help="the standard to write")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="where to write (default: standard output)"
    )
    parser.add_argument(
        "--form", choices=_FORMS, default=Form.NORMALIZED.value, help="of NGSI-LD entities"
    )
    parser.add_argument(
        "--base-url",
        metavar="URL",
        default="https://kerbstone.example",
        help="address of the service that links lead to",
    )
    parser.add_argument(
        "--keep-going",
        action="store_true",
        help="exit status 0 even if records were refused, as long as one was mapped",
    )
    parser.add_argument(
        "--example", action="store_true", help="print a registry file to start from"
    )
    parser.epilog = (
        "Refused records are named on standard error; the others are mapped all the same. CSV "
        "written to a file gets its metadata beside it. Exit status: 0 all mapped; 1 some refused, "
        "or the pack is none; 2 misused, or a bad registry."
    )


class MisuseError(Exception):
    """The command cannot do what it was asked: the message names what is wrong."""


def run(arguments: argparse.Namespace) -> int:
    """Map the pack; name what is refused."""
    try:
        if arguments.example:
            _put({arguments.output: EXAMPLE.read_text(encoding="utf-8")})
            return 0
        mapped, refused = _mapped(arguments)
        _write(mapped, arguments.to, arguments.output)
    except (MisuseError, SettingsError) as error:
        print(f"kerbstone map: {error}", file=sys.stderr)
        return USAGE_ERROR
    except RejectionError as error:
        print(f"kerbstone map: {arguments.pack}: {error.reason}: {error}", file=sys.stderr)
        return 1
    for each in refused:
        print(f"kerbstone map: {said(each)}", file=sys.stderr)
    if not refused:
        return 0
    mapped_count = len(mapped.observations)
    print(f"kerbstone map: {mapped_count} mapped, {len(refused)} refused", file=sys.stderr)
    return 0 if arguments.keep_going and mapped_count else 1


def _mapped(arguments: argparse.Namespace) -> tuple[Mapped, list[Refused]]:
    needed = {
        "PACK": arguments.pack,
        "--registry": arguments.registry,
        "--to": arguments.to,
    }
    missing = [name for name, given in needed.items() if given is None]
    if missing:
        raise MisuseError(f"no {', no '.join(missing)}; --example prints a registry to start from")
    entries = read_registry(arguments.registry)
    records = decode(_read(arguments.pack))
    earliest = min((record.time_microseconds for record in records), default=0)
    things, datastreams = registered(entries, _EPOCH + timedelta(microseconds=earliest))
    observations, refused = observe_all(records, datastreams)
    root, form = arguments.base_url.rstrip("/"), Form(arguments.form)
    return Mapped(things, datastreams, observations, root, form), refused


def decode(pack: bytes) -> list[Record]:
    """Return the records of a pack: JSON if it begins with a bracket, which CBOR cannot.

    Raises:
        PayloadError: not a SenML pack of a version known here.
        ReadingTimeError: a time relative to now, or after the year 9999.
    """
    is_json = pack.lstrip(b" \t\r\n").startswith(b"[")
    return decode_json(pack) if is_json else decode_cbor(pack)


def said(refused: Refused) -> str:
    """Return a refused record in words: which it is, counted from 1, and what is wrong."""
    error = refused.error
    return f"record {refused.position + 1}, {refused.record.name!r}: {error.reason}: {error}"


def _read(pack: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if pack == STANDARD_STREAM else Path(pack).read_bytes()
    except OSError as error:
        raise MisuseError(f"{pack}: cannot be read: {error.strerror}") from error


def _write(mapped: Mapped, standard: str, output: Path | None) -> None:
    files = {output: WRITERS[standard](mapped)}
    if output is not None and standard == "csv" and mapped.datastreams:
        files[output.with_name(f"{output.name}-metadata.json")] = csv_metadata(mapped, output.name)
    _put(files)


def _put(files: Mapping[Path | None, str]) -> None:
    """Write texts to their files; None: to standard output."""
    for file, text in files.items():
        if file is None:
            sys.stdout.write(text)
            continue
        try:
            write_atomically(file, text.encode(), _MODE)
        except OSError as error:
            raise MisuseError(f"{file}: cannot be written: {error.strerror}") from error
