"""`kerbstone network key create|list|revoke` and `access show|open|restrict`: who may read what."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final, get_args

from command_line.network import access
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
from storage.access import Access
from storage.api_keys import RateClass, Scope

_LONGEST_NAME: Final = 100
_DONE: Final[dict[Access, str]] = {"open": "opened", "restricted": "restricted"}


def configure(actions: Actions) -> None:
    """Add the commands."""
    _configure_keys(add_group(actions, "key", "API keys of programs: create, list, revoke"))
    _configure_access(
        add_group(actions, "access", "which datastreams everybody may read: show, open, restrict")
    )


def _configure_keys(group: Actions) -> None:
    creating = add_action(
        group, "create", _create, "make an API key for a program; it is shown once"
    )
    creating.add_argument("name", help="whose it is, for the audit")
    whose = creating.add_mutually_exclusive_group(required=True)
    whose.add_argument("--council", metavar="TENANT", help="for one council's data")
    whose.add_argument("--region", action="store_true", help="for every council's data")
    whose.add_argument(
        "--open-data", action="store_true", help="for open data only, at a key's rate"
    )
    creating.add_argument(
        "--scope",
        action="append",
        choices=get_args(Scope),
        help="what it may do, repeatable: read restricted datastreams, write (default: read)",
    )
    creating.add_argument(
        "--rate",
        choices=get_args(RateClass),
        default="standard",
        help="how much it may ask in a minute (default %(default)s)",
    )
    creating.add_argument(
        "--days",
        type=int,
        default=access.KEY_LIFETIME.days,
        help="how long it can be used (default %(default)s)",
    )
    listing = add_action(group, "list", _list, "list API keys")
    listing.add_argument("--council", metavar="TENANT", help="of one council only")
    revoking = add_action(group, "revoke", _revoke, "end an API key")
    revoking.add_argument("id", type=int, help="its number, from the list")
    add_yes(revoking)


def _configure_access(group: Actions) -> None:
    showing = add_action(group, "show", _show, "show which datastreams everybody may read")
    showing.add_argument("tenant", help="the council's short name")
    showing.add_argument(
        "--health", action="store_true", help="list what gateways tell of themselves, too"
    )
    for name, carry_out, text in (
        ("open", _open, "let everybody read datastreams"),
        ("restrict", _restrict, "keep datastreams to the council and those it gave a key"),
    ):
        deciding = add_action(
            group,
            name,
            carry_out,
            text,
            detail="Without an option: all there are, and those to come; only then, or by its id, "
            "what gateways tell of themselves.",
        )
        deciding.add_argument("tenant", help="the council's short name")
        which = deciding.add_mutually_exclusive_group()
        which.add_argument("--property", metavar="KEY", help="those that measure this, e.g. no2")
        which.add_argument("--datastream", type=int, metavar="ID", help="this one alone")
        which.add_argument("--new", action="store_true", help="only those that are yet to come")


async def _create(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    if arguments.days < 1:
        raise MisusedError(f"--days {arguments.days}: at least 1")
    name = arguments.name.strip()
    if not name or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise MisusedError(f"name {arguments.name!r}: 1 to {_LONGEST_NAME} printable characters")
    if arguments.open_data and arguments.scope:
        raise MisusedError("--open-data and --scope: a key for open data only has no scopes")
    made = await access.create_key(
        directory,
        name=name,
        tenant=arguments.council,
        scopes=[] if arguments.open_data else sorted(set(arguments.scope or ["read"])),
        rate_class=arguments.rate,
        lifetime=timedelta(days=arguments.days),
    )
    lines = [
        f"Key {made.id} of {made.name}: {_allowed(made.scopes, made.tenant)}.",
        f"Until {moment(made.expires_at)} it is sent with each request, as the header",
        "",
        f"  Authorization: Bearer {made.key}",
        "",
        "It is shown this once. Hand it over in person or by a way you trust.",
    ]
    show(arguments, {"key": made}, lines)
    return 0


async def _list(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    found = await access.listed_keys(directory, tenant=arguments.council)
    rows = [
        (
            each.id,
            each.name,
            _allowed(each.scopes, each.tenant),
            each.rate_class,
            each.expires_at,
            each.last_used_on,
            f"revoked {moment(each.revoked_at)}" if each.revoked_at else "",
        )
        for each in found
    ]
    header = ("KEY", "NAME", "FOR", "RATE", "UNTIL", "LAST USED", "")
    show(arguments, {"keys": found}, table(header, rows) if rows else ["No key yet."])
    return 0


async def _revoke(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    confirm(arguments, f"This ends key {arguments.id} at once.", str(arguments.id))
    await access.revoke_key(directory, key_id=arguments.id)
    show(arguments, {"revoked": arguments.id}, [f"Key {arguments.id} is revoked."])
    return 0


async def _show(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    found = await access.shown(directory, tenant=arguments.tenant)
    own = [each for each in found.datastreams if each.is_health]
    listed = [each for each in found.datastreams if arguments.health or not each.is_health]
    rows = [(each.id, each.thing, each.property_key, each.access) for each in listed]
    new = "restricted" if found.restricts_new else "open"
    lines = [
        f"New datastreams of {arguments.tenant} are {new}.",
        *(table(("ID", "THING", "PROPERTY", "ACCESS"), rows) if rows else ["No datastream yet."]),
    ]
    if own and not arguments.health:
        count = sum(each.access == "open" for each in own)
        lines.append(
            f"Of {len(own)} in which gateways tell of themselves {count} are open: "
            "see them with --health."
        )
    document = {"tenant": arguments.tenant, "access": replace(found, datastreams=listed)}
    show(arguments, document, lines)
    return 0


async def _open(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    return await _decide(arguments, directory, "open")


async def _restrict(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    return await _decide(arguments, directory, "restricted")


async def _decide(arguments: argparse.Namespace, directory: NetworkDirectory, to_be: Access) -> int:
    changed = await access.decide(
        directory,
        tenant=arguments.tenant,
        access_to_be=to_be,
        property_key=arguments.property,
        datastream_id=arguments.datastream,
        new_only=arguments.new,
    )
    count = len(changed.datastreams)
    lines = []
    if not arguments.new:
        lines.append(f"{count} {'datastream' if count == 1 else 'datastreams'} {_DONE[to_be]}.")
    if arguments.property is None and arguments.datastream is None:
        lines.append(f"New datastreams of {arguments.tenant} will be {to_be}.")
    document = {"tenant": arguments.tenant, "access": to_be, "changed": changed}
    show(arguments, document, lines)
    return 0


def _allowed(scopes: Sequence[Scope], tenant: str | None) -> str:
    """Return what a key is for, e.g. "read camden"."""
    if not scopes:
        return "open data only"
    return f"{' and '.join(scopes)} {tenant or 'every council'}"
