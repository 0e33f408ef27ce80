"""Passes and sessions of those who may sign in, on both editions."""

import secrets
from datetime import timedelta

import pytest

from storage import audit, registry, staff
from storage.database import Connection
from storage.staff import Staff, UnknownPassError
from tests.integration.enrolled import ACTOR, DAY, add_councils, now

HOUR = timedelta(hours=1)


@pytest.fixture
async def conn(connection: Connection) -> Connection:
    await add_councils(connection)
    return connection


async def give(
    conn: Connection, tenant: str | None = "camden", *, days: float = 30
) -> tuple[int, bytes]:
    """Give out a pass; return its number and hash."""
    secret = secrets.token_bytes(32)
    number = await staff.add_pass(
        conn,
        tenant=tenant,
        name="Ben",
        role="deployer" if tenant else "operator",
        pass_sha256=secret,
        expires_at=now() + days * DAY,
        actor=ACTOR,
    )
    return number, secret


async def sign_in(
    conn: Connection, secret: bytes, lifetime: timedelta = 8 * HOUR
) -> tuple[Staff | None, bytes]:
    session = secrets.token_bytes(32)
    found = await staff.open_session(
        conn, pass_sha256=secret, session_sha256=session, now=now(), lifetime=lifetime
    )
    return found, session


async def test_a_pass_opens_a_session_until_it_is_ended(conn: Connection) -> None:
    number, secret = await give(conn)
    signed_in, session = await sign_in(conn, secret)
    assert signed_in == Staff(pass_id=number, name="Ben", role="deployer", tenant="camden")
    assert signed_in.actor == f"staff {number} (Ben, camden)"
    assert await staff.staff_of(conn, session, now()) == signed_in
    assert await staff.staff_of(conn, bytes(32), now()) is None
    for _ in range(2):
        await staff.end_session(conn, session, now())
        assert await staff.staff_of(conn, session, now()) is None


async def test_a_session_ends_by_itself_and_never_after_its_pass(conn: Connection) -> None:
    _, secret = await give(conn, days=1)
    _, short = await sign_in(conn, secret)
    _, long = await sign_in(conn, secret, lifetime=30 * DAY)
    assert await staff.staff_of(conn, short, now() + 7 * HOUR)
    assert await staff.staff_of(conn, short, now() + 9 * HOUR) is None
    assert await staff.staff_of(conn, long, now() + 23 * HOUR)
    assert await staff.staff_of(conn, long, now() + 25 * HOUR) is None


async def test_a_withdrawn_pass_ends_every_session_at_once(conn: Connection) -> None:
    number, secret = await give(conn)
    _, session = await sign_in(conn, secret)
    for _ in range(2):
        await staff.withdraw_pass(conn, pass_id=number, actor=ACTOR)
    assert await staff.staff_of(conn, session, now()) is None
    assert (await sign_in(conn, secret))[0] is None
    acts = [entry.action for entry in await audit.entries(conn, subject=f"staff {number}")]
    assert acts == ["pass.withdraw", "session.open", "pass.add"]


async def test_an_expired_or_unknown_pass_opens_nothing(conn: Connection) -> None:
    _, secret = await give(conn, days=-1)
    assert (await sign_in(conn, secret))[0] is None
    assert (await sign_in(conn, bytes(32)))[0] is None
    with pytest.raises(UnknownPassError):
        await staff.withdraw_pass(conn, pass_id=99, actor=ACTOR)


async def test_the_regions_staff_administer_every_council_a_councils_only_its_own(
    conn: Connection,
) -> None:
    _, secret = await give(conn, tenant=None)
    region, _ = await sign_in(conn, secret)
    _, secret = await give(conn)
    council, _ = await sign_in(conn, secret)
    assert region is not None
    assert council is not None
    assert region.actor.endswith("(Ben, region)")
    assert (region.may_administer("camden"), region.may_administer("leeds")) == (True, True)
    assert (council.may_administer("camden"), council.may_administer("leeds")) == (True, False)


async def test_passes_are_listed_newest_first_without_their_secrets(conn: Connection) -> None:
    first, _ = await give(conn)
    second, _ = await give(conn, tenant=None)
    listed = await staff.passes(conn)
    assert [(row.id, row.tenant, row.created_by) for row in listed] == [
        (second, None, ACTOR),
        (first, "camden", ACTOR),
    ]
    assert [row.id for row in await staff.passes(conn, "camden")] == [first]
    with pytest.raises(registry.UnknownCouncilError):
        await give(conn, tenant="atlantis")
