"""The values of single properties as clients write them, checked and made into what is kept.

What belongs together in a whole body is checked in `creation`.
"""

import difflib
import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from device_protocol.reading import Quality
from standards_mapping.sensorthings.entity import period
from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.json_body import ROUNDED
from standards_mapping.sensorthings.model import EntityType, Kind
from standards_mapping.sensorthings.places import check_place
from standards_mapping.units import UNITS

EMPTY: Final = object()
"""Stands for a value that was not given, where null is one."""

LONGEST_TEXT: Final = 10_000
LARGEST_JSON_BYTES: Final = 64 << 10
"""Of one JSON property such as `properties`, written without spaces in UTF-8."""

LARGEST_PLACE_BYTES: Final = 128 << 10
"""Of a `location` or `feature`, counted in the same way."""

DEEPEST_JSON: Final = 32
"""Objects and lists in one another in one JSON property, itself included."""

GEOJSON_TYPES: Final = ("application/geo+json", "application/vnd.geo+json")
_EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
_KNOWN_QUALITY: Final = sum(Quality)


def parse_value(entity_type: EntityType, name: str, value: object) -> Any:
    """Return the value of a property as it is kept; None for null.

    Raises:
        QueryError: it cannot be the value of that property.
    """
    if value is None and name not in ("result", "unitOfMeasurement"):
        return None
    parse = _OWN.get((entity_type.name, name)) or _OF_KIND[entity_type.properties[name].kind]
    try:
        return parse(value)
    except ValueError as error:
        raise QueryError(f"{name} of {entity_type.name}: {error}") from error


def parse_instant(value: object) -> datetime:
    """Return an ISO 8601 time with its offset.

    Raises:
        ValueError: it is none, has no offset, or is not between 1900 and 2100.
    """
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is not a time such as 2026-03-29T14:00:00Z")  # noqa: TRY004
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{_shown(value)} is not a time such as 2026-03-29T14:00:00Z") from error
    if "T" not in value.upper() or moment.utcoffset() is None:
        raise ValueError(f"{_shown(value)} needs a date, a time and an offset, e.g. Z")
    if not _EARLIEST <= moment < _LATEST:
        raise ValueError(f"{_shown(value)} is not between 1900 and 2100")
    return moment.astimezone(UTC)


def parse_period(value: object) -> tuple[datetime, datetime]:
    """Return an instant or start/end as (start, end).

    Raises:
        ValueError: it is neither, or ends before it starts.
    """
    if not isinstance(value, str) or "/" not in value:
        moment = parse_instant(value)
        return moment, moment
    first, _, second = value.partition("/")
    start, end = parse_instant(first), parse_instant(second)
    if end < start:
        raise ValueError(f"{_shown(value)} ends before it starts")
    return start, end


def parse_result(value: object) -> float | bool | str:
    """Return a result that can be kept: a number, true or false, or a text.

    Raises:
        ValueError: it is none of these, no finite number, or a whole number that would be rounded.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError as error:
            raise ValueError("too large a number") from error
        if isinstance(value, int) and number != value:
            raise ValueError(
                f"{_shown(value)} would be kept as {number:.0f}: {ROUNDED} in a Datastream that is"
                " no measurement or count"
            )
        if math.isfinite(number):
            return number
    raise ValueError(f"{_shown(value)} is not a number, true or false, or a text")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is not a text")  # noqa: TRY004
    if len(value) > LONGEST_TEXT:
        raise ValueError(f"{len(value)} characters, limit {LONGEST_TEXT}")
    _check_characters(value)
    return value


def _name(value: object) -> str:
    text = _text(value)
    if not text.strip():
        raise ValueError("is empty")
    return text


def _check_characters(text: str) -> None:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("holds a character that no text has")


def _json_object(value: object, most_bytes: int = LARGEST_JSON_BYTES) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{_shown(value)} is not a JSON object")  # noqa: TRY004
    _check_depth(value)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise ValueError("holds what JSON cannot say") from error
    _check_characters(text)
    if "\\u0000" in text:
        raise ValueError("holds a character that no text has")
    if (size := len(text.encode())) > most_bytes:
        raise ValueError(
            f"{size:,} bytes of JSON, limit {most_bytes:,}: keep elsewhere what is long, and link"
            " to it"
        )
    return value


def _check_depth(value: object) -> None:
    """Return if what is nested in a value can be read again, however it is expanded."""
    depth, here = 0, [value]
    while here := [one for one in here if isinstance(one, dict | list)]:
        depth += 1
        if depth > DEEPEST_JSON:
            raise ValueError(
                f"nested deeper than {DEEPEST_JSON} objects and lists in one another: flatten it"
            )
        here = [part for one in here for part in (one.values() if isinstance(one, dict) else one)]


def _geojson_type(value: object) -> str:
    if value not in GEOJSON_TYPES:
        raise ValueError(f"{_shown(value)} is not {GEOJSON_TYPES[0]}, the only one kept here")
    return GEOJSON_TYPES[0]


def _place(value: object) -> dict[str, Any]:
    found = _json_object(value, LARGEST_PLACE_BYTES)
    check_place(found)
    return found


def _unit(value: object) -> str:
    """Return the key of the unit that is named by symbol, definition or name."""
    if not isinstance(value, dict):
        raise ValueError(f"{_shown(value)} is not an object with name, symbol and definition")  # noqa: TRY004
    unknown = set(value) - {"name", "symbol", "definition"}
    if unknown:
        raise ValueError(f"has no member {min(map(str, unknown))!r}")
    given = [value.get(name) for name in ("symbol", "definition", "name")]
    if all(part is None for part in given):
        return "bool"
    symbol, definition, name = given
    for key, unit in UNITS.items():
        if isinstance(symbol, str) and symbol and symbol in (key, unit.ucum):
            return key
    for key, unit in UNITS.items():
        if isinstance(definition, str) and definition and definition == unit.qudt:
            return key
        if isinstance(name, str) and name and name.casefold() == unit.label.casefold():
            return key
    told = next((part for part in ("symbol", "definition", "name") if value.get(part)), "symbol")
    raise ValueError(
        f"{told} {_shown(value.get(told))} is no unit that is known{_nearest_units(value)}; all of"
        " them: docs/reference/sensorthings.md#units"
    )


def _nearest_units(unit: Mapping[str, object]) -> str:
    """Return "; nearest: ug/m3" for the codes of what is spelled most like an unknown unit."""
    spelled = {
        spelling.casefold(): key
        for key, known in UNITS.items()
        for spelling in (known.label, known.qudt.rpartition("/")[2], known.ucum, key)
    }
    found: dict[str, None] = {}
    for part in ("symbol", "definition", "name"):
        word = unit.get(part)
        if isinstance(word, str) and word:
            word = word.rpartition("/")[2] if part == "definition" else word
            near = difflib.get_close_matches(word[:100].casefold(), spelled, n=3)
            found |= dict.fromkeys(spelled[match] for match in near)
    return f"; nearest: {', '.join(found)}" if found else ""


def _quality(value: object) -> int:
    """Return the mask of {"code": 8} or {"flags": ["suspect"]}."""
    if not isinstance(value, dict) or not set(value) <= {"code", "flags"}:
        raise ValueError('is not of the form {"flags": ["suspect"]}')
    code, flags = value.get("code", 0), value.get("flags", [])
    if not isinstance(code, int) or isinstance(code, bool) or code & ~_KNOWN_QUALITY:
        raise ValueError(f"code {_shown(code)} is not a sum of known flags")
    known = {flag.flags[0]: int(flag) for flag in Quality}
    if not isinstance(flags, list):
        raise ValueError("flags must be a list")  # noqa: TRY004
    for flag in flags:
        if not isinstance(flag, str) or flag not in known:
            raise ValueError(f"there is no flag {_shown(flag)}; there are {', '.join(known)}")
        code |= known[flag]
    return code


def _parameters(value: object) -> dict[str, Any]:
    """Return the parameters of an Observation; a validTime among them is kept as one is."""
    found = _json_object(value)
    if found.get("validTime") is None:
        return found
    return found | {"validTime": period(*parse_period(found["validTime"]))}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"  # noqa: PLR2004


_OF_KIND: Final[Mapping[Kind, Callable[[object], Any]]] = {
    Kind.TEXT: _text,
    Kind.INSTANT: parse_instant,
    Kind.PERIOD: parse_period,
    Kind.JSON: _json_object,
}
_OWN: Final[Mapping[tuple[str, str], Callable[[object], Any]]] = {
    **{
        (owner, "name"): _name
        for owner in (
            "Thing",
            "Location",
            "Datastream",
            "Sensor",
            "ObservedProperty",
            "FeatureOfInterest",
        )
    },
    ("ObservedProperty", "definition"): _name,
    ("Datastream", "observationType"): _name,
    ("Datastream", "unitOfMeasurement"): _unit,
    ("Location", "encodingType"): _geojson_type,
    ("FeatureOfInterest", "encodingType"): _geojson_type,
    ("Location", "location"): _place,
    ("FeatureOfInterest", "feature"): _place,
    ("Observation", "result"): parse_result,
    ("Observation", "resultQuality"): _quality,
    ("Observation", "parameters"): _parameters,
}
