"""A page of entities as CSV (RFC 4180): an extension, as other SensorThings services have it.

A row is an entity, and the columns depend on what is asked alone, never on what is found. A time
that may be an interval has two of them. Objects without names of their own, such as `properties`,
are JSON text. No text begins with what makes a spreadsheet take it for a formula.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from standards_mapping.csv_text import rfc4180, safe
from standards_mapping.sensorthings.entity import Json
from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.model import ENTITY_TYPES, EntityType, Kind
from standards_mapping.sensorthings.options import Options

MEDIA_TYPE: Final = "text/csv; charset=utf-8; header=present"

_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "unitOfMeasurement": ("name", "symbol", "definition")
}


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: its name, where its value is in an entity, and how that is written."""

    name: str
    path: tuple[str, ...]
    cell: Callable[[Any], str]

    def of(self, entity: Json) -> str:
        value: Any = entity
        for name in self.path:
            value = value.get(name) if isinstance(value, dict) else None
        return self.cell(value)


def readable(options: Options, entity_type: EntityType) -> Options:
    """Return the options by which to read the entities that `csv_text` needs.

    Raises:
        QueryError: something is asked for that a row cannot hold.
    """
    list(_columns(entity_type, options))
    return _without_links(options, entity_type)


def csv_text(entities: Sequence[Json], entity_type: EntityType, options: Options) -> str:
    """Return entities as CSV with a header."""
    columns = list(_columns(entity_type, options))
    header = [column.name for column in columns]
    return rfc4180([header, *([column.of(entity) for column in columns] for entity in entities)])


def _without_links(options: Options, entity_type: EntityType) -> Options:
    everything = ("id", *entity_type.properties)
    expanded = tuple(
        replace(
            expand,
            options=_without_links(expand.options, ENTITY_TYPES[expand.navigation.target]),
        )
        for expand in options.expand
    )
    return replace(options, select=options.select or everything, expand=expanded)


def _columns(
    entity_type: EntityType, options: Options, at: tuple[str, ...] = ()
) -> Iterator[_Column]:
    for name in options.select or ("id", *entity_type.properties):
        if name == "id":
            yield _Column("/".join((*at, "id")), (*at, "@iot.id"), _cell)
        elif name in entity_type.properties:
            yield from _of_property(entity_type, name, at)
        else:
            raise QueryError(f"$resultFormat=CSV has no room for {name}; select properties")
    for expand in options.expand:
        if expand.navigation.many:
            raise QueryError(
                f"$resultFormat=CSV has no room for {expand.navigation.name}, which are many"
            )
        target = ENTITY_TYPES[expand.navigation.target]
        yield from _columns(target, expand.options, (*at, expand.navigation.name))


def _of_property(entity_type: EntityType, name: str, at: tuple[str, ...]) -> Iterator[_Column]:
    path = (*at, name)
    title = "/".join(path)
    if entity_type.properties[name].kind is Kind.PERIOD:
        yield _Column(f"{title}Start", path, lambda text: _end(text, 0))
        yield _Column(f"{title}End", path, lambda text: _end(text, -1))
    elif name in _MEMBERS:
        for member in _MEMBERS[name]:
            yield _Column(f"{title}/{member}", (*path, member), _cell)
    else:
        yield _Column(title, path, _cell)


def _end(text: str | None, which: int) -> str:
    return "" if text is None else text.split("/")[which]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return safe(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
