"""SensorThings requests that read: what is asked is parsed and answered, alone or in a batch."""

from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from fastapi import Request, Response

from api.principal import principal
from api.sensorthings.answer import Answers, takes_one_statement
from api.sensorthings.formats import formatted
from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.model import ENTITY_TYPES
from standards_mapping.sensorthings.options import Options, Written, parse_options
from standards_mapping.sensorthings.path import ResourcePath, parse_path
from storage.sensorthings.reader import reading

VERSIONS: Final = "/versions"
"""What follows an Observation's address where its history is asked for."""

_LONGEST_QUERY: Final = 16_384
_KEPT: Final = 256  # paths and queries that were parsed; most are asked for over and over


async def read(request: Request, root: str, where: str, query: bytes) -> Response:
    """Answer a GET of an address below the root, for whoever sent a request.

    where: the address, decoded. query: what follows its question mark, as it was sent.

    Raises:
        SensorThingsError: it is refused.
        SlowError: it took too long.
        storage.database.OUTAGES: the database cannot be reached.
    """
    if where.endswith(VERSIONS):
        of = _parsed_path(where.removesuffix(VERSIONS))
        if of.target.entity_type.name == "Observation" and not (of.target.many or of.names):
            return await _versions(request, root, of, query)
    path = _parsed_path(where)
    many = path.target.many and not path.names
    options = _parsed_options(query, path.target.entity_type.name, many)
    alone = path.names or path.references
    if alone and (options.select is not None or options.expand):
        raise QueryError("$select and $expand need entities; here is only a value or a link")
    councils = (await principal(request)).councils
    at_once = many and takes_one_statement(path, options)
    async with reading(request.app.state.pool, councils, at_once=at_once) as reader:
        answers = Answers(reader, root)
        if path.names:
            return _value(path, await answers.property(path))
        if many and options.result_format is not None:
            return await formatted(answers, path, options, root)
        if many:
            return _json(await answers.collection(path, options, as_text=True))
        return _json(await answers.single(path, options))


async def _versions(request: Request, root: str, path: ResourcePath, query: bytes) -> Response:
    """Answer with what an observation said before, to whoever may read it (not in the standard)."""
    if query:
        raise QueryError("the versions of an Observation take no options")
    councils = (await principal(request)).councils
    async with reading(request.app.state.pool, councils) as reader:
        return _json(await Answers(reader, root).versions(path))


@lru_cache(maxsize=_KEPT)
def _parsed_path(path: str) -> ResourcePath:
    return parse_path(path)


@lru_cache(maxsize=_KEPT)
def _parsed_options(query: bytes, entity_type: str, many: bool) -> Options:  # noqa: FBT001 - kept by it
    return parse_options(_query(query), ENTITY_TYPES[entity_type], many=many)


def _query(text: bytes) -> list[Written]:
    """Return the query as pairs; in it + is a space, and %2B a plus."""
    if len(text) > _LONGEST_QUERY:
        raise QueryError(f"a query of more than {_LONGEST_QUERY} characters")
    try:
        return parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise QueryError("the query is not percent-encoded UTF-8") from error


def _value(path: ResourcePath, value: Any) -> Response:
    """Answer with a property: by name, or bare for $value; with nothing if it is null."""
    if value is None:
        return Response(status_code=204)
    if not path.raw:
        return _json({path.names[-1]: value})
    text = value.encode() if isinstance(value, str) else orjson.dumps(value)
    return Response(text, media_type="text/plain; charset=utf-8")


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
