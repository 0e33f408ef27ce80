"""How a gateway describes what hangs on it: content format 60, inside a message D.

Things with their places, sensors with their models, datastreams with observed property, unit and
SenML name: sent at the start and after every change, before any reading of theirs. Whether
properties and units are known is the registry's business.

On the wire: CBOR maps whose keys are the positions of the fields below, counted from 1, after
the version in the outermost. Every field is always written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from math import isfinite

from device_protocol import cbor
from device_protocol.errors import MalformedError, PayloadError, StructureError
from device_protocol.reading import NAME, SENSOR, check_text

CONTENT_FORMAT_CBOR = 60
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Datastream:
    """A series of one property, measured by one sensor (OGC 18-088, section 8.2.4).

    name: the `n` of its SenML records, unique within the sensor.
    title, description: for people.
    observed_property: key of the property registry, e.g. "no2".
    unit: key of the unit table, e.g. "ug/m3".
    period_seconds: how often a result is to be expected; None if irregularly.
    averaging_seconds: length of the interval each result is a mean over, 0 for an instant.
    valid_minimum, valid_maximum: what the sensor can measure, in `unit`; None if unbounded.
    properties: anything else worth knowing.

    Raises:
        PayloadError: not such a datastream.
    """

    name: str
    title: str
    description: str
    observed_property: str
    unit: str
    period_seconds: int | None
    averaging_seconds: int = 0
    valid_minimum: float | None = None
    valid_maximum: float | None = None
    properties: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise PayloadError(f"datastream {self.name!r} cannot end a SenML name")
        if not self.observed_property or not self.unit:
            raise PayloadError(f"datastream {self.name!r} has no observed property or unit")
        if self.period_seconds is not None and self.period_seconds <= 0:
            raise PayloadError(f"period of {self.period_seconds} s")
        if self.averaging_seconds < 0:
            raise PayloadError(f"averaged over {self.averaging_seconds} s")
        minimum, maximum = self.valid_minimum, self.valid_maximum
        if not all(isfinite(bound) for bound in (minimum, maximum) if bound is not None):
            raise PayloadError(f"valid from {minimum} to {maximum}")
        if minimum is not None and maximum is not None and minimum >= maximum:
            raise PayloadError(f"valid from {minimum} to {maximum}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """An instrument (OGC 18-088, section 8.2.5).

    urn: unique in the region; begins the names of its SenML records.
    metadata: its model or data sheet, as text or an address.

    Raises:
        PayloadError: not such a sensor, or two datastreams of one name.
    """

    urn: str
    name: str
    description: str
    metadata: str
    datastreams: tuple[Datastream, ...]

    def __post_init__(self) -> None:
        _check_urn(self.urn)
        _check_distinct(datastream.name for datastream in self.datastreams)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """What stands somewhere and has sensors (OGC 18-088, section 8.2.1).

    longitude, latitude: degrees, WGS 84; place_name: what people call the place.

    Raises:
        PayloadError: not such a thing.
    """

    urn: str
    name: str
    description: str
    longitude: float
    latitude: float
    place_name: str
    properties: Mapping[str, str] = field(default_factory=dict)
    sensors: tuple[Sensor, ...] = ()

    def __post_init__(self) -> None:
        _check_urn(self.urn)
        if not (-180 <= self.longitude <= 180 and -90 <= self.latitude <= 90):  # noqa: PLR2004 - degrees
            raise PayloadError(f"no place at {self.longitude}, {self.latitude}")


@dataclass(frozen=True, slots=True)
class GatewayDescription:
    """All that one gateway reports for.

    Raises:
        PayloadError: two things or two sensors of one URN.
    """

    things: tuple[Thing, ...]

    def __post_init__(self) -> None:
        _check_distinct(thing.urn for thing in self.things)
        _check_distinct(sensor.urn for thing in self.things for sensor in thing.sensors)


def encode_description(description: GatewayDescription) -> bytes:
    """Return the payload that says it."""
    return cbor.encode({0: VERSION, **_positions(description)})


def decode_description(payload: bytes) -> GatewayDescription:
    """Read a description.

    Raises:
        PayloadError: not one of the version known here, or not valid.
    """
    try:
        found = cbor.fields(cbor.decode(payload, floats=True), (0, 1))
        if cbor.unsigned(found[0]) != VERSION:
            raise PayloadError(f"description version {found[0]}, known: {VERSION}")
        return GatewayDescription(tuple(_thing(item) for item in cbor.array(found[1])))
    except MalformedError as error:
        raise PayloadError(f"not a description: {error}") from error


def _positions(entity: GatewayDescription | Thing | Sensor | Datastream) -> dict[int, object]:
    """Return an entity's fields by position, entities inside it likewise."""
    found: dict[int, object] = {}
    for position, each in enumerate(fields(entity), start=1):
        value = getattr(entity, each.name)
        found[position] = (
            [_positions(part) for part in value] if isinstance(value, tuple) else value
        )
    return found


def _thing(item: object) -> Thing:
    found = cbor.fields(item, range(1, 9))
    return Thing(
        urn=_text(found[1]),
        name=_text(found[2]),
        description=_text(found[3]),
        longitude=_number(found[4]),
        latitude=_number(found[5]),
        place_name=_text(found[6]),
        properties=_properties(found[7]),
        sensors=tuple(_sensor(part) for part in cbor.array(found[8])),
    )


def _sensor(item: object) -> Sensor:
    found = cbor.fields(item, range(1, 6))
    return Sensor(
        urn=_text(found[1]),
        name=_text(found[2]),
        description=_text(found[3]),
        metadata=_text(found[4]),
        datastreams=tuple(_datastream(part) for part in cbor.array(found[5])),
    )


def _datastream(item: object) -> Datastream:
    found = cbor.fields(item, range(1, 11))
    period, minimum, maximum = found[6], found[8], found[9]
    return Datastream(
        name=_text(found[1]),
        title=_text(found[2]),
        description=_text(found[3]),
        observed_property=_text(found[4]),
        unit=_text(found[5]),
        period_seconds=None if period is None else cbor.unsigned(period),
        averaging_seconds=cbor.unsigned(found[7]),
        valid_minimum=None if minimum is None else _number(minimum),
        valid_maximum=None if maximum is None else _number(maximum),
        properties=_properties(found[10]),
    )


def _text(item: object) -> str:
    return check_text(cbor.text(item))


def _number(item: object) -> float:
    return item if type(item) is float else float(cbor.integer(item))


def _properties(item: object) -> dict[str, str]:
    if type(item) is not dict:
        raise StructureError(f"{type(item).__name__} where properties belong")
    return {_text(name): _text(value) for name, value in item.items()}


def _check_urn(urn: str) -> None:
    if not SENSOR.fullmatch(urn):
        raise PayloadError(f"URN {urn!r} is not of the form {SENSOR.pattern}")


def _check_distinct(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise PayloadError(f"{name!r} is described twice")
        seen.add(name)
