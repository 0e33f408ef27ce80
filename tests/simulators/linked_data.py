"""Readers of linked data that reach no network: the models' schemas, and JSON-LD expansion."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from pyld import jsonld
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

SCHEMAS = Path(__file__).parents[1] / "data" / "smart_data_models"
_ENVIRONMENT = (
    "https://raw.githubusercontent.com/smart-data-models/dataModel.Environment/master/"
    "Environment-schema.json"
)


def _schemas() -> Iterator[tuple[str, Any]]:
    for file in SCHEMAS.glob("*.json"):
        yield file.stem, json.loads(file.read_text(encoding="utf-8"))


@cache
def _validators() -> Mapping[str, Draft202012Validator]:
    """Return a validator for each Smart Data Model; a reference beyond them fails."""
    schemas = dict(_schemas())
    resources = [
        (address, Resource.from_contents(document, default_specification=DRAFT202012))
        for address, document in (
            *((one["$id"], one) for one in schemas.values()),
            (_ENVIRONMENT, schemas["Environment-schema"]),
        )
    ]
    registry = Registry().with_resources(resources)
    return {
        name: Draft202012Validator(one, registry=registry, format_checker=FormatChecker())
        for name, one in schemas.items()
    }


def schema_problems(entity: Mapping[str, Any]) -> list[str]:
    """Return what its model's schema has against a simplified entity."""
    errors = _validators()[entity["type"]].iter_errors(entity)
    return [f"{error.json_path}: {error.message}" for error in errors]


def expanded(document: Any, served: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return JSON-LD expanded with these contexts, by address; any other is refused."""

    def load(url: str, _options: object) -> Mapping[str, Any]:
        if url not in served:
            raise AssertionError(f"{url} would be fetched")
        return {"document": served[url], "documentUrl": url, "contextUrl": None}

    found = jsonld.expand(document, {"documentLoader": load})
    assert isinstance(found, list)
    return found
