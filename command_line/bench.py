"""`kerbstone bench ingest|edge`: measure, print, keep the result with the machine it was on."""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from broker_config.embedded import BrokerError
from command_line.progress import say
from storage.programs import EmbeddedDatabaseError

RESULTS: Final = Path(__file__).parents[1] / "bench" / "results"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the two measurements."""
    actions = parser.add_subparsers(dest="action", metavar="WHAT", required=True)
    ingest = actions.add_parser("ingest", help="rows a second, end to end beside raw COPY")
    ingest.add_argument(
        "--edition",
        action="append",
        choices=["plain", "timescaledb"],
        help="database to measure on; repeatable (default plain)",
    )
    ingest.add_argument("--rows", type=int, default=1_000_000, help="readings of each kind")
    edge = actions.add_parser("edge", help="memory, CPU and bytes written of a running agent")
    edge.add_argument("--seconds", type=float, default=30.0, help="length of the steady run")
    for action in (ingest, edge):
        action.add_argument(
            "--broker", choices=["mosquitto", "nats"], default="", help="default: the best here"
        )
        action.add_argument("--json", action="store_true", help="for scripts")
        action.add_argument("--no-keep", action="store_true", help="write no file to bench/results")


def run(arguments: argparse.Namespace) -> int:
    """Measure; 1 when the measurement is void."""
    from bench.edge import BenchError as EdgeBenchError  # noqa: PLC0415 - both start servers' code
    from bench.ingest import BenchError as IngestBenchError  # noqa: PLC0415

    say(f"Measuring {arguments.action}; this takes a minute or two")
    try:
        result = _ingest(arguments) if arguments.action == "ingest" else _edge(arguments)
    except (EdgeBenchError, IngestBenchError, BrokerError, EmbeddedDatabaseError) as error:
        print(f"kerbstone bench: {error}", file=sys.stderr)
        return 1
    if not arguments.no_keep:
        RESULTS.mkdir(exist_ok=True)
        moment = datetime.now(UTC)
        result = {"measured_at": moment.isoformat(timespec="seconds"), **result}
        path = RESULTS / f"{arguments.action}-{moment:%Y%m%dT%H%M%SZ}.json"
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        say(f"Kept in {path}")
    print(json.dumps(result, indent=2) if arguments.json else "\n".join(_lines(result)))
    return 0


def _ingest(arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.ingest import measure  # noqa: PLC0415

    editions = arguments.edition or ["plain"]
    result = measure(editions=editions, rows=arguments.rows, broker=arguments.broker)
    return {**result.pop("editions")[editions[0]], **result} if len(editions) == 1 else result


def _edge(arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.edge import measure  # noqa: PLC0415

    return measure(seconds=arguments.seconds, broker=arguments.broker)


def _lines(result: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, value in result.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name.replace('_', ' ')}", *_lines(value, indent + "  ")]
        else:
            shown = f"{value:,.2f}" if isinstance(value, float) else str(value)
            lines.append(f"{indent}{name.replace('_', ' '):<40} {shown}")
    return lines
