"""Whatever is sent, the service answers: never with a fault of its own."""

import asyncio
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from standards_mapping.sensorthings.model import ENTITY_TYPES
from tests.integration.conftest import DatabaseServer
from tests.integration.sensorthings.writing import (
    SENSOR,
    Writing,
    datastream_body,
    location_body,
    serve_writing,
    thing_body,
)

NAMES = sorted(
    {name for kind in ENTITY_TYPES.values() for name in (*kind.properties, *kind.navigations)}
    | {"@iot.id", "requests", "op", "path", "value", "from", "type", "coordinates"}
)
TEXTS = st.sampled_from(
    [
        "",
        "x",
        "\0",
        "application/geo+json",
        "2026-01-01T00:00:00Z",
        "9999-12-31T23:59:59+00:00/0001-01-01T00:00:00Z",
        "Point",
        "Polygon",
        "replace",
        "/name",
        "/properties/0",
        "\ud7ff",
        "'",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXTS
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
        | st.builds(lambda number: {"@iot.id": number}, inner)
    ),
    max_leaves=12,
)
GOOD: list[dict[str, Any]] = [
    thing_body(),
    location_body(),
    SENSOR,
    datastream_body(),
    {"result": 1, "Datastream": {"@iot.id": 1}, "phenomenonTime": "2026-01-01T00:00:00Z"},
]
BODIES = JSON | st.builds(
    lambda good, name, value: good | {name: value},
    st.sampled_from(GOOD),
    st.sampled_from(NAMES),
    JSON,
)
PATHS = st.sampled_from(
    [kind.set_name for kind in ENTITY_TYPES.values()]
    + [f"{kind.set_name}(1)" for kind in ENTITY_TYPES.values()]
    + ["Datastreams(1)/Observations", "Things(1)/Locations", "Things(7)", "Datastreams(7)"]
    + ["CreateObservations", "$batch", "", "Things(1)/name", "Things/$ref"]
)
KINDS = st.sampled_from(
    ["application/json", "application/json-patch+json", "text/plain", "multipart/mixed; boundary=x"]
)


async def test_no_body_makes_the_service_fail(database_server: DatabaseServer) -> None:
    dsn = await database_server.create()
    async with serve_writing(dsn) as centre:
        await centre.survey()
        for path, body, kind, method in await asyncio.to_thread(_drawn):
            answer = await centre.camden.request(
                method, path, content=body, headers={"Content-Type": kind}
            )
            assert answer.status_code < 500, (method, path, kind, body, answer.text)
        await _still_whole(centre)
    await database_server.drop(dsn)


def _drawn() -> list[tuple[str, bytes, str, str]]:
    """Return requests as hypothesis draws them; they are sent one after the other."""
    found: list[tuple[str, bytes, str, str]] = []

    @settings(max_examples=250, database=None, suppress_health_check=list(HealthCheck))
    @given(PATHS, BODIES | st.lists(BODIES, max_size=3), KINDS, st.sampled_from(METHODS))
    def draw(path: str, body: Any, kind: str, method: str) -> None:
        found.append((path, _written(body), kind, method))

    draw()
    return found


METHODS = ["POST", "POST", "PATCH", "PUT", "DELETE"]


def _written(body: Any) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:  # an integer that JSON of 64 bits cannot say
        return repr(body).replace("'", '"').encode()


async def _still_whole(centre: Writing) -> None:
    """Nothing that a gateway signed has changed."""
    for seen in centre.city.of("Bloomsbury no2"):
        [(value,)] = await centre.rows(
            "SELECT value FROM observation WHERE datastream_id = %s AND time = %s",
            seen.datastream_id,
            seen.time,
        )
        assert value == seen.result
