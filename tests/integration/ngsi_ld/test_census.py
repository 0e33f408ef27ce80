"""What is told of types and attributes is what one finds by looking at entity after entity."""

from typing import Any

import pytest

from standards_mapping.ngsi_ld.selection import EntitySelector
from standards_mapping.ngsi_ld.source import TypeFacts
from storage.database import open_pool
from storage.ngsi_ld.reader import DatabaseSource, reading

Told = dict[str, tuple[int, dict[str, frozenset[str]]]]


def told(facts: Any) -> Told:
    return {one.iri: (one.count, dict(one.attributes)) for one in facts}


async def one_by_one(source: DatabaseSource) -> Told:
    """Return the same by putting every entity together."""
    found: dict[str, dict[str, set[str]]] = {}
    counts: dict[str, int] = {}
    for entity in await source.load(await source.find([EntitySelector()])):
        (iri,) = entity.types
        counts[iri] = counts.get(iri, 0) + 1
        for name, instances in entity.attributes.items():
            found.setdefault(iri, {}).setdefault(name, set()).update(
                each.kind for each in instances
            )
    return {
        iri: (counts[iri], {name: frozenset(each) for name, each in some.items()})
        for iri, some in found.items()
    }


@pytest.mark.parametrize("tenant", [None, "camden", "westminster", "brent"])
@pytest.mark.parametrize("own", [False, True], ids=["stranger", "council"])
async def test_types_are_those_of_the_entities_one_by_one(
    varied: tuple[str, int], tenant: str | None, *, own: bool
) -> None:
    dsn, council = varied
    async with open_pool(dsn, application_name="kerbstone test") as pool:
        async with reading(pool, tenant, (council,) if own else ()) as source:
            facts = await source.types()
        async with reading(pool, tenant, (council,) if own else ()) as source:
            assert told(facts) == await one_by_one(source)
    assert facts


async def test_a_stranger_is_told_of_fewer(varied: tuple[str, int]) -> None:
    dsn, council = varied
    async with open_pool(dsn, application_name="kerbstone test") as pool:
        answers: list[list[TypeFacts]] = []
        for councils in ((), (council,)):
            async with reading(pool, None, councils) as source:
                answers.append(list(await source.types()))
    stranger, insider = ({one.iri.rpartition("/")[2]: one for one in some} for some in answers)
    assert "WeatherObserved" in insider
    names = {iri.rpartition("/")[2] for iri in insider["AirQualityObserved"].attributes}
    seen = {iri.rpartition("/")[2] for iri in stranger["AirQualityObserved"].attributes}
    assert names - seen == {"pm10"}
    assert insider["AirQualityObserved"].count == stranger["AirQualityObserved"].count + 1
    assert insider["Device"].count == stranger["Device"].count + 2
