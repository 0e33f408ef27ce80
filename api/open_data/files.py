"""Files to download: CSV with its CSVW metadata, GeoJSON and Parquet, by council and property.

A file is made whole in a temporary one, then sent: a slow reader holds no connection to the
database, and what fails is an error, never half a file. How a format looks is the business of
`standards_mapping`.
"""

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, Annotated, Final, Protocol, Self
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response, StreamingResponse

from api.open_data.answers import check_tenant, reading
from api.open_data.parameters import Span, check_names, read_id, read_span
from api.root import root_of
from api.state import Service, service
from standards_mapping import csvw, geojson, geoparquet
from standards_mapping.csv_text import rfc4180
from standards_mapping.open_columns import Columns, columns_of
from standards_mapping.registry import Datastream
from storage.analysis import TooBigError
from storage.database import Connection
from storage.open_data import newest_observations, observation_columns
from storage.published import published_datastreams, published_things

_SPOOLED_BYTES: Final = 4 << 20  # larger files are on the disk while they are sent
_BLOCK_BYTES: Final = 1 << 18
_AT_ONCE: Final = 2  # files that are made at one time; others wait, without a connection
_LONGEST_SECONDS: Final = 120.0
_SAFE_NAME: Final = re.compile(r"[^A-Za-z0-9_-]")
_GET: Final = ["GET", "HEAD"]
_PARAMETERS: Final = ("from", "to", "datastream", "thing")


class Writer(Protocol):
    """Writes observations into a file."""

    def write(self, columns: Columns) -> None:
        """Add some."""


@dataclass(frozen=True, slots=True)
class Form:
    """A form of file. longest, most_rows: of when, and how many, observations it gives at once.

    gives_newest: whether it gives the newest of each datastream where no time is asked for.
    """

    ending: str
    media_type: str
    longest: timedelta
    most_rows: int
    writer: Callable[[IO[bytes], Sequence[Datastream], str], AbstractContextManager[Writer]]
    gives_newest: bool = False


class CsvWriter:
    """Writes rows of CSV, and first the names of the columns."""

    def __init__(self, file: IO[bytes], datastreams: Sequence[Datastream]) -> None:
        self._file = file
        self._datastreams = datastreams
        file.write(rfc4180([csvw.COLUMNS]).encode())

    def write(self, columns: Columns) -> None:
        """Add some rows."""
        self._file.write(csvw.lines(self._datastreams, columns).encode())


class GeoJsonWriter(AbstractContextManager["GeoJsonWriter"]):
    """Writes Features into a FeatureCollection, and in the end closes it."""

    def __init__(self, file: IO[bytes], datastreams: Sequence[Datastream]) -> None:
        self._file = file
        self._datastreams = datastreams
        self._separator = b""
        file.write(b'{"type":"FeatureCollection","features":[')

    def write(self, columns: Columns) -> None:
        """Add some Features."""
        for feature in geojson.features(self._datastreams, columns.observations()):
            self._file.write(self._separator + orjson.dumps(feature))
            self._separator = b",\n"

    def __exit__(self, *_: object) -> None:
        self._file.write(b"]}")


def _csv(
    file: IO[bytes], datastreams: Sequence[Datastream], _: str
) -> AbstractContextManager[Writer]:
    return nullcontext(CsvWriter(file, datastreams))


def _geojson(
    file: IO[bytes], datastreams: Sequence[Datastream], _: str
) -> AbstractContextManager[Writer]:
    return GeoJsonWriter(file, datastreams)


FORMS: Final[Mapping[str, Form]] = {
    form.ending: form
    for form in (
        Form(
            "csv",
            "text/csv; charset=utf-8; header=present",
            timedelta(days=31),
            1_000_000,
            _csv,
        ),
        Form(
            "geojson",
            geojson.MEDIA_TYPE,
            timedelta(days=31),
            100_000,
            _geojson,
            gives_newest=True,
        ),
        Form(
            "parquet",
            geoparquet.MEDIA_TYPE,
            timedelta(days=366),
            5_000_000,
            geoparquet.ParquetFile,
        ),
    )
}
"""The forms of our files, by what their names end with."""

METADATA: Final = ".csv-metadata.json"
"""What the name of the metadata of a CSV file ends with (CSVW, section 5.3)."""


def router() -> APIRouter:
    """Return the routes below /data; each set of routes makes `_AT_ONCE` files at one time."""
    routes = APIRouter(include_in_schema=False)
    room = asyncio.Semaphore(_AT_ONCE)

    async def data(
        request: Request,
        tenant: str,
        name: str,
        *,
        centre: Annotated[Service, Depends(service)],
    ) -> Response:
        """Return a file of a council's property, or the metadata of one."""
        if name.endswith(METADATA):
            return await _metadata(request, centre, tenant, name.removesuffix(METADATA))
        key, _, ending = name.rpartition(".")
        if ending not in FORMS:
            raise HTTPException(404, f"Files end in {', '.join(FORMS)} or {METADATA[1:]}.")
        return await _file(request, centre, _Wanted(tenant, key, FORMS[ending]), room)

    routes.add_api_route("/data/{tenant}/{name}", data, methods=_GET)
    return routes


@dataclass(frozen=True, slots=True)
class _Wanted:
    tenant: str
    key: str
    form: Form


async def _metadata(request: Request, centre: Service, tenant: str, key: str) -> Response:
    check_names(request.query_params, ())
    async with reading(centre) as conn:
        found = await _datastreams(conn, tenant, key, None, None)
    document = csvw.metadata(found, f"{key}.csv", root_of(request))
    return Response(
        orjson.dumps(document, option=orjson.OPT_INDENT_2),
        media_type="application/csvm+json",
        headers={"Cache-Control": "no-cache"},
    )


async def _file(
    request: Request, centre: Service, wanted: _Wanted, room: asyncio.Semaphore
) -> Response:
    given = request.query_params
    check_names(given, _PARAMETERS)
    span = read_span(given, datetime.now(UTC), wanted.form.longest)
    datastream, thing = read_id(given, "datastream"), read_id(given, "thing")
    headers = _headers(request, wanted, span)
    if request.method == "HEAD":
        async with reading(centre) as conn:
            await _datastreams(conn, wanted.tenant, wanted.key, datastream, thing)
        return StreamingResponse(iter(()), media_type=wanted.form.media_type, headers=headers)
    file = tempfile.SpooledTemporaryFile(_SPOOLED_BYTES)  # noqa: SIM115  # ends as it is sent
    try:
        async with room, _limited(), reading(centre) as conn:
            found = await _datastreams(conn, wanted.tenant, wanted.key, datastream, thing)
            with wanted.form.writer(file, found, root_of(request)) as writer:
                await _fill(writer, conn, found, wanted.form, span)
        headers["Content-Length"] = str(file.tell())
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return StreamingResponse(_sent(file), media_type=wanted.form.media_type, headers=headers)


async def _fill(
    writer: Writer, conn: Connection, datastreams: Sequence[Datastream], form: Form, span: Span
) -> None:
    """Write what is asked for; many rows in a thread, while the next ones are fetched."""
    if form.gives_newest and not span.stated:
        writer.write(columns_of(await newest_observations(conn, datastreams)))
        return
    rows = 0
    async with WriteBehind(writer) as behind:
        async for columns in observation_columns(conn, datastreams, span.start, span.end):
            rows += len(columns)
            if rows > form.most_rows:
                raise TooBigError(
                    f"This is more than {form.most_rows:,} results: ask for a shorter time"
                    " (from, to) or for one datastream."
                )
            await behind.write(columns)


class WriteBehind:
    """Writes some rows in a thread while others are fetched: one thread, one part at a time.

    No thread is left as the context ends, for whatever reason: the file may be closed then.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._writing: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writing is not None:
            await asyncio.wait([self._writing])
            if (failed := self._writing.exception()) is not None and kind is None:
                raise failed

    async def write(self, columns: Columns) -> None:
        """Begin to write some rows, once those before are written."""
        if self._writing is not None:
            await asyncio.wait([self._writing])  # unlike the future itself, it ends no thread
            self._writing.result()
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(None, self._writer.write, columns)


async def _datastreams(
    conn: Connection, tenant: str, key: str, datastream: int | None, thing: int | None
) -> list[Datastream]:
    """Return the datastreams that a file is about.

    Raises:
        HTTPException: 404, there are none that may be read.
    """
    check_tenant(tenant)
    things = await published_things(conn, tenant=tenant, ids=None if thing is None else [thing])
    found = [
        each
        for each in await published_datastreams(conn, things)
        if each.observed_property.key == key and datastream in (None, each.id)
    ]
    if not found:
        what = f"“{key}” of “{tenant}”"
        if datastream is not None or thing is not None:
            what += " with that datastream or thing"
        raise HTTPException(404, f"There is no open data on {what}.")
    return found


def _headers(request: Request, wanted: _Wanted, span: Span) -> dict[str, str]:
    ending = wanted.form.ending
    name = f"{wanted.tenant}-{wanted.key}-{span.start:%Y%m%dT%H%M%SZ}-{span.end:%Y%m%dT%H%M%SZ}"
    headers = {
        "Content-Disposition": f'attachment; filename="{_SAFE_NAME.sub("-", name)}.{ending}"',
        "Cache-Control": "no-store",
    }
    if ending == "csv":
        beside = f"{root_of(request)}/data/{quote(wanted.tenant)}/{quote(wanted.key)}{METADATA}"
        headers["Link"] = f'<{beside}>; rel="describedby"; type="application/csvm+json"'
    return headers


@asynccontextmanager
async def _limited() -> AsyncIterator[None]:
    """Give up what takes too long.

    Raises:
        TooBigError: it did.
    """
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            yield
    except TimeoutError as error:
        raise TooBigError(
            f"This took longer than {_LONGEST_SECONDS:.0f} s: ask for a shorter time (from, to)."
        ) from error


async def _sent(file: IO[bytes]) -> AsyncIterator[bytes]:
    """Yield a file's content, then forget the file."""
    with file:
        while block := await asyncio.to_thread(file.read, _BLOCK_BYTES):
            yield block
