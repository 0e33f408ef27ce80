"""The registry file of `kerbstone map`: what a council would have registered, as TOML or JSON.

Read with the reader of settings files: every mistake is named with its line, and all at once.
Things, sensors, datastreams and places are numbered from 1 in the order of the file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final

from device_protocol.errors import PayloadError, UnitMismatchError
from device_protocol.reading import NAME, SENSOR
from runtime.settings import KeyPath, load, setting
from standards_mapping.grid_reference import GridReferenceError, position
from standards_mapping.properties import find_property
from standards_mapping.registry import Council, Datastream, Place, Sensor, Stay, Thing
from standards_mapping.units import find_unit

EXAMPLE: Final = Path(__file__).with_name("example.toml")
"""A registry with everything in it once; `kerbstone map --example` prints it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CouncilEntry:
    """The council whose things these are."""

    gss: str = setting("Its code at the Office for National Statistics.", pattern="[A-Z][0-9]{8}")
    tenant: str = setting("Its short name.", pattern="[a-z][a-z0-9-]*")
    name: str = setting("Its name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationEntry:
    """A place a thing is at, or was."""

    name: str = setting("What the place is called.")
    description: str = setting("What is there.", default="")
    grid: str | None = setting(
        "Its reference in the National Grid, as TQ 3003 8012 or 530030, 180120.", default=None
    )
    longitude: float | None = setting(
        "Instead: degrees (WGS 84).", default=None, minimum=-180, maximum=180
    )
    latitude: float | None = setting("Degrees (WGS 84).", default=None, minimum=-90, maximum=90)
    since: str | None = setting(
        "Since when the thing is there, as 2025-06-01T12:00:00Z; of every place but the first.",
        default=None,
    )

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse a place without position, with two, or off the grid."""
        degrees = (self.longitude, self.latitude)
        if self.grid is None and None in degrees:
            yield ("grid",), "is missing: give grid, or longitude and latitude"
        if self.grid is not None:
            if degrees != (None, None):
                yield ("grid",), "give either grid, or longitude and latitude"
            try:
                position(self.grid)
            except GridReferenceError as error:
                yield ("grid",), str(error)
        if self.since is not None and _time(self.since) is None:
            yield ("since",), "must be a time with its offset, as 2025-06-01T12:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatastreamEntry:
    """One observed property by one sensor."""

    name: str = setting("SenML `n` within the sensor.", pattern=NAME.pattern)
    title: str = setting("What people call it; as the observed property if empty.", default="")
    description: str = setting("What is to be known of it.", default="")
    observed_property: str = setting("Key of what is observed, as no2.")
    unit: str | None = setting(
        "Key of the unit to keep results in; that of the property if not given.", default=None
    )
    period_seconds: float | None = setting(
        "How often a result is expected.", default=None, minimum=0.001
    )
    averaging_seconds: int = setting(
        "The interval that each result is over; 0 for an instant.", default=0, minimum=0
    )
    valid_minimum: float | None = setting("Least the sensor can measure.", default=None)
    valid_maximum: float | None = setting("Most the sensor can measure.", default=None)
    open: bool = setting("Whether everybody may read it.", default=True)
    properties: Mapping[str, str] = setting("Anything else.", default_factory=dict)

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse what the tables of properties and units do not have."""
        try:
            find_property(self.observed_property)
        except PayloadError as error:
            yield ("observed_property",), str(error)
        try:
            find_unit(self.unit or "1")
        except UnitMismatchError as error:
            yield ("unit",), str(error)
        least, most = self.valid_minimum, self.valid_maximum
        if least is not None and most is not None and least > most:
            yield ("valid_minimum",), f"must not be more than valid_maximum, {most:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorEntry:
    """A sensor of a thing."""

    urn: str = setting("What its records' names begin with.", pattern=SENSOR.pattern)
    name: str = setting("What people call it.")
    description: str = setting("What it is.", default="")
    data_sheet: str = setting("Address of its data sheet.", default="")
    datastream: tuple[DatastreamEntry, ...] = ()
    properties: Mapping[str, str] = setting("Anything else.", default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThingEntry:
    """A thing with its places, oldest first, and its sensors."""

    urn: str = setting("Its name for machines.", pattern=SENSOR.pattern)
    name: str = setting("What people call it.")
    description: str = setting("What it is.", default="")
    location: tuple[LocationEntry, ...] = ()
    sensor: tuple[SensorEntry, ...] = ()
    properties: Mapping[str, str] = setting("Anything else.", default_factory=dict)

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse places that are not in the order of time."""
        earlier = datetime.min.replace(tzinfo=UTC)
        for number, place in enumerate(self.location):
            since = _time(place.since) if place.since is not None else None
            if number and since is None:
                yield ("location", number, "since"), "is missing: since when is the thing there?"
            elif number and since is not None and since <= earlier:
                yield ("location", number, "since"), "must be later than the place before"
            earlier = since or earlier


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryEntries:
    """What the file holds."""

    council: CouncilEntry
    thing: tuple[ThingEntry, ...]

    @staticmethod
    def loose_ends(table: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
        """Refuse what stands twice: things, sensors, and names within a sensor."""
        seen: set[tuple[str, str]] = set()
        for path, *key in _named(table):
            if (key[0], key[1]) in seen:
                yield path, f"stands twice: each {key[0]} needs its own"
            seen.add((key[0], key[1]))


def read_registry(path: Path) -> RegistryEntries:
    """Return what a file holds; it is JSON if its name ends in .json, else TOML.

    Raises:
        SettingsError: it cannot be read, or holds mistakes; all are named with their lines.
    """
    return load(RegistryEntries, path)


def registered(entries: RegistryEntries, since: datetime) -> tuple[list[Thing], list[Datastream]]:
    """Return the things and datastreams of a file.

    since: when things came to their first places, where the file does not say.
    """
    found = entries.council
    council = Council(gss=found.gss, tenant=found.tenant, name=found.name)
    return _Numbered(council, since).registered(entries.thing)


class _Numbered:
    """Makes what is registered from entries, numbering each kind from 1."""

    def __init__(self, council: Council, since: datetime) -> None:
        self._council, self._since = council, since
        self._places, self._sensors, self._datastreams = count(1), count(1), count(1)

    def registered(self, entries: tuple[ThingEntry, ...]) -> tuple[list[Thing], list[Datastream]]:
        things, datastreams = [], []
        for number, entry in enumerate(entries, start=1):
            thing = Thing(
                id=number,
                urn=entry.urn,
                name=entry.name,
                description=entry.description,
                council=self._council,
                stays=tuple(self._stay(place) for place in entry.location),
                properties=dict(entry.properties),
            )
            things.append(thing)
            for sensor in entry.sensor:
                datastreams += self._of_sensor(sensor, thing)
        return things, datastreams

    def _stay(self, entry: LocationEntry) -> Stay:
        longitude, latitude = entry.longitude or 0.0, entry.latitude or 0.0
        if entry.grid is not None:
            longitude, latitude = position(entry.grid)
        place = Place(
            id=next(self._places),
            name=entry.name,
            description=entry.description,
            geometry={"type": "Point", "coordinates": [longitude, latitude]},
            longitude=longitude,
            latitude=latitude,
        )
        return Stay(place=place, since=_time(entry.since or "") or self._since)

    def _of_sensor(self, entry: SensorEntry, thing: Thing) -> list[Datastream]:
        sensor = Sensor(
            id=next(self._sensors),
            urn=entry.urn,
            name=entry.name,
            description=entry.description,
            metadata=entry.data_sheet,
            properties=dict(entry.properties),
        )
        return [self._datastream(each, thing, sensor) for each in entry.datastream]

    def _datastream(self, entry: DatastreamEntry, thing: Thing, sensor: Sensor) -> Datastream:
        observed = find_property(entry.observed_property)
        period = entry.period_seconds
        return Datastream(
            id=next(self._datastreams),
            thing=thing,
            sensor=sensor,
            observed_property=observed,
            unit=find_unit(entry.unit or observed.unit),
            short_name=entry.name,
            name=entry.title or observed.label,
            description=entry.description or observed.label,
            period=None if period is None else timedelta(seconds=period),
            averaging=timedelta(seconds=entry.averaging_seconds),
            valid_minimum=entry.valid_minimum,
            valid_maximum=entry.valid_maximum,
            is_open=entry.open,
            properties=dict(entry.properties),
        )


def _time(text: str) -> datetime | None:
    """Return a time written with its offset; None if it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if found.utcoffset() is None else found.astimezone(UTC)


def _named(table: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str, str]]:
    """Yield the path of each name that must be its own, of which kind it is, and the name."""
    for at, thing in _tables(table, "thing", ()):
        yield (*at, "urn"), "thing", str(thing.get("urn"))
        for sensor_at, sensor in _tables(thing, "sensor", at):
            urn = str(sensor.get("urn"))
            yield (*sensor_at, "urn"), "sensor", urn
            for below, datastream in _tables(sensor, "datastream", sensor_at):
                yield (*below, "name"), "datastream of a sensor", f"{urn}:{datastream.get('name')}"


def _tables(
    table: Mapping[str, Any], key: str, at: KeyPath
) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    found = table.get(key)
    for number, each in enumerate(found if isinstance(found, list) else ()):
        if isinstance(each, dict):
            yield (*at, key, number), each
