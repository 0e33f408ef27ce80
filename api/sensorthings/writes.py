"""SensorThings requests that write (OGC 18-088, clause 10): from HTTP to drafts, and to answers.

Who may write is told by `api.principal`; what may be written is decided in `storage.sensorthings`.
Every request is one transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from fastapi import Request, Response

from api.principal import WRITE_NEEDED, Principal, principal
from api.sensorthings.answer import Answers
from standards_mapping.sensorthings.creation import (
    LARGEST_BODY_BYTES,
    changes,
    draft,
    inverse,
    replacement,
)
from standards_mapping.sensorthings.data_array_body import parse_data_arrays
from standards_mapping.sensorthings.entity import address
from standards_mapping.sensorthings.errors import (
    ForbiddenError,
    MediaTypeError,
    MethodError,
    PreconditionError,
    SensorThingsError,
    TooLargeError,
    UnknownTargetError,
    UnknownWriterError,
)
from standards_mapping.sensorthings.json_body import parse_json_body
from standards_mapping.sensorthings.model import ENTITY_TYPES, EntityType, Key, ObservationId
from standards_mapping.sensorthings.options import parse_options
from standards_mapping.sensorthings.patch import patched
from standards_mapping.sensorthings.path import ResourcePath, parse_path
from storage.sensorthings.ownership import Author
from storage.sensorthings.reader import Reader
from storage.sensorthings.writing import Writer, writing

CREATE_OBSERVATIONS: Final = "CreateObservations"
JSON_PATCH: Final = "application/json-patch+json"

_JSON: Final = "application/json"
_OF_SET: Final = ("GET", "HEAD", "POST")
_OF_ONE: Final = ("GET", "HEAD", "PATCH", "PUT", "DELETE")


@dataclass(frozen=True, slots=True)
class Written:
    """What a write answers: 200 or 201, where the entity is, and the entity as JSON.

    content: None where its writer may not read it, and where it is gone.
    """

    status: int
    location: str = ""
    content: Any = None
    key: Key | None = None


async def author_of(request: Request) -> Author:
    """Return who writes.

    Raises:
        UnknownWriterError: nobody that is known.
        ForbiddenError: somebody who may write nothing.
    """
    who: Principal = await principal(request)
    if who.is_anonymous:
        raise UnknownWriterError(WRITE_NEEDED)
    if not who.writes:
        raise ForbiddenError(WRITE_NEEDED)
    return Author(actor=who.actor, councils=who.writes, reads=who.councils)


def check_precondition(if_match: str) -> None:
    """Hold a write against its header If-Match, "" if there is none (RFC 9110, section 13.1.1).

    Weak ETags match nothing here, as that section has it, and all that entities have are weak. To
    write all the same would undo in silence what somebody else wrote in between.

    Raises:
        PreconditionError: it names ETags.
    """
    if if_match.strip() not in {"", "*"}:
        raise PreconditionError(
            f"If-Match is {if_match[:100]!r}: ETags are weak here and never match. To change an"
            " entity only as it was read, send a JSON Patch that begins with its “test”s"
        )


async def body_of(request: Request) -> bytes:
    """Return the body of a request.

    Raises:
        TooLargeError: it is larger than `LARGEST_BODY_BYTES`.
    """
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_BODY_BYTES:
            raise TooLargeError(f"the body is larger than {LARGEST_BODY_BYTES >> 20} MB")
        parts.append(part)
    return b"".join(parts)


async def write(request: Request, root: str) -> Response:
    """Answer a POST, PATCH, PUT or DELETE below the root.

    Raises:
        SensorThingsError: it is refused; nothing was changed.
        storage.database.OUTAGES: the database cannot be reached.
    """
    author = await author_of(request)
    check_precondition(request.headers.get("if-match", ""))
    body = await body_of(request)
    async with (
        request.app.state.service.connection() as conn,
        writing(conn, author, datetime.now(UTC)) as writer,
    ):
        written = await Work(writer, Answers(Reader(conn), root), root).perform(
            request.method,
            request.path_params.get("path", ""),
            request.headers.get("content-type", ""),
            body,
        )
    headers = {"Location": written.location} if written.location else {}
    if written.content is None:
        return Response(status_code=written.status, headers=headers)
    return Response(
        orjson.dumps(written.content),
        status_code=written.status,
        headers=headers,
        media_type=_JSON,
    )


@dataclass(frozen=True, slots=True)
class Work:
    """Does what requests ask, within one writer's transaction. root: URL of the service."""

    writer: Writer
    answers: Answers
    root: str

    async def perform(self, method: str, path: str, content_type: str, body: bytes) -> Written:
        """Do what one request asks.

        Raises:
            SensorThingsError: it is refused.
        """
        if path.strip("/") == CREATE_OBSERVATIONS:
            if method != "POST":
                raise MethodError(f"{CREATE_OBSERVATIONS} takes POST alone", "POST")
            return await self._create_observations(read_json(content_type, body))
        if not path.strip("/"):
            raise MethodError("the root of the service is only read: write to an entity set")
        target = parse_path(path)
        if target.names or target.references:
            raise MethodError("only entities are written: name the property in a PATCH of its own")
        if method == "POST":
            return await self._create(target, read_json(content_type, body))
        if target.target.many:
            raise MethodError(
                f"{method} takes one entity: put its id after the set, as in Things(1)",
                *_OF_SET,
            )
        return await self._change(method, target, content_type, body)

    async def _change(
        self, method: str, target: ResourcePath, content_type: str, body: bytes
    ) -> Written:
        key = await self._key(target)
        kind = target.target.entity_type
        if method == "DELETE":
            await self.writer.delete(kind, key)
            return Written(200)
        where = address(kind, key)
        if method == "PUT":
            changed = replacement(kind, read_json(content_type, body))
        elif _kind_of(content_type) == JSON_PATCH:
            before = await self._told(where)
            if before is None:
                raise ForbiddenError(
                    "a JSON Patch reads what it changes: that needs the scope “read”, too."
                    " PATCH with plain JSON needs “write” alone"
                )
            changed = changes(kind, patched(kind, before, read_json(JSON_PATCH, body)))
        else:
            changed = changes(kind, read_json(content_type, body))
        await self.writer.change(kind, key, changed)
        return Written(200, content=await self._told(where), key=key)

    async def _create(self, path: ResourcePath, body: object) -> Written:
        if not path.target.many:
            raise MethodError("POST takes a set, as in Things or Things(1)/Datastreams", *_OF_ONE)
        kind = path.target.entity_type
        given: dict[str, Key] = {}
        if path.target.navigation is not None:
            owner = path.steps[-2].entity_type
            parent = ResourcePath(path.steps[:-1])
            name = inverse(owner, path.target.navigation.name)
            [*before, last] = parent.steps
            if kind.name == "Observation" and name == "Datastream" and not before:
                return await self._observe(parent, last.key, body)
            given[name] = await self._key(parent)
        return await self._made(
            kind, await self.writer.create(draft(kind, body, tuple(given)), given)
        )

    async def _observe(self, parent: ResourcePath, stream: Key | None, body: object) -> Written:
        """Create an Observation at the address of its Datastream, without reading that first.

        Whoever is refused learns no more than if it had been.
        """
        kind = ENTITY_TYPES["Observation"]
        try:
            given = {"Datastream": await self._key(parent) if stream is None else stream}
            made = await self.writer.create(draft(kind, body, tuple(given)), given)
        except SensorThingsError:
            await self._key(parent)
            raise
        return await self._made(kind, made)

    async def _made(self, kind: EntityType, key: Key) -> Written:
        where = address(kind, key)
        return Written(201, f"{self.root}/{where}", await self._told(where), key)

    async def _key(self, path: ResourcePath) -> Key:
        """Return the id of the one entity that a path leads to.

        Raises:
            UnknownTargetError: there is none.
        """
        kind = path.target.entity_type
        options = parse_options([("$select", "id")], kind, many=False)
        found = (await self.answers.single(path, options))["@iot.id"]
        if isinstance(found, int):
            return found
        parsed = ObservationId.parse(str(found))
        if parsed is None:
            raise RuntimeError(f"an id of our own that cannot be read: {found}")
        return parsed

    async def _told(self, where: str) -> dict[str, Any] | None:
        """Return an entity as a GET of it answers; None where its writer may not read it."""
        path = parse_path(where)
        options = parse_options([], path.target.entity_type, many=False)
        async with self.writer.as_reader():
            try:
                return await self.answers.single(path, options)
            except UnknownTargetError:
                return None

    async def _create_observations(self, body: object) -> Written:
        """Store data arrays; answer for each row, in order, with its address or "error: why"."""
        told: list[str] = []
        for array in parse_data_arrays(body):
            stored: Sequence[ObservationId | SensorThingsError]
            try:
                async with self.writer.step():
                    stored = await self.writer.create_rows(array.datastream, array.rows)
            except SensorThingsError as error:
                stored = [error] * len(array.rows)
            told += [
                f"{self.root}/Observations('{one}')"
                if isinstance(one, ObservationId)
                else f"error: {one}"
                for one in stored
            ]
        return Written(201, content=told)


def read_json(content_type: str, body: bytes) -> Any:
    """Return a body as JSON.

    Raises:
        MediaTypeError: it says it is something else.
        QueryError: it is no JSON, or has a number that would be rounded.
    """
    kind = _kind_of(content_type)
    if kind and kind != _JSON and not kind.endswith("+json"):
        raise MediaTypeError(f"{kind} is not read here: send {_JSON}")
    return parse_json_body(body)


def _kind_of(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
