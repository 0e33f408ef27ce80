"""The operations of open data: the catalogue, linked data by SOSA, and files. Pure."""

from typing import Final

from api.openapi.model import JSON, UNCHANGED, Answer, Operation, Parameter, errors

CATALOGUE: Final = "Catalogue"
LINKED: Final = "Linked data"
FILES: Final = "Files and evidence"

_JSON_LD: Final = "application/ld+json"
_TURTLE: Final = "text/turtle"
_TIME: Final = {"type": "string", "maxLength": 40}
_NAME: Final = {"type": "string", "pattern": "^[a-z0-9_-]+$"}
_NUMBER: Final = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}

_TENANT: Final = Parameter(
    name="tenant",
    place="path",
    text="The council's short name.",
    schema=_NAME,
    example="camden",
)
_KEY: Final = Parameter(
    name="key", place="path", text="What is measured, by its key.", schema=_NAME, example="no2"
)
_FROM: Final = Parameter(
    name="from",
    text="Start; a day before the end where it is missing.",
    schema=_TIME,
    example="2026-03-01T00:00:00Z",
)
_TO: Final = Parameter(
    name="to", text="End; now where it is missing.", schema=_TIME, example="2026-03-02T00:00:00Z"
)
_LINKED: Final = {
    200: Answer(
        text="The document, in the form that Accept prefers.",
        content={_JSON_LD: {"type": "object"}, _TURTLE: {"type": "string"}},
    ),
    304: UNCHANGED,
    **errors(400, 404, 406),
}


def _catalogue(path: str, title: str, text: str, *parameters: Parameter) -> Operation:
    return Operation(
        path=path, title=title, text=text, group=CATALOGUE, parameters=parameters, answers=_LINKED
    )


def _linked(path: str, title: str, text: str, *parameters: Parameter) -> Operation:
    return Operation(
        path=f"/sosa/{path}",
        title=title,
        text=text,
        group=LINKED,
        parameters=parameters,
        answers=_LINKED,
    )


def _number(what: str) -> Parameter:
    return Parameter(name="number", place="path", text=what, schema=_NUMBER, example=1)


def _named(what: str, example: str) -> Parameter:
    return Parameter(name="name", place="path", text=what, schema=_NAME, example=example)


def _files(ending: str, media_type: str, text: str, kind: str = "string") -> Operation:
    return Operation(
        path=f"/data/{{tenant}}/{{key}}.{ending}",
        title=f"A council's readings of one property, as {text}",
        text=(
            "The last 24 hours, or the time asked for: every result with its unit, its interval,"
            " its quality and where the sensor was. The columns are the same in every form."
        ),
        group=FILES,
        parameters=(
            _TENANT,
            _KEY,
            _FROM,
            _TO,
            Parameter(name="datastream", text="Only this datastream.", schema=_NUMBER),
            Parameter(name="thing", text="Only this site's.", schema=_NUMBER),
        ),
        answers={
            200: Answer(text="The file.", content={media_type: {"type": kind}}),
            304: UNCHANGED,
            **errors(400, 404),
        },
    )


OPERATIONS: Final = (
    _catalogue("/catalogue", "The catalogue", "Every open dataset of the region (DCAT-AP 3)."),
    _catalogue(
        "/catalogue.{ending}",
        "The catalogue in one form",
        "The same, in the form that the address names whatever Accept says.",
        Parameter(
            name="ending",
            place="path",
            text="ttl for Turtle, jsonld for JSON-LD.",
            schema={"type": "string", "enum": ["ttl", "jsonld"]},
            example="ttl",
        ),
    ),
    _catalogue(
        "/catalogue/{tenant}",
        "The catalogue of a council",
        "A council's open datasets. With .ttl or .jsonld after its name, in that form.",
        _TENANT,
    ),
    _catalogue(
        "/catalogue/{tenant}/{key}",
        "One dataset",
        "What a council measures of one property: licence, coverage, and where its files are.",
        _TENANT,
        _KEY,
    ),
    Operation(
        path="/data.json",
        title="The catalogue for CKAN",
        text="The catalogue in the form that CKAN's harvesters read (Project Open Data 1.1).",
        group=CATALOGUE,
        answers={
            200: Answer(text="The catalogue.", content={JSON: {"type": "object"}}),
            304: UNCHANGED,
            **errors(400, 406),
        },
    ),
    _files("csv", "text/csv", "CSV"),
    Operation(
        path="/data/{tenant}/{key}.csv-metadata.json",
        title="What the columns of a CSV file are",
        text="The metadata that tools look for beside a CSV file (CSV on the Web).",
        group=FILES,
        parameters=(_TENANT, _KEY),
        answers={
            200: Answer(text="It.", content={"application/csvm+json": {"type": "object"}}),
            304: UNCHANGED,
            **errors(400, 404),
        },
    ),
    _files("geojson", "application/geo+json", "GeoJSON", "object"),
    _files("parquet", "application/vnd.apache.parquet", "GeoParquet"),
    _linked(
        "observations",
        "Observations of a datastream",
        "A page, oldest first; the header Link leads to the next.",
        Parameter(
            name="datastream",
            text="Which datastream, by its number in SensorThings.",
            schema=_NUMBER,
            example=1,
            required=True,
        ),
        _FROM,
        _TO,
        Parameter(
            name="limit",
            text="How many, 100 where it is missing.",
            schema={"type": "integer", "minimum": 1, "maximum": 1000},
            example=10,
        ),
        Parameter(name="after", text="Only those after this time.", schema=_TIME),
    ),
    _linked(
        "sensors/{number}", "A sensor", "What it observes, how, and what hosts it.",
        _number("Id of the Sensor in SensorThings."),
    ),
    _linked(
        "platforms/{number}", "A platform", "What a Thing hosts, and where it was since when.",
        _number("Id of the Thing in SensorThings."),
    ),
    _linked("properties/{key}", "A property", "What can be observed.", _KEY),
    _linked(
        "procedures/{name}", "A procedure", "How results come about.",
        _named("Its name, as documents link to it.", "instant"),
    ),
    _linked(
        "qualities/{name}", "A quality flag", "What a flag against a result means.",
        _named("Its name, as documents link to it.", "out-of-range"),
    ),
    Operation(
        path="/sosa/context.jsonld",
        title="The JSON-LD context",
        text="What the terms of the documents mean; they refer to it.",
        group=LINKED,
        answers={
            200: Answer(text="The context.", content={_JSON_LD: {"type": "object"}}),
            304: UNCHANGED,
            **errors(400),
        },
    ),
)  # fmt: skip
