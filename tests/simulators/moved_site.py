"""A site that moved while it measured: values for tests of publications, without a database."""

from datetime import UTC, datetime, timedelta

from device_protocol.reading import Quality
from standards_mapping.observation import Observation, Result
from standards_mapping.properties import PROPERTIES
from standards_mapping.registry import Council, Datastream, Place, Sensor, Stay, Thing
from standards_mapping.units import UNITS

HOUR = timedelta(hours=1)
START = datetime(2026, 3, 29, tzinfo=UTC)
MOVED_AT = START + 2 * HOUR
OLD = (-0.1309, 51.5243)
NEW = (-0.1258, 51.5222)
ROOT = "https://kerb.example"

COUNCIL = Council(gss="E09000007", tenant="camden", name="Camden")


def place(number: int, name: str, point: tuple[float, float]) -> Place:
    longitude, latitude = point
    return Place(
        id=number,
        name=name,
        description=f"At {name}",
        geometry={"type": "Point", "coordinates": [longitude, latitude]},
        longitude=longitude,
        latitude=latitude,
    )


THING = Thing(
    id=4,
    urn="urn:thing:4",
    name="=Bloomsbury, north",
    description="A station",
    council=COUNCIL,
    stays=(
        Stay(place=place(1, "Gordon Square", OLD), since=START - HOUR),
        Stay(place=place(2, "Bloomsbury", NEW), since=MOVED_AT),
    ),
)
SENSOR = Sensor(
    id=3,
    urn="urn:sensor:3",
    name="NOx analyser",
    description="Chemiluminescence",
    metadata="https://example.org/sheet",
)
NO2 = Datastream(
    id=7,
    thing=THING,
    sensor=SENSOR,
    observed_property=PROPERTIES["no2"],
    unit=UNITS["ug/m3"],
    short_name="no2",
    name="NO2 at Bloomsbury",
    description="Hourly means",
    period=HOUR,
    averaging=HOUR,
)
BAY = Datastream(
    id=9,
    thing=THING,
    sensor=SENSOR,
    observed_property=PROPERTIES["bay_occupied"],
    unit=UNITS["bool"],
    short_name="bay",
    name="Bay",
    description="Whether a bay is taken",
    properties={"licence": "https://example.org/licence", "attribution": "Say Camden"},
)
HIDDEN = Datastream(
    id=11,
    thing=THING,
    sensor=SENSOR,
    observed_property=PROPERTIES["laeq"],
    unit=UNITS["dBA"],
    short_name="laeq",
    name="Sound",
    description="Restricted",
    is_open=False,
)


def observed(
    datastream: Datastream, hours: int, result: Result | None, quality: int = 0
) -> Observation:
    return Observation(
        datastream=datastream.id,
        time=START + hours * HOUR,
        averaging=datastream.averaging,
        result=result,
        quality=Quality(quality),
    )


MEANS = [
    observed(NO2, 1, 20.1),
    observed(NO2, 2, -7.0, 1 | 4),  # its interval ends as the thing moves
    observed(NO2, 3, 1e-07),
    observed(NO2, 4, None, 8),
]
STATES = [
    observed(BAY, 1, result=True),
    observed(BAY, 2, result=False),
    observed(BAY, 3, "=fault()"),
]
