"""How a result becomes the value of an attribute: the rules of the observed properties, as a table.

A rule takes a result in the property's own unit and returns what the Smart Data Model wants, or
None where the model has no way to say it. Which model and attribute that is: `models`.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import isfinite
from types import MappingProxyType
from typing import Final, TypeAlias

from device_protocol.errors import UnitMismatchError
from device_protocol.reading import Quality
from standards_mapping.observation import Observation, Result
from standards_mapping.properties import Property
from standards_mapping.registry import Datastream
from standards_mapping.units import Conversion, between

Value: TypeAlias = float | int | str
"""Of an attribute that is measured."""
Rule: TypeAlias = Callable[[Result | None], Value | None]

UNKNOWN_BATTERY: Final = -1
"""What Device.batteryLevel says of a battery whose level cannot be told."""

_FULL_TURN: Final = 360.0
_PER_HUNDRED: Final = Conversion(Fraction(1, 100), Fraction(0))
_KM_PER_HOUR: Final = Conversion(Fraction(36, 10), Fraction(0))


def _number(result: Result | None) -> Value | None:
    """Return a number as it is; a state as 1 or 0, for numeric attributes take no other."""
    if isinstance(result, bool):
        return int(result)
    return result if isinstance(result, float | int) and isfinite(result) else None


def _scaled(conversion: Conversion) -> Rule:
    def scale(result: Result | None) -> Value | None:
        number = _number(result)
        return None if number is None or isinstance(number, str) else conversion.apply(number)

    return scale


_ratio: Final = _scaled(_PER_HUNDRED)


def _battery(result: Result | None) -> Value | None:
    return UNKNOWN_BATTERY if result is None else _ratio(result)


def _whole(result: Result | None) -> Value | None:
    """Return a count as an integer; a mean of counts that is none cannot be told as one."""
    number = _number(result)
    return int(number) if isinstance(number, float | int) and number == int(number) else None


def _bearing(result: Result | None) -> Value | None:
    """Return a direction as 0 to 360 degrees; 360 itself, which is north, stays."""
    number = _number(result)
    if not isinstance(number, float | int):
        return None
    return number if 0 <= number <= _FULL_TURN else number % _FULL_TURN


def _bay(result: Result | None) -> Value | None:
    if result is None:
        return "unknown"
    if isinstance(result, str):
        return None
    return {0: "free", 1: "occupied"}.get(int(result)) if result in (0, 1) else None


RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "as is": _number,
        "divide by 100 (0..1)": _ratio,
        "divide by 100 (0..1); -1 = unknown": _battery,
        "hPa": _number,
        "m/s": _number,
        "m": _number,
        "W": _number,
        "V": _number,
        "dBm": _number,
        "0..1": _number,
        "0..360 here; AirQualityObserved wants -180..180": _bearing,
        "1 mm = 1 L/m2": _number,
        "as is (Streetlight.illuminanceLevel is a 0..1 setting, not lux)": _number,
        "as is; needs dateObservedFrom/To": _number,
        "count over the interval, not per hour": _number,
        "times 3.6 (km/h)": _scaled(_KM_PER_HOUR),
        "integer": _whole,
        "vehicleType=bicycle": _number,
        "m; WaterObserved.waterLevel has minimum 0": _number,
        "true=occupied, false=free, missing=unknown": _bay,
    }
)
"""The rule of each property by what its table of properties calls it."""

_TEXTS: Final = frozenset({("DeviceMeasurement", "textValue")})

_LEAST: Final[Mapping[tuple[str, str], float]] = MappingProxyType(
    {
        **{
            ("AirQualityObserved", name): 0.0
            for name in ("no2", "no", "nox", "o3", "so2", "co", "co2", "pm25", "pm10")
        },
        **{
            ("WeatherObserved", name): 0.0
            for name in (
                "relativeHumidity",
                "atmosphericPressure",
                "windSpeed",
                "windDirection",
                "precipitation",
                "solarRadiation",
                "illuminance",
            )
        },
        ("TrafficFlowObserved", "intensity"): 0.0,
        ("TrafficFlowObserved", "averageVehicleSpeed"): 0.0,
        ("TrafficFlowObserved", "occupancy"): 0.0,
        ("CrowdFlowObserved", "peopleCount"): 0.0,
        ("WasteContainer", "fillingLevel"): 0.0,
        ("Device", "batteryLevel"): 0.0,
    }
)
_MOST: Final[Mapping[tuple[str, str], float]] = MappingProxyType(
    {
        ("WeatherObserved", "relativeHumidity"): 1.0,
        ("WeatherObserved", "windDirection"): _FULL_TURN,
        ("TrafficFlowObserved", "occupancy"): 1.0,
        ("WasteContainer", "fillingLevel"): 1.0,
        ("Device", "batteryLevel"): 1.0,
    }
)


def bounds_of(observed: Property) -> tuple[float | None, float | None]:
    """Return the least and the greatest value that the model allows; None where it has no limit."""
    attribute = (observed.model, observed.attribute)
    return _LEAST.get(attribute), _MOST.get(attribute)


def value_of(datastream: Datastream, observation: Observation) -> Value | None:
    """Return what an observation says as the value of its attribute.

    None: nothing that the model can say. So it is where a result is marked as out of range, where
    there explicitly is none (but for what has a word for that), where the datastream's unit does
    not measure the same as the property's, and where the model forbids the value, as it does a
    negative concentration.
    """
    if observation.quality & Quality.OUT_OF_RANGE:
        return None
    return valid_value(datastream.observed_property, datastream.unit.key, observation.result)


def valid_value(observed: Property, unit: str, result: Result | None) -> Value | None:
    """Return what `value_of` does of a result in range. unit: key of the datastream's unit."""
    if (observed.model, observed.attribute) in _TEXTS:
        return result if isinstance(result, str) else None
    try:
        converted = _converted(observed, unit, result)
    except UnitMismatchError:
        return None
    value = RULES[observed.value_rule](converted)
    return value if converted is None or _allowed(observed, value) else None


def in_unit_of_property(datastream: Datastream, result: Result | None) -> Result | None:
    """Return a result in the unit of its observed property.

    Raises:
        UnitMismatchError: the datastream's unit does not measure the same.
    """
    return _converted(datastream.observed_property, datastream.unit.key, result)


def _converted(observed: Property, unit: str, result: Result | None) -> Result | None:
    if unit == observed.unit or isinstance(result, bool | str) or result is None:
        return result
    return between(unit, observed.unit).apply(result)


def _allowed(observed: Property, value: Value | None) -> bool:
    if value is None or isinstance(value, str):
        return True
    least, most = bounds_of(observed)
    return (least is None or value >= least) and (most is None or value <= most)
