"""`kerbstone test`: provision what the tests need, run them, and say what could not be run.

`parts` says what there is to run, `provision` gets servers and a browser onto the machine, `lanes`
runs the parts, and `edge` proves that the gateway works with its own extra alone. The tests
themselves live in `tests/`.
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import replace

from command_line.numbers import count, more_than_zero
from command_line.testing.lanes import run_parts
from command_line.testing.parts import ALL, PARTS, Part, expand
from command_line.testing.provision import Missing, provision

_CHAOS_SEED = 48  # brings every kind of fault within a minute


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
    chaos = parser.add_argument_group("of the part chaos")
    chaos.add_argument("--minutes", type=more_than_zero, metavar="N", help="how long (default 1)")
    chaos.add_argument(
        "--seed",
        type=count(0),
        metavar="S",
        help="of the faults; the same again for the same (default 48)",
    )
    chaos.add_argument("--workers", type=count(), metavar="N", help="of ingest (default 1)")
    chaos.add_argument("--broker", choices=["mosquitto", "nats"], help="default mosquitto")
    chaos.add_argument("--edition", choices=["plain", "timescaledb"], help="default plain")
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
    parts = [_as_told(part, arguments) for part in parts]
    missing = provision({need for part in parts for need in part.needs})
    lacking = {part.name: missing[need] for part in parts for need in part.needs if need in missing}
    failed = run_parts([part for part in parts if part.name not in lacking], arguments.pytest)
    return _conclude(failed, [(part, lacking[part.name]) for part in parts if part.name in lacking])


def _as_told(part: Part, arguments: argparse.Namespace) -> Part:
    """Return the part chaos with its options, any other as it is."""
    if part.name != "chaos":
        return part
    words = tuple(_chaos_words(arguments))
    steps = tuple(replace(step, words=(*step.words, *words)) for step in part.steps)
    needs = {"embedded_timescaledb"} if arguments.edition == "timescaledb" else set()
    return replace(part, steps=steps, needs=part.needs | needs)


def _chaos_words(arguments: argparse.Namespace) -> Iterator[str]:
    chosen = {
        "--minutes": arguments.minutes,
        "--seed": _CHAOS_SEED if arguments.seed is None else arguments.seed,
        "--workers": arguments.workers,
        "--broker": arguments.broker,
        "--edition": arguments.edition,
    }
    for option, value in chosen.items():
        if value is not None:
            yield option
            yield str(value)


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
