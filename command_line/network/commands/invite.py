"""`kerbstone network gateway invite`: one site, or hundreds from a CSV file."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from command_line.network import gateways, invitation_files
from command_line.network.commands.terminal import (
    FAILED,
    Actions,
    MisusedError,
    add_action,
    show,
    table,
)
from command_line.network.directory import NetworkDirectory, read_description
from command_line.network.gateways import Invited
from command_line.progress import Progress
from storage.invitations import TOKEN_LIFETIME
from storage.site_list import COLUMNS, BadRow, Site, placed, read_sites

_WORTH_A_BAR = 50
_AT_ONCE = 100


def configure(group: Actions) -> None:
    """Add the command."""
    parser = add_action(
        group,
        "invite",
        _invite,
        "invite gateways, each by a one-time token for one site",
        detail="Sites that have a gateway, or an open invitation, are left as they are.",
    )
    parser.add_argument("council", metavar="TENANT", help="the council's short name")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--site", help="the council's own reference, e.g. an asset number")
    which.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help=f"columns {', '.join(COLUMNS)}; only site must be there",
    )
    parser.add_argument("--label", default="", help="what people call the gateway")
    parser.add_argument("--place-name", default="", help="where it is, in words")
    parser.add_argument("--longitude", type=float, help="degrees, WGS 84")
    parser.add_argument("--latitude", type=float, help="degrees, WGS 84")
    parser.add_argument(
        "--grid-reference", default="", metavar="REF", help="instead: of the Ordnance Survey's grid"
    )
    parser.add_argument(
        "--hours",
        type=int,
        default=int(TOKEN_LIFETIME.total_seconds()) // 3600,
        help="how long the tokens can be used (default %(default)s)",
    )
    parser.add_argument(
        "--renew",
        action="store_true",
        help="a new token also where one is open, or the gateway has enrolled and must again",
    )
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE.html", help="write a page of QR codes to print"
    )
    parser.add_argument(
        "--first-boot-directory",
        type=Path,
        metavar="DIR",
        help="write a first-boot file for each gateway",
    )


async def _invite(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    sites, bad = _sites(arguments)
    name = _council_name(directory, arguments.council)
    _check_outputs(arguments)
    for row in bad:
        print(f"{arguments.csv}:{row.line}: site {row.site!r}: {row.reason}", file=sys.stderr)
    invited = await _in_portions(arguments, directory, sites)
    document = {
        "council": arguments.council,
        "invitations": [_shown(invited, index) for index in range(len(sites))],
        "bad_rows": bad,
        "sheet": None,
        "first_boot_files": {},
    }
    lines = _lines(arguments, invited, bad)
    if arguments.sheet is not None and invited.first_boots:
        sheet = invitation_files.write_sheet(directory, invited, name, arguments.sheet)
        document["sheet"] = sheet
        lines.append(f"Sheet to print: {sheet}")
    if arguments.first_boot_directory is not None and invited.first_boots:
        into = arguments.first_boot_directory
        files = invitation_files.write_first_boot_files(invited, into)
        document["first_boot_files"] = files
        lines.append(f"First-boot files: {len(files)} in {into}")
    if invited.first_boots:
        lines.append("Tokens are shown this once; destroy sheet and files when they are used.")
    show(arguments, document, lines)
    return FAILED if bad else 0


async def _in_portions(
    arguments: argparse.Namespace, directory: NetworkDirectory, sites: Sequence[Site]
) -> Invited:
    """Invite some at a time, with a bar where it may take a moment; all or none of a portion."""
    parts: list[Invited] = []
    if len(sites) < _WORTH_A_BAR:
        return await _portion(arguments, directory, sites)
    with Progress("Inviting", len(sites), unit="gateways") as progress:
        for begin in range(0, len(sites), _AT_ONCE):
            portion = sites[begin : begin + _AT_ONCE]
            parts.append(await _portion(arguments, directory, portion))
            progress.update(begin + len(portion))
    return Invited(
        invitations=tuple(each for part in parts for each in part.invitations),
        first_boots={device: boot for part in parts for device, boot in part.first_boots.items()},
    )


async def _portion(
    arguments: argparse.Namespace, directory: NetworkDirectory, sites: Sequence[Site]
) -> Invited:
    return await gateways.invite(
        directory,
        tenant=arguments.council,
        sites=sites,
        renew=arguments.renew,
        lifetime=timedelta(hours=arguments.hours),
    )


def _sites(arguments: argparse.Namespace) -> tuple[list[Site], list[BadRow]]:
    """Return the sites asked for, and the rows that hold none.

    Raises:
        MisusedError: the file cannot be read.
        SiteListError, SiteError: it is no list of sites, or the one site cannot be.
    """
    if arguments.hours < 1:
        raise MisusedError(f"--hours {arguments.hours}: at least 1")
    if arguments.csv is None:
        longitude, latitude = placed(
            arguments.grid_reference, arguments.longitude, arguments.latitude
        )
        site = Site(
            site=arguments.site,
            label=arguments.label,
            place_name=arguments.place_name,
            longitude=longitude,
            latitude=latitude,
        )
        return [site], []
    try:
        text = arguments.csv.read_text(encoding="utf-8")
    except OSError as error:
        raise MisusedError(f"--csv {arguments.csv} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise MisusedError(
            f"--csv {arguments.csv} is not UTF-8 text ({error}); save it from the spreadsheet as "
            "CSV UTF-8"
        ) from error
    return read_sites(text)


def _council_name(directory: NetworkDirectory, tenant: str) -> str:
    described = read_description(directory)
    council = described.council(tenant)
    if council is None:
        known = ", ".join(each.tenant for each in described.councils) or "none yet"
        raise MisusedError(f"no council is called {tenant!r}; there are: {known}")
    return council.name


def _check_outputs(arguments: argparse.Namespace) -> None:
    for option, place in (
        ("--sheet", arguments.sheet and arguments.sheet.absolute().parent),
        ("--first-boot-directory", arguments.first_boot_directory),
    ):
        if place is None:
            continue
        try:
            invitation_files.check_writable(place)
        except OSError as error:
            raise MisusedError(f"{option} {place}: {error.strerror}") from error


def _shown(invited: Invited, index: int) -> dict[str, object]:
    invitation = invited.invitations[index]
    boot = invited.first_boots.get(invitation.device)
    return {
        "site": invitation.site.site,
        "device": invitation.device,
        "outcome": invitation.outcome,
        "token": invitation.token,
        "expires_at": invitation.expires_at,
        "uri": boot.to_uri() if boot else "",
    }


def _how(invited: Invited) -> list[str]:
    """Say what the gateway must be told beside its device id and token."""
    for boot in invited.first_boots.values():
        return [
            "On each gateway, with its device id; it asks for the token:",
            f"  kerbstone agent enrol --url {boot.url} \\",
            f"    --region-root-sha256 {boot.region_root_sha256.hex()} \\",
            "    --device DEVICE --config gateway.toml",
        ]
    return []


def _lines(arguments: argparse.Namespace, invited: Invited, bad: Sequence[BadRow]) -> list[str]:
    on_paper = arguments.sheet is not None or arguments.first_boot_directory is not None
    lines = []
    if not on_paper:
        lines = table(
            ("SITE", "DEVICE", "OUTCOME", "TOKEN", "UNTIL"),
            [
                (each.site.site, each.device, each.outcome, each.token, each.expires_at)
                for each in invited.invitations
            ],
        )
        lines += _how(invited)
    counts = Counter(each.outcome for each in invited.invitations)
    told = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    lines.append(f"{told or 'Nobody invited'}{f', {len(bad)} bad rows' if bad else ''}.")
    if invited.invitations and not invited.first_boots:
        lines.append("Nothing has changed: no token was made. --renew makes new ones.")
    return lines
