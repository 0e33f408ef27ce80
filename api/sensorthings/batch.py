"""POST /$batch: several SensorThings requests in one (OGC 18-088, clause 11).

Each request stands for itself; those of a change set are all done or none of them. Reading and
writing the two forms of a batch is `standards_mapping.sensorthings.batch`.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from string import printable
from typing import Any, Final
from urllib.parse import quote, unquote

import orjson
from fastapi import Request, Response

from api.sensorthings.answer import Answers
from api.sensorthings.reads import read
from api.sensorthings.writes import Work, author_of, body_of, check_precondition
from standards_mapping.sensorthings.batch import (
    JSON,
    Answer,
    ChangeSet,
    Item,
    parse_json,
    parse_multipart,
    with_references,
    write_json,
    write_multipart,
)
from standards_mapping.sensorthings.batch import Request as Part
from standards_mapping.sensorthings.conformance import landing_page
from standards_mapping.sensorthings.errors import SensorThingsError, TooLargeError
from storage.sensorthings.reader import Reader, SlowError
from storage.sensorthings.writing import writing

BOUNDARY: Final = "kerbstone_batch"

READING_SECONDS: Final = 30.0
"""How long the reads of one batch may take together; those after that are refused."""

READING_BYTES: Final = 64 << 20
"""How much the reads of one batch may answer together."""

_Refused = Callable[[SensorThingsError], tuple[int, bytes]]


class _FailedError(Exception):
    """A request of a change set was refused: what the others did is undone."""

    def __init__(self, error: SensorThingsError, name: str) -> None:
        super().__init__(str(error))
        self.error = error
        self.name = name


class Batch:
    """Runs the requests of one batch. refused: makes an error the status and body of an answer."""

    def __init__(self, request: Request, root: str, refused: _Refused) -> None:
        self._request = request
        self._root = root
        self._refused = refused
        self._known: dict[str, tuple[str, Any]] = {}
        self._began = time.monotonic()
        self._answered = 0

    async def run(self) -> Response:
        """Answer the batch.

        Raises:
            SensorThingsError: it cannot be read, and nothing was done.
            SlowError: a question in it took too long.
            storage.database.OUTAGES: the database cannot be reached.
        """
        content_type = self._request.headers.get("content-type", "")
        body = await body_of(self._request)
        is_json = content_type.partition(";")[0].strip().lower() == "application/json"
        items = parse_json(body) if is_json else parse_multipart(content_type, body)
        answers = [await self._item(item) for item in items]
        if is_json:
            return Response(write_json(answers), media_type="application/json")
        return Response(
            write_multipart(answers, BOUNDARY),
            media_type=f"multipart/mixed; boundary={BOUNDARY}",
        )

    async def _item(self, item: Item) -> Answer | Sequence[Answer]:
        if isinstance(item, ChangeSet):
            return await self._change_set(item.requests)
        if item.method == "GET":
            return await self._read(item)
        (answer,) = await self._change_set([item])
        return answer

    async def _change_set(self, parts: Sequence[Part]) -> Sequence[Answer]:
        before = dict(self._known)
        try:
            author = await author_of(self._request)
            async with AsyncExitStack() as stack:
                service = self._request.app.state.service
                conn = await stack.enter_async_context(service.connection())
                writer = await stack.enter_async_context(writing(conn, author, datetime.now(UTC)))
                work = Work(writer, Answers(Reader(conn), self._root), self._root)
                return [await self._write(work, part) for part in parts]
        except _FailedError as failed:
            self._known = before
            return [self._failure(failed.error, failed.name)]
        except SensorThingsError as error:
            self._known = before
            return [self._failure(error, parts[0].name if parts else "")]

    async def _write(self, work: Work, part: Part) -> Answer:
        resolved = with_references(part, self._known)
        try:
            check_precondition(resolved.if_match)
            written = await work.perform(
                resolved.method,
                unquote(resolved.url.partition("?")[0]),
                resolved.content_type,
                resolved.body,
            )
        except SensorThingsError as error:
            raise _FailedError(error, part.name) from error
        if part.name and written.location and written.key is not None:
            key = written.key if isinstance(written.key, int) else str(written.key)
            self._known[part.name] = (written.location.removeprefix(f"{self._root}/"), key)
        content = None if written.content is None else orjson.dumps(written.content)
        return Answer(
            name=part.name, status=written.status, location=written.location, body=content
        )

    async def _read(self, part: Part) -> Answer:
        late = time.monotonic() - self._began > READING_SECONDS
        if late or self._answered > READING_BYTES:
            limit = f"{READING_SECONDS:.0f} s" if late else f"{READING_BYTES >> 20} MB"
            error = TooLargeError(f"this batch asks for too much, limit {limit}: ask in several")
            return self._failure(error, part.name)
        where, _, query = with_references(part, self._known).url.partition("?")
        if not where:
            endpoints = getattr(self._request.app.state, "mqtt_endpoints", ())
            landing = orjson.dumps(landing_page(self._root, endpoints))
            return Answer(name=part.name, status=200, body=landing)
        # As a browser does it: what is beyond ASCII may come unescaped inside of a batch.
        escaped = quote(query, safe=printable).encode()
        try:
            found = await read(self._request, self._root, unquote(where), escaped)
        except SensorThingsError as error:
            return self._failure(error, part.name)
        except SlowError:
            body = {"code": 503, "type": "error", "message": "this took too long: ask for less"}
            return Answer(name=part.name, status=503, body=orjson.dumps(body))
        self._answered += len(found.body)
        return Answer(
            name=part.name,
            status=found.status_code,
            body=bytes(found.body) if found.body else None,
            content_type=found.headers.get("content-type", JSON),
        )

    def _failure(self, error: SensorThingsError, name: str) -> Answer:
        status, body = self._refused(error)
        return Answer(name=name, status=status, body=body)
