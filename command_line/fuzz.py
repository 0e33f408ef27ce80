"""`kerbstone verify fuzz`: a million messages nobody would send, and what became of them."""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

from command_line.process import USAGE_ERROR
from command_line.progress import Progress

VECTORS: Final = Path(__file__).parents[1] / "tests" / "data" / "cose"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("--messages", type=int, default=100_000, help="how many (100 000)")
    parser.add_argument("--seed", type=int, default=1, help="another draws other messages (1)")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="default: one for each core"
    )
    parser.add_argument(
        "--vectors",
        type=Path,
        default=VECTORS,
        metavar="DIR",
        help="envelope vectors to begin with (default %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Feed them and print what became of them; 1 when anything undefined did."""
    from bench.fuzz.campaign import run as feed  # noqa: PLC0415 - needs what a gateway lacks

    if arguments.messages < 1 or arguments.processes < 1:
        print("kerbstone verify: give at least one message and one process", file=sys.stderr)
        return USAGE_ERROR
    began = time.monotonic()
    try:
        with Progress("Feeding", arguments.messages, unit="messages") as progress:
            tally = feed(
                arguments.messages,
                seed=arguments.seed,
                vectors=arguments.vectors,
                processes=arguments.processes,
                progress=progress.update,
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"kerbstone verify: {arguments.vectors}: not vectors: {error!r}", file=sys.stderr)
        return USAGE_ERROR
    seconds = round(time.monotonic() - began, 1)
    result = {"seed": arguments.seed, "seconds": seconds, "processes": arguments.processes}
    result |= tally.as_json()
    print(json.dumps(result, indent=2) if arguments.json else "\n".join(_lines(result)))
    return 1 if tally.found else 0


def _lines(result: dict[str, Any]) -> list[str]:
    lines = []
    for target, codes in result["codes"].items():
        total = sum(codes.values())
        found = ", ".join(f"{code} {count:,}" for code, count in codes.items())
        lines.append(f"{target:<22} {total:>9,}  {found}")
    lines += [
        "",
        f"{result['messages']:,} messages in {result['seconds']} s, seed {result['seed']}",
        f"slowest {1000 * result['slowest_message_seconds']:.1f} ms ({result['slowest_target']})",
        f"memory of a process: at most {result['peak_memory_mib']} MiB",
        f"  of it since warming up: {result['memory_growth_mib']} MiB",
    ]
    if not result["findings"]:
        lines.append("Only defined refusals, and nothing accepted that was not sent.")
    for found in result["first_findings"]:
        lines.append(f"FOUND: {found['target']}, number {found['number']}: {found['what']}")
        lines.append(f"       {found['message'][:160]}")
    return lines
