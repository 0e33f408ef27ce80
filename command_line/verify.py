"""`kerbstone verify vectors|fuzz`: the envelope against its vectors, and against rubbish.

`vectors FILE` feeds a vectors file to a receiver and compares every code; `fuzz` is
`command_line.fuzz`.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from command_line import fuzz
from command_line.process import USAGE_ERROR
from device_protocol.vectors import CaseResult, check_vectors


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the two actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    vectors = actions.add_parser("vectors", help="expected and actual code of each case")
    vectors.add_argument(
        "file", type=Path, metavar="FILE", help="as docs/reference/envelope.md section 12"
    )
    vectors.add_argument("--json", action="store_true", help="for scripts")
    fuzz.configure(
        actions.add_parser("fuzz", help="only defined refusals may come of a million bent messages")
    )


def run(arguments: argparse.Namespace) -> int:
    """Print each case, or run the campaign; 1 when any differs, 2 when a file cannot be read."""
    if arguments.action == "fuzz":
        return fuzz.run(arguments)
    try:
        results = check_vectors(json.loads(arguments.file.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"kerbstone verify: {arguments.file}: not a vectors file: {error!r}", file=sys.stderr)
        return USAGE_ERROR
    failed = [result for result in results if not result.passed]
    if arguments.json:
        print(json.dumps({"cases": [asdict(result) for result in results], "failed": len(failed)}))
    else:
        _print_table(results)
        print(f"\n{len(results) - len(failed)} as expected, {len(failed)} different")
    return 1 if failed else 0


def _print_table(results: list[CaseResult]) -> None:
    print("expected  actual  case")
    for result in results:
        verdict = "" if result.passed else f"  DIFFERENT {result.detail}"
        print(f"{result.expected:>8}  {result.actual:>6}  {result.name}{verdict}")
