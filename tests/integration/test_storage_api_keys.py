"""Keys of programs, on both editions: kept as hashes, good until they end, and audited."""

from datetime import timedelta

import pytest

from storage import api_keys, audit
from storage.access import councils_of
from storage.api_keys import UnknownKeyError
from storage.database import Connection
from storage.registry import UnknownCouncilError
from tests.integration.enrolled import ACTOR, DAY, add_councils, now


@pytest.fixture
async def conn(connection: Connection) -> Connection:
    await add_councils(connection)
    return connection


async def give(
    conn: Connection, tenant: str | None = "camden", *, days: float = 30
) -> tuple[int, str]:
    key = api_keys.draw_key()
    number = await api_keys.add_key(
        conn,
        tenant=tenant,
        name="traffic desk",
        scopes=("read",),
        rate_class="bulk",
        key=key,
        expires_at=now() + days * DAY,
        actor=ACTOR,
    )
    return number, key


async def test_a_key_opens_its_council_until_it_is_revoked(conn: Connection) -> None:
    number, key = await give(conn)
    assert key.startswith("kbs_")
    assert len(key) == len("kbs_") + 43
    found = await api_keys.find_key(conn, key, now())
    assert found is not None
    assert found.actor == f"key {number} (traffic desk, camden)"
    assert tuple(found.scopes) == ("read",)
    assert set(found.councils) == await councils_of(conn, "camden")
    for _ in range(2):
        await api_keys.revoke_key(conn, key_id=number, actor=ACTOR)
        assert await api_keys.find_key(conn, key, now()) is None
    actions = [entry.action for entry in await audit.entries(conn, subject=f"key {number}")]
    assert actions == ["key.revoke", "key.create"]


async def test_a_key_for_the_region_opens_every_council(conn: Connection) -> None:
    _, key = await give(conn, None)
    found = await api_keys.find_key(conn, key, now())
    assert found is not None
    assert found.actor.endswith("(traffic desk, region)")
    assert set(found.councils) == await councils_of(conn, None)
    assert len(found.councils) > 1


async def test_a_key_ends_with_its_day(conn: Connection) -> None:
    _, key = await give(conn, days=1)
    assert await api_keys.find_key(conn, key, now() + timedelta(hours=23)) is not None
    assert await api_keys.find_key(conn, key, now() + timedelta(hours=25)) is None


@pytest.mark.parametrize("key", ["", "kbs_", "kbs_ü", "Bearer", "kbs_" + "x" * 43, "kbs_" * 99])
async def test_what_is_no_key_opens_nothing(conn: Connection, key: str) -> None:
    await give(conn)
    assert await api_keys.find_key(conn, key, now()) is None


async def test_only_the_day_of_use_and_the_hash_are_kept(conn: Connection) -> None:
    number, key = await give(conn)
    [row] = await api_keys.keys(conn, tenant="camden")
    assert (row.id, row.last_used_on, row.scopes) == (number, None, ("read",))
    await api_keys.find_key(conn, key, now())
    [row] = await api_keys.keys(conn, key_id=number)
    assert row.last_used_on == now().date()
    cursor = await conn.execute("SELECT api_key::text FROM api_key")
    [(kept,)] = await cursor.fetchall()
    assert key not in kept
    assert await api_keys.keys(conn, tenant="westminster") == []


async def test_what_is_not_there_is_named(conn: Connection) -> None:
    with pytest.raises(UnknownKeyError, match="no key 99"):
        await api_keys.revoke_key(conn, key_id=99, actor=ACTOR)
    with pytest.raises(UnknownCouncilError):
        await give(conn, "atlantis")
