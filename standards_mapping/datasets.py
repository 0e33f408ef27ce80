"""What is offered openly, by council and observed property: the datasets of a catalogue. Pure.

How they are told in a catalogue is `standards_mapping.dcat` and
`standards_mapping.project_open_data`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from standards_mapping.properties import Property
from standards_mapping.registry import Council, Datastream


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of when a datastream has observations, and when it last got one; UTC."""

    first: datetime
    last: datetime
    modified: datetime

    def joined(self, other: "Coverage") -> "Coverage":
        """Return the coverage of both."""
        return Coverage(
            min(self.first, other.first),
            max(self.last, other.last),
            max(self.modified, other.modified),
        )


@dataclass(frozen=True, slots=True)
class Contact:
    """Who answers questions about the catalogue; both may be empty."""

    name: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """The open datastreams of one council and observed property; coverage: None without data."""

    datastreams: Sequence[Datastream]
    coverage: Coverage | None

    @property
    def council(self) -> Council:
        """Whose data it is."""
        return self.datastreams[0].thing.council

    @property
    def observed_property(self) -> Property:
        """What was observed."""
        return self.datastreams[0].observed_property

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.observed_property.label}, {self.council.name}"

    @property
    def description(self) -> str:
        """What it is in a sentence or two."""
        places = len({each.thing.id for each in self.datastreams})
        where = "one place" if places == 1 else f"{places} places"
        units = " and ".join(sorted({each.unit.label for each in self.datastreams}))
        return (
            f"{self.observed_property.label}, measured by sensors of {self.council.name} at {where}"
            f", in {units}. Every result comes with its time, its place and its quality."
        )

    @property
    def keywords(self) -> list[str]:
        """Words that people look for it by."""
        found = self.observed_property
        words = {found.label.lower(), found.key.replace("_", " "), self.council.name}
        return sorted(words | {"sensors", "open data", "real-time data"})

    @property
    def resolution(self) -> timedelta | None:
        """The shortest time between results; None where they come irregularly."""
        return min((each.period for each in self.datastreams if each.period), default=None)

    @property
    def theme(self) -> tuple[str, str]:
        """The theme of the European data portal that it belongs to: its code and label."""
        return _THEMES.get(self.observed_property.model, ("TECH", "Science and technology"))

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """West, south, east and north of all places where its sensors ever were, degrees."""
        places = [stay.place for each in self.datastreams for stay in each.thing.stays]
        if not places:
            return None
        longitudes = [place.longitude for place in places]
        latitudes = [place.latitude for place in places]
        return min(longitudes), min(latitudes), max(longitudes), max(latitudes)

    def files(self, root: str) -> str:
        """Return the address of its files, without what their names end with."""
        return f"{root}/data/{self.council.tenant}/{self.observed_property.key}"

    def iri(self, root: str) -> str:
        """Return its IRI."""
        return f"{catalogue_iri(root, self.council.tenant)}/{self.observed_property.key}"


_ENVIRONMENT: Final = ("ENVI", "Environment")
_TRANSPORT: Final = ("TRAN", "Transport")
_THEMES: Final[Mapping[str, tuple[str, str]]] = {
    **dict.fromkeys(
        (
            "AirQualityObserved",
            "WeatherObserved",
            "NoiseLevelObserved",
            "FloodMonitoring",
            "WaterObserved",
            "WasteContainer",
        ),
        _ENVIRONMENT,
    ),
    **dict.fromkeys(
        (
            "TrafficFlowObserved",
            "ItemFlowObserved",
            "CrowdFlowObserved",
            "EVChargingStation",
            "BikeHireDockingStation",
            "ParkingSpot",
            "OnStreetParking",
            "OffStreetParking",
        ),
        _TRANSPORT,
    ),
    "IndoorEnvironmentObserved": ("HEAL", "Health"),
    "Streetlight": ("ENER", "Energy"),
}


def datasets(
    datastreams: Sequence[Datastream], coverage: Mapping[int, Coverage] | None = None
) -> list[Dataset]:
    """Return the datasets of open datastreams, by council and property; others are left out.

    coverage: by id of datastream.
    """
    known = coverage or {}
    grouped: dict[tuple[str, str], list[Datastream]] = {}
    for each in datastreams:
        if each.is_open:
            key = (each.thing.council.tenant, each.observed_property.key)
            grouped.setdefault(key, []).append(each)
    found = []
    for _, group in sorted(grouped.items()):
        whole: Coverage | None = None
        for each in group:
            part = known.get(each.id)
            if part is not None:
                whole = part if whole is None else whole.joined(part)
        found.append(Dataset(group, whole))
    return found


def catalogue_iri(root: str, tenant: str = "") -> str:
    """Return the IRI of the catalogue of a council, or of all; root: of the service."""
    return f"{root}/catalogue/{tenant}" if tenant else f"{root}/catalogue"
