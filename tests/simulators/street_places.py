"""The sites that `street` seeds: where they stand, what they measure, and how they describe it."""

from dataclasses import dataclass
from datetime import timedelta

from device_protocol.description import Datastream, GatewayDescription, Sensor, Thing

REPLAY = (
    "Time-shifted replay, not today's air: recorded hourly in 2009, moved by whole days to end "
    "today. After that, one recorded hour is played every few seconds."
)
LICENCE = "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/"
REPLAY_PROPERTIES = {
    "replay": REPLAY,
    "source": "UK-AIR Automatic Urban and Rural Network, Defra",
    "attribution": "© Crown copyright Defra via uk-air.defra.gov.uk",
    "licence": LICENCE,
}
COUNCILS = {
    "camden": ("E09000007", "Camden"),
    "westminster": ("E09000033", "Westminster"),
    "kensington": ("E09000020", "Kensington and Chelsea"),
}


@dataclass(frozen=True)
class Measured:
    """What one column of the recording becomes."""

    column: str
    name: str
    title: str
    observed_property: str
    unit: str


MEASURED = (
    Measured("no2", "no2", "Nitrogen dioxide", "no2", "ug/m3"),
    Measured("nox", "nox", "Nitrogen oxides", "nox", "ug/m3"),
    Measured("pm10", "pm10", "PM10", "pm10", "ug/m3"),
    Measured("pm2.5", "pm25", "PM2.5", "pm25", "ug/m3"),
    Measured("air_temp", "temp", "Air temperature", "air_temperature", "Cel"),
    Measured("ws", "wind_speed", "Wind speed", "wind_speed", "m/s"),
    Measured("wd", "wind_direction", "Wind direction", "wind_direction", "deg"),
    Measured("visibility", "visibility", "Visibility", "visibility", "m"),
)


@dataclass(frozen=True)
class Place:
    """A site of the recording and where it stands."""

    tenant: str
    name: str
    recorded_as: str
    kind: str
    longitude: float
    latitude: float
    without: frozenset[str] = frozenset()
    silent_for: timedelta = timedelta(0)


PLACES = (
    Place("camden", "Bloomsbury", "London Bloomsbury", "Urban background", -0.125889, 51.52229),
    Place("westminster", "Marylebone Road", "London Marylebone Road", "Urban traffic",
          -0.154611, 51.52253),
    Place("kensington", "Cromwell Road 2", "London Cromwell Road 2", "Urban traffic",
          -0.178709, 51.495483, frozenset({"pm10", "pm2.5"}), timedelta(hours=3)),
    Place("kensington", "North Kensington", "London N. Kensington", "Urban background",
          -0.213492, 51.52105),
)  # fmt: skip


def slug(name: str) -> str:
    """Return a name as it stands in URNs."""
    return name.lower().replace(" ", "-")


def _health(name: str) -> Thing:
    return Thing(
        urn=f"urn:dev:test:{slug(name)}:health",
        name=f"Gateway at {name}",
        description="The gateway's own account of its state.",
        longitude=-0.13,
        latitude=51.52,
        place_name=name,
        sensors=(
            Sensor(
                urn=f"urn:dev:test:{slug(name)}:agent",
                name="Agent",
                description="Edge agent",
                metadata="",
                datastreams=(
                    Datastream(
                        name="spool_readings",
                        title="Readings waiting",
                        description="Not acknowledged yet",
                        observed_property="spool_readings",
                        unit="count",
                        period_seconds=10,
                    ),
                ),
            ),
        ),
    )


def described(place: Place) -> GatewayDescription:
    """Return how the gateway of a site describes it, and itself."""
    streams = tuple(
        Datastream(
            name=measured.name,
            title=measured.title,
            description=f"{measured.title}, mean over one hour",
            observed_property=measured.observed_property,
            unit=measured.unit,
            period_seconds=5,
            averaging_seconds=3600,
            properties=REPLAY_PROPERTIES,
        )
        for measured in MEASURED
        if measured.column not in place.without
    )
    thing = Thing(
        urn=f"urn:dev:test:site:{slug(place.name)}",
        name=place.name,
        description=f"{place.kind} air quality monitoring site. {REPLAY}",
        longitude=place.longitude,
        latitude=place.latitude,
        place_name=f"{place.name}, London",
        properties=REPLAY_PROPERTIES,
        sensors=(
            Sensor(
                urn=f"urn:dev:test:analyser:{slug(place.name)}",
                name=f"{place.name} analysers",
                description="Reference analysers",
                metadata="",
                datastreams=streams,
            ),
        ),
    )
    return GatewayDescription(things=(thing, _health(place.name)))


def this_computer() -> GatewayDescription:
    """Return how the computer that runs the network describes itself."""
    rows = (("cpu_load", "cpu_load", "1"), ("memory_used", "memory_used", "%"))
    thing = Thing(
        urn="urn:dev:test:site:this-computer",
        name="This computer",
        description="The computer that runs the network, measuring itself.",
        longitude=-0.1257,
        latitude=51.5293,
        place_name="Camden Town Hall",
        sensors=(
            Sensor(
                urn="urn:dev:test:host",
                name="Operating system",
                description="Kernel counters",
                metadata="",
                datastreams=tuple(
                    Datastream(
                        name=name,
                        title=name.replace("_", " ").capitalize(),
                        description="Instant",
                        observed_property=key,
                        unit=unit,
                        period_seconds=1,
                    )
                    for name, key, unit in rows
                ),
            ),
        ),
    )
    return GatewayDescription(things=(thing, _health("This computer")))
