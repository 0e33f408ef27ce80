"""Links between entities that are kept by hand: where they lead, whose that is, and new ones.

A to-one link is a column of the entity's row; of to-many links those to Locations are kept here,
and all others are the to-one links of the entities at their other end. What follows from a Thing's
being somewhere is `placing`; who may link what is `ownership`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeAlias

from psycopg import sql

from standards_mapping.sensorthings.creation import Draft, Target, inverse
from standards_mapping.sensorthings.errors import ConflictError, QueryError
from standards_mapping.sensorthings.model import (
    ENTITY_TYPES,
    EntityType,
    Key,
    Navigation,
    ObservationId,
)
from storage.database import Connection
from storage.sensorthings import placing
from storage.sensorthings.ownership import Author, check_council, own, owner_of
from storage.sensorthings.rows import GIVEN_ONCE

Create: TypeAlias = Callable[[Draft, Mapping[str, Key], int | None], Awaitable[Key]]
"""Creates what a link gives whole: see `writing.Writer.create`."""

LINK_COLUMNS: Final = {
    "Thing": "thing_id",
    "Sensor": "sensor_id",
    "ObservedProperty": "observed_property_id",
}
"""The columns of a Datastream or HistoricalLocation that keep its to-one links."""

_LINKED_BY_ID: Final = {
    ("Thing", "Locations"),
    ("Location", "Things"),
    ("HistoricalLocation", "Locations"),
}


class Links:
    """The links of what an author writes. create: makes what is nested in a link."""

    def __init__(self, conn: Connection, author: Author, now: datetime, create: Create) -> None:
        self._conn = conn
        self._author = author
        self._now = now
        self._create = create

    async def target(self, navigation: Navigation, target: Target, council_id: int | None) -> Key:
        """Return the id a to-one link leads to, creating what is given whole.

        council_id: of what is nested in it.

        Raises:
            QueryError: it leads nowhere; and as creating says.
        """
        if isinstance(target, Draft):
            return await self._create(target, {}, council_id)
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

    async def council_of(self, navigation: Navigation, key: Key) -> int | None:
        """Return the council of what a link leads to; None where all share it."""
        if navigation.target == "ObservedProperty" or isinstance(key, ObservationId):
            return None
        owner = await owner_of(self._conn, ENTITY_TYPES[navigation.target], key)
        return None if owner is None else owner.council_id

    async def council(self, draft: Draft, links: Mapping[str, Key], council_id: int | None) -> int:
        """Return the council an entity will be of, once the author may write for it.

        council_id: of what it is nested in, if that is settled.

        Raises:
            QueryError: there is no such council, or it is not what the links lead to.
            ForbiddenError: the author may not write for it.
        """
        for name in links:
            navigation = draft.entity_type.navigations[name]
            linked = await self.council_of(navigation, links[name])
            council_id = council_id or linked
            if linked is not None and linked != council_id:
                check_council(self._author, linked, f"{navigation.target} {links[name]}")
                raise QueryError(f"{name}: what it is linked to is another council's")
        written = (draft.values.get("properties") or {}).get("council")
        if written is not None and "council" in GIVEN_ONCE.get(draft.entity_type.name, ()):
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

    async def link_many(
        self, draft: Draft, links: Mapping[str, Key], key: int, council_id: int | None
    ) -> None:
        """Link a new entity to many: by id, by creating them, and to what it was sent below.

        Raises:
            QueryError: they are linked from the other side, or there is none of that id.
            ForbiddenError, ConflictError: see `ownership`.
        """
        kind = draft.entity_type
        for name, navigation in kind.navigations.items():
            if not navigation.many:
                continue
            back = inverse(kind, name)
            keys: list[int] = [int(str(links[name]))] if name in links else []
            for target in draft.links.get(name, ()):
                if isinstance(target, Draft):
                    nested = {} if name in ("Locations", "Things") else {back: key}
                    made = await self._create(target, nested, council_id)
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

    async def relink(
        self, entity_type: EntityType, key: int, links: Mapping[str, tuple[Target, ...]]
    ) -> None:
        """Link an entity that there is to what a change names.

        Raises:
            ConflictError: the link is changed from its other side.
            QueryError, ForbiddenError: as `link_many`.
        """
        for name, targets in links.items():
            keys = [target for target in targets if isinstance(target, int)]
            if (entity_type.name, name) in _LINKED_BY_ID:
                await self._relate(entity_type.name, name, key, keys)
            elif entity_type.name == "Datastream" and name in LINK_COLUMNS and keys:
                await self.target(entity_type.navigations[name], keys[0], None)
                if name != "ObservedProperty":
                    await self._own_beside(entity_type, key, name, keys[0])
                await self._conn.execute(
                    sql.SQL("UPDATE datastream SET {} = %s WHERE id = %s").format(
                        sql.Identifier(LINK_COLUMNS[name])
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
