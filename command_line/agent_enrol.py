"""`kerbstone agent enrol`: from an invitation on paper, in a file or by systemd to a gateway.

Gathers the invitation and says what came of it; enrolling itself is `credentials.enrolment`.
"""

import argparse
import getpass
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from command_line.first_settings import first_settings
from command_line.process import USAGE_ERROR
from device_protocol.first_boot import FirstBoot, FirstBootError, check_url, digest_from_hex
from edge_agent.credentials.enrolment import (
    Enrolled,
    KeyKind,
    TokenMissingError,
    WrongDirectoryError,
    enrol,
)
from edge_agent.credentials.est import (
    EnrolmentError,
    RefusedError,
    UnreachableError,
    UntrustedError,
)
from edge_agent.credentials.identity import BusyError, IdentityDirectory
from edge_agent.credentials.signer import HardwareError, HardwareToken
from edge_agent.durable import replace
from edge_agent.settings import AgentSettings, SignerSettings, check
from runtime.settings import SettingsError, load

DIRECTORY: Final = Path("/etc/kerbstone/gateway")
CREDENTIAL: Final = "first-boot.toml"
"""Name of the systemd credential that holds an invitation."""
TRY_AGAIN: Final = os.EX_TEMPFAIL
_PARTS: Final = ("url", "device", "region_root_sha256")
_EPILOG: Final = (
    "Without an invitation on the command line, the one that systemd gives "
    f"(credential {CREDENTIAL}) is followed, else the one that lies in the directory, else it is "
    "asked for. It is safe to repeat: an invitation that was followed is not followed again. "
    "Exit status: 0 enrolled; 1 refused or not possible; 2 misused; "
    f"{TRY_AGAIN} nobody answers: try again later."
)


class UsageError(Exception):
    """The command was not given what it needs; the message says what."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be done, gathered from options, files and the person."""

    invitation: FirstBoot
    keep_invitation: bool
    kind: KeyKind
    signer: SignerSettings | None


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = "Make this computer a gateway of a council, or give it new keys."
    parser.epilog = _EPILOG
    parser.add_argument(
        "--directory",
        type=Path,
        default=DIRECTORY,
        metavar="DIR",
        help=f"where keys and certificates are kept (default {DIRECTORY})",
    )
    parser.add_argument("--first-boot", type=Path, metavar="FILE", help="the first-boot file")
    parser.add_argument("--code", metavar="CODE", help="text of the QR code, kerbstone://…")
    parser.add_argument("--url", help="or in parts: https://host:port/.well-known/est/council")
    parser.add_argument("--device", metavar="NAME", help="the gateway's name on the invitation")
    parser.add_argument(
        "--region-root-sha256", metavar="HEX", help="the region root's digest on the invitation"
    )
    parser.add_argument(
        "--token", help="the one-time token; better left out, then it is asked for unseen"
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the gateway's settings; written if there are none, else its [signer] is used",
    )
    parser.add_argument(
        "--state-directory",
        type=Path,
        metavar="DIR",
        help="spool and counters, for settings that are written (default: state, beside them)",
    )
    parser.add_argument("--key", choices=["ed25519", "p-256"], help="kind of key (default ed25519)")
    token = parser.add_argument_group("a key for readings in hardware (PKCS #11)")
    token.add_argument("--pkcs11-module", type=Path, metavar="FILE", help="the token's library")
    token.add_argument("--pkcs11-token", metavar="LABEL", help="the token's label")
    token.add_argument("--pkcs11-pin-file", type=Path, metavar="FILE", help="holds the user PIN")
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Enrol, say how it went, and return the exit status."""
    try:
        outcome = _enrol(arguments)
    except (UsageError, FirstBootError, SettingsError) as error:
        return _fail(arguments, "misused", str(error), USAGE_ERROR)
    except UnreachableError as error:
        return _fail(arguments, "unreachable", str(error), TRY_AGAIN)
    except EnrolmentError as error:
        return _fail(arguments, _kind_of(error), str(error), 1)
    except BusyError as error:
        return _fail(arguments, "busy", str(error), TRY_AGAIN)
    except OSError as error:
        kind = "token" if isinstance(error, HardwareError) else "file"
        return _fail(arguments, kind, _trouble(error), 1)
    print(json.dumps(outcome) if arguments.json else _words(outcome))
    return 0


def _enrol(arguments: argparse.Namespace) -> dict[str, Any]:
    plan = _plan(arguments)
    token = HardwareToken(plan.signer, plan.invitation.device) if plan.signer else None
    try:
        enrolled = enrol(
            plan.invitation,
            arguments.directory.absolute(),
            kind=plan.kind,
            token=token,
            keep_invitation=plan.keep_invitation,
        )
    finally:
        if token is not None:
            token.close()
    return _outcome(arguments, plan, enrolled)


def _plan(arguments: argparse.Namespace) -> _Plan:
    settings = None
    if arguments.config is not None and arguments.config.exists():
        settings = load(AgentSettings, arguments.config)
    invitation, keep = _invitation(arguments, os.environ)
    if settings is not None and settings.device != invitation.device:
        raise UsageError(
            f"{arguments.config} is of gateway {settings.device}, the invitation of "
            f"{invitation.device}; give the new gateway settings and directories of its own"
        )
    kind = arguments.key or (settings.enrolment.key if settings else "ed25519")
    signer = _signer(arguments) or (settings.signer if settings else None)
    return _Plan(invitation, keep, kind, signer)


def _invitation(
    arguments: argparse.Namespace, environment: Mapping[str, str]
) -> tuple[FirstBoot, bool]:
    """Return the invitation, and whether it is to be kept until it is spent."""
    parts = [name for name in (*_PARTS, "token") if getattr(arguments, name) is not None]
    ways = [bool(arguments.first_boot), bool(arguments.code), bool(parts)]
    if sum(ways) > 1:
        raise UsageError("give the invitation as --first-boot, as --code or in parts, not twice")
    if arguments.first_boot:
        return _from_file(arguments.first_boot), True
    if arguments.code:
        return FirstBoot.from_uri(arguments.code), True
    if parts:
        return _from_parts(arguments), True
    credential = Path(environment.get("CREDENTIALS_DIRECTORY", "")) / CREDENTIAL
    if "CREDENTIALS_DIRECTORY" in environment and credential.exists():
        return _from_file(credential), False
    held = IdentityDirectory(arguments.directory).invitation()
    if held is not None:
        return held, True
    return FirstBoot.from_uri(_ask("Code of the invitation, kerbstone://… (not shown): ")), True


def _from_file(file: Path) -> FirstBoot:
    try:
        return FirstBoot.from_toml(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise FirstBootError(f"{file} is not a text file") from error
    except FirstBootError as error:
        raise FirstBootError(f"{file}: {error}") from error
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error


def _from_parts(arguments: argparse.Namespace) -> FirstBoot:
    missing = [f"--{name.replace('_', '-')}" for name in _PARTS if not getattr(arguments, name)]
    if missing:
        raise UsageError(f"give also what stands on the invitation: {', '.join(missing)}")
    return FirstBoot(
        url=arguments.url,
        tenant=check_url(arguments.url).tenant,
        device=arguments.device,
        token=arguments.token or _ask("One-time token (not shown): "),
        region_root_sha256=digest_from_hex(arguments.region_root_sha256),
    )


def _ask(question: str) -> str:
    """Ask for a secret without showing it.

    Raises:
        UsageError: nobody is there to answer.
    """
    if not sys.stdin.isatty():
        raise UsageError("there is no invitation: give --first-boot FILE; a council makes them")
    try:
        return getpass.getpass(question).strip()
    except EOFError as error:
        raise UsageError("there is no invitation") from error


def _signer(arguments: argparse.Namespace) -> SignerSettings | None:
    given = (arguments.pkcs11_module, arguments.pkcs11_token, arguments.pkcs11_pin_file)
    if not any(given):
        return None
    if not all(given):
        raise UsageError("--pkcs11-module, --pkcs11-token and --pkcs11-pin-file belong together")
    return SignerSettings(
        module=arguments.pkcs11_module.absolute(),
        label=arguments.pkcs11_token,
        pin_file=arguments.pkcs11_pin_file.absolute(),
    )


def _outcome(arguments: argparse.Namespace, plan: _Plan, enrolled: Enrolled) -> dict[str, Any]:
    certificate = x509.load_pem_x509_certificate(enrolled.current.certificate_file.read_bytes())
    outcome: dict[str, Any] = {
        "tenant": enrolled.tenant,
        "device": enrolled.device,
        "directory": str(enrolled.directory),
        "was_already": enrolled.was_already,
        "certificate_until": certificate.not_valid_after_utc.isoformat(),
        "config": None,
        "config_written": False,
        "config_mistakes": [],
    }
    config = arguments.config
    if config is not None:
        outcome["config"] = str(config)
        if not config.exists():
            state = arguments.state_directory or config.absolute().parent / "state"
            text = first_settings(enrolled, state.absolute(), plan.kind, plan.signer)
            _write(config.absolute(), text)
            outcome["config_written"] = True
        outcome["config_mistakes"] = check(config)
    return outcome


def _write(config: Path, text: str) -> None:
    try:
        config.parent.mkdir(parents=True, exist_ok=True)
        replace(config, text.encode(), durable=True)
    except OSError as error:
        raise OSError(
            f"the gateway is enrolled, but {config} cannot be written ({error.strerror}); call "
            "this again with another --config"
        ) from error


def _words(outcome: Mapping[str, Any]) -> str:
    verb = "was enrolled by this invitation before" if outcome["was_already"] else "is enrolled"
    until = datetime.fromisoformat(outcome["certificate_until"])
    lines = [
        f"Gateway {outcome['device']} ({outcome['tenant']}) {verb}.",
        f"Its keys and certificate lie in {outcome['directory']}.",
        f"The certificate ends {until:%Y-%m-%d %H:%M} UTC; the agent renews it before.",
    ]
    config = outcome["config"]
    if outcome["config_written"]:
        lines.append(f"Its first settings are in {config}.")
    if outcome["config_mistakes"]:
        lines += [f"Still to be put right in {config}:", *outcome["config_mistakes"]]
    elif config:
        lines.append(f"Next: kerbstone agent run --config {config}")
    else:
        lines.append("Next: call this again with --config FILE for its first settings.")
    return "\n".join(lines)


def _kind_of(error: EnrolmentError) -> str:
    kinds: dict[type[EnrolmentError], str] = {
        RefusedError: "refused",
        UntrustedError: "untrusted",
        WrongDirectoryError: "other gateway",
        TokenMissingError: "token",
    }
    return kinds.get(type(error), "unusable")


def _trouble(error: OSError) -> str:
    if error.filename is None:
        return str(error)
    return f"{error.filename} cannot be used: {error.strerror}; is --directory one to write to?"


def _fail(arguments: argparse.Namespace, kind: str, problem: str, status: int) -> int:
    if arguments.json:
        print(json.dumps({"error": kind, "problem": problem}))
    else:
        print(f"kerbstone agent enrol: {problem}", file=sys.stderr)
    return status
