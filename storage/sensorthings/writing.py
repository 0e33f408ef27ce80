"""Creates and changes the entities of OGC 18-088 that are kept by hand (clause 10).

Everything runs in the caller's transaction and is audited in it. What entities link to is
`linking`, the columns of their rows `rows`. Observations are `kept_observations`, changes and
corrections of them `corrections`; deleting is `removal`, who may write what is `ownership`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import psycopg

from standards_mapping.properties import PROPERTIES
from standards_mapping.sensorthings.creation import Draft
from standards_mapping.sensorthings.data_array_body import FEATURE
from standards_mapping.sensorthings.entity import address
from standards_mapping.sensorthings.errors import (
    ConflictError,
    QueryError,
    SensorThingsError,
    UnknownTargetError,
)
from standards_mapping.sensorthings.model import (
    ENTITY_TYPES,
    EntityType,
    Key,
    ObservationId,
)
from storage import audit
from storage.access import let_read
from storage.database import Connection
from storage.partitions import ensure_months
from storage.sensorthings import corrections, kept_observations, placing, removal
from storage.sensorthings.linking import LINK_COLUMNS, Links
from storage.sensorthings.ownership import (
    Author,
    check_region,
    check_urn,
    own,
    own_property,
    tenant_of,
)
from storage.sensorthings.rows import columns_of, insert, update, urn_of

_FEATURE_LINK: Final = ENTITY_TYPES["Observation"].navigations["FeatureOfInterest"]
_OWN_KEY: Final = "own-"


@asynccontextmanager
async def writing(conn: Connection, author: Author, now: datetime) -> AsyncIterator["Writer"]:
    """Write within one transaction: all that the block does, or nothing of it.

    Raises:
        SensorThingsError: as the block did; and where two writers met, or the database cannot
            take a value.
        storage.database.OUTAGES: the database cannot be reached.
    """
    try:
        # Only what is asked outside a transaction is remembered: of one connection, asked once.
        await ensure_months(conn, (now.date(),))
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
        self._links = Links(conn, author, now, self.create)

    @asynccontextmanager
    async def as_reader(self) -> AsyncIterator[None]:
        """See for the length of the block what the author may read, not all that it may write."""
        if self._author.reads == self._author.councils:
            yield
            return
        await let_read(self._conn, self._author.reads)
        yield
        await let_read(self._conn, self._author.councils)

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
        if kind.name == "Observation" and (stream := _stream_alone(draft, links)) is not None:
            return await self._observe_in(draft, stream, addressed="Datastream" in given)
        for name, navigation in kind.navigations.items():
            if not navigation.many and name in draft.links:
                links[name] = await self._links.target(navigation, draft.links[name][0], council_id)
                council_id = council_id or await self._links.council_of(navigation, links[name])
        if kind.name == "Observation":
            return await self._observe(draft, links)
        if kind.name == "ObservedProperty":
            key = await self._observed_property(draft, nested=bool(given))
        else:
            council_id = await self._links.council(draft, links, council_id)
            key = await self._insert(draft, links, council_id)
            await self._audit("create", kind, key, council_id)
        await self._links.link_many(draft, links, key, council_id)
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
            await corrections.change(self._conn, self._author, key, changed.values, "changed")
            return
        if entity_type.name == "ObservedProperty":
            await own_property(self._conn, self._author, key)
            council_id = None
        else:
            owner = await own(self._conn, self._author, entity_type, key)
            council_id = owner.council_id
        if entity_type.name == "Datastream":
            await self._check_meaning(key, changed)
        await update(self._conn, entity_type.name, key, changed.values)
        await self._links.relink(entity_type, key, changed.links)
        said = sorted([*changed.values, *changed.links])
        await self._audit("change", entity_type, key, council_id, {"changed": said})

    async def delete(self, entity_type: EntityType, key: Key) -> None:
        """Delete an entity and what the standard deletes with it (clause 10.4).

        Raises:
            UnknownTargetError: there is none.
            ForbiddenError, ConflictError: see `ownership`; nothing signed is ever deleted.
        """
        if isinstance(key, ObservationId):
            await corrections.delete(self._conn, self._author, key)
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
                await self._links.target(_FEATURE_LINK, feature, None)
            await placing.settle_feature(self._conn, datastream, feature)
        except SensorThingsError as error:
            return error
        return None

    async def _insert(self, draft: Draft, links: Mapping[str, Key], council_id: int) -> int:
        kind = draft.entity_type.name
        columns: dict[str, Any] = columns_of(kind, draft.values)
        if kind != "HistoricalLocation":
            columns["council_id"] = council_id
        if kind in ("Thing", "Sensor"):
            columns["urn"] = urn_of(draft.values)
            await check_urn(self._conn, columns["urn"], council_id)
        for name, column in LINK_COLUMNS.items():
            if name in links and kind in ("Datastream", "HistoricalLocation"):
                columns[column] = links[name]
        if kind == "HistoricalLocation":
            await own(self._conn, self._author, ENTITY_TYPES["Thing"], int(columns["thing_id"]))
        if kind == "Datastream":
            columns |= await self._datastream_columns(columns, council_id)
        return await insert(self._conn, kind, columns)

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
        columns = columns_of("ObservedProperty", values) | {"key": key}
        made = await insert(self._conn, "ObservedProperty", columns)
        await self._audit("create", draft.entity_type, made, None)
        return made

    async def _observe(self, draft: Draft, links: Mapping[str, Key]) -> Key:
        datastream = links["Datastream"]
        if isinstance(datastream, ObservationId):
            raise QueryError("Datastream: no such id")
        corrects = (draft.values.get("parameters") or {}).get("corrects")
        if corrects is not None:
            return await corrections.correct(
                self._conn,
                self._author,
                datastream,
                corrects=str(corrects),
                values=draft.values,
                now=self._now,
            )
        stream = await kept_observations.stream_by_hand(self._conn, self._author, datastream)
        feature = links.get("FeatureOfInterest")
        await placing.settle_feature(
            self._conn, stream.id, None if feature is None else int(str(feature))
        )
        return await self._keep(draft, stream)

    async def _observe_in(self, draft: Draft, datastream: int, *, addressed: bool) -> Key:
        """Create an Observation that links to nothing but its Datastream.

        addressed: it was sent to the Datastream's address, which must be one that can be read.
        """
        try:
            stream = await kept_observations.stream_by_hand(self._conn, self._author, datastream)
        except UnknownTargetError as error:
            if addressed:
                raise
            raise QueryError(f"Datastream: {error}") from error
        if addressed and not stream.is_readable:
            raise UnknownTargetError("there is no such Datastream")
        if not stream.has_feature:
            await placing.settle_feature(self._conn, stream.id, None)
        return await self._keep(draft, stream)

    async def _keep(self, draft: Draft, stream: kept_observations.Stream) -> ObservationId:
        row = kept_observations.row_of(draft.values, stream, self._now)
        [stored] = await kept_observations.store(self._conn, self._author, stream, [row])
        if isinstance(stored, SensorThingsError):
            raise stored
        return stored

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


def _stream_alone(draft: Draft, given: Mapping[str, Key]) -> int | None:
    """Return the Datastream that an Observation links to by id, if it does nothing else."""
    if (draft.values.get("parameters") or {}).get("corrects") is not None:
        return None
    if set(given) | set(draft.links) != {"Datastream"}:
        return None
    targets = draft.links.get("Datastream") or (given["Datastream"],)
    [target] = targets
    return target if isinstance(target, int) else None


def _registered(said: object, definition: str) -> Any:
    """Return the property of the registry that is meant, by key or definition; None for another."""
    if said is not None:
        if not isinstance(said, str) or not 0 < len(said) <= 60 or not said.isprintable():  # noqa: PLR2004
            raise QueryError("properties/key must be a short text")
        return PROPERTIES.get(said)
    named = [known for known in PROPERTIES.values() if known.external == definition]
    return named[0] if len(named) == 1 else None
