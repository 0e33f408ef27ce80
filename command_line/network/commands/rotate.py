"""`kerbstone network rotate recipients|services|destroy-retired`."""

import argparse
import asyncio
import time
from pathlib import Path

from command_line.network import passphrases, rotation
from command_line.network.commands.terminal import (
    FAILED,
    NOT_SIGNED,
    SIGNED_WITHIN_SECONDS,
    Actions,
    add_action,
    add_group,
    add_yes,
    confirm,
    moment,
    show,
    table,
)
from command_line.network.directory import NetworkDirectory
from command_line.network.first_messages import MAIN
from command_line.network.recipient_keys import KINDS
from command_line.network.rotation import Adoption, RegionKey
from command_line.progress import Progress, say

WAIT_SECONDS = 4200.0  # an epoch lasts an hour, unless settings say otherwise
_POLL_SECONDS = 0.5


def configure(actions: Actions) -> None:
    """Add the commands."""
    group = add_group(actions, "rotate", "rotate recipient keys and service certificates")
    recipients = add_action(
        group,
        "recipients",
        _recipients,
        "make new keys that gateways seal to, and retire the old ones",
        detail="No reading is lost. The old keys are destroyed later, by destroy-retired.",
    )
    recipients.add_argument(
        "--group", default=MAIN, help="of recipients, as in topics (default %(default)s)"
    )
    recipients.add_argument(
        "--key-type",
        action="append",
        choices=KINDS,
        default=[],
        help="repeatable (default: those the group has)",
    )
    recipients.add_argument(
        "--wait",
        nargs="?",
        type=float,
        const=WAIT_SECONDS,
        metavar="SECONDS",
        help=f"wait until all gateways seal to them (default {WAIT_SECONDS:.0f})",
    )
    services = add_action(
        group, "services", _services, "make new certificates for broker, enrolment and ingest"
    )
    services.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="passphrase of the authority's keys"
    )
    services.add_argument(
        "--region-root-key",
        type=Path,
        metavar="FILE",
        help="make a new service root, too, with this key, which is not kept",
    )
    services.add_argument(
        "--region-passphrase-file",
        type=Path,
        metavar="FILE",
        help="passphrase of that key (default: ask)",
    )
    destroy = add_action(
        group,
        "destroy-retired",
        _destroy,
        "destroy retired private keys that no gateway and no late message needs",
    )
    destroy.add_argument(
        "--force",
        metavar="REASON",
        default="",
        help="destroy those still needed, too; the reason goes to the audit",
    )
    add_yes(destroy)


async def _recipients(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    rotated = await rotation.rotate_recipients(
        directory, group=arguments.group, kinds=arguments.key_type
    )
    found = await _awaited(arguments, directory)
    complete = all(each.complete for each in found)
    document = {"rotated": rotated, "councils": found, "complete": complete}
    lines = [
        f"New keys {_kids(rotated.made)}; retired {_kids(rotated.retired)}.",
        "",
        *_adopted(found),
        "",
        "kerbstone network rotate destroy-retired, in a week: late messages may need the old keys.",
    ]
    show(arguments, document, lines)
    return 0 if complete or arguments.wait is None else FAILED


async def _awaited(arguments: argparse.Namespace, directory: NetworkDirectory) -> list[Adoption]:
    """Return how far councils are, once all are there or the time to wait is over."""
    found = await rotation.adoption(directory)
    if arguments.wait is None:
        return found
    begun = time.monotonic()
    ends, reminded = begun + arguments.wait, False
    with Progress(
        "Taking up the new keys", len(found), unit="councils", estimated=False
    ) as progress:
        while not all(each.complete for each in found) and time.monotonic() < ends:
            progress.update(sum(each.complete for each in found))
            if not reminded and time.monotonic() - begun > SIGNED_WITHIN_SECONDS:
                reminded = True
                if not all(each.signed for each in found):
                    say(f"\n{NOT_SIGNED}")
            await asyncio.sleep(_POLL_SECONDS)
            found = await rotation.adoption(directory)
        progress.update(sum(each.complete for each in found))
    return found


async def _services(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    directory.check()
    passphrase = passphrases.of_authority(directory, arguments.passphrase_file)
    renewed = await rotation.rotate_services(
        directory, passphrase=passphrase, region=_region_key(arguments)
    )
    lines = [f"New: {path}" for path in renewed]
    lines += [
        "Broker and enrolment service show theirs within a minute, without a restart;",
        "ingest shows its own when it connects again.",
    ]
    show(arguments, {"certificates": renewed}, lines)
    return 0


def _region_key(arguments: argparse.Namespace) -> RegionKey | None:
    key, file = arguments.region_root_key, arguments.region_passphrase_file
    if key is None:
        return None
    if not passphrases.is_encrypted(key):
        return RegionKey(file=key, passphrase=None)
    if file is not None:
        return RegionKey(file=key, passphrase=passphrases.read(file))
    return RegionKey(file=key, passphrase=passphrases.asked("the region root's key", twice=False))


async def _destroy(arguments: argparse.Namespace, directory: NetworkDirectory) -> int:
    retired = await rotation.retired_keys(directory)
    if not retired:
        show(arguments, {"destroyed": [], "kept": []}, ["No key is retired."])
        return 0
    needed = [key for key in retired if key.reasons]
    if arguments.force or not needed:
        listed = "\n".join(f"  {key.path}" for key in retired)
        confirm(arguments, f"This destroys {len(retired)} private keys:\n{listed}", "destroy")
    destroyed = await rotation.destroy_retired(directory, force_reason=arguments.force)
    lines = [f"Destroyed {key.path.name}, retired {moment(key.retired_at)}." for key in destroyed]
    show(arguments, {"destroyed": destroyed}, lines)
    return 0


def _adopted(found: list[Adoption]) -> list[str]:
    rows = [
        (
            each.tenant,
            each.key_set_version or "none",
            "yes" if each.signed else "not yet",
            len(each.stragglers),
            ", ".join(each.stragglers[:5]),
        )
        for each in found
    ]
    return table(("COUNCIL", "KEY SET", "LISTS THEM", "STRAGGLERS", ""), rows)


def _kids(kids: tuple[bytes, ...]) -> str:
    return ", ".join(kid.hex() for kid in kids) or "none"
