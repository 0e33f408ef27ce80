"""Batch requests (OGC 18-088, clause 11): several requests in one, as multipart/mixed or as JSON.

Pure: bytes to requests and answers to bytes. Running them is the business of the service.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import orjson

from standards_mapping.sensorthings.errors import MediaTypeError, QueryError, TooLargeError
from standards_mapping.sensorthings.json_body import parse_json_body

MOST_REQUESTS: Final = 1000
"""Requests in one batch, those in change sets included."""

_MOST_DELIMITERS: Final = 4 * MOST_REQUESTS  # change sets have some of their own
_MOST_LINES: Final = 200 * MOST_REQUESTS

METHODS: Final = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE"})

JSON: Final = "application/json"

_MULTIPART: Final = "multipart/mixed"
_REQUEST_LINE: Final = re.compile(r"([A-Z]+) +(\S+)(?: +HTTP/\d(?:\.\d)?)? *")
_ROOT: Final = re.compile(r"(?:https?://[^/?]+)?(?:/[^?]*?)?/v1\.[01](?:/|(?=\?)|$)")
_NAME: Final = re.compile(r"[A-Za-z0-9_.~:@-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request of a batch.

    name: its Content-ID or id, "" where it has none. url: below the service root, with its query.
    content_type, if_match: the headers of these names, "" where there are none.
    """

    name: str
    method: str
    url: str
    content_type: str = ""
    if_match: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """Requests that are all done or none of them (clause 11.2). name: of its group, for JSON."""

    requests: tuple[Request, ...]
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one request; body: of the content type, or None for none."""

    name: str
    status: int
    location: str = ""
    body: bytes | None = None
    content_type: str = JSON

    @property
    def is_json(self) -> bool:
        """Whether its body is JSON of any kind."""
        kind = self.content_type.partition(";")[0]
        return kind == JSON or kind.endswith("+json")


Item: TypeAlias = "Request | ChangeSet"


def parse_multipart(content_type: str, body: bytes) -> list[Item]:
    """Return the requests in a multipart/mixed body, in their order.

    Raises:
        QueryError: it cannot be read, or a change set holds a GET.
        TooLargeError: more than `MOST_REQUESTS`.
        MediaTypeError: it is something else than multipart/mixed.
    """
    items: list[Item] = []
    for part in _parts(content_type.encode("latin-1", "replace"), body):
        if part.get_content_type() == _MULTIPART:
            inner = part.get_payload()
            if not isinstance(inner, list):
                raise QueryError("a change set without parts")
            items.append(_change_set([_request(one) for one in inner]))
        else:
            items.append(_request(part))
    return _checked(items)


def parse_json(body: bytes) -> list[Item]:
    """Return the requests in a JSON body, those of one atomicityGroup together.

    Raises:
        QueryError: it cannot be read, an id stands twice, or a group is not in one piece.
        TooLargeError: more than `MOST_REQUESTS`.
    """
    found = parse_json_body(body)
    written = found.get("requests") if isinstance(found, dict) else None
    if not isinstance(written, list):
        raise QueryError('a batch is of the form {"requests": […]}')
    _check_number(len(written))
    items: list[Item] = []
    groups: list[tuple[str, list[Request]]] = []
    names: set[str] = set()
    for one in written:
        group, request = _json_request(one)
        if request.name and request.name in names:  # its answer, and $id, could mean either
            raise QueryError(f"the id {request.name!r} stands twice: each request has its own")
        names.add(request.name)
        if not group:
            groups.append(("", [request]))
        elif groups and groups[-1][0] == group:
            groups[-1][1].append(request)
        elif any(name == group for name, _ in groups):
            raise QueryError(f"the requests of atomicityGroup {group!r} must follow one another")
        else:
            groups.append((group, [request]))
    for name, requests in groups:
        items.append(_change_set(requests, name) if name else requests[0])
    return _checked(items)


def write_multipart(answers: Sequence[Answer | Sequence[Answer]], boundary: str) -> bytes:
    """Return the answers as a multipart/mixed body; those of a change set are nested."""
    parts = []
    for number, answer in enumerate(answers):
        if isinstance(answer, Answer):
            parts.append(_http_part(answer))
        else:
            inner = f"{boundary}_{number}"
            head = f"Content-Type: {_MULTIPART}; boundary={inner}\r\n\r\n".encode()
            parts.append(head + _joined((_http_part(one) for one in answer), inner))
    return _joined(parts, boundary)


def write_json(answers: Sequence[Answer | Sequence[Answer]]) -> bytes:
    """Return the answers as JSON, in the order of the requests; a body that is not JSON as text."""
    found = []
    for answer in _flat(answers):
        one: dict[str, Any] = {"id": answer.name, "status": answer.status}
        if answer.location:
            one["location"] = answer.location
        if answer.body is not None:
            whole = answer.is_json
            one["body"] = orjson.Fragment(answer.body) if whole else answer.body.decode()
            if answer.content_type != JSON:
                one["headers"] = {"content-type": answer.content_type}
        found.append(one)
    return orjson.dumps({"responses": found})


def with_references(request: Request, known: Mapping[str, tuple[str, Any]]) -> Request:
    """Return a request in which `$name` stands for what an earlier request has created.

    known: by name, the address below the root and the id of an entity. A reference stands first
    in the URL, or as the "@iot.id" of a link.
    """
    url = request.url
    if url.startswith("$"):
        name, slash, rest = url[1:].partition("/")
        if name in known:
            url = known[name][0] + slash + rest
    body = request.body
    if known and b"$" in body:
        try:
            body = orjson.dumps(_resolved(parse_json_body(body), known, 0))
        except (QueryError, orjson.JSONEncodeError):
            body = request.body  # refused as what it is when it is run
    return Request(
        name=request.name,
        method=request.method,
        url=url,
        content_type=request.content_type,
        if_match=request.if_match,
        body=body,
    )


def _resolved(value: Any, known: Mapping[str, tuple[str, Any]], depth: int) -> Any:
    if depth > 100:  # noqa: PLR2004  # deeper than any body that is taken
        return value
    if isinstance(value, list):
        return [_resolved(item, known, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    found = {name: _resolved(item, known, depth + 1) for name, item in value.items()}
    written = found.get("@iot.id")
    if isinstance(written, str) and written.startswith("$") and written[1:] in known:
        found["@iot.id"] = known[written[1:]][1]
    return found


def _flat(answers: Iterable[Answer | Sequence[Answer]]) -> Iterator[Answer]:
    for answer in answers:
        if isinstance(answer, Answer):
            yield answer
        else:
            yield from answer


def _parts(content_type: bytes, body: bytes) -> list[Message]:
    if b"\r" in content_type or b"\n" in content_type:
        raise MediaTypeError("a batch is multipart/mixed with a boundary, or JSON")
    for end in (b"\r", b"\n"):  # taking a body to pieces costs far more than counting them
        if body.count(end + b"--") > _MOST_DELIMITERS or body.count(end) > _MOST_LINES:
            raise TooLargeError(
                f"more parts or lines than {MOST_REQUESTS} requests in one batch, the limit, have"
            )
    message = message_from_bytes(b"Content-Type: " + content_type + b"\r\n\r\n" + body)
    if message.get_content_type() != _MULTIPART or not message.get_boundary():
        raise MediaTypeError("a batch is multipart/mixed with a boundary, or JSON")
    found = message.get_payload()
    if not isinstance(found, list):
        raise QueryError("the body has no parts between its boundaries")
    return [part for part in found if isinstance(part, Message)]


def _request(part: object) -> Request:
    if not isinstance(part, Message) or part.get_content_type() != "application/http":
        raise QueryError("a part of a batch must be of the type application/http")
    payload = part.get_payload(decode=True)
    raw = payload if isinstance(payload, bytes) else b""
    head, body = _halves(raw.lstrip(b"\r\n"))
    lines = head.decode("utf-8", "replace").splitlines()
    match = _REQUEST_LINE.fullmatch(lines[0]) if lines else None
    if match is None:
        raise QueryError("a part of a batch must begin with a line such as POST Things HTTP/1.1")
    headers = {
        name.strip().lower(): value.strip()
        for name, colon, value in (line.partition(":") for line in lines[1:])
        if colon
    }
    return Request(
        name=_name(str(part.get("Content-ID", "")).strip().strip("<>")),
        method=_method(match[1]),
        url=_below_root(match[2]),
        content_type=headers.get("content-type", ""),
        if_match=headers.get("if-match", ""),
        body=body.strip(b"\r\n"),
    )


def _halves(raw: bytes) -> tuple[bytes, bytes]:
    for gap in (b"\r\n\r\n", b"\n\n"):
        head, found, body = raw.partition(gap)
        if found:
            return head, body
    return raw, b""


def _json_request(one: object) -> tuple[str, Request]:
    """Return the atomicityGroup of a request, "" for none, and the request."""
    if not isinstance(one, dict):
        raise QueryError("a request of a batch must be a JSON object")
    if "url" not in one:  # "" is the root of the service: what was left out must not mean it
        raise QueryError("a request of a batch needs a url")
    texts = {key: one.get(key, "") for key in ("id", "method", "url", "atomicityGroup")}
    if isinstance(texts["id"], int) and not isinstance(texts["id"], bool):
        texts["id"] = str(texts["id"])
    headers = one.get("headers", {})
    if not all(isinstance(text, str) for text in texts.values()) or not isinstance(headers, dict):
        raise QueryError("id, method, url and atomicityGroup of a request must be texts")
    told = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
    body = one.get("body")
    return texts["atomicityGroup"], Request(
        name=_name(texts["id"]),
        method=_method(texts["method"].upper()),
        url=_below_root(texts["url"]),
        content_type=told.get("content-type", ""),
        if_match=told.get("if-match", ""),
        body=b"" if body is None else orjson.dumps(body),
    )


def _name(text: str) -> str:
    if text and not _NAME.fullmatch(text):
        raise QueryError(f"{text[:40]!r} cannot be a Content-ID: use letters and digits")
    return text


def _method(text: str) -> str:
    if text not in METHODS:
        raise QueryError(f"{text[:20]!r} is no method of {', '.join(sorted(METHODS))}")
    return text


def _below_root(url: str) -> str:
    """Return a URL, absolute or not, as it is below the root of the service; "" is the root.

    One without a slash in front is relative to the address of the batch (RFC 3986, section 5).
    """
    match = _ROOT.match(url)
    below = (url[match.end() :] if match else url).lstrip("/")
    return "" if below == "." else below.removeprefix("./")


def _change_set(requests: Sequence[Request], name: str = "") -> ChangeSet:
    if any(request.method == "GET" for request in requests):
        raise QueryError("a change set only changes: put a GET beside it, not into it")
    return ChangeSet(tuple(requests), name)


def _checked(items: list[Item]) -> list[Item]:
    number = sum(len(item.requests) if isinstance(item, ChangeSet) else 1 for item in items)
    _check_number(number)
    return items


def _check_number(number: int) -> None:
    if number > MOST_REQUESTS:
        raise TooLargeError(f"{number} requests in one batch, limit {MOST_REQUESTS}")


def _http_part(answer: Answer) -> bytes:
    lines = ["Content-Type: application/http"]
    if answer.name:
        lines.append(f"Content-ID: {answer.name}")
    lines += ["", f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    if answer.location:
        lines.append(f"Location: {answer.location}")
    body = answer.body or b""
    if body:
        lines.append(f"Content-Type: {answer.content_type}")
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def _joined(parts: Iterable[bytes], boundary: str) -> bytes:
    mark = f"--{boundary}".encode()
    return b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"
