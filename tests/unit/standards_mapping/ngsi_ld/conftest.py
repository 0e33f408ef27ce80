"""A small registry to map, the models' schemas and contexts without a network."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from pyld import jsonld
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from standards_mapping.ngsi_ld import contexts
from standards_mapping.observation import Observation, Result
from standards_mapping.properties import find_property
from standards_mapping.registry import Council, Datastream, Place, Sensor, Stay, Thing
from standards_mapping.units import find_unit

SCHEMAS = Path(__file__).parents[3] / "data" / "smart_data_models"
ROOT = "https://centre.example"
NOON = datetime(2025, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
COUNCIL = Council(gss="E09000007", tenant="camden", name="Camden")
PLACE = Place(
    id=1,
    name="Euston Road",
    description="a lamp column",
    geometry={"type": "Point", "coordinates": [-0.12, 51.53]},
    longitude=-0.12,
    latitude=51.53,
)


def thing(number: int = 1, **properties: object) -> Thing:
    return Thing(
        id=number,
        urn=f"urn:dev:kerbstone:site:{number}",
        name=f"Site {number}",
        description="beside the road",
        council=COUNCIL,
        stays=(Stay(place=PLACE, since=NOON - 1000 * HOUR),),
        properties=properties,
    )


def datastream(
    key: str,
    number: int = 1,
    *,
    at: Thing | None = None,
    unit: str = "",
    averaging: timedelta = HOUR,
) -> Datastream:
    observed = find_property(key)
    sensor = Sensor(
        id=number, urn=f"urn:dev:mac:{number:012x}", name=f"Sensor {number}", description="one"
    )
    return Datastream(
        id=number,
        thing=at or thing(),
        sensor=sensor,
        observed_property=observed,
        unit=find_unit(unit or observed.unit),
        short_name=observed.senml_name,
        name=observed.label,
        description=observed.label,
        averaging=averaging,
    )


def observation(row: Datastream, result: Result | None, time: datetime = NOON) -> Observation:
    return Observation(datastream=row.id, time=time, averaging=row.averaging, result=result)


def _schemas() -> Iterator[tuple[str, Any]]:
    for file in SCHEMAS.glob("*.json"):
        document = json.loads(file.read_text(encoding="utf-8"))
        yield file.stem, document


@pytest.fixture(scope="session")
def validate() -> Callable[[Mapping[str, Any]], list[str]]:
    """Return what the model's schema has against a simplified entity; refuses the network."""
    schemas = dict(_schemas())
    resources = [
        (document["$id"], Resource.from_contents(document, default_specification=DRAFT202012))
        for document in schemas.values()
    ]
    environment = (
        "https://raw.githubusercontent.com/smart-data-models/dataModel.Environment/master/"
        "Environment-schema.json"
    )
    subject = Resource.from_contents(
        schemas["Environment-schema"], default_specification=DRAFT202012
    )
    registry = Registry().with_resources([*resources, (environment, subject)])

    def problems(entity: Mapping[str, Any]) -> list[str]:
        validator = Draft202012Validator(
            schemas[entity["type"]], registry=registry, format_checker=FormatChecker()
        )
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(entity)]

    return problems


@pytest.fixture(scope="session")
def expand() -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """Return an entity expanded with our own contexts; any other address is refused."""
    served = {f"{ROOT}/contexts/{name}": contexts.document(name) for name in contexts.names()}

    def load(url: str, _options: object) -> Mapping[str, Any]:
        if url not in served:
            raise AssertionError(f"{url} would be fetched")
        return {"document": served[url], "documentUrl": url, "contextUrl": None}

    def expanded(entity: Mapping[str, Any]) -> Mapping[str, Any]:
        (found,) = jsonld.expand(entity, {"documentLoader": load})
        assert isinstance(found, dict)
        return found

    return expanded
