"""What is registered, as the open standards tell it: councils, things, places, datastreams.

Pure values with the names of OGC 18-088 and SOSA. `storage.published` reads them from the
database, `kerbstone map` from a file; how they are written in a standard is the business of that
standard's own module.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from standards_mapping.properties import Property
from standards_mapping.units import Unit


@dataclass(frozen=True, slots=True)
class FormerCode:
    """An ONS code that a council had until a day, that day included."""

    gss: str
    valid_from: date | None
    valid_until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Council:
    """A council of the network.

    gss: its ONS code now. tenant: its short name. since: the first day of that code; None: since
    before it was known here. former: codes it had before, oldest first; each was replaced by the
    next, the last of them by `gss`.
    """

    gss: str
    tenant: str
    name: str
    since: date | None = None
    former: tuple[FormerCode, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A Location. geometry: GeoJSON, CRS84. longitude, latitude: a point inside it, degrees."""

    id: int
    name: str
    description: str
    geometry: Mapping[str, Any]
    longitude: float
    latitude: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """Since when a thing was where; it left when its next stay began."""

    place: Place
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """A Thing; stays: where it was, oldest first, the last is where it is."""

    id: int
    urn: str
    name: str
    description: str
    council: Council
    stays: tuple[Stay, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> Place | None:
        """Where it is now."""
        return self.stays[-1].place if self.stays else None

    def place_at(self, time: datetime) -> Place | None:
        """Return where it was then; before its first known place it counts as being there."""
        earlier = [stay for stay in self.stays[1:] if stay.since <= time]
        stays = earlier or self.stays[:1]
        return stays[-1].place if stays else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """A Sensor; metadata: its data sheet, encoded as `encoding_type` says."""

    id: int
    urn: str
    name: str
    description: str
    encoding_type: str = "text/html"
    metadata: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Datastream:
    """A Datastream: one observed property, by one sensor, of one thing, in one unit.

    short_name: SenML `n` within the sensor. period: how often a result is expected; None where
    irregular. averaging: what the interval is that each result is over; zero for an instant.
    valid_minimum, valid_maximum: in `unit`. is_open: whether everybody may read it.
    """

    id: int
    thing: Thing
    sensor: Sensor
    observed_property: Property
    unit: Unit
    short_name: str
    name: str
    description: str
    period: timedelta | None = None
    averaging: timedelta = timedelta()
    valid_minimum: float | None = None
    valid_maximum: float | None = None
    is_open: bool = True
    properties: Mapping[str, Any] = field(default_factory=dict)
