"""`kerbstone network audit|status`: what was done, and what needs seeing to."""

import argparse
import json

from command_line.network.commands.terminal import (
    FAILED,
    Actions,
    MisusedError,
    add_action,
    moment,
    show,
    table,
)
from command_line.network.directory import NetworkDirectory
from command_line.network.status import CouncilStatus, NetworkStatus, status
from storage import audit

_MOST_ENTRIES = 10_000


def configure(actions: Actions) -> None:
    """Add the commands."""
    auditing = add_action(actions, "audit", _audit, "show who did what, newest first")
    auditing.add_argument("--council", metavar="TENANT", help="acts on one council only")
    auditing.add_argument("--subject", help="acts on one thing only, e.g. a device id")
    auditing.add_argument("--limit", type=int, default=100, help="(default %(default)s)")
    add_action(
        actions,
        "status",
        _status,
        "say how the network is and what a person must see to",
        detail="The exit status is 1 if there is anything.",
    )


async def _audit(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    if not 1 <= arguments.limit <= _MOST_ENTRIES:
        raise MisusedError(f"--limit {arguments.limit}: from 1 to {_MOST_ENTRIES}")
    async with directory.connection() as conn:
        found = await audit.entries(
            conn, tenant=arguments.council, subject=arguments.subject, limit=arguments.limit
        )
    rows = [
        (
            each.at,
            each.actor,
            each.action,
            each.tenant,
            each.subject,
            json.dumps(dict(each.detail), ensure_ascii=False) if each.detail else "",
        )
        for each in found
    ]
    header = ("TIME", "WHO", "ACT", "COUNCIL", "SUBJECT", "DETAIL")
    show(arguments, {"entries": found}, table(header, rows) if rows else ["Nothing was done."])
    return 0


async def _status(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    found = await status(directory)
    show(arguments, {"status": found}, _lines(found))
    return FAILED if found.alarms else 0


def _lines(found: NetworkStatus) -> list[str]:
    certificates = [
        (each.name, each.until, "due" if each.due else "") for each in found.certificates
    ]
    lines = [
        f"Network {found.name!r}, {moment(found.at)}",
        "",
        *table(
            ("COUNCIL", "GATEWAYS", "REVOCATION LIST OF", "KEY SET", "UNTIL", "STRAGGLERS"),
            [_row(each) for each in found.councils],
        ),
        "",
        *table(("CERTIFICATE", "UNTIL", ""), certificates),
    ]
    if found.retired_keys:
        lines += ["", f"{found.retired_keys} retired keys wait for `rotate destroy-retired`."]
    lines += ["", *(f"ALARM: {alarm}" for alarm in found.alarms)]
    return lines if found.alarms else [*lines, "Nothing needs seeing to."]


def _row(each: CouncilStatus) -> tuple[object, ...]:
    gateways = ", ".join(f"{count} {name}" for name, count in sorted(each.gateways.items()))
    return (
        each.tenant,
        gateways,
        each.revocation_list_at,
        each.key_set_version or "none",
        each.key_set_until,
        len(each.stragglers),
    )
