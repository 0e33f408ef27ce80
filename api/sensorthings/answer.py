"""From an addressed resource and its options to JSON: entities, what is expanded in them, links.

HTTP is not known here, and SQL neither.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

import orjson

from standards_mapping.sensorthings.entity import (
    EntityWriter,
    Json,
    Row,
    address,
    instant,
    period,
    property_value,
    result_quality,
)
from standards_mapping.sensorthings.errors import QueryError, UnknownTargetError
from standards_mapping.sensorthings.model import (
    ENTITY_TYPES,
    EntityType,
    Key,
    ObservationId,
)
from standards_mapping.sensorthings.observation_text import observations_text
from standards_mapping.sensorthings.options import AFTER, Expand, Options
from standards_mapping.sensorthings.path import ResourcePath, Step
from standards_mapping.sensorthings.skiptoken import Place, read_place, write_place
from storage.sensorthings.columns import TextPage
from storage.sensorthings.compiled import is_geospatial
from storage.sensorthings.reader import Page, Reader
from storage.sensorthings.select import Wanted

PAGE: Final = 100
"""Entities on a page where the request does not say."""

LARGEST_PAGE: Final = 1000
"""Entities on a page at most; a larger $top is cut, and a nextLink leads on."""

_SHORT: Final = 2  # steps of a path from one entity, named by its id, to what it links to

_MOST_EXPANDED: Final = 20_000
"""Entities that one $expand gives at most; shared among the entities it is expanded in."""

LARGEST_ANSWER_BYTES: Final = 16 << 20
"""How long one answer may be; what would be longer is refused while it is put together."""


def limit_of(options: Options) -> int:
    """Return how many entities a page has at most."""
    return PAGE if options.top is None else min(options.top, LARGEST_PAGE)


def is_plain(path: ResourcePath, options: Options) -> bool:
    """Whether a collection is of observations with all they have and nothing expanded in them."""
    observations = path.target.entity_type.name == "Observation"
    whole = options.select is None and not options.expand
    return observations and whole and not path.references


def takes_one_statement(path: ResourcePath, options: Options) -> bool:
    """Whether a collection is read at once: no count, nothing expanded, no long way to it."""
    if len(path.steps) > _SHORT or options.count or options.expand or options.result_format:
        return False
    return not is_geospatial(options.filter, options.orderby)


class Answers:
    """Answers requests from one reader; root: URL of the service, without a slash at its end."""

    def __init__(self, reader: Reader, root: str) -> None:
        self._reader = reader
        self._root = root

    async def collection(
        self, path: ResourcePath, options: Options, *, as_text: bool = False
    ) -> Json:
        """Return a page of the entities addressed; as_text: some may be an orjson.Fragment.

        Raises:
            UnknownTargetError: what the path leads through does not exist.
            QueryError: the options make no sense, or the answer would be too long.
        """
        wanted, known = await self._collected(path, options)
        answer: Json = {}
        if options.count:
            answer["@iot.count"] = await self._reader.count(wanted)
        if as_text and is_plain(path, options):
            text = await self._reader.text_page(wanted, limit_of(options))
            written = observations_text(text.rows, self._root)
            _check_size(len(written))
            answer["value"] = orjson.Fragment(written)
            page: Page | TextPage = text
        else:
            page = found = await self._reader.page(wanted, limit_of(options))
            if path.references:
                answer["value"] = [self._reference(wanted.entity_type, row) for row in found.rows]
            else:
                answer["value"], _ = await self._entities(wanted.entity_type, found.rows, options)
        if not known and not page.rows:
            await self._walk(path.steps[:-1], path.target)
        link = f"{self._root}/{_written_path(path)}"
        if page.rest is not None:
            answer["@iot.nextLink"] = _next_link(
                link, wanted.entity_type, options, page.rest, len(page.rows)
            )
        return answer

    async def _collected(self, path: ResourcePath, options: Options) -> tuple[Wanted, bool]:
        """Return what a path and options ask for, and whether its owner is known to exist.

        Of an owner named by its id that is asked for only where nothing is found.
        """
        wanted = _wanted(path.target.entity_type, options, references=path.references)
        if len(path.steps) == 1 or path.target.navigation is None:
            return wanted, True
        owner = path.steps[-2]
        key, known = owner.key, len(path.steps) > _SHORT
        if known or key is None:
            parent = await self._walk(path.steps[:-1], path.target)
            key = None if parent is None else parent.key
        link = (owner.entity_type.name, path.target.navigation.name)
        return replace(wanted, parent=link, owner=key), known

    async def single(self, path: ResourcePath, options: Options) -> Json:
        """Return the one entity addressed, or a reference to it.

        Raises:
            UnknownTargetError: it does not exist.
            QueryError: the answer would be too long.
        """
        wanted = _wanted(path.target.entity_type, options, references=path.references)
        row = await self._row(path, wanted)
        if path.references:
            return self._reference(wanted.entity_type, row)
        (found,), _ = await self._entities(wanted.entity_type, [row], options)
        return found

    async def versions(self, path: ResourcePath) -> Json:
        """Return what the one observation addressed said, version by version, oldest first.

        Raises:
            UnknownTargetError: it does not exist, or may not be read.
        """
        row = await self._row(path, Wanted(entity_type=path.target.entity_type, properties=()))
        if not isinstance(row.key, ObservationId):
            raise UnknownTargetError("only Observations have versions")
        found = await self._reader.versions(row.key, LARGEST_PAGE)
        return {"value": [_version(row.key, each) for each in found]}

    async def property(self, path: ResourcePath) -> Any:
        """Return the value of the property addressed, None if it is null.

        Raises:
            UnknownTargetError: neither the entity nor a member of that name exists.
        """
        entity_type, name = path.target.entity_type, path.names[0]
        row = await self._row(path, Wanted(entity_type=entity_type, properties=(name,)))
        value = property_value(entity_type, name, row.values.get(name))
        for member in path.names[1:]:
            value = _member(value, member)
        return value

    def _reference(self, entity_type: EntityType, row: Row) -> Json:
        return {"@iot.selfLink": f"{self._root}/{address(entity_type, row.key)}"}

    async def _walk(self, steps: Sequence[Step], target: Step) -> Row | None:
        """Follow steps that each lead to one entity; return the last, ready for `target`."""
        here: Row | None = None
        owner: EntityType | None = None
        for step, after in zip(steps, [*steps, target][1:], strict=True):
            link = after.navigation
            links = () if link is None or link.many else (link.name,)
            wanted = Wanted(entity_type=step.entity_type, links=links)
            here = await self._step(owner, here, step, wanted)
            owner = step.entity_type
        return here

    async def _row(self, path: ResourcePath, wanted: Wanted) -> Row:
        parent = await self._walk(path.steps[:-1], path.target)
        owner = path.steps[-2].entity_type if parent is not None else None
        return await self._step(owner, parent, path.target, wanted)

    async def _step(
        self, owner: EntityType | None, here: Row | None, step: Step, wanted: Wanted
    ) -> Row:
        """Return the one entity a step leads to."""
        row: Row | None = None
        if owner is None or here is None or step.navigation is None:
            row = await self._one(wanted, step.key)
        elif not step.navigation.many:
            row = await self._one(wanted, here.links[step.navigation.name])
        elif step.key is not None:
            link = (owner.name, step.navigation.name)
            related = replace(wanted, parent=link, owner=here.key, keys=(step.key,))
            row = next(iter((await self._reader.page(related, 1)).rows), None)
        if row is None:
            raise UnknownTargetError(f"there is no such {step.entity_type.name}")
        return row

    async def _one(self, wanted: Wanted, key: Key | None) -> Row | None:
        return None if key is None else (await self._reader.by_key(wanted, [key])).get(key)

    async def _entities(
        self, entity_type: EntityType, rows: Sequence[Row], options: Options
    ) -> tuple[list[Json], list[int]]:
        """Return rows as JSON with all that is expanded in them, and how long each becomes.

        An entity that is expanded in many is made once and written in each: its length counts in
        each, too.
        """
        writer = EntityWriter(entity_type, self._root, options)
        found = [writer.write(row) for row in rows]
        sizes = [len(orjson.dumps(one)) for one in found]
        _check_size(sum(sizes))
        for expand in options.expand:
            if expand.navigation.many:
                await self._expand_many(entity_type, rows, found, sizes, expand)
            else:
                await self._expand_one(rows, found, sizes, expand)
            _check_size(sum(sizes))
        return found, sizes

    async def _expand_one(
        self, rows: Sequence[Row], found: Sequence[Json], sizes: list[int], expand: Expand
    ) -> None:
        name = expand.navigation.name
        target = ENTITY_TYPES[expand.navigation.target]
        keys = [row.links[name] for row in rows]
        known = [key for key in keys if key is not None]
        linked = await self._reader.by_key(_wanted(target, expand.options), known)
        written, lengths = await self._entities(target, list(linked.values()), expand.options)
        by_key = dict(zip(linked, zip(written, lengths, strict=True), strict=True))
        for number, (json, key) in enumerate(zip(found, keys, strict=True)):
            if key in by_key:
                json[name], length = by_key[key]
                sizes[number] += length

    async def _expand_many(
        self,
        entity_type: EntityType,
        rows: Sequence[Row],
        found: Sequence[Json],
        sizes: list[int],
        expand: Expand,
    ) -> None:
        if not rows:
            return
        name, options = expand.navigation.name, expand.options
        target = ENTITY_TYPES[expand.navigation.target]
        wanted = replace(_wanted(target, options), parent=(entity_type.name, name))
        parents = [row.key for row in rows]
        limit = min(limit_of(options), max(1, _MOST_EXPANDED // len(parents)))
        counts: Mapping[Key, int] = {}
        if options.count:
            counts = await self._reader.counts(wanted, parents)
        pages = await self._reader.pages(wanted, parents, limit)
        every = [row for parent in parents for row in pages[parent].rows]
        written, lengths = await self._entities(target, every, options)
        following = iter(zip(written, lengths, strict=True))
        for number, (json, parent) in enumerate(zip(found, parents, strict=True)):
            page = pages[parent]
            if options.count:
                json[f"{name}@iot.count"] = counts[parent]
            several = [next(following) for _ in page.rows]
            json[name] = [one for one, _ in several]
            sizes[number] += sum(length for _, length in several)
            if page.rest is not None:
                link = f"{self._root}/{address(entity_type, parent)}/{name}"
                json[f"{name}@iot.nextLink"] = _next_link(
                    link, target, options, page.rest, len(page.rows)
                )


def _check_size(size: int) -> None:
    """Refuse an answer that is longer than one may be.

    Raises:
        QueryError: it is, and says how to ask for less.
    """
    if size > LARGEST_ANSWER_BYTES:
        raise QueryError(
            f"this answer would be longer than {LARGEST_ANSWER_BYTES >> 20} MB: ask for less at"
            " once, with a smaller $top, also within $expand, with $select, or with fewer $expand"
        )


def _wanted(entity_type: EntityType, options: Options, *, references: bool = False) -> Wanted:
    """Return what is to be read to answer with those options."""
    properties = tuple(entity_type.properties)
    if options.select is not None:
        properties = tuple(name for name in properties if options.selects(name))
    links = [expand.navigation for expand in options.expand]
    return Wanted(
        entity_type=entity_type,
        filter=options.filter,
        orderby=options.orderby,
        after=_after(entity_type, options),
        skip=options.skip,
        properties=() if references else properties,
        links=tuple(link.name for link in links if not link.many),
    )


def _after(entity_type: EntityType, options: Options) -> Place | None:
    if options.after is None:
        return None
    return read_place(options.after, entity_type, _order(options))


def _order(options: Options) -> str:
    """Return the order as it was asked for."""
    return next((text for name, text in options.written if name == "$orderby"), "")


def _next_link(
    link: str, entity_type: EntityType, options: Options, rest: Place, count: int
) -> str:
    """Return the URL of the page after `count` rows, of which the last is at the place `rest`."""
    written = [(name, text) for name, text in options.written if name not in (AFTER, "$skip")]
    token = write_place(rest, entity_type, _order(options))
    if token is not None:
        written.append((AFTER, token))
    else:
        if options.after is not None:
            written.append((AFTER, options.after))
        written.append(("$skip", str(options.skip + count)))
    query = "&".join(f"{quote(name, safe='$')}={quote(text, safe='')}" for name, text in written)
    return f"{link}?{query}"


def _written_path(path: ResourcePath) -> str:
    """Return the path of a collection as it is addressed."""
    parts = []
    for step in path.steps:
        name = step.entity_type.set_name if step.navigation is None else step.navigation.name
        if step.key is None:
            parts.append(name)
        else:
            parts.append(
                address(step.entity_type, step.key).replace(step.entity_type.set_name, name)
            )
    return "/".join([*parts, "$ref"] if path.references else parts)


def _version(key: ObservationId, row: Sequence[Any]) -> Json:
    """Return a version of an observation; the first is as it came, and of it no reason is told."""
    number, value, result, quality, started, parameters, since, reason = row
    told: Json = {
        "version": number,
        "phenomenonTime": period(started or key.time, key.time) if started else None,
        "result": result if value is None else value,
        "resultQuality": result_quality(quality),
        "parameters": parameters or None,
        "at": instant(since),
        "reason": reason or None,
    }
    return {name: said for name, said in told.items() if said is not None or name == "result"}


def _member(value: Any, name: str) -> Any:
    if isinstance(value, dict) and name in value:
        return value[name]
    if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
        return value[int(name)]
    raise UnknownTargetError(f"there is no member {name!r}")
