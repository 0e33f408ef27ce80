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
    for entity_id in ids:
        member = members.by_id[entity_id]
        traits = {(member.type, each) for each in _traits(members, member, alike)}
        if not traits <= seen:
            seen |= traits
            yield entity_id


def _traits(members: Members, member: Member, alike: Mapping[int, int]) -> Iterable[object]:
    """Yield whatever an attribute of the entity may depend on, each by itself."""
    first = min(member.known_by if member.type == DEVICE else member.told)
    yield "described", alike[first]
    yield "placed", members.streams[first].placed
    yield "reported", any(each in members.reported for each in member.known_by)
    for number in member.told:
        yield member.streams[number]


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
