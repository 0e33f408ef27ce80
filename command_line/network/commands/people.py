"""`kerbstone network pass add|list|withdraw`: who may sign in to the pages."""

import argparse
from datetime import timedelta
from typing import get_args

from command_line.network import passes
from command_line.network.commands.terminal import (
    Actions,
    MisusedError,
    add_action,
    add_group,
    add_yes,
    confirm,
    moment,
    show,
    table,
)
from command_line.network.directory import NetworkDirectory
from storage.staff import Role


def configure(actions: Actions) -> None:
    """Add the commands."""
    group = add_group(actions, "pass", "who may sign in to the pages: add, list, withdraw")
    adding = add_action(group, "add", _add, "give a person a pass; its secret is shown once")
    adding.add_argument("name", help="whose it is, for the audit")
    whose = adding.add_mutually_exclusive_group(required=True)
    whose.add_argument("--council", metavar="TENANT", help="for the gateways of one council")
    whose.add_argument("--region", action="store_true", help="for those of every council")
    adding.add_argument(
        "--role", choices=get_args(Role), default="deployer", help="default %(default)s"
    )
    adding.add_argument(
        "--days",
        type=int,
        default=passes.PASS_LIFETIME.days,
        help="how long it can be used (default %(default)s)",
    )
    listing = add_action(group, "list", _list, "list passes")
    listing.add_argument("--council", metavar="TENANT", help="of one council only")
    withdrawing = add_action(
        group, "withdraw", _withdraw, "end a pass and every session opened with it"
    )
    withdrawing.add_argument("id", type=int, help="its number, from the list")
    add_yes(withdrawing)


async def _add(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    if arguments.days < 1:
        raise MisusedError(f"--days {arguments.days}: at least 1")
    if not arguments.name.strip() or not arguments.name.isprintable():
        raise MisusedError(f"name {arguments.name!r}: printable characters, at least one")
    added = await passes.add(
        directory,
        name=arguments.name.strip(),
        role=arguments.role,
        tenant=arguments.council,
        lifetime=timedelta(days=arguments.days),
    )
    lines = [
        f"Pass {added.id} of {added.name}, {added.role} for {added.tenant or 'every council'}.",
        f"Until {moment(added.expires_at)} it signs in with:",
        "",
        f"  {added.secret}",
        "",
        "It is shown this once. Hand it over in person or by a way you trust.",
    ]
    show(arguments, {"pass": added}, lines)
    return 0


async def _list(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    found = await passes.listed(directory, tenant=arguments.council)
    rows = [
        (
            each.id,
            each.name,
            each.role,
            each.tenant or "every council",
            each.expires_at,
            f"withdrawn {moment(each.withdrawn_at)}" if each.withdrawn_at else "",
        )
        for each in found
    ]
    header = ("PASS", "NAME", "ROLE", "COUNCIL", "UNTIL", "")
    show(arguments, {"passes": found}, table(header, rows) if rows else ["No pass yet."])
    return 0


async def _withdraw(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    confirm(
        arguments,
        f"This ends pass {arguments.id} and signs its holder out.",
        str(arguments.id),
    )
    await passes.withdraw(directory, pass_id=arguments.id)
    show(arguments, {"withdrawn": arguments.id}, [f"Pass {arguments.id} is withdrawn."])
    return 0
