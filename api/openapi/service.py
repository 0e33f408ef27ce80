"""The operations that are our own: live values, CSV of a site, evidence, this document. Pure."""

from typing import Final

from api.openapi.model import (
    JSON,
    UNCHANGED,
    Answer,
    Operation,
    Parameter,
    component,
    errors,
    file,
)

LIVE: Final = "Live values"
FILES: Final = "Files and evidence"
ABOUT: Final = "About this API"

_HEX: Final = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
_TIME: Final = {"type": "string", "maxLength": 40}

OPERATIONS: Final = (
    Operation(
        path="/live",
        title="New values as they come",
        text=(
            "Server-sent events: “values” with what changed, at most once a second, and “beat”"
            " every ten seconds. It stays open. Come back with Last-Event-ID to hear what you"
            " missed."
        ),
        group=LIVE,
        parameters=(
            Parameter(
                name="council",
                text="Only values of one council, by its short name.",
                schema={"type": "string", "maxLength": 32},
                example="camden",
            ),
            Parameter(
                name="since",
                text="What was missed since this time comes first.",
                schema=_TIME,
                example="2026-03-01T12:00:00Z",
            ),
            Parameter(
                name="Last-Event-ID",
                place="header",
                text="Id of the last event heard; browsers send it when they come back.",
                schema=_TIME,
            ),
        ),
        answers={
            200: file(
                "Events, for as long as you listen.",
                "text/event-stream",
                'event: beat\ndata: {"now":"2026-03-01T12:00:00Z","connected":true}\n\n',
            ),
            **errors(400),
        },
    ),
    Operation(
        path="/sites/{thing_id}/values.csv",
        title="What a site's charts show, as CSV",
        text=(
            "The points of each chart between two times, with unit, times in UTC, what each value"
            " is, quality and licence. A long span is summed up, as in the chart."
        ),
        group=FILES,
        parameters=(
            Parameter(
                name="thing_id",
                place="path",
                text="Number of the site: the id of its Thing in SensorThings.",
                schema={"type": "integer"},
                example=1,
            ),
            Parameter(
                name="from",
                text="Start; a day before the end where it is missing.",
                schema=_TIME,
                example="2026-03-01T00:00:00Z",
            ),
            Parameter(
                name="to",
                text="End; now where it is missing.",
                schema=_TIME,
                example="2026-03-02T00:00:00Z",
            ),
            Parameter(
                name="datastream",
                text="Only this one of the site's datastreams.",
                schema={"type": "integer"},
            ),
        ),
        answers={
            200: file("The points, a row each.", "text/csv"),
            304: UNCHANGED,
            **errors(400, 404),
        },
    ),
    Operation(
        path="/batches/{epoch_id}/{seq}",
        title="A message as its gateway signed it",
        text=(
            "The COSE_Sign1 (RFC 9052) of one message, byte for byte, so that anyone can check"
            " offline who signed which readings. Only where everything in it is open."
        ),
        group=FILES,
        parameters=(
            Parameter(
                name="epoch_id",
                place="path",
                text="The epoch, in hexadecimal, as the site's page shows it.",
                schema=_HEX,
                example="0123456789abcdef",
                formal=True,
            ),
            Parameter(
                name="seq",
                place="path",
                text="The message's number in it.",
                schema={"type": "integer", "minimum": 1, "maximum": 2**20},
                example=1,
            ),
        ),
        answers={
            200: file("The signed message.", "application/cose"),
            304: UNCHANGED,
            **errors(400, 404),
        },
    ),
    Operation(
        path="/keys/{kid}",
        title="A gateway's public key",
        text="The COSE_Key (RFC 9052, section 7) that a key identifier names.",
        group=FILES,
        parameters=(
            Parameter(
                name="kid",
                place="path",
                text="The key identifier, in hexadecimal.",
                schema=_HEX,
                example="0123456789abcdef",
                formal=True,
            ),
        ),
        answers={
            200: file("The key.", "application/cose-key"),
            304: UNCHANGED,
            **errors(400, 404),
        },
    ),
    Operation(
        path="/boundaries.geojson",
        title="Outlines of the councils",
        text="The network's councils and their neighbours, simplified to about 500 metres.",
        group=FILES,
        answers={
            200: Answer(
                text="A FeatureCollection (RFC 7946).",
                content={"application/geo+json": {"type": "object"}},
            ),
            304: UNCHANGED,
            **errors(),
        },
    ),
    Operation(
        path="/openapi.json",
        title="This description, for programs",
        text="Everything on this page as an OpenAPI 3.1 document.",
        group=ABOUT,
        answers={
            200: Answer(text="The document.", content={JSON: component("OpenAPI")}),
            304: UNCHANGED,
            **errors(),
        },
    ),
)
