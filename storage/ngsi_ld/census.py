"""What there is of each type, told from a few entities that together have all that any has.

What attributes an entity has depends on little: which results can be told, whether the site has a
place, which texts its registration holds. So one entity for each of these is put together, however
many sites there are.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from standards_mapping.ngsi_ld.contexts import type_iri
from standards_mapping.ngsi_ld.expanded import Entity
from standards_mapping.ngsi_ld.models import DEVICE
from standards_mapping.ngsi_ld.source import TypeFacts
from storage.database import Connection, query
from storage.ngsi_ld.members import Member, Members


async def described_alike(conn: Connection, tenant: str | None) -> dict[int, int]:
    """Return a number for each datastream: the same where Things and Sensors say as much."""
    cursor = await conn.execute(query("ngsi_ld_described"), {"tenant": tenant})
    return {
        stream: number
        for number, (streams,) in enumerate(await cursor.fetchall())
        for stream in streams
    }


def telling(members: Members, ids: Sequence[str], alike: Mapping[int, int]) -> Iterable[str]:
    """Yield the ids of entities that together have every attribute that one of `ids` has.

    alike: of datastreams, see `described_alike`.
    """
    seen: set[tuple[str, object]] = set()
    sorts: set[tuple[str, tuple[object, ...]]] = set()
    for entity_id in ids:
        member = members.by_id[entity_id]
        sort = (member.type, _traits(members, member, alike))
        if sort in sorts:
            continue
        sorts.add(sort)
        traits = {(member.type, each) for each in sort[1]}
        if not traits <= seen:
            seen |= traits
            yield entity_id


def _traits(members: Members, member: Member, alike: Mapping[int, int]) -> tuple[object, ...]:
    """Return whatever an attribute of the entity may depend on, each by itself."""
    known_by = member.known_by
    first = min(known_by if member.type == DEVICE else member.told)
    return (
        ("described", alike[first]),
        ("placed", members.streams[first].placed),
        ("reported", any(each in members.reported for each in known_by)),
        *[member.streams[number] for number in member.told],
    )


def facts_of(types: Iterable[str], telling_: Iterable[Entity]) -> list[TypeFacts]:
    """Return what there is of each type. types: that of every entity, by its name."""
    counts = Counter(map(type_iri, types))
    kinds: dict[str, dict[str, set[str]]] = {iri: {} for iri in counts}
    for entity in telling_:
        (iri,) = entity.types
        for name, instances in entity.attributes.items():
            kinds[iri].setdefault(name, set()).update(one.kind for one in instances)
    return [
        TypeFacts(
            iri=iri,
            count=counts[iri],
            attributes={name: frozenset(some) for name, some in sorted(kinds[iri].items())},
        )
        for iri in sorted(counts)
    ]
