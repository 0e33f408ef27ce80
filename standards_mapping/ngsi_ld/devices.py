"""What a Device says it measures, in the words that its Smart Data Model allows. Pure.

A property that none of the words fits is not named: it stands in DeviceMeasurement with its key.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from standards_mapping.properties import Property

_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "airPollution": (
            "no2 no nox o3 so2 co co2 pm1 pm25 pm4 pm10 particles_0_3 particles_0_5 particles_1 "
            "particles_2_5 particles_5 particles_10 pm05_number pm1_number pm25_number pm4_number "
            "pm10_number particle_size"
        ),
        "temperature": "air_temperature device_temperature soil_temperature water_temperature",
        "humidity": "relative_humidity",
        "atmosphericPressure": "air_pressure",
        "windSpeed": "wind_speed wind_gust wind_speed_north wind_speed_east",
        "windDirection": "wind_direction",
        "precipitation": "rainfall rain_total",
        "solarRadiation": "solar_irradiance",
        "light": "illuminance",
        "weatherConditions": "visibility vapour_pressure lightning_strikes lightning_distance",
        "noiseLevel": "laeq lamax laf sound_peak sound_average",
        "trafficFlow": "vehicle_count cycle_count passage_count passage_total",
        "averageVelocity": "vehicle_speed",
        "occupancy": "lane_occupancy bay_occupied people_count people_total",
        "motion": "motion_count tilt tilted",
        "waterLevel": "water_level water_distance",
        "fillingLevel": "fill_level",
        "power": "lamp_power electric_power",
        "batterySupply": "supply_voltage battery_voltage",
        "batteryLife": "battery_level",
        "electricityConsumption": "electric_energy electric_current mains_frequency",
        "heading": "compass_heading",
        "location": "latitude longitude satellites_used hdop",
        "soilMoisture": "soil_moisture",
        "gateOpening": "door_open",
    }
)
CONTROLLED_PROPERTY: Final[Mapping[str, str]] = MappingProxyType(
    {key: word for word, keys in _WORDS.items() for key in keys.split()}
)
"""The word of Device.controlledProperty by the key of an observed property."""


def controlled_properties(observed: Iterable[Property]) -> tuple[str, ...]:
    """Return the words for what is measured, each once, in alphabetical order."""
    words = (CONTROLLED_PROPERTY.get(each.key) for each in observed)
    return tuple(sorted({word for word in words if word is not None}))
