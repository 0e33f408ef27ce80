"""`kerbstone bench …`: measure, print, keep the result; and draw a picture of one."""

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from broker_config.embedded import BrokerError
from command_line.bench.measurements import MEASUREMENTS
from command_line.numbers import count, more_than_zero, zero_or_more
from command_line.process import USAGE_ERROR
from command_line.progress import say
from storage.programs import EmbeddedDatabaseError

RESULTS: Final = Path(__file__).parents[2] / "bench" / "results"
PICTURE: Final = Path(__file__).parents[2] / "docs" / "images" / "performance.svg"


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
    ingest.add_argument("--rows", type=count(), default=1_000_000, help="readings of each kind")
    ingest.add_argument(
        "--workers", type=count(), default=1, help="processes of ingest (default 1)"
    )
    ingest.add_argument(
        "--grow",
        type=count(0),
        default=0,
        metavar="ROWS",
        help="also: the rate as the table grows to so many rows",
    )
    ingest.add_argument(
        "--no-latency", action="store_true", help="leave out how long messages wait"
    )
    store = actions.add_parser("store", help="what a batch costs the database, each way")
    query = actions.add_parser(
        "query", help="questions, and the open standards, asked of a full database"
    )
    for action in (store, query):
        action.add_argument(
            "--edition",
            action="append",
            choices=["plain", "timescaledb"],
            help="database to measure on; repeatable (default both)",
        )
    store.add_argument("--rows", type=count(), default=1_000_000, help="for each way")
    store.add_argument(
        "--grow", type=count(0), default=0, metavar="ROWS", help="instead: as it grows"
    )
    query.add_argument(
        "--rows", type=count(), default=20_000_000, help="stored (default 20 million)"
    )
    query.add_argument("--streams", type=count(), default=5_000, help="datastreams (default 5,000)")
    live = actions.add_parser("live", help="from COMMIT to pages that show live values")
    live.add_argument("--clients", type=count(), default=200, help="open pages (default 200)")
    edge = actions.add_parser("edge", help="memory, CPU and bytes written of a running agent")
    edge.add_argument(
        "--seconds", type=more_than_zero, default=30.0, help="length of each steady run"
    )
    edge.add_argument(
        "--backlog", type=count(), default=200_000, metavar="READINGS", help="how many wait at once"
    )
    edge.add_argument(
        "--soak",
        type=zero_or_more,
        default=0.0,
        metavar="MINUTES",
        help="instead: growth of memory over so long",
    )
    edge.add_argument(
        "--rate",
        type=more_than_zero,
        default=50.0,
        metavar="READINGS",
        help="readings a second of the soak (default 50)",
    )
    storm = actions.add_parser("storm", help="agents whose broker dies, and how they come back")
    storm.add_argument("--agents", type=count(), default=200, help="how many (default 200)")
    offline = actions.add_parser("offline", help="days without a network, and the drain after them")
    offline.add_argument("--hours", type=more_than_zero, default=72.0, help="how long (default 72)")
    offline.add_argument(
        "--pace",
        type=zero_or_more,
        default=0.0,
        metavar="READINGS",
        help="drained a second; 0: as fast as it goes (default)",
    )
    enrol = actions.add_parser("enrol", help="gateways that enrol and send a first reading")
    enrol.add_argument("--gateways", type=count(), default=500, help="how many (default 500)")
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
    every = actions.add_parser("all", help="ingest, store, query, live and edge, one after another")
    every.add_argument(
        "--rows", type=count(), default=20_000_000, help="of the full table (default 20 million)"
    )
    every.set_defaults(each=lambda given: _each(actions.choices, given.rows))
    for action in (ingest, store, query, live, edge, storm, offline, enrol, epoch, every):
        action.add_argument("--json", action="store_true", help="for scripts")
        action.add_argument("--no-keep", action="store_true", help="write no file to bench/results")


def _each(
    parsers: Mapping[str, argparse.ArgumentParser], rows: int
) -> Iterator[argparse.Namespace]:
    """Yield the arguments of all that `all` measures, on both editions, with a table of `rows`."""
    words = {
        "ingest": ["--edition", "plain", "--edition", "timescaledb", "--grow", str(rows)],
        "store": [],
        "query": ["--rows", str(rows)],
        "live": [],
        "edge": [],
    }
    for action, given in words.items():
        yield parsers[action].parse_args(given, argparse.Namespace(action=action))


def run(arguments: argparse.Namespace) -> int:
    """Measure; 1 when a measurement is void."""
    if arguments.action == "picture":
        return _picture(arguments)
    signal.signal(signal.SIGTERM, _interrupt)  # servers of ours end with us
    if arguments.action == "all":
        results = {each.action: _measure(each) for each in arguments.each(arguments)}
    else:
        results = {arguments.action: _measure(arguments)}
    done = {name: result for name, result in results.items() if result is not None}
    for name, result in done.items():
        if not arguments.no_keep:
            done[name] = _keep(name, result)
    shown = done if arguments.action == "all" else next(iter(done.values()), {})
    print(json.dumps(shown, indent=2) if arguments.json else "\n".join(_lines(shown)))
    return 0 if len(done) == len(results) else 1


def _interrupt(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would stop the tidying up
    raise KeyboardInterrupt


def _measure(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Return what was measured; None, and the reason said, when it is void."""
    # Here, not above: it needs the code of all that is measured.
    from bench.errors import BenchError  # noqa: PLC0415
    from command_line.demo.session import DemoError  # noqa: PLC0415

    say(f"Measuring {arguments.action}; this takes a minute or more")
    try:
        return MEASUREMENTS[arguments.action](arguments)
    except (BenchError, BrokerError, DemoError, EmbeddedDatabaseError) as error:
        print(f"kerbstone bench {arguments.action}: {error}", file=sys.stderr)
        return None


def _keep(name: str, result: dict[str, Any]) -> dict[str, Any]:
    """Write a result into bench/results; return it with the time it has there."""
    RESULTS.mkdir(exist_ok=True)
    moment = datetime.now(UTC)
    kept = {"measured_at": moment.isoformat(timespec="seconds"), **result}
    path = RESULTS / f"{name}-{moment:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    say(f"Kept in {path}")
    return kept


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


def _lines(result: Mapping[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, value in result.items():
        words = f"{indent}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            lines += [words, *_lines(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for number, one in enumerate(value, start=1):
                lines += [f"{words} {number}", *_lines(one, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], str):
            lines += [words, *(f"{indent}  {line}" for line in value)]
        else:
            shown = f"{value:,.2f}" if isinstance(value, float) else str(value)
            lines.append(f"{words:<40} {shown}")
    return lines
