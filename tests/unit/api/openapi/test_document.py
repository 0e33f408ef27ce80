"""The description of the API agrees with its routes, with itself, and with the words about it."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import jsonschema
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Match, Mount

from api.app import create_app
from api.errors import PROBLEMS
from api.machine_paths import SENSORTHINGS, is_machine_path
from api.openapi.document import document, operations
from api.openapi.model import Operation
from api.openapi.pages import example_address, is_formal
from api.settings import ApiSettings
from standards_mapping.properties import PROPERTIES

ROOT = Path(__file__).parents[4]
OPERATIONS = operations()


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(ApiSettings(dsn="postgresql://"))


def routes_of(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Yield the routes themselves, out of the routers that they were included by."""
    for route in routes:
        router = getattr(route, "original_router", None)
        if router is None:
            yield route
        else:
            yield from routes_of(router.routes)


def reached(app: FastAPI, operation: Operation) -> BaseRoute | None:
    """Return the route that answers an operation."""
    path = operation.example_path
    scope = {"type": "http", "path": path, "method": operation.method.upper(), "headers": []}
    return next((one for one in routes_of(app.routes) if one.matches(scope)[0] is Match.FULL), None)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.id)
def test_what_is_described_is_there_for_programs(app: FastAPI, operation: Operation) -> None:
    assert reached(app, operation) is not None
    assert is_machine_path(operation.example_path)
    named = set(re.findall(r"{(\w+)}", operation.path))
    assert named == {one.name for one in operation.parameters if one.place == "path"}
    assert all(one.example is not None for one in operation.parameters if one.place == "path")
    assert {401, 429, 503} <= set(operation.answers)


def test_what_is_there_for_programs_is_described(app: FastAPI) -> None:
    described = {id(reached(app, operation)) for operation in OPERATIONS}
    missing = [
        (path, sorted(getattr(route, "methods", None) or ()))
        for route in routes_of(app.routes)
        if not isinstance(route, Mount)
        and is_machine_path(path := getattr(route, "path", ""))
        and id(route) not in described
        and not _is_twin(route)
    ]
    assert missing == []


def _is_twin(route: BaseRoute) -> bool:
    """Return whether a route only says how another is used: a final slash, HEAD, or a refusal."""
    name, path = getattr(route, "name", ""), getattr(route, "path", "")
    if (name, path) == ("_write", SENSORTHINGS):  # its root can only be read
        return True
    return path.endswith("/") or name in {"live_head", "refuse", "_unknown"}


def test_ids_are_unique_and_references_lead_somewhere() -> None:
    ids = [operation.id for operation in OPERATIONS]
    assert len(set(ids)) == len(ids)
    made = document("https://city.test")
    references = set(re.findall(r"'#/components/schemas/(\w+)'", str(made)))
    assert references <= set(made["components"]["schemas"])
    assert "Problem" in references
    for schema in made["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_examples_are_what_their_schemas_say() -> None:
    for operation in OPERATIONS:
        for one in operation.parameters:
            if one.example is not None:
                jsonschema.validate(one.example, dict(one.schema))
    problem = document("")["components"]["schemas"]["Problem"]
    jsonschema.validate(problem["example"], problem)


def test_an_example_is_an_address_to_follow() -> None:
    by_path = {one.path: one for one in OPERATIONS if one.method == "get"}
    assert example_address(by_path["/sensorthings/v1.1/Things"]) == (
        "/sensorthings/v1.1/Things?$filter=startswith(name,'B')&$orderby=id%20desc&$top=10"
    )
    assert example_address(by_path["/catalogue.{ending}"]) == "/catalogue.ttl"


def test_examples_name_attributes_that_there_are() -> None:
    names = {each.attribute for each in PROPERTIES.values()}
    attrs, conditions = (
        {str(one.example) for each in OPERATIONS for one in each.parameters if one.name == name}
        for name in ("attrs", "q")
    )
    assert {name for text in attrs for name in text.split(",")} <= names
    assert {text.partition(">")[0] for text in conditions} <= names


def test_an_example_that_nobody_has_is_none_to_follow() -> None:
    by_path = {one.path: one for one in OPERATIONS if one.method == "get"}
    formal = {path for path, one in by_path.items() if is_formal(one)}
    assert "/keys/{kid}" in formal
    assert "/ngsi-ld/v1/entities/{entityId}" in formal
    assert "/sensorthings/v1.1/Observations({id})" in formal
    assert not {path for path in formal if "{" not in path}
    assert "/sensorthings/v1.1/Things({id})" not in formal


def test_every_code_is_explained_in_the_reference_and_no_other() -> None:
    text = (ROOT / "docs" / "reference" / "errors.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \| (.+?) \|$", text, re.MULTILINE)
    assert [(code, int(status), remedy) for code, status, remedy in rows] == [
        (code, kind.status, kind.remedy) for code, kind in PROBLEMS.items()
    ]
