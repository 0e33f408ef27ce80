"""Whose an entity is, and whether it may be written: never what a gateway describes.

Rows that are asked about stay locked until the transaction ends.
"""

from dataclasses import dataclass

from standards_mapping.properties import PROPERTIES
from standards_mapping.sensorthings.errors import ConflictError, ForbiddenError, UnknownTargetError
from standards_mapping.sensorthings.model import EntityType
from storage.database import Connection, query


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Whoever writes.

    councils: ids of those it may write for. reads: of those whose restricted datastreams it may
    read; a key that only writes is told nothing of them in answers either.
    """

    actor: str
    councils: frozenset[int]
    reads: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose an entity is. device: of the gateway that describes it; None where kept by hand."""

    council_id: int
    device: str | None


async def owner_of(conn: Connection, entity_type: EntityType, key: int) -> Owner | None:
    """Return whose an entity is; None where there is no such entity. Not for ObservedProperty."""
    cursor = await conn.execute(query(f"owner_of_{entity_type.name.lower()}"), {"id": key})
    row = await cursor.fetchone()
    return None if row is None else Owner(council_id=row[0], device=row[1])


async def own(
    conn: Connection, author: Author, entity_type: EntityType, key: int, *, by_hand: bool = True
) -> Owner:
    """Return whose an entity is, once the author may write for that council.

    by_hand: refuse what a gateway describes.

    Raises:
        UnknownTargetError: there is no such entity.
        ForbiddenError: it is another council's.
        ConflictError: a gateway describes it.
    """
    owner = await owner_of(conn, entity_type, key)
    if owner is None:
        raise UnknownTargetError(f"there is no {entity_type.name} with the id {key}")
    check_council(author, owner.council_id, f"{entity_type.name} {key}")
    if by_hand and owner.device is not None:
        raise ConflictError(
            f"{entity_type.name} {key} is described by gateway {owner.device}, and only that"
            " changes it: edit the gateway's own settings, which it describes anew at its next"
            " start. Only what is kept by hand is written here."
        )
    return owner


def check_council(author: Author, council_id: int, what: str) -> None:
    """Return if the author may write for a council.

    Raises:
        ForbiddenError: it may not.
    """
    if council_id not in author.councils:
        raise ForbiddenError(f"{what} is of a council that this key or session may not write for")


async def check_urn(conn: Connection, urn: str, council_id: int) -> None:
    """Return if what a council keeps by hand may have a URN.

    Those that begin with urn:dev: are devices' (RFC 9039): a gateway could not describe what it is
    if somebody had taken its name before. A part that names another council is that one's.

    Raises:
        ForbiddenError: it may not.
        ConflictError: a gateway describes a Thing or Sensor of that name.
    """
    parts = urn.casefold().split(":")
    if parts[1] == "dev":
        raise ForbiddenError(
            f"properties/urn: {urn!r} is a device's, which gateways describe themselves (RFC 9039):"
            " leave it out to be given one, or name it otherwise, e.g. urn:x-survey:no2:7"
        )
    cursor = await conn.execute(query("councils_named"), {"parts": parts, "council_id": council_id})
    row = await cursor.fetchone()
    if row is not None:
        raise ForbiddenError(
            f"properties/urn: {urn!r} names another council, {row[0]!r}: name what is kept by hand"
            " after its own council, or leave it out to be given one"
        )
    cursor = await conn.execute(
        "SELECT urn FROM thing WHERE urn = %(urn)s AND gateway_id IS NOT NULL"
        " UNION SELECT urn FROM sensor WHERE urn = %(urn)s AND gateway_id IS NOT NULL",
        {"urn": urn},
    )
    if await cursor.fetchone() is not None:
        raise ConflictError(
            f"properties/urn: {urn!r} is what a gateway describes: leave it out to be given another"
        )


async def check_region(conn: Connection, author: Author) -> None:
    """Return if the author may write for every council: what all share is theirs alone.

    Raises:
        ForbiddenError: there is a council that it may not write for.
    """
    cursor = await conn.execute(
        "SELECT EXISTS (SELECT FROM council WHERE id <> ALL (%s))", (list(author.councils),)
    )
    if await cursor.fetchone() != (False,):
        raise ForbiddenError(
            "ObservedProperties are shared by all councils: only a key or session of the whole"
            " region makes, changes or deletes one. Link one there is by its @iot.id."
        )


async def own_property(conn: Connection, author: Author, key: int) -> None:
    """Return if the author may change an ObservedProperty.

    Raises:
        UnknownTargetError: there is none of that id.
        ConflictError: it is one of the registry's, which comes with the program.
        ForbiddenError: as `check_region`.
    """
    cursor = await conn.execute(
        "SELECT key FROM observed_property WHERE id = %s FOR UPDATE", (key,)
    )
    row = await cursor.fetchone()
    if row is None:
        raise UnknownTargetError(f"there is no ObservedProperty with the id {key}")
    await check_region(conn, author)
    if row[0] in PROPERTIES:
        raise ConflictError(
            f"ObservedProperty {key} is {row[0]!r} of the registry that comes with this service:"
            " it means the same everywhere and cannot be changed"
        )


async def tenant_of(conn: Connection, council_id: int | None) -> str:
    """Return the short name of a council for the audit; "" for what all share."""
    cursor = await conn.execute("SELECT tenant FROM council WHERE id = %s", (council_id,))
    row = await cursor.fetchone()
    return "" if row is None else str(row[0])
