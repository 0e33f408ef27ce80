"""The operations of the SensorThings API (OGC 18-088), written from its model. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from api.machine_paths import SENSORTHINGS
from api.openapi.model import (
    JSON,
    TEXT,
    UNCHANGED,
    Answer,
    Json,
    Operation,
    Parameter,
    component,
    errors,
)
from standards_mapping.sensorthings.model import ENTITY_SETS, ENTITY_TYPES, EntityType, Kind

GROUP: Final = "SensorThings"
ERROR: Final = "SensorThingsError"
WRITING: Final = "Writing with SensorThings"

_VERSIONS: Final = "ObservationVersions"
_ID_EXAMPLES: Final = {"Observation": "'1-1767225600000000'"}
_CSV: Final = "text/csv"
_GEOJSON: Final = "application/geo+json"
_MIXED: Final = "multipart/mixed"
_PATCH: Final = "application/json-patch+json"
_REFUSALS: Final = errors(400, 403, 404, 405, 409, 412, 413, 415, 501, schema=ERROR)
_DATA_ARRAYS: Final = [
    {
        "Datastream": {"@iot.id": 1},
        "components": ["phenomenonTime", "result"],
        "dataArray": [["2026-03-01T12:00:00Z", 21.5]],
    }
]
_BATCH: Final = {"requests": [{"id": "1", "method": "get", "url": "Things?$top=1"}]}
_KINDS: Final[Mapping[Kind, Json]] = {
    Kind.TEXT: {"type": ["string", "null"]},
    Kind.INSTANT: {"type": ["string", "null"], "description": "ISO 8601, UTC"},
    Kind.PERIOD: {"type": ["string", "null"], "description": "ISO 8601, UTC; start/end"},
    Kind.JSON: {},
}
_SELECT: Final = Parameter(
    name="$select", text="Properties and links wanted, by name.", example="name,@iot.id"
)
_EXPAND: Final = Parameter(
    name="$expand", text="Related entities to include, with options in parentheses."
)
_EXPAND_EXAMPLES: Final = {
    "Thing": "Datastreams($select=name),Locations",
    "Datastream": "Observations($top=1;$orderby=phenomenonTime desc),ObservedProperty",
    "Observation": "Datastream($select=name)",
}


def operations() -> Iterator[Operation]:
    """Yield the landing page, and for each entity set what can be read of it."""
    yield Operation(
        path=SENSORTHINGS,
        title="Landing page",
        text="The entity sets, and which parts of the standard the service conforms to.",
        group=GROUP,
        answers={
            200: _json("The service document.", component("SensorThingsService")),
            304: UNCHANGED,
            **errors(schema=ERROR),
        },
    )
    for entity_type in ENTITY_SETS.values():
        yield from _of_set(entity_type)
    observation = ENTITY_TYPES["Observation"]
    yield Operation(
        path=f"{SENSORTHINGS}/{observation.set_name}({{id}})/versions",
        title="The versions of an Observation",
        text="All that an Observation said, oldest first, where it was corrected; not of the"
        " standard.",
        group=GROUP,
        parameters=(_key(observation),),
        answers={
            200: _json("The versions; none where it was never changed.", component(_VERSIONS)),
            304: UNCHANGED,
            **errors(400, 404, 501, schema=ERROR),
        },
    )


def writes() -> Iterator[Operation]:
    """Yield what whoever has a key with the scope "write" may do, and batches."""
    for entity_type in ENTITY_SETS.values():
        yield from _writes_of(entity_type)
    yield Operation(
        path=f"{SENSORTHINGS}/CreateObservations",
        method="post",
        title="Many Observations at once",
        text="Observations as rows of data arrays; each is answered by its address, or why not.",
        group=WRITING,
        needs_key=True,
        body={JSON: {"type": "array", "items": {"type": "object"}}},
        body_examples={JSON: _DATA_ARRAYS},
        answers={
            201: _json("A line for each row.", {"type": "array", "items": {"type": "string"}}),
            **_REFUSALS,
        },
    )
    yield Operation(
        path=f"{SENSORTHINGS}/$batch",
        method="post",
        title="Several requests in one",
        text=(
            "Requests that read and write, answered one by one; a change set is done whole or not"
            " at all. In JSON or as multipart/mixed."
        ),
        group=WRITING,
        body={JSON: {"type": "object"}, _MIXED: {"type": "string"}},
        body_examples={JSON: _BATCH},
        answers={
            200: Answer(
                text="The answers, in the form of the requests.",
                content={JSON: {"type": "object"}, _MIXED: {"type": "string"}},
            ),
            **_REFUSALS,
        },
    )


def _writes_of(entity_type: EntityType) -> Iterator[Operation]:
    name, many = entity_type.name, entity_type.set_name
    one, key = f"{SENSORTHINGS}/{many}({{id}})", _key(entity_type)
    body = {JSON: component(name)}
    yield Operation(
        path=f"{SENSORTHINGS}/{many}",
        method="post",
        title=f"A new {name}",
        text=f"Create a {name}, with what belongs to it.",
        group=WRITING,
        needs_key=True,
        body=body,
        answers={
            201: Answer(
                text="It was created.",
                content={JSON: component(name)},
                headers={"Location": "Where it is."},
            ),
            **_REFUSALS,
        },
    )
    changed = {200: _json(f"The {name} as it is now.", component(name)), **_REFUSALS}
    yield Operation(
        path=one,
        method="patch",
        title=f"Change a {name}",
        text="Change what is named, by its new values or by a JSON Patch (RFC 6902).",
        group=WRITING,
        needs_key=True,
        parameters=(key,),
        body=body | {_PATCH: {"type": "array", "items": {"type": "object"}}},
        answers=changed,
    )
    yield Operation(
        path=one,
        method="put",
        title=f"Replace a {name}",
        text="Give it new values; what is not named becomes empty.",
        group=WRITING,
        needs_key=True,
        parameters=(key,),
        body=body,
        answers=changed,
    )
    yield Operation(
        path=one,
        method="delete",
        title=f"Delete a {name}",
        text=f"Delete a {name} that is kept by hand; what a gateway signed stays.",
        group=WRITING,
        needs_key=True,
        parameters=(key,),
        answers={200: Answer(text="It was deleted."), **_REFUSALS},
    )


def schemas() -> dict[str, Json]:
    """Return the components that the operations refer to."""
    found: dict[str, Json] = {
        ERROR: {
            "type": "object",
            "required": ["code", "type", "message"],
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "type": {"const": "error"},
                "message": {"type": "string"},
            },
        },
        "SensorThingsService": {
            "type": "object",
            "required": ["value", "serverSettings"],
            "properties": {
                "value": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "url"],
                        "properties": {"name": {"type": "string"}, "url": {"type": "string"}},
                    },
                },
                "serverSettings": {"type": "object"},
            },
        },
    }
    for entity_type in ENTITY_TYPES.values():
        found[entity_type.name] = _entity(entity_type)
    return found | {_VERSIONS: _versions()}


def _versions() -> Json:
    version: Json = {
        "type": "object",
        "required": ["version", "result", "at"],
        "properties": {
            "version": {"type": "integer", "minimum": 1},
            "phenomenonTime": {"type": "string", "description": "Of an interval of its own."},
            "result": {},
            "resultQuality": {},
            "parameters": {"type": "object"},
            "at": {"type": "string", "description": "ISO 8601: since when it says this."},
            "reason": {"type": "string", "description": "Why it was corrected."},
        },
    }
    return {
        "type": "object",
        "required": ["value"],
        "properties": {"value": {"type": "array", "items": version}},
    }


def _entity(entity_type: EntityType) -> Json:
    """Return the schema of an entity; nothing is required of it, as `$select` leaves out."""
    properties: Json = {
        "@iot.id": {"type": ["integer", "string"]},
        "@iot.selfLink": {"type": "string"},
    }
    for one in entity_type.properties.values():
        properties[one.name] = _KINDS[one.kind]
    for link in entity_type.navigations.values():
        properties[f"{link.name}@iot.navigationLink"] = {"type": "string"}
        item: Json = component(link.target)
        expanded = {"type": "array", "items": item} if link.many else item
        properties[link.name] = expanded
    return {"type": "object", "properties": properties}


def _of_set(entity_type: EntityType) -> Iterator[Operation]:
    name, many = entity_type.name, entity_type.set_name
    root = f"{SENSORTHINGS}/{many}"
    key = _key(entity_type)
    own = {200: _json(f"The {name}.", component(name)), 304: UNCHANGED}
    yield _collection(root, entity_type, f"All {many}", ())
    yield Operation(
        path=f"{root}({{id}})",
        title=f"One {name}",
        text=f"A {name} by its id.",
        group=GROUP,
        parameters=(key, _SELECT, _expand(entity_type)),
        answers=own | errors(400, 404, 501, schema=ERROR),
    )
    names = {"type": "string", "enum": sorted(entity_type.properties)}
    wanted = Parameter(
        name="property",
        place="path",
        text="Which property.",
        schema=names,
        example=next(iter(entity_type.properties)),
    )
    nothing = {204: Answer(text="The property is null.")}
    yield Operation(
        path=f"{root}({{id}})/{{property}}",
        title=f"One property of a {name}",
        text="The property by its name, as JSON.",
        group=GROUP,
        parameters=(key, wanted),
        answers={
            200: _json("The property.", {"type": "object"}),
            304: UNCHANGED,
            **nothing,
            **errors(400, 404, 501, schema=ERROR),
        },
    )
    yield Operation(
        path=f"{root}({{id}})/{{property}}/$value",
        title=f"The bare value of a property of a {name}",
        text="The value alone, as text.",
        group=GROUP,
        parameters=(key, wanted),
        answers={
            200: Answer(text="The value.", content={TEXT: {"type": "string"}}),
            304: UNCHANGED,
            **nothing,
            **errors(400, 404, 501, schema=ERROR),
        },
    )
    for link in entity_type.navigations.values():
        path = f"{root}({{id}})/{link.name}"
        target = ENTITY_TYPES[link.target]
        if link.many:
            yield _collection(path, target, f"{link.name} of a {name}", (key,))
        else:
            yield Operation(
                path=path,
                title=f"{link.name} of a {name}",
                text=f"The {link.target} that a {name} has.",
                group=GROUP,
                parameters=(key, _SELECT, _expand(target)),
                answers={
                    200: _json(f"The {link.target}.", component(link.target)),
                    304: UNCHANGED,
                    **errors(400, 404, 501, schema=ERROR),
                },
            )


def _collection(
    path: str, entity_type: EntityType, title: str, before: tuple[Parameter, ...]
) -> Operation:
    name = entity_type.name
    page: Json = {
        "type": "object",
        "properties": {
            "@iot.count": {"type": "integer", "minimum": 0},
            "@iot.nextLink": {"type": "string"},
            "value": {"type": "array"},
        },
    }
    rows: Json = {"type": "object", "properties": {"value": {"items": component(name)}}}
    return Operation(
        path=path,
        title=title,
        text=(
            "A page of entities, 100 where $top does not say. Follow @iot.nextLink for more: it"
            " stays quick however far it leads."
        ),
        group=GROUP,
        parameters=(*before, *_options(entity_type)),
        answers={
            200: Answer(
                text="A page.",
                content={
                    JSON: {"allOf": [page, rows]},
                    _CSV: {"type": "string"},
                    _GEOJSON: {"type": "object"},
                },
            ),
            304: UNCHANGED,
            **errors(400, 404, 501, schema=ERROR),
        },
    )


def _options(entity_type: EntityType) -> tuple[Parameter, ...]:
    name, time = entity_type.name, "phenomenonTime"
    ordered = time if time in entity_type.properties else "id"
    compared = {
        "Observation": "phenomenonTime ge 2026-01-01T00:00:00Z and result gt 40",
        "HistoricalLocation": "time ge 2026-01-01T00:00:00Z",
    }.get(name, "startswith(name,'B')")
    count = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
    return (
        Parameter(name="$filter", text="Which entities are wanted.", example=compared),
        Parameter(name="$orderby", text="Their order.", example=f"{ordered} desc"),
        Parameter(name="$top", text="How many, at most 1000.", schema=count, example=10),
        Parameter(
            name="$skip", text="How many to leave out; @iot.nextLink is quicker.", schema=count
        ),
        Parameter(name="$count", text="Whether to count them all.", schema={"type": "boolean"}),
        _SELECT if "name" in entity_type.properties else _select(entity_type),
        _expand(entity_type),
        Parameter(
            name="$resultFormat",
            text="Another form: rows of columns (Observations), CSV, or GeoJSON.",
            schema={"type": "string", "enum": ["dataArray", "CSV", "GeoJSON"]},
        ),
    )


def _select(entity_type: EntityType) -> Parameter:
    example = f"{next(iter(entity_type.properties))},@iot.id"
    return Parameter(name=_SELECT.name, text=_SELECT.text, example=example)


def _expand(entity_type: EntityType) -> Parameter:
    example = _EXPAND_EXAMPLES.get(entity_type.name, next(iter(entity_type.navigations)))
    return Parameter(name=_EXPAND.name, text=_EXPAND.text, example=example)


def _key(entity_type: EntityType) -> Parameter:
    if entity_type.name == "Observation":
        schema: dict[str, Any] = {"type": "string", "pattern": "^'[^/'()]*'$"}
        text = "Its id, between single quotes."
    else:
        schema, text = {"type": "integer", "minimum": 1}, "Its id."
    example = _ID_EXAMPLES.get(entity_type.name, 1)
    return Parameter(
        name="id",
        place="path",
        text=text,
        schema=schema,
        example=example,
        formal=entity_type.name in _ID_EXAMPLES,
    )


def _json(text: str, schema: Json) -> Answer:
    return Answer(text=text, content={JSON: schema})
