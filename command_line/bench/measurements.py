"""Each measurement, given what the command line says. Modules are imported when they are needed."""

# ruff: noqa: PLC0415 - each needs the code of what it measures, and none that of the others

import argparse
import asyncio
from collections.abc import Callable
from typing import Any, Final

from command_line.progress import say


def _ingest(arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.ingest import measure

    return measure(
        editions=arguments.edition or ["plain"],
        rows=arguments.rows,
        broker=arguments.broker,
        workers=arguments.workers,
        growth_rows=arguments.grow,
        latency=not arguments.no_latency,
        tell=say,
    )


def _store(arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.store import EDITIONS, measure, measure_growth

    editions = arguments.edition or EDITIONS
    if arguments.grow:
        return measure_growth(editions=editions, rows=arguments.grow, tell=say)
    return measure(editions=editions, rows=arguments.rows, tell=say)


def _query(arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.query import EDITIONS, measure

    return measure(
        rows=arguments.rows,
        streams=arguments.streams,
        editions=arguments.edition or EDITIONS,
        tell=say,
    )


def _live(arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.live import measure

    return measure(clients=arguments.clients)


def _edge(arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.edge import measure, measure_soak

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
    from bench.storm import measure

    return measure(arguments.agents)


def _offline(arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.offline import measure

    return measure(
        hours=arguments.hours, drain_readings_per_second=arguments.pace, broker=arguments.broker
    )


def _enrol(arguments: argparse.Namespace) -> dict[str, Any]:
    from command_line.demo.empty_city import measure_enrolment

    return asyncio.run(measure_enrolment(gateways=arguments.gateways, broker=arguments.broker))


def _epoch(_arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.epoch import measure

    return measure()


MEASUREMENTS: Final[dict[str, Callable[[argparse.Namespace], dict[str, Any]]]] = {
    "ingest": _ingest,
    "store": _store,
    "query": _query,
    "live": _live,
    "edge": _edge,
    "storm": _storm,
    "offline": _offline,
    "enrol": _enrol,
    "epoch": _epoch,
}
