"""How fast the open standards are read over HTTP from a seeded database, beside what is possible.

A real web process answers; who asks runs on the same machine, as the database does. Beside the
pages of observations stand three ceilings of the same run: the same rows fetched by psycopg into
one Python process and turned into nothing, over as many connections and on the same event loop as
the web process has; a bare application that answers as many bytes ready made; and, since one
process has to do both, a bare application that fetches the rows and writes them as they are.
`ratio` is of the lower of the first two, `ratio_of_bare_page` of the third. What one connection
gets alone, one page after the other, is told, too, and `ratio_of_one_connection`.
"""

import asyncio
import io
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import orjson
import pyarrow.parquet as pq
import uvloop

from bench import bare_web
from bench.errors import BenchError
from bench.http_load import fetch, load
from bench.live import serve
from bench.seed import Seeded, Tell
from standards_mapping.sensorthings.model import ENTITY_TYPES, ObservationId
from standards_mapping.sensorthings.skiptoken import Place, write_place
from storage.database import Connection

SECONDS: Final = 5.0
"""How long each rate is measured."""

_DATASTREAMS: Final = 200  # asked for in turn
_PAGE: Final = 100
_DEPTH: Final = 1_000_000
_FILE_ROWS: Final = 1_000_000
_ROOT: Final = Path(__file__).parents[1]
_SERVICE: Final = "/sensorthings/v1.1"
_LINKED: Final = "/ngsi-ld/v1"
_ENTITY: Final = "WeatherObserved"
_ATTRIBUTES: Final = 4  # of such an entity, of all that is seeded
_POINTS: Final = 10_000
_UNLIMITED: Final = "[rate_limits]\npages_per_minute = 0\nanonymous_per_minute = 0\n"
_START_SECONDS: Final = 60.0


async def measure_standards(
    dsn: str, seeded: Seeded, tell: Tell, *, seconds: float = SECONDS
) -> dict[str, Any]:
    """Return the figures of a seeded database, in milliseconds and requests a second.

    Raises:
        BenchError: the web process did not answer as it should.
    """
    some = _some_datastreams(seeded)
    raw, alone = [
        await asyncio.to_thread(_raw_rate, dsn, some, seconds, connections)
        for connections in (bare_web.CONNECTIONS, 1)
    ]
    with tempfile.TemporaryDirectory(prefix="kerbstone-bench-") as directory:
        found = await asyncio.to_thread(_measure, dsn, Path(directory), seeded, tell, seconds)
    page = found["page_of_observations"]
    page["raw_sql_per_second"] = raw
    page["raw_sql_one_connection_per_second"] = alone
    page["ratio"] = round(page["per_second"] / min(raw, page["bare_starlette_per_second"]), 3)
    page["ratio_of_one_connection"] = round(page["per_second"] / alone, 3)
    both = page["bare_starlette_with_sql_per_second"]
    page["ratio_of_bare_page"] = round(page["per_second"] / both, 3)
    tell(
        f"pages of observations: {page['per_second']} a second; raw SQL {raw}, bare Starlette"
        f" {page['bare_starlette_per_second']}, {page['ratio']} of the lower; both in one process"
        f" {both}, {page['ratio_of_bare_page']} of that; raw SQL over one connection {alone},"
        f" {page['ratio_of_one_connection']} of that"
    )
    return found


def _measure(
    dsn: str, directory: Path, seeded: Seeded, tell: Tell, seconds: float
) -> dict[str, Any]:
    with serve(dsn, directory, _UNLIMITED) as serving:
        pages = [
            f"{_SERVICE}/Datastreams({number})/Observations" for number in _some_datastreams(seeded)
        ]
        load(
            serving.port, pages, seconds=min(seconds, 1.0), connections=bare_web.CONNECTIONS
        )  # warms up
        page = load(serving.port, pages, seconds=seconds, connections=bare_web.CONNECTIONS)
        _check_page(fetch(serving.port, pages[0]))
        requests = {**requests_of(seeded), **_aggregation(serving.port, seeded)}
        found = {name: _time(serving.port, path) for name, path in requests.items()}
        for name, milliseconds in found.items():
            tell(f"{name}: {milliseconds} ms")
        files = _time_files(serving.port, seeded)
        tell(f"{files['rows']:,} rows as Parquet: {files['seconds']} s")
    rows = [f"{bare_web.ROWS_PATH}/{number}" for number in _some_datastreams(seeded)]
    with _bare(dsn, page.answer_bytes) as port:
        bare = load(port, [bare_web.PATH], seconds=seconds, connections=bare_web.CONNECTIONS)
        load(port, rows, seconds=min(seconds, 1.0), connections=bare_web.CONNECTIONS)  # warms up
        both = load(port, rows, seconds=seconds, connections=bare_web.CONNECTIONS)
        _check_page(fetch(port, rows[0]))
    rate = asdict(page) | {
        "connections": bare_web.CONNECTIONS,
        "bare_starlette_per_second": bare.per_second,
        "bare_starlette_with_sql_per_second": both.per_second,
    }
    return {"page_of_observations": rate, "requests_ms": found, "parquet": files}


def _some_datastreams(seeded: Seeded) -> list[int]:
    """Return ids, the same ones each time."""
    chosen = random.Random(1)  # noqa: S311 - nothing secret
    return [chosen.randint(1, seeded.streams) for _ in range(_DATASTREAMS)]


def _check_page(body: bytes) -> None:
    found = len(orjson.loads(body)["value"])
    if found != _PAGE:
        raise BenchError(f"a page of {found} observations: take more rows, {_PAGE} are needed")


def _raw_rate(dsn: str, datastreams: list[int], seconds: float, connections: int) -> float:
    """Return how often a second psycopg alone gets the rows of a page, on a loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_fetch_rows(dsn, datastreams, seconds, connections))


async def _fetch_rows(dsn: str, datastreams: list[int], seconds: float, connections: int) -> float:
    async with AsyncExitStack() as opened:
        lent = [
            await opened.enter_async_context(await bare_web.open_connection(dsn))
            for _ in range(connections)
        ]
        for conn in lent:
            for number in datastreams:
                await bare_web.fetch_rows(conn, number)
        began = time.perf_counter()
        counts = await asyncio.gather(
            *(_fetch_until(conn, datastreams, began + seconds) for conn in lent)
        )
        return round(sum(counts) / (time.perf_counter() - began), 1)


async def _fetch_until(conn: Connection, datastreams: list[int], end: float) -> int:
    """Return how many pages' rows one connection got until then, one statement after the other."""
    count = 0
    while time.perf_counter() < end:
        await bare_web.fetch_rows(conn, datastreams[count % len(datastreams)])
        count += 1
    return count


# Single requests


def requests_of(seeded: Seeded) -> Mapping[str, str]:
    """Return the requests that are timed one by one, for a seeded database."""
    hour, end = timedelta(hours=1), seeded.end
    depth = min(_DEPTH, seeded.rows // 2)
    each = seeded.rows // seeded.streams
    share = depth / seeded.rows
    halfway = seeded.start + (end - seeded.start) / 2
    deep_stream = 1 + depth // each
    deep_time = seeded.start + (end - seeded.start) * (depth % each / each)
    late = end - (end - seeded.start) * share
    early = seeded.start + (end - seeded.start) * share
    one = f"Datastreams({seeded.streams // 2})/Observations"
    day = f"phenomenonTime ge {_written(end - 24 * hour)} and phenomenonTime lt {_written(end)}"
    newest, oldest = "phenomenonTime desc", "phenomenonTime"
    about = f" after row {depth:,}"
    return {
        "time range of one datastream": _path(one, filter=day),
        "time range of all observations": _path("Observations", filter=day),
        "time range of all observations, newest first": _path(
            "Observations", filter=day, orderby=newest
        ),
        "first page of one datastream": _path(one),
        "page of one datastream after half of it": _path(
            one, skiptoken=_token("", seeded.streams // 2, halfway)
        ),
        "first page of all observations": _path("Observations"),
        "page of all observations" + about: _path(
            "Observations", skiptoken=_token("", deep_stream, deep_time)
        ),
        "first page of all observations, newest first": _path("Observations", orderby=newest),
        "page of all observations, newest first," + about: _path(
            "Observations", orderby=newest, skiptoken=_token(newest, 1, late)
        ),
        "first page of all observations, oldest first": _path("Observations", orderby=oldest),
        "page of all observations, oldest first," + about: _path(
            "Observations", orderby=oldest, skiptoken=_token(oldest, 1, early)
        ),
        "Things with their Datastreams and the newest of each": _path(
            "Things", expand=f"Datastreams($expand=Observations($top=1;$orderby={newest}))"
        ),
    }


def _aggregation(port: int, seeded: Seeded) -> Mapping[str, str]:
    """Return the NGSI-LD request for hourly aggregates of one entity's properties."""
    [entity] = orjson.loads(fetch(port, f"{_LINKED}/entities?type={_ENTITY}&limit=1"))
    each = seeded.rows / seeded.streams
    points = min(_POINTS, round(_ATTRIBUTES * each))
    start = seeded.end - (seeded.end - seeded.start) * (points / _ATTRIBUTES / each)
    times = f"timerel=between&timeAt={_written(start)}&endTimeAt={_written(seeded.end)}"
    asked = "options=aggregatedValues&aggrMethods=avg,max&aggrPeriodDuration=PT1H"
    name = f"NGSI-LD aggregation of {points:,} points"
    return {name: f"{_LINKED}/temporal/entities/{entity['id']}?{times}&{asked}"}


def _written(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _path(collection: str, **options: str) -> str:
    query = "&".join(f"${name}={quote(text, safe='')}" for name, text in options.items())
    return f"{_SERVICE}/{collection}" + (f"?{query}" if query else "")


def _token(order: str, datastream: int, moment: datetime) -> str:
    """Return what the nextLink after such a row would say, without going all the way to it."""
    place = Place((), ObservationId.of(datastream, moment))
    token = write_place(place, ENTITY_TYPES["Observation"], order)
    if token is None:
        raise BenchError("an id is too long for a link")
    return token


def _time(port: int, path: str, runs: int = 7) -> float:
    """Return the median of some requests in milliseconds, after one that warms the caches."""
    fetch(port, path)
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        fetch(port, path)
        took.append((time.perf_counter() - began) * 1000)
    return round(statistics.median(took), 2)


def _time_files(port: int, seeded: Seeded) -> dict[str, Any]:
    """Return how long files take that hold a million rows, or all there are of one property."""
    rows, files, size, took = 0, 0, 0, 0.0
    span = f"from={quote(_written(seeded.start))}&to={quote(_written(seeded.end))}"
    for council in range(seeded.councils):
        if rows >= _FILE_ROWS:
            break
        began = time.perf_counter()
        body = fetch(port, f"/data/council-{council}/no2.parquet?{span}")
        took += time.perf_counter() - began
        rows += pq.read_metadata(io.BytesIO(body)).num_rows
        files += 1
        size += len(body)
    return {
        "rows": rows,
        "files": files,
        "bytes": size,
        "seconds": round(took, 2),
        "seconds_per_million_rows": round(took / rows * 1_000_000, 2),
    }


@contextmanager
def _bare(dsn: str, size: int) -> Iterator[int]:
    """Run a bare application for the length of the block, and give its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "bench.bare_web", str(port), str(size)],
        cwd=_ROOT,
        env={**os.environ, bare_web.DSN: dsn},
    ) as process:
        try:
            _await_port(process, port)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)


def _await_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchError(f"the bare web process ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise BenchError(f"the bare web process did not answer in {_START_SECONDS:.0f} s")
