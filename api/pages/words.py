"""Plain English for what the registry and the envelope call by keys, masks and slugs.

Pure. Times and spans in words are `api.pages.times`; page texts stand in the templates.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from api.pages.times import duration_text

UNIT_SYMBOLS: Final[Mapping[str, str]] = {
    "ug/m3": "µg/m³",
    "mg/m3": "mg/m³",
    "ng/m3": "ng/m³",
    "kg/m3": "kg/m³",
    "%RH": "%",
    "%EL": "%",
    "1": "",
    "count": "",
    "bool": "",
    "Cel": "°C",
    "degF": "°F",
    "deg": "°",
    "m2": "m²",
    "m3": "m³",
    "L/m2": "L/m²",
    "W/m2": "W/m²",
    "m/s2": "m/s²",
    "m3/s": "m³/s",
    "m3/h": "m³/h",
    "dBA": "dB(A)",
    "By": "bytes",
    "uS/cm": "µS/cm",
    "uSv/h": "µSv/h",
    "1/s": "per second",
    "1/min": "per minute",
    "1/h": "per hour",
    "1/cm3": "per cm³",
}
"""How a unit is written beside a value, where that differs from its key."""

PROPERTY_NAMES: Final[Mapping[str, str]] = {
    "no2": "Nitrogen dioxide (NO₂)",
    "no": "Nitric oxide (NO)",
    "nox": "Nitrogen oxides (NOₓ)",
    "o3": "Ozone (O₃)",
    "so2": "Sulphur dioxide (SO₂)",
    "co": "Carbon monoxide (CO)",
    "co2": "Carbon dioxide (CO₂)",
    "pm1": "Particles, PM1",
    "pm25": "Particles, PM2.5",
    "pm10": "Particles, PM10",
    "relative_humidity": "Relative humidity",
    "air_pressure": "Air pressure",
    "visibility": "Visibility",
    "wind_direction": "Wind direction",
    "rainfall": "Rainfall",
    "laeq": "Sound level (LAeq)",
    "lamax": "Loudest sound (LAmax)",
    "vehicle_count": "Vehicles",
    "vehicle_speed": "Vehicle speed",
    "lane_occupancy": "Lane occupancy",
    "people_count": "People",
    "cycle_count": "Cycles",
    "water_level": "Water level",
    "water_distance": "Distance to water",
    "fill_level": "Fill level",
    "lamp_power": "Lamp power",
    "battery_level": "Battery level",
    "rssi": "Signal strength",
    "cpu_load": "Processor load",
    "memory_used": "Memory in use",
    "disk_used": "Disk in use",
    "device_temperature": "Temperature of the computer",
    "spool_readings": "Readings waiting",
    "spool_oldest_age": "Age of the oldest reading waiting",
    "clock_quality": "Trust in the clock",
    "configuration_version": "Settings from afar",
    "spool_bytes": "Size of the spool",
    "spool_dropped": "Readings dropped",
    "spool_salvaged": "Readings salvaged",
    "agent_memory": "Memory of the agent",
    "flash_written": "Written to disk",
    "uptime": "Time since the start",
    "adapters_running": "Sensors that can be read",
    "adapters_failing": "Sensors that fail",
    "failing_sensors": "Which sensors fail",
    "unclaimed_devices": "Unknown devices heard",
    "agent_version": "Release of the agent",
    "sample_count": "Readings behind an aggregate",
    "privacy_filter": "Privacy filter",
    "identifier": "Identifier",
}
"""Short names of observed properties, where the registry's own is long."""

HEADLINES: Final[Mapping[str, str]] = {
    "no2": "NO₂",
    "pm25": "PM2.5",
    "pm10": "PM10",
    "o3": "O₃",
    "laeq": "Sound",
    "people_count": "People",
    "vehicle_count": "Vehicles",
    "cycle_count": "Cycles",
    "water_level": "Water",
    "rainfall": "Rain",
    "bay_occupied": "Bay",
    "fill_level": "Fill",
    "air_temperature": "Air",
    "cpu_load": "Load",
}
"""Which of a site's values stands for it on the map, the first of these first, and its label."""

OUTSIDE_RANGE: Final = 1
CLOCK_UNSYNCHRONISED: Final = 2
REPLAYED: Final = 4
SUSPECT: Final = 8
WARMING_UP: Final = 16
TIME_RECONSTRUCTED: Final = 32
CORRECTED: Final = 64

QUALITY_FLAGS: Final[Mapping[int, str]] = {
    OUTSIDE_RANGE: "Outside its valid range",
    CLOCK_UNSYNCHRONISED: "Clock unsure",
    REPLAYED: "Replayed",
    SUSPECT: "Suspect",
    WARMING_UP: "Sensor warming up",
    TIME_RECONSTRUCTED: "Time reconstructed",
    CORRECTED: "Corrected",
}

QUALITY_MEANINGS: Final[Mapping[int, str]] = {
    OUTSIDE_RANGE: "The value lies outside what its sensor can measure. It is shown, and left out "
    "of hourly values.",
    CLOCK_UNSYNCHRONISED: "The gateway could not check its clock against a trusted one, so the "
    "value's time may be off; the value itself is as good as any.",
    REPLAYED: "The value was recorded earlier and is played again.",
    SUSPECT: "A person or a check has reason to doubt the value.",
    WARMING_UP: "The sensor had not been on for as long as it needs to be exact.",
    TIME_RECONSTRUCTED: "The gateway had no time of day when the value was taken; its time was "
    "worked out once it had.",
    CORRECTED: "The value stands as its gateway signed it, and was found to be wrong later. What "
    "its council says instead, and why, is kept beside it: see the SensorThings API.",
}
"""What each flag means, for the page about the data."""

_CALM_FLAGS: Final = (  # they do not say that the value is wrong
    REPLAYED | CLOCK_UNSYNCHRONISED | TIME_RECONSTRUCTED
)

AGGREGATES: Final[Mapping[str, str]] = {
    "mean": "Mean",
    "max": "Greatest",
    "min": "Least",
    "sum": "Total",
    "count": "Number",
}
"""What a gateway made of the readings of an interval."""

REASONS: Final[Mapping[str, str]] = {
    "size": "A message was larger than the limit.",
    "encoding": "A message was not well-formed, or not in the one agreed form.",
    "structure": "A message had a wrong or unknown part.",
    "version": "A message was of a protocol version this centre does not know.",
    "topic": "A message came on a topic of the wrong form.",
    "retained": "Readings came from the broker's memory instead of from a gateway.",
    "unknown-device": "Nobody has registered this gateway with this council.",
    "revoked": "The gateway has been revoked or suspended. Its messages are kept aside.",
    "signer": "The message was signed with a key that is not registered for this gateway.",
    "signer-time": "The signing key was used outside its period of validity.",
    "unknown-epoch": "Readings came before the key to open them. They wait a few minutes for it.",
    "epoch-rollback": "The gateway went back to an older key: a restored disk, or a copy of it.",
    "epoch-conflict": "Two different keys were announced as one: the gateway may have been copied.",
    "epoch-closed": "The message came more than a week after its key had ended.",
    "clock": "The gateway's clock is far ahead or behind.",
    "not-recipient": "The message was meant for another recipient.",
    "unwrap": "The key for the readings could not be opened.",
    "algorithm": "The message used an algorithm that this council does not allow.",
    "aead": "The message was changed on its way, or not sealed with the announced key.",
    "signature": "The signature does not match the message.",
    "seq-form": "The message's number was badly formed.",
    "duplicate": "The same message came again. Normal: gateways repeat until they are sure.",
    "too-old": "The message is so far behind that it cannot be told from a repetition.",
    "seq-conflict": "Two different messages had the same number: the gateway may have been copied.",
    "seq-limit": "The gateway sent more messages under one key than is allowed.",
    "content-format": "The message held a kind of content that this council does not take.",
    "payload": "The readings inside could not be understood.",
    "reading-time": "A reading's time was missing, relative, or impossible.",
    "unknown-datastream": "A reading came from a sensor that the gateway has not described.",
    "unit-mismatch": "A reading's unit does not fit what is measured.",
    "out-of-range": "A reading lay outside what its sensor can measure.",
    "configuration-expired": "Settings from the council had expired before they came.",
    "configuration-rollback": "Older settings were offered in place of newer ones.",
    "configuration-settings": "Settings that may not be changed from afar, or not to that value.",
    "key-set-expired": "The council's list of recipients has expired.",
    "key-set-rollback": "An older list of recipients was offered in place of a newer one.",
    "conflicting-result": "A reading gave another result for a moment that already has one.",
}
"""What a refusal's reason means, for people who have not read the envelope's section 8."""

HARMLESS_REASONS: Final = frozenset({"duplicate", "unknown-epoch"})

_SIGNIFICANT_DIGITS: Final = 4
_MINUS: Final = "\N{MINUS SIGN}"
_PLAIN_BELOW: Final = 1e9
_PLAIN_FROM: Final = 1e-4


def unit_symbol(key: str) -> str:
    """Return how the unit is written beside a value; empty where a number stands alone."""
    return UNIT_SYMBOLS.get(key, key)


def property_name(key: str, registered: str) -> str:
    """Return the short name of an observed property, `registered` where it has no shorter one."""
    return PROPERTY_NAMES.get(key, registered)


def number_text(value: float) -> str:
    """Return `value` with four significant digits and thousands apart, e.g. 41.23 or 5,000."""
    if not math.isfinite(value):
        return "not a number"
    if value == 0:
        return "0"
    magnitude = abs(value)
    if not _PLAIN_FROM <= magnitude < _PLAIN_BELOW:
        return f"{value:.{_SIGNIFICANT_DIGITS - 1}e}".replace("-", _MINUS)
    decimals = max(0, _SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(magnitude)))
    text = f"{value:,.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", _MINUS)


def result_text(value: float | None, result: Any) -> str:
    """Return a result without its unit: a number, yes or no, or a text."""
    if value is not None:
        return number_text(value)
    if isinstance(result, bool):
        return "Yes" if result else "No"
    return "" if result is None else str(result)


def what_it_is(averaging_seconds: int, *, total: bool = False, aggregate: object = None) -> str:
    """Return what one result stands for: an instant, or a mean or total over how long.

    aggregate: what its gateway says that it made of readings, in the datastream's properties.
    """
    if averaging_seconds == 0:
        return "Instant reading"
    kind = AGGREGATES.get(str(aggregate), "Total" if total else "Mean")
    return f"{kind} over {duration_text(averaging_seconds)}"


def quality_text(mask: int) -> str:
    """Return what is flagged, in words."""
    words = [text for bit, text in QUALITY_FLAGS.items() if mask & bit]
    if unknown := mask & ~sum(QUALITY_FLAGS):
        words.append(f"flag {unknown}")
    if not words:
        return "Not flagged"
    first, *rest = words
    return ", ".join([first, *(text[:1].lower() + text[1:] for text in rest)])


def is_flagged(mask: int) -> bool:
    """Return whether a flag warns about the value itself, not only about its origin or time."""
    return bool(mask & ~_CALM_FLAGS)


def reason_text(slug: str) -> str:
    """Return what a refusal's reason means; the slug itself where it is not one of ours."""
    return REASONS.get(slug, f"Refused: {slug}.")
