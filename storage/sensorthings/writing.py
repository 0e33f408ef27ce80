"""Creates and changes the entities of OGC 18-088 that are kept by hand (clause 10).

Everything runs in the caller's transaction and is audited in it. Observations are
`kept_observations`, deleting is `removal`, who may write what is `ownership`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from standards_mapping.properties import PROPERTIES
from standards_mapping.sensorthings.creation import Draft, Target, inverse
from standards_mapping.sensorthings.data_array import FEATURE
from standards_mapping.sensorthings.drafted_values import point_inside
from standards_mapping.sensorthings.entity import address
from standards_mapping.sensorthings.errors import (
    ConflictError,
    QueryError,
    SensorThingsError,
)
from standards_mapping.sensorthings.model import (
    ENTITY_TYPES,
    EntityType,
    Key,
    Navigation,
    ObservationId,
)
from storage import audit
from storage.access import let_read
from storage.database import Connection
from storage.sensorthings import kept_observations, placing, removal
from storage.sensorthings.ownership import (
    Author,
    check_council,
    check_region,
    own,
    own_property,
    owner_of,
    tenant_of,
)

_COLUMNS: Final[Mapping[str, str]] = {
    "name": "name",
    "description": "description",
    "encodingType": "encoding_type",
    "metadata": "metadata",
    "definition": "definition",
    "time": "time",
    "unitOfMeasurement": "unit",
    "observationType": "observation_type",
    "properties": "properties",
    "location": "location",
    "feature": "feature",
}
_TABLES: Final[Mapping[str, str]] = {
    "Thing": "thing",
    "Location": "location",
    "HistoricalLocation": "historical_location",
    "Datastream": "datastream",
    "Sensor": "sensor",
    "ObservedProperty": "observed_property",
    "FeatureOfInterest": "feature_of_interest",
}
_GIVEN_ONCE: Final[Mapping[str, tuple[str, ...]]] = {
    "Thing": ("urn", "council"),
    "Sensor": ("urn", "council"),
    "Location": ("council",),
    "FeatureOfInterest": ("council",),
    "ObservedProperty": ("key",),
}
"""Members of `properties` that are given when an entity is created and stay."""

_FEATURE_LINK: Final = ENTITY_TYPES["Observation"].navigations["FeatureOfInterest"]
_LONGEST_URN: Final = 200
_OWN_KEY: Final = "own-"
_LINK_COLUMNS: Final = {
    "Thing": "thing_id",
    "Sensor": "sensor_id",
    "ObservedProperty": "observed_property_id",
}


@asynccontextmanager
async def writing(conn: Connection, author: Author, now: datetime) -> AsyncIterator["Writer"]:
    """Write within one transaction: all that the block does, or nothing of it.

    Raises:
        SensorThingsError: as the block did; and where two writers met, or the database cannot
            take a value.
        storage.database.OUTAGES: the database cannot be reached.
    """
    try:
        async with conn.transaction():
            await conn.execute("SET LOCAL statement_timeout = '60s'")
            await let_read(conn, author.councils)
            yield Writer(conn, author, now)
    except psycopg.IntegrityError as error:
        raise ConflictError(
            f"somebody changed the same at the same time ({error.diag.constraint_name}): look"
            " again, then repeat it"
        ) from error
    except psycopg.DataError as error:
        raise QueryError(f"cannot be kept: {error.diag.message_primary}") from error


class Writer:
    """Creates, changes and deletes on behalf of an author; made by `writing`."""

    def __init__(self, conn: Connection, author: Author, now: datetime) -> None:
        self._conn = conn
        self._author = author
        self._now = now

    @asynccontextmanager
    async def step(self) -> AsyncIterator[None]:
        """Undo what the block did, and nothing else, if it fails."""
        async with self._conn.transaction():
            yield

    async def create(
        self, draft: Draft, given: Mapping[str, Key] = {}, council_id: int | None = None
    ) -> Key:
        """Create an entity with all that is nested in it; return its id.

        given: ids that the address settles, by the name of the relation. council_id: of what it
        is nested in.

        Raises:
            QueryError: a link leads nowhere, or what is said does not go together.
            ForbiddenError, ConflictError: see `ownership`.
        """
        links = dict(given)
        kind = draft.entity_type
        for name, navigation in kind.navigations.items():
            if not navigation.many and name in draft.links:
                links[name] = await self._target(navigation, draft.links[name][0], council_id)
                council_id = council_id or await self._council_of(navigation, links[name])
        if kind.name == "Observation":
            return await self._observe(draft, links)
        if kind.name == "ObservedProperty":
            key = await self._observed_property(draft, nested=bool(given))
        else:
            council_id = await self._council(draft, links, council_id)
            key = await self._insert(draft, links, council_id)
            await self._audit("create", kind, key, council_id)
        await self._link_many(draft, links, key, council_id)
        return key

    async def change(self, entity_type: EntityType, key: Key, changed: Draft) -> None:
        """Change an entity as a PATCH says.

        Raises:
            UnknownTargetError: there is none.
            QueryError, ForbiddenError, ConflictError: as `create`.
        """
        if isinstance(key, ObservationId):
            if changed.links:
                raise ConflictError(
                    "an Observation stays with its Datastream and what that is about: delete it"
                    " and create another"
                )
            await kept_observations.change(self._conn, self._author, key, changed.values, "changed")
            return
        if entity_type.name == "ObservedProperty":
            await own_property(self._conn, self._author, key)
            council_id = None
        else:
            owner = await own(self._conn, self._author, entity_type, key)
            council_id = owner.council_id
        if entity_type.name == "Datastream":
            await self._check_meaning(key, changed)
        await self._update(entity_type, key, changed.values)
        await self._relink(entity_type, key, changed.links)
        said = sorted([*changed.values, *changed.links])
        await self._audit("change", entity_type, key, council_id, {"changed": said})

    async def delete(self, entity_type: EntityType, key: Key) -> None:
        """Delete an entity and what the standard deletes with it (clause 10.4).

        Raises:
            UnknownTargetError: there is none.
            ForbiddenError, ConflictError: see `ownership`; nothing signed is ever deleted.
        """
        if isinstance(key, ObservationId):
            await kept_observations.delete(self._conn, self._author, key)
            return
        council_id = None
        if entity_type.name == "ObservedProperty":
            await own_property(self._conn, self._author, key)
        else:
            council_id = (await own(self._conn, self._author, entity_type, key)).council_id
        counts = await removal.remove(self._conn, self._author, entity_type.name, key)
        await self._audit("delete", entity_type, key, council_id, counts)

    async def create_rows(
        self, datastream: int, rows: Sequence[Mapping[str, Any] | SensorThingsError]
    ) -> list[ObservationId | SensorThingsError]:
        """Store rows of a data array; return for each, in order, its id or why it is not kept.

        rows: the values of an Observation's draft each, and the id of its feature if one is told.

        Raises:
            UnknownTargetError, QueryError, ForbiddenError, ConflictError: the datastream takes
                none of them.
        """
        stream = await kept_observations.stream_by_hand(self._conn, self._author, datastream)
        drafted: list[kept_observations.Row | SensorThingsError] = []
        settled: dict[int | None, SensorThingsError | None] = {}
        for values in rows:
            if isinstance(values, SensorThingsError):
                drafted.append(values)
                continue
            feature = values.get(FEATURE)
            if feature not in settled:
                settled[feature] = await self._settle(stream.id, feature)
            refused = settled[feature]
            try:
                row = kept_observations.row_of(values, stream, self._now)
            except QueryError as error:
                refused = refused or error
            drafted.append(refused or row)
        return await kept_observations.store(self._conn, self._author, stream, drafted)

    async def _settle(self, datastream: int, feature: int | None) -> SensorThingsError | None:
        try:
            if feature is not None:
                await self._target(_FEATURE_LINK, feature, None)
            await placing.settle_feature(self._conn, datastream, feature)
        except SensorThingsError as error:
            return error
        return None

    async def _target(self, navigation: Navigation, target: Target, council_id: int | None) -> Key:
        """Return the id a to-one link leads to, creating what is given whole."""
        if isinstance(target, Draft):
            return await self.create(target, {}, council_id)
        if navigation.target == "ObservedProperty":
            cursor = await self._conn.execute(
                "SELECT FROM observed_property WHERE id = %s", (target,)
            )
            known = await cursor.fetchone() is not None
        elif isinstance(target, ObservationId):
            known = False
        else:
            known = await owner_of(self._conn, ENTITY_TYPES[navigation.target], target) is not None
        if not known:
            raise QueryError(
                f"{navigation.name}: there is no {navigation.target} with the id {target}"
            )
        return target

    async def _council_of(self, navigation: Navigation, key: Key) -> int | None:
        if navigation.target == "ObservedProperty" or isinstance(key, ObservationId):
            return None
        owner = await owner_of(self._conn, ENTITY_TYPES[navigation.target], key)
        return None if owner is None else owner.council_id

    async def _council(self, draft: Draft, links: Mapping[str, Key], council_id: int | None) -> int:
        """Return the council an entity will be of, once the author may write for it."""
        for name in links:
            navigation = draft.entity_type.navigations[name]
            linked = await self._council_of(navigation, links[name])
            council_id = council_id or linked
            if linked is not None and linked != council_id:
                check_council(self._author, linked, f"{navigation.target} {links[name]}")
                raise QueryError(f"{name}: what it is linked to is another council's")
        written = (draft.values.get("properties") or {}).get("council")
        if written is not None and "council" in _GIVEN_ONCE.get(draft.entity_type.name, ()):
            cursor = await self._conn.execute(
                "SELECT id FROM council WHERE %s IN (gss, tenant)", (str(written),)
            )
            row = await cursor.fetchone()
            if row is None:
                raise QueryError(f"properties/council: there is no council {written!r}")
            if council_id is not None and row[0] != council_id:
                raise QueryError("properties/council: what it is linked to is another council's")
            council_id = int(row[0])
        if council_id is None:
            if len(self._author.councils) != 1:
                raise QueryError(
                    "you write for several councils: say which by properties/council, its GSS code"
                )
            (council_id,) = self._author.councils
        check_council(self._author, council_id, draft.entity_type.name)
        return council_id

    async def _insert(self, draft: Draft, links: Mapping[str, Key], council_id: int) -> int:
        kind = draft.entity_type.name
        columns: dict[str, Any] = self._columns(kind, draft.values)
        if kind != "HistoricalLocation":
            columns["council_id"] = council_id
        if kind in ("Thing", "Sensor"):
            columns["urn"] = _urn(draft.values)
        for name, column in _LINK_COLUMNS.items():
            if name in links and kind in ("Datastream", "HistoricalLocation"):
                columns[column] = links[name]
        if kind == "HistoricalLocation":
            await own(self._conn, self._author, ENTITY_TYPES["Thing"], int(columns["thing_id"]))
        if kind == "Datastream":
            columns |= await self._datastream_columns(columns, council_id)
        return await self._made(_TABLES[kind], columns)

    async def _datastream_columns(
        self, columns: Mapping[str, Any], council_id: int
    ) -> dict[str, Any]:
        sensor_id = int(columns["sensor_id"])
        sensor = await own(self._conn, self._author, ENTITY_TYPES["Sensor"], sensor_id)
        if sensor.council_id != council_id:
            raise QueryError("Thing and Sensor of a Datastream must be of the same council")
        cursor = await self._conn.execute(
            "SELECT o.key, (SELECT count(*) FROM datastream WHERE sensor_id = %s),"
            " (SELECT restricts_new_datastreams FROM council WHERE id = %s)"
            " FROM observed_property o WHERE o.id = %s",
            (sensor_id, council_id, columns["observed_property_id"]),
        )
        [(key, number, restricts)] = await cursor.fetchall()
        feature = await placing.feature_of_thing(self._conn, int(columns["thing_id"]))
        return {
            "short_name": f"{key}-{number + 1}" if number else key,
            "access": "restricted" if restricts else "open",
            "feature_of_interest_id": feature,
        }

    async def _observed_property(self, draft: Draft, *, nested: bool) -> int:
        """Create an ObservedProperty, or in a deep insert find the one that it means."""
        values = dict(draft.values)
        said = (values.get("properties") or {}).get("key")
        known = _registered(said, str(values["definition"]))
        key = known.key if known else f"{_OWN_KEY}{uuid4().hex[:12]}"
        if said is not None and known is None:
            key = str(said)
        cursor = await self._conn.execute("SELECT id FROM observed_property WHERE key = %s", (key,))
        row = await cursor.fetchone()
        if row is not None:
            if known is None or not nested:
                raise ConflictError(
                    f"ObservedProperty {row[0]} is {key!r} already: link it by its @iot.id"
                )
            return int(row[0])
        if known is None or not nested:
            await check_region(self._conn, self._author)
        if known is not None:
            values |= {"name": known.label, "definition": known.definition}
        columns = self._columns("ObservedProperty", values) | {"key": key}
        made = await self._made("observed_property", columns)
        await self._audit("create", draft.entity_type, made, None)
        return made

    async def _observe(self, draft: Draft, links: Mapping[str, Key]) -> Key:
        datastream = links["Datastream"]
        if isinstance(datastream, ObservationId):
            raise QueryError("Datastream: no such id")
        corrects = (draft.values.get("parameters") or {}).get("corrects")
        if corrects is not None:
            return await kept_observations.correct(
                self._conn, self._author, datastream, str(corrects), draft.values, self._now
            )
        stream = await kept_observations.stream_by_hand(self._conn, self._author, datastream)
        feature = links.get("FeatureOfInterest")
        await placing.settle_feature(
            self._conn, stream.id, None if feature is None else int(str(feature))
        )
        row = kept_observations.row_of(draft.values, stream, self._now)
        [stored] = await kept_observations.store(self._conn, self._author, stream, [row])
        if isinstance(stored, SensorThingsError):
            raise stored
        return stored

    async def _link_many(
        self, draft: Draft, links: Mapping[str, Key], key: int, council_id: int | None
    ) -> None:
        """Link a new entity to many: by id, by creating them, and to what it was sent below."""
        kind = draft.entity_type
        for name, navigation in kind.navigations.items():
            if not navigation.many:
                continue
            back = inverse(kind, name)
            keys: list[int] = [int(str(links[name]))] if name in links else []
            for target in draft.links.get(name, ()):
                if isinstance(target, Draft):
                    nested = {} if name in ("Locations", "Things") else {back: key}
                    made = await self.create(target, nested, council_id)
                    keys.append(int(made) if isinstance(made, int) else 0)
                else:
                    keys.append(int(str(target)) if isinstance(target, int) else 0)
                    if (kind.name, name) not in _LINKED_BY_ID:
                        raise QueryError(
                            f"{name} cannot be linked from a new {kind.name}: link them the other"
                            " way, from each of them"
                        )
            if keys:
                await self._relate(kind.name, name, key, keys)

    async def _relate(self, kind: str, name: str, key: int, keys: Sequence[int]) -> None:
        match kind, name:
            case "Thing", "Locations":
                await self._place(key, keys)
            case "Location", "Things":
                for thing in keys:
                    await self._place(thing, [key])
            case ("HistoricalLocation", "Locations") | ("Location", "HistoricalLocations"):
                pairs = [(key, one) if kind == "HistoricalLocation" else (one, key) for one in keys]
                for moment, location in pairs:
                    await own(self._conn, self._author, ENTITY_TYPES["HistoricalLocation"], moment)
                    await self._own_location(location)
                    await placing.remember(self._conn, moment, location)
                for moment in {moment for moment, _ in pairs}:
                    await placing.follow(self._conn, moment)
            case _:
                pass  # the new entities link back to this one themselves

    async def _place(self, thing: int, locations: Sequence[int]) -> None:
        await own(self._conn, self._author, ENTITY_TYPES["Thing"], thing)
        for location in locations:
            await self._own_location(location)
        await placing.place(self._conn, thing, sorted(set(locations)), self._now)

    async def _own_location(self, location: int) -> None:
        owner = await owner_of(self._conn, ENTITY_TYPES["Location"], location)
        if owner is None:
            raise QueryError(f"Locations: there is no Location with the id {location}")
        check_council(self._author, owner.council_id, f"Location {location}")

    async def _check_meaning(self, key: int, changed: Draft) -> None:
        """Refuse to change what stored results mean."""
        cursor = await self._conn.execute(
            "SELECT unit, EXISTS (SELECT FROM observation WHERE datastream_id = %s)"
            " FROM datastream WHERE id = %s",
            (key, key),
        )
        [(unit, observed)] = await cursor.fetchall()
        if observed and (changed.links or changed.values.get("unitOfMeasurement", unit) != unit):
            raise ConflictError(
                f"Datastream {key} has observations: its unit and its links say what they mean"
                " and stay. Create another Datastream instead."
            )

    async def _update(self, entity_type: EntityType, key: int, values: Mapping[str, Any]) -> None:
        columns = self._columns(entity_type.name, values)
        if not columns:
            return
        table = _TABLES[entity_type.name]
        await self._conn.execute(
            sql.SQL("UPDATE {} SET {} WHERE id = %(id)s").format(
                sql.Identifier(table),
                sql.SQL(", ").join(
                    sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name))
                    for name in columns
                ),
            ),
            {**columns, "id": key},
        )
        if entity_type.name == "Location" and "location" in columns:
            await self._conn.execute(
                "UPDATE feature_of_interest SET feature = %s WHERE location_id = %s",
                (columns["location"], key),
            )

    async def _relink(
        self, entity_type: EntityType, key: int, links: Mapping[str, tuple[Target, ...]]
    ) -> None:
        for name, targets in links.items():
            keys = [target for target in targets if isinstance(target, int)]
            if (entity_type.name, name) in _LINKED_BY_ID:
                await self._relate(entity_type.name, name, key, keys)
            elif entity_type.name == "Datastream" and name in _LINK_COLUMNS and keys:
                await self._target(entity_type.navigations[name], keys[0], None)
                if name != "ObservedProperty":
                    await self._own_beside(entity_type, key, name, keys[0])
                await self._conn.execute(
                    sql.SQL("UPDATE datastream SET {} = %s WHERE id = %s").format(
                        sql.Identifier(_LINK_COLUMNS[name])
                    ),
                    (keys[0], key),
                )
            else:
                raise ConflictError(
                    f"{name} of a {entity_type.name} is not changed from this side: change the"
                    " entities it links to"
                )

    async def _own_beside(self, entity_type: EntityType, key: int, name: str, target: int) -> None:
        """Refuse a link to what the author does not own, or to another council's."""
        owner = await own(self._conn, self._author, ENTITY_TYPES[name], target)
        mine = await owner_of(self._conn, entity_type, key)
        if mine is not None and mine.council_id != owner.council_id:
            raise QueryError(f"{name}: what it is linked to is another council's")

    def _columns(self, kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        for name, value in values.items():
            if name == "properties":
                fixed = _GIVEN_ONCE.get(kind, ())
                kept = {key: part for key, part in (value or {}).items() if key not in fixed}
                columns["properties"] = Jsonb(kept)
            elif name in ("location", "feature"):
                columns[_COLUMNS[name]] = Jsonb(value)
                if name == "location":
                    columns["longitude"], columns["latitude"] = point_inside(value)
            else:
                columns[_COLUMNS[name]] = value
        return columns

    async def _made(self, table: str, columns: Mapping[str, Any]) -> int:
        cursor = await self._conn.execute(
            sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id").format(
                sql.Identifier(table),
                sql.SQL(", ").join(map(sql.Identifier, columns)),
                sql.SQL(", ").join(map(sql.Placeholder, columns)),
            ),
            dict(columns),
        )
        [(made,)] = await cursor.fetchall()
        return int(made)

    async def _audit(
        self,
        act: str,
        entity_type: EntityType,
        key: Key,
        council_id: int | None,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        await audit.record(
            self._conn,
            actor=self._author.actor,
            tenant=await tenant_of(self._conn, council_id),
            action=f"sensorthings.{act}",
            subject=address(entity_type, key),
            detail=detail,
        )


_LINKED_BY_ID: Final = {
    ("Thing", "Locations"),
    ("Location", "Things"),
    ("HistoricalLocation", "Locations"),
}


def _urn(values: Mapping[str, Any]) -> str:
    """Return the URN of a new Thing or Sensor: the one it is given, or one of our own."""
    written = (values.get("properties") or {}).get("urn")
    if written is None:
        return f"urn:uuid:{uuid4()}"
    if (
        not isinstance(written, str)
        or not written.startswith("urn:")
        or not written.isascii()
        or not written.isprintable()
        or " " in written
        or len(written) > _LONGEST_URN
        or written.endswith(":health")
    ):
        raise QueryError(
            f"properties/urn: {str(written)[:80]!r} is not a URN of at most {_LONGEST_URN}"
            " characters; :health at its end is for gateways"
        )
    return written


def _registered(said: object, definition: str) -> Any:
    """Return the property of the registry that is meant, by key or definition; None for another."""
    if said is not None:
        if not isinstance(said, str) or not 0 < len(said) <= 60 or not said.isprintable():  # noqa: PLR2004
            raise QueryError("properties/key must be a short text")
        return PROPERTIES.get(said)
    named = [known for known in PROPERTIES.values() if known.external == definition]
    return named[0] if len(named) == 1 else None
