"""What an operation of the API consists of, as values. Pure; nothing here knows a single path.

Schemas are JSON Schema 2020-12, as OpenAPI 3.1 takes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from api.errors import PROBLEM_JSON

Json = dict[str, Any]
Place = Literal["path", "query", "header"]

JSON: Final = "application/json"
TEXT: Final = "text/plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """Something a request says.

    example: a value that works on most installations or, if it is `formal`, one that only shows
    what such a value looks like.
    """

    name: str
    place: Place = "query"
    text: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    example: object = None
    formal: bool = False
    required: bool = False

    def as_json(self) -> Json:
        """Return the Parameter Object (OpenAPI 3.1, section 4.8.12)."""
        written: Json = {
            "name": self.name,
            "in": self.place,
            "description": self.text,
            "schema": dict(self.schema),
        }
        if self.required or self.place == "path":
            written["required"] = True
        if self.example is not None:
            written["example"] = self.example
        return written


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What comes back. content: schema by media type; none: no content.

    examples: by media type. headers: name to meaning.
    """

    text: str
    content: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    examples: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> Json:
        """Return the Response Object (section 4.8.17)."""
        written: Json = {"description": self.text}
        if self.content:
            written["content"] = {
                media_type: {"schema": dict(schema)}
                | ({"example": self.examples[media_type]} if media_type in self.examples else {})
                for media_type, schema in self.content.items()
            }
        if self.headers:
            written["headers"] = {
                name: {"description": meaning, "schema": {"type": "string"}}
                for name, meaning in self.headers.items()
            }
        return written


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that can be asked. path: with parameters in braces.

    title: a few words. text: a sentence or two, in plain words. group: heading it stands under.
    answers: by status. body: schema by media type of what is sent; needs_key: whether an
    anonymous request is refused.
    """

    path: str
    method: Literal["get", "post", "put", "patch", "delete"] = "get"
    title: str
    text: str
    group: str
    parameters: tuple[Parameter, ...] = ()
    answers: Mapping[int, Answer]
    body: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    body_examples: Mapping[str, object] = field(default_factory=dict)
    needs_key: bool = False

    @property
    def id(self) -> str:
        """What names it: the same in every version, and usable as the id of an element."""
        kept = "".join(sign if sign.isalnum() else "-" for sign in self.path)
        return f"{self.method}-{'-'.join(part for part in kept.split('-') if part)}".lower()

    @property
    def example_path(self) -> str:
        """The path with its examples filled in, and required options."""
        path = self.path
        for one in self.parameters:
            if one.place == "path":
                path = path.replace(f"{{{one.name}}}", str(one.example))
        return path

    def as_json(self) -> Json:
        """Return the Operation Object (section 4.8.10)."""
        written: Json = {
            "operationId": self.id,
            "summary": self.title,
            "description": self.text,
            "tags": [self.group],
            "responses": {
                str(status): answer.as_json() for status, answer in sorted(self.answers.items())
            },
        }
        if self.parameters:
            written["parameters"] = [one.as_json() for one in self.parameters]
        if self.body:
            written["requestBody"] = {
                "required": True,
                "content": {
                    media_type: {"schema": dict(schema)}
                    | (
                        {"example": self.body_examples[media_type]}
                        if media_type in self.body_examples
                        else {}
                    )
                    for media_type, schema in self.body.items()
                },
            }
        keys: list[Json] = [{"bearer": []}, {"header": []}]
        written["security"] = keys if self.needs_key else [{}, *keys]
        return written


def component(name: str) -> Json:
    """Return a reference to a schema of the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def file(text: str, media_type: str, example: object = None) -> Answer:
    """Return an answer that is a file of this type."""
    examples = {} if example is None else {media_type: example}
    return Answer(text=text, content={media_type: {"type": "string"}}, examples=examples)


UNCHANGED: Final = Answer(
    text="The copy whose ETag the request named is still good.",
    headers={"ETag": "Of that copy."},
)
_RETRY: Final = {"Retry-After": "Seconds after which to ask again."}
_LIMIT: Final = {
    "RateLimit-Policy": "Requests (q) that are answered in a window of w seconds.",
    "RateLimit": "Requests that remain (r), and seconds until there are more (t).",
}
_CHALLENGE: Final = {"WWW-Authenticate": "How a key is sent."}
_TEXTS: Final[Mapping[int, str]] = {
    400: "The request cannot be understood; the message names what and how to write it.",
    401: "The API key is unknown, expired or revoked, or one is needed and none was sent.",
    403: "The key or session does not allow this.",
    404: "There is no such thing, or not everybody may know of it.",
    405: "The method cannot be used here.",
    406: "There is no such form of this; the message lists what there is.",
    409: "It contradicts what is stored.",
    411: "The length of the content is missing.",
    412: "The header If-Match names an ETag; all are weak, which never match.",
    413: "More is asked, or sent, than is handled at once.",
    415: "Content of this type is not understood.",
    422: "The standard has this and the service does not.",
    429: "Too many requests in a minute.",
    501: "The standard has this and the service does not.",
    503: "The database is away, or the question would read too much; the message says which.",
}
_HEADERS: Final[Mapping[int, Mapping[str, str]]] = {
    401: _CHALLENGE,
    429: {**_RETRY, **_LIMIT},
    503: {},
}


def errors(*statuses: int, schema: str = "Problem", media_type: str = "") -> dict[int, Answer]:
    """Return the answers of these error statuses, in the form of one standard."""
    written = media_type or (PROBLEM_JSON if schema == "Problem" else JSON)
    return {
        status: Answer(
            text=_TEXTS[status],
            content={written: component(schema)},
            headers=_HEADERS.get(status, {}),
        )
        for status in (*statuses, 401, 406, 429, 503)
    }
