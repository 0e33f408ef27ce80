"""`kerbstone network gateway list|show|revoke|suspend|resume|configure`; `invite` is `invite`."""

import argparse
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from command_line.network import gateways
from command_line.network.commands import invite
from command_line.network.commands.terminal import (
    FAILED,
    NOT_SIGNED,
    SIGNED_WITHIN_SECONDS,
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
from command_line.network.gateways import Shown
from command_line.progress import say
from storage.network_view import GatewayFacts
from storage.registry import Status

STATUSES = ("invited", "active", "suspended", "revoked")
OUTCOMES: Final = {
    "requested": NOT_SIGNED,
    "signed": "They are signed, but the gateway has not answered: it may be off, or still trying "
    "them, and then goes back by itself. `kerbstone network gateway show` tells later.",
    "refused": "The gateway has refused them, or could not report back under them and has gone "
    "back by itself. Its log says why.",
}
WAIT_SECONDS = 900.0  # a gateway tries for ten minutes, unless its own settings say otherwise


def configure(actions: Actions) -> None:
    """Add the commands."""
    group = add_group(actions, "gateway", "gateways: invite, look, revoke, change settings")
    invite.configure(group)
    listing = add_action(group, "list", _list, "list gateways")
    listing.add_argument("--council", metavar="TENANT", help="of one council only")
    listing.add_argument("--status", choices=STATUSES, help="of one status only")
    showing = add_action(group, "show", _show, "show everything known of one gateway")
    showing.add_argument("device", help="its device id")
    _configure_status(group)
    _configure_settings(group)


def _configure_status(group: Actions) -> None:
    for name, carry_out, text in (
        ("revoke", _revoke, "revoke gateways, for good: refused within a second"),
        ("suspend", _suspend, "suspend gateways until they are resumed"),
        ("resume", _resume, "resume suspended gateways"),
    ):
        parser = add_action(group, name, carry_out, text)
        parser.add_argument("devices", nargs="+", metavar="device", help="its device id")
        parser.add_argument("--reason", default="", help="shown on the pages and in the audit")
        add_yes(parser)


def _configure_settings(group: Actions) -> None:
    parser = add_action(
        group,
        "configure",
        _configure,
        "change settings of a gateway from afar (message C)",
        detail="They take the place of those sent before. The gateway tries them, and goes back "
        "by itself if it cannot report to the centre under them.",
    )
    parser.add_argument("device", help="its device id")
    parser.add_argument(
        "--set",
        action="append",
        required=True,
        dest="settings",
        metavar="KEY=VALUE",
        help="repeatable, e.g. uplink.batch_seconds=5",
    )
    parser.add_argument(
        "--days", type=int, default=30, help="how long it may take them up (default %(default)s)"
    )
    parser.add_argument(
        "--wait",
        nargs="?",
        type=float,
        const=WAIT_SECONDS,
        metavar="SECONDS",
        help=f"wait until it follows or refuses them (default {WAIT_SECONDS:.0f})",
    )


async def _list(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    found = await gateways.listed(directory, tenant=arguments.council, status=arguments.status)
    rows = [
        (each.tenant, each.site, each.label, each.device, each.status, each.last_message_at)
        for each in found
    ]
    header = ("COUNCIL", "SITE", "LABEL", "DEVICE", "STATUS", "LAST MESSAGE")
    show(arguments, {"gateways": found}, table(header, rows) if rows else ["No such gateway."])
    return 0


async def _show(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    found = await gateways.shown(directory, arguments.device)
    show(arguments, {"gateway": found}, _about(found))
    return 0


async def _revoke(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    effect = (
        "revokes {} for good: what it sends from now on is refused, and its certificate never "
        "counts again"
    )
    return await _set_status(arguments, directory, "revoked", effect)


async def _suspend(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    effect = "suspends {}: it is not let in, and what it sends is refused, until it is resumed"
    return await _set_status(arguments, directory, "suspended", effect)


async def _resume(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    effect = "resumes {}: it is let in again, and what it sends is taken"
    return await _set_status(arguments, directory, "active", effect)


async def _set_status(
    arguments: argparse.Namespace, directory: NetworkDirectory, status: Status, effect: str
) -> int:
    devices = list(dict.fromkeys(arguments.devices))
    described = [_named((await gateways.shown(directory, device)).facts) for device in devices]
    answer = devices[0] if len(devices) == 1 else f"{arguments.gateway_action} {len(devices)}"
    confirm(arguments, f"This {effect.format(', '.join(described))}.", answer)
    await gateways.set_status(directory, devices=devices, status=status, reason=arguments.reason)
    document = {"devices": devices, "status": status, "reason": arguments.reason}
    show(arguments, document, [f"{device} is {status}." for device in devices])
    return 0


async def _configure(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    settings = parsed(arguments.settings)
    version = await gateways.configure(
        directory,
        device=arguments.device,
        settings=settings,
        lifetime=timedelta(days=arguments.days),
    )
    state, lines = "requested", [f"Settings {version} are asked of {arguments.device}."]
    if arguments.wait is not None:
        state = await _outcome(arguments, directory, version)
        lines.append(OUTCOMES.get(state, f"They are {state}."))
    document = {"device": arguments.device, "version": version, "state": state}
    show(arguments, document, lines)
    return 0 if arguments.wait is None or state == "in force" else FAILED


async def _outcome(arguments: argparse.Namespace, directory: NetworkDirectory, version: int) -> str:
    """Wait for what the gateway makes of its settings; say meanwhile what may hold them up."""
    at_first = min(arguments.wait, SIGNED_WITHIN_SECONDS)
    state = ""
    for seconds in (at_first, arguments.wait - at_first):
        settled = await gateways.settled(
            directory, device=arguments.device, version=version, within_seconds=seconds
        )
        if not state and settled.state not in gateways.SETTLED and seconds < arguments.wait:
            say(NOT_SIGNED if settled.state == "requested" else "Signed; the gateway tries them.")
        state = settled.state
    return state


def parsed(pairs: Sequence[str]) -> dict[str, object]:
    """Return settings from KEY=VALUE; a value is a JSON scalar, or else plain text.

    Raises:
        MisusedError: one has no sign of equality, or a key stands twice.
    """
    settings: dict[str, object] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise MisusedError(f"--set {pair}: write KEY=VALUE, e.g. uplink.batch_seconds=5")
        if key in settings:
            raise MisusedError(f"--set {key} stands twice")
        try:
            settings[key] = json.loads(text)
        except json.JSONDecodeError:
            settings[key] = text
    return settings


def _named(facts: GatewayFacts) -> str:
    place = ", ".join(text for text in (facts.label, facts.site, facts.council) if text)
    return f"{facts.device} ({place}, {facts.status})"


def _about(found: Shown) -> list[str]:
    facts = found.facts
    reason = f" ({facts.status_reason})" if facts.status_reason else ""
    place = (
        f" ({facts.latitude:.5f}, {facts.longitude:.5f})"
        if facts.latitude is not None and facts.longitude is not None
        else ""
    )
    lines = [
        f"Gateway {facts.device} of {facts.council}",
        f"  Status         {facts.status} since {moment(facts.status_at)}{reason}",
        f"  Site           {facts.site or '-'}  {facts.label}".rstrip(),
        f"  Place          {facts.place_name or '-'}{place}",
        f"  Invitation     {_invitation(facts)}",
        f"  Enrolled       {moment(facts.enrolled_at)}",
        f"  Certificate    until {moment(facts.certificate_until)}",
        f"  Last message   {moment(facts.last_message_at)}",
        f"  Key set        {facts.key_set_version or '-'}",
        f"  Settings       {_settings(facts)}",
    ]
    lines += [
        f"    {each.version}: {each.state}, {moment(each.requested_at)}, {each.requested_by}: "
        + ", ".join(f"{key} = {value}" for key, value in sorted(each.settings.items()))
        for each in found.configurations
    ]
    lines.append("  Newest acts")
    lines += [f"    {moment(each.at)}  {each.action}  {each.actor}" for each in found.audit]
    return lines


def _invitation(facts: GatewayFacts) -> str:
    until = facts.token_expires_at
    return "none open" if until is None else f"open until {moment(until)}"


def _settings(facts: GatewayFacts) -> str:
    if facts.configuration_wanted is None:
        return "as in its own file"
    return (
        f"{facts.configuration_wanted} wanted, {facts.configuration_in_force or 'none'} in force, "
        f"{facts.configuration_refused or 'none'} refused"
    )
