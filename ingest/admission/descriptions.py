"""Is a gateway's description one the registry can hold? Pure.

What it says must fit the tables of observed properties and units, and the database. A datastream
that does not is left out and named; the rest of the description is taken. Whether somebody else
describes the same Thing or Sensor is known to the database alone (`storage.descriptions`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from device_protocol.description import Datastream, GatewayDescription, Sensor, Thing
from device_protocol.errors import PayloadError, RejectionError, UnitMismatchError
from standards_mapping.properties import find_property
from standards_mapping.units import UNITS, converter, find_unit

MAX_URN_CHARACTERS: Final = 200
MAX_NAME_CHARACTERS: Final = 200
MAX_TEXT_CHARACTERS: Final = 4_000
MAX_SECONDS: Final = 366 * 86_400

_SYMBOLS: Final = tuple({unit.senml for unit in UNITS.values() if unit.senml})

Refused = list[tuple[str, RejectionError]]
"""What was left out: URN, with a colon and the short name for a datastream, and why."""


def check_description(description: GatewayDescription) -> tuple[GatewayDescription, Refused]:
    """Return the part of a description that can be stored, and what was left out of it."""
    refused: Refused = []
    things = []
    for thing in description.things:
        try:
            _check_texts(_texts_of_thing(thing))
        except RejectionError as error:
            refused.append((thing.urn[:MAX_URN_CHARACTERS], error))
            continue
        things.append(replace(thing, sensors=tuple(_sensors(thing, refused))))
    return GatewayDescription(things=tuple(things)), refused


def _sensors(thing: Thing, refused: Refused) -> Iterator[Sensor]:
    for sensor in thing.sensors:
        try:
            _check_texts(
                [
                    ("urn", sensor.urn, MAX_URN_CHARACTERS),
                    ("name", sensor.name, MAX_NAME_CHARACTERS),
                    ("description", sensor.description, MAX_TEXT_CHARACTERS),
                    ("metadata", sensor.metadata, MAX_TEXT_CHARACTERS),
                ]
            )
        except RejectionError as error:
            refused.append((sensor.urn[:MAX_URN_CHARACTERS], error))
            continue
        kept = []
        for datastream in sensor.datastreams:
            try:
                _check_datastream(datastream)
            except RejectionError as error:
                refused.append((f"{sensor.urn}:{datastream.name}", error))
            else:
                kept.append(datastream)
        yield replace(sensor, datastreams=tuple(kept))


def _check_datastream(datastream: Datastream) -> None:
    _check_texts(
        [
            ("name", datastream.name, MAX_NAME_CHARACTERS),
            ("title", datastream.title, MAX_NAME_CHARACTERS),
            ("description", datastream.description, MAX_TEXT_CHARACTERS),
            *_texts_of_properties(datastream.properties.items()),
        ]
    )
    observed = find_property(datastream.observed_property)
    _check_unit(datastream.unit, observed.unit, observed.key)
    for seconds in (datastream.period_seconds or 0, datastream.averaging_seconds):
        if seconds > MAX_SECONDS:
            raise PayloadError(f"{seconds} s, limit {MAX_SECONDS}")


def _check_unit(unit: str, usual: str, observed: str) -> None:
    """Return if the unit measures what the property's usual unit measures."""
    find_unit(unit)
    if unit != usual and not any(
        _converts(symbol, unit) and _converts(symbol, usual) for symbol in _SYMBOLS
    ):
        raise UnitMismatchError(
            f"unit {unit!r} does not measure {observed!r}, whose usual unit is {usual!r}"
        )


def _converts(symbol: str, unit: str) -> bool:
    try:
        converter(symbol, unit)
    except UnitMismatchError:
        return False
    return True


def _texts_of_thing(thing: Thing) -> list[tuple[str, str, int]]:
    return [
        ("urn", thing.urn, MAX_URN_CHARACTERS),
        ("name", thing.name, MAX_NAME_CHARACTERS),
        ("description", thing.description, MAX_TEXT_CHARACTERS),
        ("place_name", thing.place_name, MAX_NAME_CHARACTERS),
        *_texts_of_properties(thing.properties.items()),
    ]


def _texts_of_properties(properties: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, int]]:
    for key, value in properties:
        yield "property name", key, MAX_NAME_CHARACTERS
        yield f"property {key[:20]!r}", value, MAX_TEXT_CHARACTERS


def _check_texts(texts: list[tuple[str, str, int]]) -> None:
    for name, text, limit in texts:
        if len(text) > limit:
            raise PayloadError(f"{name} of {len(text)} characters, limit {limit}")
