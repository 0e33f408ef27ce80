"""A small registry to map, the models' schemas and contexts without a network."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from standards_mapping.ngsi_ld import contexts
from standards_mapping.observation import Observation, Result
from standards_mapping.properties import find_property
from standards_mapping.registry import Council, Datastream, Place, Sensor, Stay, Thing
from standards_mapping.units import find_unit
from tests.simulators.linked_data import expanded, schema_problems

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


@pytest.fixture(scope="session")
def validate() -> Callable[[Mapping[str, Any]], list[str]]:
    """Return what the model's schema has against a simplified entity; refuses the network."""
    return schema_problems


@pytest.fixture(scope="session")
def expand() -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """Return an entity expanded with our own contexts; any other address is refused."""
    served = {f"{ROOT}/contexts/{name}": contexts.document(name) for name in contexts.names()}

    def one(entity: Mapping[str, Any]) -> Mapping[str, Any]:
        (found,) = expanded(entity, served)
        return found

    return one
