"""`kerbstone bench …`: measure, print, keep the result; and draw a picture of one."""

import argparse
import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from broker_config.embedded import BrokerError
from command_line.process import USAGE_ERROR
from command_line.progress import say
from storage.programs import EmbeddedDatabaseError

RESULTS: Final = Path(__file__).parents[1] / "bench" / "results"
PICTURE: Final = Path(__file__).parents[1] / "docs" / "images" / "performance.svg"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the measurements."""
    actions = parser.add_subparsers(dest="action", metavar="WHAT", required=True)
    ingest = actions.add_parser("ingest", help="rows a second, end to end beside raw COPY")
    ingest.add_argument(
        "--edition",
        action="append",
        choices=["plain", "timescaledb"],
        help="database to measure on; repeatable (default plain)",
    )
    ingest.add_argument("--rows", type=int, default=1_000_000, help="readings of each kind")
    ingest.add_argument("--workers", type=int, default=1, help="processes of ingest (default 1)")
    ingest.add_argument(
        "--grow",
        type=int,
        default=0,
        metavar="ROWS",
        help="also: the rate as the table grows to so many rows",
    )
    ingest.add_argument(
        "--no-latency", action="store_true", help="leave out how long messages wait"
    )
    edge = actions.add_parser("edge", help="memory, CPU and bytes written of a running agent")
    edge.add_argument("--seconds", type=float, default=30.0, help="length of each steady run")
    edge.add_argument(
        "--backlog", type=int, default=200_000, metavar="READINGS", help="how many wait at once"
    )
    edge.add_argument(
        "--soak",
        type=float,
        default=0.0,
        metavar="MINUTES",
        help="instead: growth of memory over so long",
    )
    edge.add_argument(
        "--rate",
        type=float,
        default=50.0,
        metavar="READINGS",
        help="readings a second of the soak (default 50)",
    )
    storm = actions.add_parser("storm", help="agents whose broker dies, and how they come back")
    storm.add_argument("--agents", type=int, default=200, help="how many (default 200)")
    offline = actions.add_parser("offline", help="days without a network, and the drain after them")
    offline.add_argument("--hours", type=float, default=72.0, help="how long (default 72)")
    offline.add_argument(
        "--pace",
        type=float,
        default=0.0,
        metavar="READINGS",
        help="drained a second; 0: as fast as it goes (default)",
    )
    enrol = actions.add_parser("enrol", help="gateways that enrol and send a first reading")
    enrol.add_argument("--gateways", type=int, default=500, help="how many (default 500)")
    epoch = actions.add_parser("epoch", help="bytes and time of an announcement, by suite")
    picture = actions.add_parser("picture", help="draw what `bench ingest` measured, SVG")
    picture.add_argument(
        "--result", type=Path, metavar="FILE", help="of bench/results (default: the newest)"
    )
    picture.add_argument(
        "--to", type=Path, default=PICTURE, metavar="FILE", help="default: the one in the docs"
    )
    for action in (ingest, edge, offline, enrol):
        action.add_argument(
            "--broker", choices=["mosquitto", "nats"], default="", help="default: the best here"
        )
    for action in (ingest, edge, storm, offline, enrol, epoch):
        action.add_argument("--json", action="store_true", help="for scripts")
        action.add_argument("--no-keep", action="store_true", help="write no file to bench/results")


def run(arguments: argparse.Namespace) -> int:
    """Measure; 1 when the measurement is void."""
    if arguments.action == "picture":
        return _picture(arguments)
    # Here and below, not above: each needs the code of what it measures.
    from bench.errors import BenchError  # noqa: PLC0415
    from command_line.demo.session import DemoError  # noqa: PLC0415

    errors = (
        BenchError,
        BrokerError,
        DemoError,
        EmbeddedDatabaseError,
    )
    say(f"Measuring {arguments.action}; this takes a minute or two")
    try:
        result = _MEASUREMENTS[arguments.action](arguments)
    except errors as error:
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


def _picture(arguments: argparse.Namespace) -> int:
    from bench.picture import draw  # noqa: PLC0415

    kept = sorted(RESULTS.glob("ingest-*.json"))
    file = arguments.result or (kept[-1] if kept else None)
    try:
        if file is None:
            raise FileNotFoundError(f"no result in {RESULTS}: run `kerbstone bench ingest` first")
        picture = draw(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError) as error:
        print(f"kerbstone bench: {file or ''}: no result to draw: {error!r}", file=sys.stderr)
        return USAGE_ERROR
    arguments.to.write_text(picture, encoding="utf-8")
    say(f"Drawn in {arguments.to}")
    return 0


def _ingest(arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.ingest import measure  # noqa: PLC0415

    return measure(
        editions=arguments.edition or ["plain"],
        rows=arguments.rows,
        broker=arguments.broker,
        workers=arguments.workers,
        growth_rows=arguments.grow,
        latency=not arguments.no_latency,
        say=say,
    )


def _edge(arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.edge import measure, measure_soak  # noqa: PLC0415

    if arguments.soak:
        return measure_soak(
            minutes=arguments.soak,
            readings_per_second=arguments.rate,
            broker=arguments.broker,
        )
    return measure(
        seconds=arguments.seconds, backlog_readings=arguments.backlog, broker=arguments.broker
    )


def _storm(arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.storm import measure  # noqa: PLC0415

    return measure(arguments.agents)


def _offline(arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.offline import measure  # noqa: PLC0415

    return measure(
        hours=arguments.hours, drain_readings_per_second=arguments.pace, broker=arguments.broker
    )


def _enrol(arguments: argparse.Namespace) -> dict[str, Any]:
    from command_line.demo.empty_city import measure_enrolment  # noqa: PLC0415

    return asyncio.run(measure_enrolment(gateways=arguments.gateways, broker=arguments.broker))


def _epoch(_arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.epoch import measure  # noqa: PLC0415

    return measure()


_MEASUREMENTS: Final = {
    "ingest": _ingest,
    "edge": _edge,
    "storm": _storm,
    "offline": _offline,
    "enrol": _enrol,
    "epoch": _epoch,
}


def _lines(result: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, value in result.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name.replace('_', ' ')}", *_lines(value, indent + "  ")]
        else:
            shown = f"{value:,.2f}" if isinstance(value, float) else str(value)
            lines.append(f"{indent}{name.replace('_', ' '):<40} {shown}")
    return lines
