"""`kerbstone network recipient make|add|list|retire`: whom a council's gateways seal for."""

import argparse
from pathlib import Path
from typing import get_args

from command_line.network import own_recipients
from command_line.network.commands.terminal import (
    Actions,
    add_action,
    add_group,
    add_yes,
    confirm,
    show,
    table,
)
from command_line.network.directory import NetworkDirectory
from command_line.network.own_recipients import COUNCIL, Role
from command_line.network.recipient_keys import KINDS
from device_protocol.keys import X25519


def configure(actions: Actions) -> None:
    """Add the commands."""
    group = add_group(actions, "recipient", "a council's own recipients: make, add, list, retire")
    making = add_action(
        group,
        "make",
        _make,
        "make a key of one's own, on the machine where readings are to be opened",
        detail="It needs neither network directory nor database.",
    )
    making.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="where the private key is kept"
    )
    making.add_argument(
        "--key-type", choices=KINDS, default=X25519, help="suite 1, 2 or 3 (default %(default)s)"
    )
    adding = add_action(group, "add", _add, "list a recipient, by the public half of its key")
    adding.add_argument("tenant", help="the council's short name")
    adding.add_argument(
        "--public-key", required=True, metavar="HEX", help="as `recipient make` printed it"
    )
    adding.add_argument(
        "--group", default=COUNCIL, help="whose readings it opens (default %(default)s)"
    )
    adding.add_argument(
        "--role", choices=get_args(Role), default="council", help="default %(default)s"
    )
    listing = add_action(group, "list", _list, "list recipients, the region's included")
    listing.add_argument("--council", metavar="TENANT", help="of one council only")
    retiring = add_action(group, "retire", _retire, "leave a recipient out from now on, for good")
    retiring.add_argument("tenant", help="the council's short name")
    retiring.add_argument("kid", help="its key's name, from the list")
    retiring.add_argument("--group", default=COUNCIL, help="default %(default)s")
    add_yes(retiring)


async def _make(arguments: argparse.Namespace, _directory: NetworkDirectory) -> int:
    key = own_recipients.make(arguments.key_type, arguments.output)
    lines = [
        f"The private key is in {arguments.output}; it never needs to leave this machine.",
        "Give the region's operator the public half:",
        "",
        key.cose_key.hex(),
    ]
    document = {"file": arguments.output, "kid": key.kid, "public_key": key.cose_key}
    show(arguments, document, lines)
    return 0


async def _add(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    kid = await own_recipients.add(
        directory,
        tenant=arguments.tenant,
        public_key=arguments.public_key,
        group=arguments.group,
        role=arguments.role,
    )
    lines = [f"Gateways of {arguments.tenant} seal group {arguments.group!r} for {kid.hex()} soon."]
    document = {"tenant": arguments.tenant, "group": arguments.group, "kid": kid}
    show(arguments, document, lines)
    return 0


async def _list(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    found = await own_recipients.listed(directory, tenant=arguments.council)
    rows = [
        (
            each.tenant,
            each.group,
            each.role,
            each.kid.hex(),
            each.valid_from,
            "retired" if each.retired_at else "",
        )
        for each in found
    ]
    header = ("COUNCIL", "GROUP", "ROLE", "KID", "SINCE", "")
    show(arguments, {"recipients": found}, table(header, rows) if rows else ["No recipient yet."])
    return 0


async def _retire(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    confirm(
        arguments,
        f"From the next key set on, {arguments.kid} opens nothing new of group "
        f"{arguments.group!r}, for good.",
        arguments.kid,
    )
    await own_recipients.retire(
        directory, tenant=arguments.tenant, group=arguments.group, kid=arguments.kid
    )
    document = {"tenant": arguments.tenant, "group": arguments.group, "kid": arguments.kid}
    show(arguments, document, [f"{arguments.kid} is retired from group {arguments.group!r}."])
    return 0
