"""The query options of a request, and of each $expand in it (OGC 18-088, clause 9.3).

Names are checked against the model here; what expressions mean is not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeAlias

from standards_mapping.sensorthings.errors import QueryError, UnsupportedError
from standards_mapping.sensorthings.expression import (
    Expression,
    Order,
    parse_filter,
    parse_orderby,
)
from standards_mapping.sensorthings.model import ENTITY_TYPES, EntityType, Navigation, is_id

Written: TypeAlias = tuple[str, str]
"""An option as written: its name, and its text without percent-encoding."""

AFTER: Final = "$skiptoken"
"""Names the id of the last entity of the page before; only our own nextLinks write it."""

_MOST_EXPANDS: Final = 64
_LARGEST_INTEGER: Final = 2**31 - 1
_KNOWN: Final = frozenset(
    {"$filter", "$orderby", "$top", "$skip", "$count", "$select", "$expand", "$resultFormat"}
    | {AFTER}
)
_FORMAT: Final = ("$resultFormat", "resultFormat")
"""The standard's name, and the one without $ that other services take, too."""

_ON_ONE: Final = frozenset({"$select", "$expand"})
_UNSUPPORTED: Final = frozenset(
    {"$apply", "$compute", "$deltatoken", "$format", "$index", "$levels"}
    | {"$schemaversion", "$search"}
)


class ResultFormat(StrEnum):
    """A form of a collection other than the standard's JSON, by its name in $resultFormat.

    The standard has dataArray, of observations (clause 12.2); the others are extensions.
    """

    DATA_ARRAY = "dataArray"
    CSV = "CSV"
    GEOJSON = "GeoJSON"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked of a set of entities, or of one.

    select: names of properties and links, "id" for the id; None for all of them.
    after: text of the id the page starts after; None for the first page.
    result_format: None for the JSON of entities.
    written: every option in the order and the words of the request, for links to more.
    """

    filter: Expression | None = None
    orderby: tuple[Order, ...] = ()
    top: int | None = None
    skip: int = 0
    count: bool = False
    select: tuple[str, ...] | None = None
    expand: tuple["Expand", ...] = ()
    after: str | None = None
    result_format: ResultFormat | None = None
    written: tuple[Written, ...] = ()

    def selects(self, name: str) -> bool:
        """Whether a property or link is to be in the answer."""
        return self.select is None or name in self.select


@dataclass(frozen=True, slots=True)
class Expand:
    """A link whose entities are to be given inline, and what is asked of them."""

    navigation: Navigation
    options: Options


def parse_options(
    written: Iterable[Written], entity_type: EntityType, *, many: bool = True
) -> Options:
    """Return the options of a request for entities of a type; for just one unless `many`.

    Names that do not begin with $ are none of ours and are kept only for links.

    Raises:
        QueryError: unknown, repeated or malformed, or of no use for a single entity.
        UnsupportedError: OData has it and this service has not.
    """
    options = _parse(tuple(written), entity_type, many=many)
    if _count_expands(options) > _MOST_EXPANDS:
        raise QueryError(f"more than {_MOST_EXPANDS} links to expand")
    return options


def _parse(written: tuple[Written, ...], entity_type: EntityType, *, many: bool) -> Options:
    ours = [_known_as(name) for name, _ in written]
    _check_names([name for name in ours if name.startswith("$")], many=many)
    texts = {name: text for name, (_, text) in zip(ours, written, strict=True)}
    top, skip = texts.get("$top"), texts.get("$skip")
    return Options(
        filter=parse_filter(texts["$filter"]) if "$filter" in texts else None,
        orderby=parse_orderby(texts["$orderby"]) if "$orderby" in texts else (),
        top=None if top is None else _natural("$top", top),
        skip=0 if skip is None else _natural("$skip", skip),
        count=_truth("$count", texts.get("$count", "false")),
        select=_select(texts["$select"], entity_type) if "$select" in texts else None,
        expand=_expand(texts["$expand"], entity_type) if "$expand" in texts else (),
        after=texts.get(AFTER),
        result_format=_format(texts[_FORMAT[0]], entity_type) if _FORMAT[0] in texts else None,
        written=written,
    )


def _check_names(names: Sequence[str], *, many: bool) -> None:
    for name in names:
        if name in _UNSUPPORTED:
            raise UnsupportedError(f"the query option {name} is not supported")
        if name not in _KNOWN:
            raise QueryError(f"there is no query option {name}")
        if not many and name not in _ON_ONE:
            raise QueryError(f"{name} needs a collection of entities; this is a single one")
    if len(set(names)) < len(names):
        raise QueryError("a query option is given twice")


def _known_as(name: str) -> str:
    return _FORMAT[0] if name in _FORMAT else name


def _format(text: str, entity_type: EntityType) -> ResultFormat:
    known = {each.lower(): each for each in ResultFormat}
    found = known.get(text.lower())
    if found is None:
        raise QueryError(f"$resultFormat is one of {', '.join(ResultFormat)}, not {text!r}")
    if found is ResultFormat.DATA_ARRAY and entity_type.name != "Observation":
        raise QueryError(f"$resultFormat=dataArray is for Observations, not {entity_type.set_name}")
    return found


def _natural(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise QueryError(f"{name} is an integer from 0, not {text!r}")
    return min(int(text[:20]), _LARGEST_INTEGER)


def _truth(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise QueryError(f"{name} is true or false, not {text!r}")
    return text == "true"


def _select(text: str, entity_type: EntityType) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        known = name in entity_type.properties or name in entity_type.navigations
        if not known and not is_id(name) and name != "@iot.selfLink":
            raise QueryError(f"$select: {entity_type.name} has no property or link {name!r}")
    return tuple("id" if is_id(name) else name for name in names)


def split(text: str, separator: str) -> list[str]:
    """Return the parts of `text` between separators outside all quotes and parentheses.

    Raises:
        QueryError: a quote or a parenthesis is left open.
    """
    parts: list[str] = []
    start = depth = 0
    quoted = False
    for position, character in enumerate(text):
        if character == "'":
            quoted = not quoted
        elif quoted:
            continue
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth < 0:
                raise QueryError("a parenthesis is closed that was never opened")
        elif character == separator and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    if quoted or depth:
        raise QueryError(f"{text!r} leaves a {'quote' if quoted else 'parenthesis'} open")
    return [*parts, text[start:]]


def _expand(text: str, entity_type: EntityType) -> tuple[Expand, ...]:
    found: dict[str, Expand] = {}
    for item in split(text, ","):
        expand = _expand_item(item.strip(), entity_type)
        name = expand.navigation.name
        found[name] = _merge(found[name], expand) if name in found else expand
    return tuple(found.values())


def _expand_item(item: str, entity_type: EntityType) -> Expand:
    """Read a link, then nested options in parentheses or a further link after a slash."""
    no_options: tuple[Written, ...] = ()
    name, written = item, no_options
    for position, character in enumerate(item):
        if character == "/":
            name, written = item[:position], (("$expand", item[position + 1 :]),)
            break
        if character == "(":
            if not item.endswith(")"):
                raise QueryError(f"$expand: cannot read on after {item[:position]}(…)")
            name, written = item[:position], _nested(item[position + 1 : -1])
            break
    navigation = entity_type.navigations.get(name.strip())
    if navigation is None:
        raise QueryError(f"$expand: {entity_type.name} has no link {name.strip()!r}")
    target = ENTITY_TYPES[navigation.target]
    return Expand(navigation, _parse(written, target, many=navigation.many))


def _nested(text: str) -> tuple[Written, ...]:
    written: list[Written] = []
    for part in split(text, ";"):
        name, equals, value = part.strip().partition("=")
        if not equals or not name.startswith("$"):
            raise QueryError(f"$expand: expected $option=value, found {part!r}")
        if name.strip() in _FORMAT:
            raise QueryError("$resultFormat is for the whole answer, not for what is expanded")
        written.append((name.strip(), value.strip()))
    return tuple(written)


def _merge(one: Expand, other: Expand) -> Expand:
    """Join A/B and A/C, where the same link is expanded in order to go on from it."""
    if any(name != "$expand" for name, _ in one.options.written + other.options.written):
        raise QueryError(f"$expand: {one.navigation.name} is given twice with options")
    text = ",".join(text for _, text in one.options.written + other.options.written)
    written = (("$expand", text),) if text else ()
    nested: dict[str, Expand] = {}
    for expand in one.options.expand + other.options.expand:
        name = expand.navigation.name
        nested[name] = _merge(nested[name], expand) if name in nested else expand
    merged = replace(one.options, expand=tuple(nested.values()), written=written)
    return Expand(one.navigation, merged)


def _count_expands(options: Options) -> int:
    return sum(1 + _count_expands(expand.options) for expand in options.expand)
