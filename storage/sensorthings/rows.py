"""Entities that are kept by hand as rows of their tables: which column holds what, and the URN.

Which of them may be written, and what they link to, are `writing` and `linking`; what is not a
row of its own but follows from where a Thing stands is `placing`.
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from psycopg import sql
from psycopg.types.json import Jsonb

from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.places import geometry_in, point_inside
from storage.database import Connection

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
GIVEN_ONCE: Final[Mapping[str, tuple[str, ...]]] = {
    "Thing": ("urn", "council"),
    "Sensor": ("urn", "council"),
    "Location": ("council",),
    "FeatureOfInterest": ("council",),
    "ObservedProperty": ("key",),
}
"""Members of `properties` that are given when an entity is created and stay."""

_LONGEST_URN: Final = 200


def columns_of(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of an entity's table that hold these values of a draft."""
    columns: dict[str, Any] = {}
    for name, value in values.items():
        if name == "properties":
            fixed = GIVEN_ONCE.get(kind, ())
            kept = {key: part for key, part in (value or {}).items() if key not in fixed}
            columns["properties"] = Jsonb(kept)
        elif name in ("location", "feature"):
            columns[_COLUMNS[name]] = Jsonb(value)
            if name == "location":
                columns["longitude"], columns["latitude"] = point_inside(value)
        else:
            columns[_COLUMNS[name]] = value
    return columns


async def insert(conn: Connection, kind: str, columns: Mapping[str, Any]) -> int:
    """Insert an entity; return its id."""
    cursor = await conn.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id").format(
            sql.Identifier(_TABLES[kind]),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(map(sql.Placeholder, columns)),
        ),
        dict(columns),
    )
    [(made,)] = await cursor.fetchall()
    return int(made)


async def update(conn: Connection, kind: str, key: int, values: Mapping[str, Any]) -> None:
    """Set the columns that these values of a draft are kept in.

    The feature that was made of a Location stays where the Location is.
    """
    columns = columns_of(kind, values)
    if not columns:
        return
    await conn.execute(
        sql.SQL("UPDATE {} SET {} WHERE id = %(id)s").format(
            sql.Identifier(_TABLES[kind]),
            sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name))
                for name in columns
            ),
        ),
        {**columns, "id": key},
    )
    if kind == "Location" and "location" in columns:
        await conn.execute(
            "UPDATE feature_of_interest SET feature = %s WHERE location_id = %s",
            (Jsonb(geometry_in(values["location"])), key),
        )


def urn_of(values: Mapping[str, Any]) -> str:
    """Return the URN of a new Thing or Sensor: the one it is given, or one of our own.

    Raises:
        QueryError: what it is given is no URN, or is one that gateways have.
    """
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
