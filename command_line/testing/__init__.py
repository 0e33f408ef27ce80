"""`kerbstone test`: provision what the tests need, run them, and say what could not be run.

`parts` says what there is to run, `provision` gets servers and a browser onto the machine, `edge`
proves that the gateway works with its own extra alone. The tests themselves live in `tests/`.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from command_line.testing.parts import ALL, PARTS, Part, expand
from command_line.testing.provision import Missing, provision

ROOT = Path(__file__).parents[2]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the parts and what is handed on to pytest."""
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"any of {', '.join([*PARTS, *ALL])} (default: everything)",
    )
    parser.add_argument(
        "--pytest",
        action="append",
        default=[],
        metavar="ARG",
        help="handed on to pytest; repeatable",
    )
    parser.epilog = (
        "KERBSTONE_TEST_DATABASE=URL runs the database tests against a server of your own. "
        "With CI=true, anything that cannot be run is a failure."
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the chosen parts; 0 when all that ran passed (and, in CI, all were run)."""
    try:
        parts = expand(arguments.parts)
    except KeyError as error:
        print(
            f"kerbstone test: no part is called {error.args[0]!r}; "
            f"there are {', '.join([*PARTS, *ALL])}"
        )
        return 2
    missing = provision({need for part in parts for need in part.needs})
    failed: list[str] = []
    not_run: list[tuple[Part, Missing]] = []
    for part in parts:
        lacking = next((missing[need] for need in part.needs if need in missing), None)
        if lacking is not None:
            not_run.append((part, lacking))
        elif not _run_part(part, arguments.pytest):
            failed.append(part.name)
    return _conclude(failed, not_run)


def _run_part(part: Part, pytest_arguments: list[str]) -> bool:
    passed = True
    for step in part.steps:
        words = [*step.words, *(pytest_arguments if step.is_pytest else [])]
        print(f"\n== {part.name}: {step.title}", flush=True)
        started = time.monotonic()
        command = [sys.executable, *words]
        status = subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603
        print(f"== {part.name}: {step.title}: {time.monotonic() - started:.0f} s", flush=True)
        passed = passed and status == 0
    return passed


def _conclude(failed: list[str], not_run: list[tuple[Part, Missing]]) -> int:
    print()
    for part, lacking in not_run:
        print(f"NOT RUN  {part.name}: {lacking.what}. To enable it: {lacking.remedy}")
    for name in failed:
        print(f"FAILED   {name}")
    if failed or (not_run and os.environ.get("CI") == "true"):
        return 1
    print("All that was run passed." if not_run else "Everything passed.")
    return 0
