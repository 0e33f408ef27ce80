"""The demo's city: three London councils, four air-quality sites and this computer itself.

Only what there is; `city` says what a city is made of, `provisioning` brings it about.
"""

from pathlib import Path
from typing import Any, Final

from command_line.demo.city import City, DemoCouncil, DemoGateway

RECORDING: Final = Path(__file__).parent / "data" / "london_2009_hourly.csv.gz"
BACKFILL_DAYS: Final = 90
LIVE_INTERVAL_SECONDS: Final = 5

_REPLAY_NOTE: Final = (
    "Time-shifted replay, not today's air: recorded hourly in 2009, moved by whole days to end "
    "today. After that, one recorded hour is played every few seconds and stamped with the moment "
    "it was played."
)
_SOURCE: Final = (
    "UK-AIR Automatic Urban and Rural Network, Defra; weather: NOAA Integrated Surface Database"
)
_REPLAY_PROPERTIES: Final = {
    "replay": _REPLAY_NOTE,
    "recorded": "2009-01-01/2009-12-31",
    "source": _SOURCE,
    "attribution": "© Crown copyright Defra via uk-air.defra.gov.uk, "
    "licensed under the Open Government Licence v3.0",
    "licence": "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/",
}

_HOUR: Final = 3600
# column, short name, title, observed property, unit (its SenML symbol is the same), valid range
_COLUMNS: Final = (
    ("no2", "no2", "Nitrogen dioxide", "no2", "ug/m3", -20.0, 2000.0),
    ("nox", "nox", "Nitrogen oxides as nitrogen dioxide", "nox", "ug/m3", -20.0, 5000.0),
    ("pm10", "pm10", "PM10 particulate matter", "pm10", "ug/m3", -20.0, 2000.0),
    ("pm2.5", "pm25", "PM2.5 particulate matter", "pm25", "ug/m3", -20.0, 2000.0),
    ("air_temp", "temp", "Air temperature", "air_temperature", "Cel", -40.0, 60.0),
    ("ws", "wind_speed", "Wind speed", "wind_speed", "m/s", 0.0, 75.0),
    ("wd", "wind_direction", "Wind direction", "wind_direction", "deg", 0.0, 360.0),
    ("visibility", "visibility", "Visibility", "visibility", "m", 0.0, 100000.0),
)


# council, name, name in the recording, kind, longitude, latitude
_SITES: Final = (
    ("camden", "Bloomsbury", "London Bloomsbury", "Urban background", -0.1259, 51.5223),
    ("westminster", "Marylebone Road", "London Marylebone Road", "Urban traffic", -0.1546, 51.5225),
    ("kensington", "Cromwell Road 2", "London Cromwell Road 2", "Urban traffic", -0.1787, 51.4955),
    (
        "kensington",
        "North Kensington",
        "London N. Kensington",
        "Urban background",
        -0.2135,
        51.5211,
    ),
)
_WITHOUT_PARTICULATES: Final = frozenset({"London Cromwell Road 2"})  # in the recording


def _site(  # noqa: PLR0917 - a row of a table
    tenant: str, name: str, recorded_as: str, kind: str, longitude: float, latitude: float
) -> DemoGateway:
    without = {"pm10", "pm2.5"} if recorded_as in _WITHOUT_PARTICULATES else set()
    slug = name.lower().replace(" ", "-")
    thing = {
        "urn": f"urn:dev:kerbstone:site:{slug}",
        "name": name,
        "description": f"{kind} air quality monitoring site. {_REPLAY_NOTE}",
        "longitude": longitude,
        "latitude": latitude,
        "place_name": f"{name}, London",
        "properties": _REPLAY_PROPERTIES | {"site_type": kind},
    }
    sensor = {
        "adapter": "replay",
        "urn": f"urn:dev:kerbstone:analyser:{slug}",
        "thing": thing["urn"],
        "name": f"{name} analysers",
        "description": "Reference analysers of the national network; airfield weather.",
        "file": RECORDING,
        "source": _SOURCE,
        "licence": "Open Government Licence v3.0",
        "recorded": "2009",
        "site": recorded_as,
        "backfill_days": BACKFILL_DAYS,
        "live_interval_seconds": LIVE_INTERVAL_SECONDS,
        "columns": {row[0]: _column(*row[1:]) for row in _COLUMNS if row[0] not in without},
    }
    return DemoGateway(key=slug, name=name, tenant=tenant, things=(thing,), sensors=(sensor,))


def _column(  # noqa: PLR0917 - a row of a table
    name: str, title: str, observed_property: str, unit: str, minimum: float, maximum: float
) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "description": f"{title}, mean over one hour. {_REPLAY_NOTE}",
        "observed_property": observed_property,
        "unit": unit,
        "averaging_seconds": _HOUR,
        "valid_minimum": minimum,
        "valid_maximum": maximum,
    }


def _this_computer() -> DemoGateway:
    thing = {
        "urn": "urn:dev:kerbstone:site:this-computer",
        "name": "This computer",
        "description": "The computer that runs this demo, measuring itself now. "
        "It is shown at Camden Town Hall, because a computer does not know where it stands.",
        "longitude": -0.1257,
        "latitude": 51.5293,
        "place_name": "Camden Town Hall (stand-in)",
    }
    sensor = {
        "adapter": "host",
        "urn": "urn:dev:kerbstone:host:this-computer",
        "thing": thing["urn"],
        "name": "Operating system",
        "description": "Temperature where the kernel reports one; CPU load, memory, disk.",
        "interval_seconds": 1,
    }
    return DemoGateway(
        key="this-computer",
        name="This computer",
        tenant="camden",
        things=(thing,),
        sensors=(sensor,),
    )


LONDON: Final = City(
    name="London demo",
    councils=(
        DemoCouncil(tenant="camden", gss="E09000007", name="Camden"),
        DemoCouncil(tenant="westminster", gss="E09000033", name="Westminster"),
        DemoCouncil(tenant="kensington", gss="E09000020", name="Kensington and Chelsea"),
    ),
    gateways=(
        *(_site(*row) for row in _SITES),
        _this_computer(),
    ),
)
