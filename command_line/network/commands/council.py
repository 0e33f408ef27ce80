"""`kerbstone network council add|code|codes|list|suites`."""

import argparse
from datetime import date
from pathlib import Path

from command_line.network import councils, passphrases
from command_line.network.commands.terminal import (
    Actions,
    add_action,
    add_group,
    show,
    table,
)
from command_line.network.directory import NetworkDirectory


def configure(actions: Actions) -> None:
    """Add the commands."""
    group = add_group(actions, "council", "councils: add, list, choose how keys are delivered")
    _configure_add(group)
    _configure_code(group)
    add_action(group, "codes", _codes, "list the ONS codes that councils have and had")
    add_action(group, "list", _list, "list councils with their codes, ports and gateways")
    suites = add_action(
        group,
        "suites",
        _suites,
        "offer post-quantum key delivery to a council's gateways, or no longer",
        detail="It begins with each gateway's next epoch, within the hour.",
    )
    suites.add_argument("tenant", help="the council's short name")
    suites.add_argument(
        "--post-quantum",
        choices=["on", "off"],
        required=True,
        help="suite 3, X-Wing; experimental until its numbers are assigned",
    )


def _configure_add(group: Actions) -> None:
    add = add_action(
        group,
        "add",
        _add,
        "add a council, with its own roots, signers, recipients and first key set",
        detail="Run again, it makes what is missing and keeps what is there.",
    )
    add.add_argument("tenant", help="short name in topics and certificates, e.g. camden")
    add.add_argument("--gss", required=True, metavar="CODE", help="ONS code, e.g. E09000007")
    add.add_argument("--name", required=True, help="as people know it, e.g. Camden")
    add.add_argument(
        "--port", type=int, help="its own listener on Mosquitto (default: the next one free)"
    )
    add.add_argument(
        "--unlisted", action="store_true", help="accept a code or name that is newer than the list"
    )
    add.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help="passphrase of the authority's keys (default: where the enrolment service has it)",
    )


def _configure_code(group: Actions) -> None:
    code = add_action(
        group,
        "code",
        _code,
        "give a council the ONS code that new boundaries brought",
        detail="Its short name, gateways and data stay; what was published under the old code is "
        "still found by it.",
    )
    code.add_argument("tenant", help="the council's short name")
    code.add_argument("--gss", required=True, metavar="CODE", help="its new ONS code")
    code.add_argument("--name", required=True, help="as it is called from then on")
    code.add_argument(
        "--since",
        required=True,
        type=date.fromisoformat,
        metavar="DATE",
        help="the first day of the new code, e.g. 2026-04-01",
    )
    code.add_argument(
        "--unlisted", action="store_true", help="accept a code or name that is newer than the list"
    )


async def _code(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    directory.check()
    await councils.change_code(
        directory,
        tenant=arguments.tenant,
        gss=arguments.gss,
        name=arguments.name,
        since=arguments.since,
        unlisted=arguments.unlisted,
    )
    document = {"tenant": arguments.tenant, "gss": arguments.gss, "since": arguments.since}
    line = f"{arguments.tenant} is {arguments.name} ({arguments.gss}) from {arguments.since} on."
    show(arguments, document, [line])
    return 0


async def _codes(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    found = await councils.codes(directory)
    rows = [
        (each.tenant, each.gss, each.name, each.valid_from, each.valid_until, each.replaced_by)
        for each in found
    ]
    lines = table(("COUNCIL", "CODE", "NAME", "FROM", "UNTIL", "REPLACED BY"), rows)
    show(arguments, {"codes": found}, lines if rows else ["No council yet."])
    return 0


async def _add(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    directory.check()
    councils.check_code(arguments.gss, arguments.name, unlisted=arguments.unlisted)
    added = await councils.add(
        directory,
        tenant=arguments.tenant,
        gss=arguments.gss,
        name=arguments.name,
        port=arguments.port,
        unlisted=arguments.unlisted,
        passphrase=passphrases.of_authority(directory, arguments.passphrase_file),
    )
    council = added.council
    document = {
        "tenant": council.tenant,
        "gss": council.gss,
        "name": council.name,
        "port": added.port,
        "new": added.new,
        "key_set_version": added.key_set_version,
        "broker_restart_needed": added.broker_restart_needed,
        "streams_needed": added.streams_needed,
    }
    did = "added" if added.new else "whole"
    lines = [
        f"{council.name} ({council.gss}) is {did} as {council.tenant!r}.",
        f"Key set {added.key_set_version}, port {added.port}.",
    ]
    if added.broker_restart_needed:
        lines += [
            "Mosquitto opens listeners only when it starts: the enrolment service restarts it if",
            f"it was told how; else do so. Let port {added.port} through the firewall.",
        ]
    if added.ingest_restart_needed:
        lines.append("Restart ingest: it has a connection of its own for each council.")
    if added.streams_needed:
        lines += [
            "The enrolment service tells every node. Then, before any gateway is invited:",
            "kerbstone network prepare-streams",
        ]
    elif added.new:
        lines.append(f"Next: kerbstone network gateway invite {council.tenant}")
    show(arguments, document, lines)
    return 0


async def _list(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    found = await councils.listed(directory)
    rows = [
        (
            each.tenant,
            each.gss,
            each.name,
            each.port,
            " ".join(map(str, each.suites)),
            ", ".join(f"{count} {status}" for status, count in sorted(each.gateways.items())),
        )
        for each in found
    ]
    lines = table(("COUNCIL", "CODE", "NAME", "PORT", "SUITES", "GATEWAYS"), rows)
    show(arguments, {"councils": found}, lines if rows else ["No council yet."])
    return 0


async def _suites(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    suites = await councils.choose_suites(
        directory, tenant=arguments.tenant, post_quantum=arguments.post_quantum == "on"
    )
    numbers = ", ".join(map(str, suites))
    line = f"Gateways of {arguments.tenant} may use suites {numbers} from their next epoch on."
    show(arguments, {"tenant": arguments.tenant, "suites": suites}, [line])
    return 0
