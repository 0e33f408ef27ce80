"""Real air: a week of 2009 at four London sites of the UK's Automatic Urban and Rural Network.

The recording is the demo's (command_line/demo/data, whose SOURCE.txt says whose it is). It is told
as a gateway tells it and stored by the code that stores what gateways send; what is kept here in
Python is what the tests work out their answers from.
"""

import csv
import gzip
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from device_protocol import description
from standards_mapping.properties import find_property
from standards_mapping.sensorthings.entity import unit_of_measurement
from storage import registry
from storage.batches import Extra, Observations, make_room, prepare, store_observations
from storage.database import Connection
from storage.descriptions import Describer, store_description

RECORDING: Final = Path(__file__).parents[2] / "command_line/demo/data/london_2009_hourly.csv.gz"
FIRST: Final = datetime(2009, 1, 5, tzinfo=UTC)
LAST: Final = datetime(2009, 1, 12, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
SUSPECT: Final = 8
COUNCILS: Final = {"Urban Traffic": "westminster", "Urban Background": "camden"}

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KEYS: Final[Mapping[str, tuple[str, int]]] = {  # column: property, length of a mean in seconds
    "no2": ("no2", 3600),
    "pm10": ("pm10", 3600),
    "air_temp": ("air_temperature", 0),
}


@dataclass(frozen=True)
class Site:
    """A place with its Thing. Ids are those of the database."""

    id: int
    name: str
    kind: str
    council: str
    longitude: float
    latitude: float

    def degrees_from(self, longitude: float, latitude: float) -> float:
        return math.hypot(self.longitude - longitude, self.latitude - latitude)

    def metres_from(self, longitude: float, latitude: float) -> float:
        """Return a distance on WGS 84, by its radii of curvature: exact enough for a town."""
        middle = math.radians((self.latitude + latitude) / 2)
        flat = 1 - 0.00669437999014 * math.sin(middle) ** 2
        across = 6_378_137 / math.sqrt(flat) * math.cos(middle)
        along = 6_378_137 * (1 - 0.00669437999014) / flat**1.5
        return math.hypot(
            across * math.radians(self.longitude - longitude),
            along * math.radians(self.latitude - latitude),
        )

    def is_within(self, west: float, south: float, east: float, north: float) -> bool:
        return west < self.longitude < east and south < self.latitude < north


@dataclass(frozen=True)
class Stream:
    """A Datastream."""

    id: int
    key: str
    site: Site
    averaging: timedelta

    @property
    def name(self) -> str:
        return f"{self.site.name} {self.key}"

    @property
    def unit(self) -> Mapping[str, str]:
        return unit_of_measurement(find_property(self.key).unit)


@dataclass(frozen=True)
class Seen:
    """An Observation."""

    stream: Stream
    time: datetime
    result: float
    quality: int

    @property
    def started(self) -> datetime:
        return self.time - self.stream.averaging

    @property
    def site(self) -> Site:
        return self.stream.site

    @property
    def microseconds(self) -> int:
        return (self.time - _EPOCH) // timedelta(microseconds=1)

    @property
    def id(self) -> str:
        return f"{self.stream.id}-{self.microseconds}"


@dataclass(frozen=True)
class Air:
    """All that was stored, in the order of ids."""

    sites: Sequence[Site]
    streams: Sequence[Stream]
    observations: Sequence[Seen]

    def of(self, stream: Stream) -> list[Seen]:
        """Return the observations of a datastream."""
        return [seen for seen in self.observations if seen.stream == stream]

    def stream(self, site: str, key: str) -> Stream:
        """Return a datastream by what its site's name ends with, and by what it observes."""
        (found,) = [one for one in self.streams if one.site.name.endswith(site) and one.key == key]
        return found


async def store_air(conn: Connection) -> Air:
    """Fill a migrated, empty database; `conn` is in autocommit."""
    rows = list(_rows())
    sites = list({row["site"]: row for row in rows}.values())
    for number, tenant in enumerate(sorted(set(COUNCILS.values()))):
        gss = f"E0900000{number + 1}"
        council = await registry.add_council(conn, gss=gss, tenant=tenant, name=tenant.title())
        gateway = await registry.add_gateway(conn, tenant=tenant, device=f"{tenant}-gateway")
        things = [_thing(row) for row in sites if COUNCILS[row["site_type"]] == tenant]
        async with conn.transaction():
            await store_description(
                conn,
                Describer(gateway_id=gateway, council_id=council, described_at=0),
                description.GatewayDescription(tuple(things)),
                b"",
            )
    await conn.execute("UPDATE thing SET approved = true")
    streams = await _streams(conn, sites)
    observations = sorted(_seen(streams, rows), key=lambda seen: (seen.stream.id, seen.time))
    await _store(conn, observations)
    by_id = sorted(streams.values(), key=lambda stream: stream.id)
    places = {stream.site.id: stream.site for stream in by_id}
    return Air([places[key] for key in sorted(places)], by_id, observations)


def _rows() -> Iterator[Mapping[str, str]]:
    with gzip.open(RECORDING, "rt", newline="") as file:
        for row in csv.DictReader(file):
            if FIRST <= datetime.fromisoformat(row["date"]) < LAST:
                yield row


def _thing(row: Mapping[str, str]) -> description.Thing:
    streams = [
        description.Datastream(
            name=key,
            title=f"{row['site']} {key}",
            description=f"{find_property(key).label} at {row['site']}",
            observed_property=key,
            unit=find_property(key).unit,
            period_seconds=3600,
            averaging_seconds=averaging,
        )
        for key, averaging in _KEYS.values()
    ]
    urn = f"urn:aurn:{row['site'].replace(' ', '-')}"
    sensor = description.Sensor(
        urn=f"{urn}:analyser",
        name=f"Analyser of {row['site']}",
        description="Reference analysers",
        metadata="https://uk-air.defra.gov.uk/networks/network-info?view=aurn",
        datastreams=tuple(streams),
    )
    return description.Thing(
        urn=urn,
        name=row["site"],
        description=f"{row['site_type']} site",
        longitude=float(row["lon"]),
        latitude=float(row["lat"]),
        place_name=f"Place of {row['site']}",
        properties={"kind": row["site_type"]},
        sensors=(sensor,),
    )


async def _streams(
    conn: Connection, sites: Sequence[Mapping[str, str]]
) -> Mapping[tuple[str, str], Stream]:
    cursor = await conn.execute(
        "SELECT thing.name, thing.id, short_name, datastream.id, averaging_seconds"
        " FROM datastream JOIN thing ON thing.id = thing_id"
    )
    places = {row["site"]: row for row in sites}
    found = {}
    for name, thing_id, key, stream_id, averaging in await cursor.fetchall():
        row = places[name]
        council = COUNCILS[row["site_type"]]
        longitude, latitude = float(row["lon"]), float(row["lat"])
        site = Site(thing_id, name, row["site_type"], council, longitude, latitude)
        found[name, key] = Stream(stream_id, key, site, timedelta(seconds=averaging))
    return found


def _seen(
    streams: Mapping[tuple[str, str], Stream], rows: Sequence[Mapping[str, str]]
) -> Iterator[Seen]:
    """Yield what the rows say; what is above 150 is marked as suspect."""
    for row in rows:
        for column, (key, _) in _KEYS.items():
            if row[column]:
                result = float(row[column])
                time = datetime.fromisoformat(row["date"])
                yield Seen(streams[row["site"], key], time, result, SUSPECT * (result > 150))


async def _store(conn: Connection, observations: Sequence[Seen]) -> None:
    columns = Observations(
        np.array([seen.stream.id for seen in observations], np.int32),
        np.array([seen.microseconds for seen in observations], np.int64),
        np.array([seen.result for seen in observations], np.float64),
    )
    extras = [
        Extra(seen.stream.id, seen.microseconds, seen.quality, None)
        for seen in observations
        if seen.quality
    ]
    await prepare(conn)
    await make_room(conn, columns)
    async with conn.transaction():
        assert await store_observations(conn, columns, extras) == []
    await conn.execute("ANALYZE")
