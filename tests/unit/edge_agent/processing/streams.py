"""A sensor of every kind of datastream, and readings of it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from device_protocol.description import Datastream
from device_protocol.reading import UNFLAGGED, Quality, Reading
from device_protocol.unit_table import senml_symbol

SENSOR = "urn:dev:street:air"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def stream(name: str, observed_property: str, unit: str, **more: object) -> Datastream:
    """Return a datastream."""
    return Datastream(
        name=name,
        title=name.upper(),
        description="One sentence.",
        observed_property=observed_property,
        unit=unit,
        period_seconds=60,
        **more,  # type: ignore[arg-type]
    )


NO2 = stream("no2", "no2", "ug/m3", valid_minimum=0.0, valid_maximum=1000.0)
WIND = stream("wind", "wind_direction", "deg", valid_minimum=0.0, valid_maximum=360.0)
SOUND = stream("sound", "laeq", "dBA")
PEOPLE = stream("people", "people_count", "count", valid_minimum=0.0)
BAY = stream("bay", "bay_occupied", "bool")
TAG = stream("tag", "agent_version", "1")
LATITUDE = stream("lat", "latitude", "deg", valid_minimum=-90.0, valid_maximum=90.0)
LONGITUDE = stream("lon", "longitude", "deg", valid_minimum=-180.0, valid_maximum=180.0)
STREAMS = (NO2, WIND, SOUND, PEOPLE, BAY, TAG, LATITUDE, LONGITUDE)
UNITS = {each.name: senml_symbol(each.unit) for each in STREAMS}


def reading(
    result: float | bool | str,  # noqa: FBT001  # a result
    *,
    name: str = "no2",
    at: float = 0.0,
    unit: str | None = None,
    quality: Quality = UNFLAGGED,
    time: datetime | None = None,
) -> Reading:
    """Return a reading `at` seconds after noon, in the unit of its datastream."""
    return Reading(
        sensor=SENSOR,
        name=name,
        phenomenon_time=time or NOON + timedelta(seconds=at),
        result=result,
        unit=UNITS.get(name, "") if unit is None else unit,
        quality=quality,
    )


@dataclass
class Tally:
    """What a pipeline counts."""

    refused: int = 0
    flagged: int = 0
    repeated: int = 0
    late: int = 0
    withheld: int = 0
    names: list[str] = field(default_factory=list)
