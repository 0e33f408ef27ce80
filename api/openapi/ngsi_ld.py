"""The operations of NGSI-LD (ETSI GS CIM 009) that the service has: those that read. Pure."""

from typing import Final

from api.errors import PROBLEM_JSON
from api.machine_paths import NGSI_LD
from api.openapi.model import (
    JSON,
    UNCHANGED,
    Answer,
    Json,
    Operation,
    Parameter,
    errors,
)

GROUP: Final = "NGSI-LD"
ERROR: Final = "NgsiLdProblem"

_JSON_LD: Final = "application/ld+json"
_GEOJSON: Final = "application/geo+json"
_ID: Final = "urn:ngsi-ld:AirQualityObserved:E09000007:dev:kerbstone:site:bloomsbury"
_COUNT: Final = {"type": "integer", "minimum": 0, "maximum": 1000}

_TENANT: Final = Parameter(
    name="NGSILD-Tenant",
    place="header",
    text="Only entities of one council, by its short name.",
    schema={"type": "string", "pattern": "^[a-z0-9_-]+$"},
    example="camden",
)
_OUTPUT: Final = (
    Parameter(name="attrs", text="Only these attributes.", example="no2,temperature"),
    Parameter(name="pick", text="Only these members."),
    Parameter(name="omit", text="All but these members."),
    Parameter(
        name="options",
        text="How entities are written: normalized, concise, keyValues, or sysAttrs beside it.",
        example="concise",
    ),
)
_SELECTION: Final = (
    Parameter(name="type", text="Only entities of these types.", example="AirQualityObserved"),
    Parameter(name="id", text="Only these entities."),
    Parameter(name="idPattern", text="Only entities whose id matches."),
    Parameter(name="q", text="A condition on attributes.", example="no2>40"),
    Parameter(
        name="georel",
        text="How they lie to a geometry, with geometry and coordinates.",
        example="near;maxDistance==2000",
    ),
    Parameter(name="geometry", text="Of which kind the geometry is.", example="Point"),
    Parameter(name="coordinates", text="Where it is, as in GeoJSON.", example="[-0.126,51.522]"),
    Parameter(name="geoproperty", text="Which place of theirs; location where it is missing."),
)
_PAGING: Final = (
    Parameter(name="limit", text="How many, 20 where it is missing.", schema=_COUNT, example=10),
    Parameter(name="offset", text="How many to leave out.", schema=_COUNT),
    Parameter(
        name="count",
        text="Whether NGSILD-Results-Count says how many there are.",
        schema={"type": "boolean"},
    ),
)
_TIMES: Final = (
    Parameter(name="timerel", text="before, after or between.", example="after"),
    Parameter(name="timeAt", text="The time.", example="2026-03-01T00:00:00Z"),
    Parameter(name="endTimeAt", text="The end, for between."),
    Parameter(name="lastN", text="Only the newest of each attribute.", schema=_COUNT, example=10),
    Parameter(name="aggrMethods", text="Aggregates wanted, with options=aggregatedValues."),
    Parameter(name="aggrPeriodDuration", text="What each is of, e.g. PT1H."),
)
_DETAILS: Final = Parameter(
    name="details", text="Whether to say more of each.", schema={"type": "boolean"}
)
_ENTITY: Final = Parameter(
    name="entityId",
    place="path",
    text="Its id.",
    schema={"type": "string"},
    example=_ID,
    formal=True,
)


def schemas() -> dict[str, Json]:
    """Return the components that the operations refer to."""
    return {
        ERROR: {
            "type": "object",
            "description": "What went wrong (clause 5.5.2).",
            "required": ["type", "title"],
            "properties": {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "detail": {"type": "string"},
                "status": {"type": "integer"},
            },
        }
    }


def _written(kind: str, *, geojson: bool = False) -> Answer:
    content: dict[str, Json] = {JSON: {"type": kind}, _JSON_LD: {"type": kind}}
    if geojson:
        content[_GEOJSON] = {"type": "object"}
    return Answer(text="As Accept says; for plain JSON the context is in Link.", content=content)


def _answers(kind: str, *, geojson: bool = False, history: bool = False) -> dict[int, Answer]:
    found = {200: _written(kind, geojson=geojson), 304: UNCHANGED}
    if history:
        found[206] = Answer(
            text="The newest, or oldest, of more than one answer holds; Content-Range says which.",
            content=_written(kind).content,
        )
    refused = (400, 403, 404, 406, 422)
    return found | errors(*refused, schema=ERROR, media_type=PROBLEM_JSON)


def _get(
    path: str, title: str, text: str, answers: dict[int, Answer], *parameters: Parameter
) -> Operation:
    return Operation(
        path=path, title=title, text=text, group=GROUP, parameters=parameters, answers=answers
    )


def _query(path: str, title: str, text: str, example: Json, *, history: bool) -> Operation:
    answers = _answers("array", geojson=not history, history=history)
    del answers[304]
    answers |= errors(413, 415, schema=ERROR, media_type=PROBLEM_JSON)
    return Operation(
        path=f"{NGSI_LD}/{path}",
        method="post",
        title=title,
        text=text,
        group=GROUP,
        parameters=(*_PAGING, _TENANT),
        body={JSON: {"type": "object"}, _JSON_LD: {"type": "object"}},
        body_examples={JSON: example},
        answers=answers,
    )


_NEWEST: Final[Json] = {"type": "Query", "entities": [{"type": "AirQualityObserved"}]}

OPERATIONS: Final = (
    _get(
        f"{NGSI_LD}/entities",
        "Entities",
        "What is measured at each site now, as Smart Data Models.",
        _answers("array", geojson=True),
        *_SELECTION, *_OUTPUT, *_PAGING, _TENANT,
    ),
    _get(
        f"{NGSI_LD}/entities/{{entityId}}",
        "One entity",
        "A site by the id of its entity.",
        _answers("object", geojson=True),
        _ENTITY, *_OUTPUT, _TENANT,
    ),
    _get(
        f"{NGSI_LD}/temporal/entities",
        "Entities over time",
        "What was measured at each site in a time, or its aggregates.",
        _answers("array", history=True),
        *_SELECTION, *_OUTPUT, *_TIMES, *_PAGING, _TENANT,
    ),
    _get(
        f"{NGSI_LD}/temporal/entities/{{entityId}}",
        "One entity over time",
        "What was measured at a site in a time, or its aggregates.",
        _answers("object", history=True),
        _ENTITY, *_OUTPUT, *_TIMES, _TENANT,
    ),
    _get(
        f"{NGSI_LD}/types", "Types", "The types of entities that there are.",
        {**_answers("object"), 200: Answer(text="They.", content={JSON: {}, _JSON_LD: {}})},
        _DETAILS, _TENANT,
    ),
    _get(
        f"{NGSI_LD}/types/{{name}}", "One type", "What entities of a type have.",
        _answers("object"),
        Parameter(name="name", place="path", text="The type.", example="AirQualityObserved"),
        _TENANT,
    ),
    _get(
        f"{NGSI_LD}/attributes", "Attributes", "The attributes that entities have.",
        {**_answers("object"), 200: Answer(text="They.", content={JSON: {}, _JSON_LD: {}})},
        _DETAILS, _TENANT,
    ),
    _get(
        f"{NGSI_LD}/attributes/{{name}}", "One attribute", "Which types have an attribute.",
        _answers("object"),
        Parameter(name="name", place="path", text="The attribute.", example="temperature"),
        _TENANT,
    ),
    _get(
        f"{NGSI_LD}/jsonldContexts", "Contexts", "The JSON-LD contexts that are served here.",
        {**_answers("array")},
        _DETAILS,
    ),
    _get(
        f"{NGSI_LD}/jsonldContexts/{{name}}", "One context", "A JSON-LD context.",
        _answers("object"),
        Parameter(name="name", place="path", text="Its name, from the list.",
                  example="kerbstone.jsonld"),
    ),
    _get(
        "/contexts/{name}", "One context, by its address", "A JSON-LD context.",
        _answers("object"),
        Parameter(name="name", place="path", text="Its name, from the list.",
                  example="kerbstone.jsonld"),
    ),
    _query(
        "entityOperations/query", "Entities, by a Query",
        "The same as a GET of the entities, for questions too long for an address.",
        _NEWEST, history=False,
    ),
    _query(
        "temporal/entityOperations/query", "Entities over time, by a Query",
        "The same as a GET of entities over time, for questions too long for an address.",
        {**_NEWEST, "temporalQ": {"timerel": "after", "timeAt": "2026-03-01T00:00:00Z"}},
        history=True,
    ),
)  # fmt: skip
