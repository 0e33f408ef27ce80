"""A small city in a database: councils, things, datastreams and what they observed.

Two councils; one thing that moved, one awaiting approval, one bare; hourly means, instants with
fractions of a second, states and texts, some flagged. The `City` returned says all of it again in
Python, so that a test can work out for itself what an answer must be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from standards_mapping.properties import find_property
from storage.database import Connection
from storage.partitions import ensure_partitions

START = datetime(2026, 3, 1, tzinfo=UTC)
MOVED_AT = START + timedelta(hours=24)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Place:
    """A location and the feature of interest made from it."""

    location_id: int
    feature_id: int
    name: str
    longitude: float
    latitude: float


@dataclass(frozen=True)
class Seen:
    """One observation; `started` is `time` for an instant."""

    stream: str
    datastream_id: int
    started: datetime
    time: datetime
    result: float | bool | str
    quality: int
    place: Place

    @property
    def id(self) -> str:
        since = self.time - datetime(1970, 1, 1, tzinfo=UTC)
        return f"{self.datastream_id}-{since // timedelta(microseconds=1)}"


@dataclass
class City:
    """Ids by name, and every observation that may be seen, in the order of ids."""

    councils: dict[str, int] = field(default_factory=dict)
    gateways: dict[str, int] = field(default_factory=dict)
    properties: dict[str, int] = field(default_factory=dict)
    things: dict[str, int] = field(default_factory=dict)
    sensors: dict[str, int] = field(default_factory=dict)
    datastreams: dict[str, int] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    moves: dict[str, list[int]] = field(default_factory=dict)
    observations: list[Seen] = field(default_factory=list)
    hidden: list[Seen] = field(default_factory=list)

    def of(self, *streams: str) -> list[Seen]:
        """Return the observations of those datastreams."""
        return [seen for seen in self.observations if seen.stream in streams]


class Registrar:
    """Fills a database with what a test needs, one entity at a time."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self.city = City()

    async def insert(self, table: str, **columns: Any) -> int:
        """Insert a row into a table of the registry and return its id."""
        names = ", ".join(columns)
        values = ", ".join(f"%({name})s" for name in columns)
        adapted = {
            name: Jsonb(value) if isinstance(value, dict) else value
            for name, value in columns.items()
        }
        cursor = await self._conn.execute(
            f"INSERT INTO {table} ({names}) VALUES ({values}) RETURNING id",  # noqa: S608  # type: ignore[arg-type]
            adapted,
        )
        row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    async def council(self, tenant: str, gss: str, name: str) -> None:
        city = self.city
        city.councils[tenant] = await self.insert("council", gss=gss, tenant=tenant, name=name)
        city.gateways[tenant] = await self.insert(
            "gateway", council_id=city.councils[tenant], device=f"{tenant}-gateway"
        )

    async def observed_property(self, key: str) -> None:
        found = find_property(key)
        self.city.properties[key] = await self.insert(
            "observed_property",
            key=key,
            name=found.label,
            definition=found.definition,
            description=f"{found.label}.",
        )

    async def place(self, tenant: str, name: str, longitude: float, latitude: float) -> None:
        point = {"type": "Point", "coordinates": [longitude, latitude]}
        council_id = self.city.councils[tenant]
        about = {"council_id": council_id, "name": name, "description": f"At {name}"}
        location_id = await self.insert(
            "location", **about, location=point, longitude=longitude, latitude=latitude
        )
        feature_id = await self.insert(
            "feature_of_interest", **about, location_id=location_id, feature=point
        )
        self.city.places[name] = Place(location_id, feature_id, name, longitude, latitude)

    async def thing(
        self,
        tenant: str,
        name: str,
        places: Sequence[tuple[datetime, str]] = (),
        *,
        approved: bool = True,
        properties: dict[str, Any] | None = None,
    ) -> None:
        """Make a thing that was at those places since those times, and is at the last."""
        city = self.city
        thing_id = city.things[name] = await self.insert(
            "thing",
            council_id=city.councils[tenant],
            gateway_id=city.gateways[tenant],
            urn=f"urn:thing:{len(city.things)}",
            name=name,
            description=f"Station {name}",
            properties=properties or {},
            approved=approved,
        )
        city.moves[name] = []
        for time, place in places:
            move = await self.insert("historical_location", thing_id=thing_id, time=time)
            city.moves[name].append(move)
            location_id = city.places[place].location_id
            await self._conn.execute(
                "INSERT INTO historical_location_location VALUES (%s, %s)", (move, location_id)
            )
        if places:
            here = city.places[places[-1][1]].location_id
            await self._conn.execute("INSERT INTO thing_location VALUES (%s, %s)", (thing_id, here))

    async def sensor(self, tenant: str, name: str) -> None:
        city = self.city
        city.sensors[name] = await self.insert(
            "sensor",
            council_id=city.councils[tenant],
            gateway_id=city.gateways[tenant],
            urn=f"urn:sensor:{len(city.sensors)}",
            name=name,
            description=f"Sensor {name}",
            metadata="https://example.org/sensor",
        )

    async def datastream(
        self,
        thing: str,
        sensor: str,
        key: str,
        short_name: str,
        place: str,
        *,
        unit: str | None = None,
        averaging_seconds: int = 0,
        properties: dict[str, Any] | None = None,
    ) -> str:
        """Make a datastream and return the name it has in the city, "<thing> <short name>"."""
        city = self.city
        row = await (
            await self._conn.execute(
                "SELECT council_id FROM thing WHERE id = %s", (city.things[thing],)
            )
        ).fetchone()
        assert row is not None
        name = f"{thing} {short_name}"
        city.datastreams[name] = await self.insert(
            "datastream",
            council_id=row[0],
            thing_id=city.things[thing],
            sensor_id=city.sensors[sensor],
            observed_property_id=city.properties[key],
            feature_of_interest_id=city.places[place].feature_id,
            short_name=short_name,
            name=name,
            description=f"{find_property(key).label} at {thing}",
            unit=unit or find_property(key).unit,
            averaging_seconds=averaging_seconds,
            properties=properties or {},
        )
        return name

    async def observe(self, seen: Sequence[Seen], *, hidden: bool = False) -> None:
        """Store observations and remember them."""
        if not seen:
            return
        await ensure_partitions(
            self._conn, min(one.time for one in seen), max(one.time for one in seen)
        )
        numbers = [(one, type(one.result) in (int, float)) for one in seen]
        async with self._conn.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO observation (datastream_id, time, value) VALUES (%s, %s, %s)",
                [
                    (one.datastream_id, one.time, one.result if number else None)
                    for one, number in numbers
                ],
            )
            await cursor.executemany(
                "INSERT INTO observation_extra (datastream_id, time, quality, result)"
                " VALUES (%s, %s, %s, %s)",
                [
                    (
                        one.datastream_id,
                        one.time,
                        one.quality,
                        None if number else Jsonb(one.result),
                    )
                    for one, number in numbers
                    if one.quality or not number
                ],
            )
        kept = self.city.hidden if hidden else self.city.observations
        kept.extend(seen)
        kept.sort(key=lambda one: (one.datastream_id, one.time))

    def series(
        self,
        stream: str,
        results: Sequence[float | bool | str | None],
        *,
        place: str,
        earlier_place: str | None = None,
        step: timedelta = HOUR,
        averaging: timedelta = timedelta(0),
        start: datetime = START,
        quality: Sequence[int] = (),
    ) -> list[Seen]:
        """Return observations one step apart, the first a step after `start`; None is a gap.

        earlier_place: where the thing was before `MOVED_AT`.
        """
        found = []
        for number, result in enumerate(results):
            time = start + step * (number + 1)
            if result is None:
                continue
            began_earlier = time - averaging < MOVED_AT
            here = earlier_place if earlier_place and began_earlier else place
            found.append(
                Seen(
                    stream,
                    self.city.datastreams[stream],
                    time - averaging,
                    time,
                    result,
                    quality[number] if number < len(quality) else 0,
                    self.city.places[here],
                )
            )
        return found


async def seed_city(conn: Connection) -> City:
    """Fill a migrated, empty database; `conn` is in autocommit or commits later."""
    registrar = Registrar(conn)
    await registrar.council("camden", "E09000007", "Camden")
    await registrar.council("westminster", "E09000033", "Westminster")
    for key in ("no2", "air_temperature", "bay_occupied", "laeq"):
        await registrar.observed_property(key)
    await registrar.place("camden", "Gordon Square", -0.1309, 51.5243)
    await registrar.place("camden", "Bloomsbury", -0.1258, 51.5222)
    await registrar.place("westminster", "Marylebone Road", -0.1546, 51.5225)
    await registrar.place("camden", "Back yard", -0.14, 51.54)
    await _things(registrar)
    await _datastreams(registrar)
    await _observations(registrar)
    return registrar.city


async def _things(registrar: Registrar) -> None:
    await registrar.thing(
        "camden",
        "Bloomsbury",
        [(START - HOUR, "Gordon Square"), (MOVED_AT, "Bloomsbury")],
        properties={"level": 3, "kind": "urban background", "open": True, "tags": ["aurn", "ü"]},
    )
    await registrar.thing(
        "westminster",
        "Marylebone Road",
        [(START - HOUR, "Marylebone Road")],
        properties={"level": 12, "kind": "kerbside", "since": "1997-07-17T00:00:00Z"},
    )
    await registrar.thing(
        "westminster", "100% of O'Hara_\\ ", properties={"level": "12", "nested": {"a": {"b": 1.5}}}
    )
    await registrar.thing("camden", "Secret", [(START, "Back yard")], approved=False)
    for tenant, name in (
        ("camden", "NOx analyser"),
        ("camden", "Thermometer"),
        ("westminster", "Kerb box"),
        ("camden", "Secret box"),
    ):
        await registrar.sensor(tenant, name)


async def _datastreams(registrar: Registrar) -> None:
    hourly = {"averaging_seconds": 3600}
    await registrar.datastream(
        "Bloomsbury", "NOx analyser", "no2", "no2", "Bloomsbury", **hourly, properties={"v": 1}
    )
    await registrar.datastream("Bloomsbury", "Thermometer", "air_temperature", "temp", "Bloomsbury")
    await registrar.datastream(
        "Marylebone Road", "Kerb box", "no2", "no2", "Marylebone Road", **hourly
    )
    await registrar.datastream(
        "Marylebone Road", "Kerb box", "bay_occupied", "bay", "Marylebone Road"
    )
    await registrar.datastream("Marylebone Road", "Kerb box", "laeq", "laeq", "Marylebone Road")
    await registrar.datastream("Secret", "Secret box", "no2", "no2", "Back yard", **hourly)


async def _observations(registrar: Registrar) -> None:
    means = [None if hour % 11 == 5 else 20.1 + hour * 1.3 for hour in range(48)]
    await registrar.observe(
        registrar.series(
            "Bloomsbury no2",
            means,
            place="Bloomsbury",
            earlier_place="Gordon Square",
            averaging=HOUR,
            quality=[0, 2, 4, 6, 8],
        )
    )
    degrees = [2.5, -2.5, 3.5, 0.0, 19.95, -0.4, 7, 7.25, 12.000001, 1e6, 20.1, 41.4]
    await registrar.observe(
        registrar.series(
            "Bloomsbury temp",
            degrees,
            place="Bloomsbury",
            earlier_place="Gordon Square",
            step=timedelta(hours=3, minutes=7, seconds=11, microseconds=250_000),
            start=START - timedelta(days=60),
        )
    )
    await registrar.observe(
        registrar.series(
            "Marylebone Road no2",
            [80 - hour * 0.9 for hour in range(30)],
            place="Marylebone Road",
            averaging=HOUR,
        )
    )
    await registrar.observe(
        registrar.series(
            "Marylebone Road bay",
            [True, False, True, "fault", 7.0, False],
            place="Marylebone Road",
            quality=[0, 0, 8],
        )
    )
    await registrar.observe(
        registrar.series("Secret no2", [1.0, 2.0], place="Back yard", averaging=HOUR), hidden=True
    )
