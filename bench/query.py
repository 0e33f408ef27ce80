"""How long the questions of `storage.analysis` take at a given size, beside the machine's limit.

How fast the open standards are read from the same data is `bench.standards`.

Each edition's database is made and seeded here. Then every question is asked over and over, warm,
through the function that pages use, and EXPLAIN says once of its main statement what that read.
Beside each stands what the same server needs at least: a round trip that asks nothing, or the
same pages read in one bare pass (`raw`); the factor between the two is what is left to be gained.
CPU times, of the server with its workers and of the asking process, tell on a busy machine, too.
"""

import asyncio
import os
import re
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, LiteralString, Self

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from bench.errors import BenchError
from bench.machine import cpu_seconds, describe_machine
from bench.seed import Seeded, Tell, seed
from bench.standards import SECONDS, measure_standards
from storage import analysis
from storage.database import Connection, connect
from storage.embedded import EmbeddedDatabase, remove
from storage.migration import migrate

EDITIONS: Final = ("plain", "timescaledb")
RUNS: Final = 7
LIMIT_SECONDS: Final = 60.0

_DAY: Final = timedelta(days=1)
_RAW_RUNS: Final = 5


@dataclass(frozen=True, slots=True)
class Question:
    """One question. ask: returns the answer. raw: the bare statement to hold it against.

    may_be_empty: no answer is one, too.
    """

    name: str
    ask: Callable[[Connection], Awaitable[Sequence[Any]]]
    raw: LiteralString
    raw_parameters: Mapping[str, Any]
    may_be_empty: bool = False


def measure(
    *,
    rows: int = 20_000_000,
    streams: int = 5_000,
    editions: Sequence[str] = EDITIONS,
    tell: Tell = lambda _line: None,
) -> dict[str, Any]:
    """Return, for each edition and question, milliseconds, what was read, and the raw limit.

    Raises:
        BenchError: a question had no answer, or not within a minute.
        EmbeddedDatabaseError: there is no such database here.
    """
    machine = describe_machine()
    results = {}
    for edition in editions:
        with ExitStack() as opened:
            directory = Path(
                opened.enter_context(tempfile.TemporaryDirectory(prefix="kerbstone-bench-"))
            )
            data = directory / "database"
            database = opened.enter_context(
                EmbeddedDatabase.start(data, timescaledb=edition == "timescaledb")
            )
            opened.callback(remove, data)
            opened.callback(database.stop)
            results[edition] = asyncio.run(_measure(database.dsn, rows, streams, tell))
    return {"machine": machine, "editions": results}


async def _measure(dsn: str, rows: int, streams: int, tell: Tell) -> dict[str, Any]:
    await migrate(dsn)
    seeded = await seed(dsn, rows=rows, streams=streams, tell=tell)
    return await measure_seeded(dsn, seeded, tell)


async def measure_seeded(
    dsn: str, seeded: Seeded, tell: Tell, *, seconds: float = SECONDS
) -> dict[str, Any]:
    """Ask a seeded database; seconds: how long each rate of the open standards is measured.

    Raises:
        BenchError: as `measure` says.
    """
    async with await connect(dsn, autocommit=True, application_name="kerbstone bench") as conn:
        cursor = await conn.execute("SHOW server_version")
        [(server,)] = await cursor.fetchall()
        trip = await _round_trip(conn)
        questions = {}
        for question in questions_of(seeded):
            questions[question.name] = await _ask(conn, question)
            tell(f"{question.name}: {questions[question.name]['median_ms']} ms")
    standards = await measure_standards(dsn, seeded, tell, seconds=seconds)
    made = asdict(seeded) | {"start": seeded.start.isoformat(), "end": seeded.end.isoformat()}
    return {
        "server": f"PostgreSQL {server}",
        "seeded": made,
        "round_trip_ms": trip,
        "questions": questions,
        "standards": standards,
    }


def questions_of(seeded: Seeded) -> list[Question]:
    """Return the questions for a seeded database, over its last days."""
    end = seeded.end
    day, week, month = end - _DAY, end - 7 * _DAY, end - 30 * _DAY
    one = seeded.streams // 2
    box = analysis.Box(west=-0.501, south=51.299, east=-0.47, north=51.4)

    async def last_values(conn: Connection) -> Sequence[Any]:
        return await analysis.last_values(conn, seconds=LIMIT_SECONDS)

    async def one_day(conn: Connection) -> Sequence[Any]:
        return await analysis.observations(conn, one, day, end, seconds=LIMIT_SECONDS)

    async def area(conn: Connection) -> Sequence[Any]:
        return await analysis.values_in_box(conn, box, seconds=LIMIT_SECONDS)

    async def silences(conn: Connection) -> Sequence[Any]:
        return await analysis.gaps(conn, day, end, seconds=LIMIT_SECONDS)

    def hours(key: str | None) -> Callable[[Connection], Awaitable[Sequence[Any]]]:
        async def ask(conn: Connection) -> Sequence[Any]:
            return await analysis.council_hours(
                conn, month, end, property_key=key, seconds=LIMIT_SECONDS
            )

        return ask

    def p95(tenant: str | None) -> Callable[[Connection], Awaitable[Sequence[Any]]]:
        async def ask(conn: Connection) -> Sequence[Any]:
            return await analysis.percentiles(
                conn, "no2", week, end, fraction=0.95, tenant=tenant, seconds=LIMIT_SECONDS
            )

        return ask

    async def over(conn: Connection) -> Sequence[Any]:
        return await analysis.exceedances(
            conn, "no2", week, end, limit=60, unit="ug/m3", seconds=LIMIT_SECONDS
        )

    raw_month = {"start": month, "end": end}
    raw_week = {"start": week, "end": end}
    return [
        Question("last value of all", last_values, "SELECT * FROM latest", {}),
        Question(
            "24 h of one datastream",
            one_day,
            "SELECT time, value FROM observation"
            " WHERE datastream_id = %(one)s AND time >= %(start)s AND time < %(end)s",
            {"one": one, "start": day, "end": end},
        ),
        Question(
            "hourly means per council, 30 days, one property", hours("no2"), _HOURS, raw_month
        ),
        Question(
            "hourly means per council, 30 days, all properties", hours(None), _HOURS, raw_month
        ),
        Question("95th percentile per council, 7 days", p95(None), _OBSERVATIONS, raw_week),
        Question(
            "95th percentile of one council, 7 days", p95("council-3"), _OBSERVATIONS, raw_week
        ),
        Question(
            "gaps of all datastreams, 24 h",
            silences,
            _OBSERVATIONS,
            {"start": day, "end": end},
            may_be_empty=True,
        ),
        Question("bounding box with last values", area, "SELECT count(*) FROM location", {}),
        Question("exceedance counts, 7 days", over, _OBSERVATIONS, raw_week),
    ]


_HOURS: Final = "SELECT sum(sum) FROM rollup_1h WHERE bucket >= %(start)s AND bucket < %(end)s"
"""One pass over the same hours, that computes next to nothing."""

_OBSERVATIONS: Final = (
    "SELECT count(value) FROM observation WHERE time >= %(start)s AND time < %(end)s AND value > 60"
)
"""One pass over the observations of the same time, that computes next to nothing."""


async def _ask(conn: Connection, question: Question) -> dict[str, Any]:
    """Time a question and its raw limit, then explain it."""
    try:
        answer = await question.ask(conn)  # the first warms the caches
    except analysis.TooBigError as error:
        raise BenchError(f"{question.name}: {error}") from error
    if not answer and not question.may_be_empty:
        raise BenchError(f"{question.name}: no answer")
    server, client = _server_cpu(conn.info.backend_pid), time.process_time()
    took = [await _timed(lambda: question.ask(conn)) for _ in range(RUNS)]
    server, client = _server_cpu(conn.info.backend_pid) - server, time.process_time() - client

    async def bare() -> None:
        cursor = await conn.execute(question.raw, question.raw_parameters, prepare=False)
        await cursor.fetchall()

    raw = [await _timed(bare) for _ in range(_RAW_RUNS + 1)][1:]
    median, limit = statistics.median(took), statistics.median(raw)
    plans, text = await _explained(conn, question)
    return {
        "median_ms": round(median, 2),
        "worst_ms": round(max(took), 2),
        "server_cpu_ms": round(server / RUNS * 1000, 1),
        "client_cpu_ms": round(client / RUNS * 1000, 1),
        "answers": len(answer),
        "raw_ms": round(limit, 2),
        "raw": question.raw,
        "times_raw": round(median / limit, 2),
        "rows_read": sum(rows_read(plan) for plan in plans),
        "pages_read": sum(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in plans),
        "read_by": {table: by for plan in plans for table, by in read_by(plan).items()},
        "plan": text,
    }


async def _timed(ask: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    await ask()
    return (time.perf_counter() - began) * 1000


def _server_cpu(backend: int) -> float:
    """Return the seconds of CPU a session has used, with those of workers that helped anyone."""
    used = cpu_seconds(backend)
    try:
        parent = _after_name(backend)[1]
        children = _after_name(int(parent))[13:15]  # proc(5): cutime and cstime
    except OSError as error:
        raise BenchError("this system does not tell CPU times") from error
    if used is None:
        raise BenchError("this system does not tell CPU times")
    return used + sum(map(int, children)) / os.sysconf("SC_CLK_TCK")


def _after_name(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


async def _round_trip(conn: Connection) -> float:
    async def ask() -> None:
        await (await conn.execute("SELECT 1")).fetchall()

    return round(statistics.median([await _timed(ask) for _ in range(200)]), 3)


# What a question reads


class _Overheard(psycopg.AsyncCursor[TupleRow]):
    """A cursor that notes what is sent."""

    sent: ClassVar[list[tuple[Any, Any]]] = []

    async def execute(
        self,
        query: Any,
        params: Any = None,
        *,
        prepare: bool | None = None,
        binary: bool | None = None,
    ) -> Self:
        """Send a statement, as it would be."""
        self.sent.append((query, params))
        return await super().execute(query, params, prepare=prepare, binary=binary)


async def _explained(
    conn: Connection, question: Question
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the plans of the statements that the question sends, and the longest one's text."""
    _Overheard.sent.clear()
    factory, conn.cursor_factory = conn.cursor_factory, _Overheard
    try:
        await question.ask(conn)
    finally:
        conn.cursor_factory = factory
    plans, longest, text = [], 0.0, []
    for statement, parameters in _Overheard.sent:
        if parameters is None or "set_config" in str(statement):
            continue  # how the transaction begins
        asked = sql.SQL(statement) if isinstance(statement, str) else statement
        cursor = await conn.execute(_EXPLAIN_JSON + asked, parameters, prepare=False)
        [([found],)] = await cursor.fetchall()
        plans.append(found["Plan"])
        if found["Execution Time"] > longest:
            longest = found["Execution Time"]
            cursor = await conn.execute(_EXPLAIN + asked, parameters, prepare=False)
            text = [shortened(line) for (line,) in await cursor.fetchall()]
    if not plans:
        raise BenchError(f"{question.name} sent no statement")
    return plans, text


_EXPLAIN: Final = sql.SQL("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) ")
_EXPLAIN_JSON: Final = sql.SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ")


def shortened(line: str) -> str:
    """Return a line of a plan without the middle of what does not fit on a page."""
    return line if len(line) <= _LINE else f"{line[: _LINE - 20]} … {line[-17:]}"


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a plan's nodes, from the top."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def rows_read(plan: Mapping[str, Any]) -> int:
    """Return how many rows the scans of tables in a plan came by, also those they passed over."""
    return sum(
        round(node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)))
        for node in nodes(plan)
        if "Relation Name" in node and node["Node Type"] != "Bitmap Index Scan"
    )


def read_by(plan: Mapping[str, Any]) -> dict[str, str]:
    """Return by which index, or "scan", a plan reads each table of data, the registry left out.

    Partitions and chunks stand for their table: `observation`.
    """
    found: dict[str, set[str]] = {}
    for node in nodes(plan):
        table = node.get("Relation Name")
        if table is None or not node["Actual Loops"] or _table(table) not in _DATA:
            continue
        index = node.get("Index Name") or next(
            (below["Index Name"] for below in nodes(node) if "Index Name" in below), "scan"
        )
        found.setdefault(_table(table), set()).add(_CHUNK.sub("", _MONTH.sub("", index)))
    return {table: ", ".join(sorted(indexes)) for table, indexes in sorted(found.items())}


def _table(name: str) -> str:
    return "observation" if _CHUNK_TABLE.match(name) else _MONTH.sub("", name)


_DATA: Final = {"observation", "observation_extra", "rollup_1h", "latest", "location"}
_MONTH: Final = re.compile(r"(?<=^observation)_\d{4}_\d{2}")
_CHUNK: Final = re.compile(r"^\d+_\d+_")
_CHUNK_TABLE: Final = re.compile(r"_hyper_\d+_\d+_chunk$")
_LINE: Final = 150
