"""What is registered as publications see it: with its places over time, and only what is open."""

from storage.access import let_read
from storage.database import Connection
from storage.published import published_datastreams, published_things
from tests.simulators.registry import seed_city


async def test_things_come_with_their_places_and_datastreams_with_their_things(
    connection: Connection,
) -> None:
    city = await seed_city(connection)
    things = await published_things(connection)
    datastreams = await published_datastreams(connection, things)
    assert things
    assert {each.thing.id for each in datastreams} <= {thing.id for thing in things}
    assert city
    for thing in things:
        sinces = [stay.since for stay in thing.stays]
        assert sinces == sorted(sinces)
        if thing.place is not None:
            assert thing.place_at(sinces[-1]) == thing.place
    some = await published_things(connection, limit=1)
    rest = await published_things(connection, after=some[0].id)
    assert [*some, *rest] == things


async def test_what_is_restricted_is_seen_only_by_who_may(connection: Connection) -> None:
    await seed_city(connection)
    things = await published_things(connection)
    before = await published_datastreams(connection, things)
    hidden = before[0]
    cursor = await connection.execute(
        "UPDATE datastream SET access = 'restricted' WHERE thing_id = %s RETURNING council_id",
        (hidden.thing.id,),
    )
    [council, *_] = [number for (number,) in await cursor.fetchall()]
    after = await published_things(connection)
    assert hidden.thing.id not in {thing.id for thing in after}
    async with connection.transaction():
        await let_read(connection, {council})
        seen = await published_things(connection)
        found = await published_datastreams(connection, seen, ids=[hidden.id])
    assert [each.id for each in found] == [hidden.id]
    assert not found[0].is_open
    assert await published_things(connection) == after
