"""Invitations and their one-time tokens, on both editions."""

import asyncio
import time
from datetime import timedelta

import pytest
from psycopg.errors import UniqueViolation

from device_protocol.first_boot import token_sha256
from storage import audit, invitations, registry
from storage.database import Connection, connect
from storage.invitations import Invitation, Redeemable, TokenRefusedError
from storage.network_view import gateway_facts
from storage.site_list import Site
from tests.integration.enrolled import ACTOR, add_councils, enrol, enrolled, invite, now

HOUR = timedelta(hours=1)


@pytest.fixture
async def conn(connection: Connection) -> Connection:
    await add_councils(connection)
    return connection


async def redeem(
    conn: Connection,
    invitation: Invitation,
    *,
    tenant: str = "camden",
    device: str = "",
    later: timedelta = timedelta(),
) -> Redeemable:
    return await invitations.redeem(
        conn,
        tenant=tenant,
        device=device or invitation.device,
        token_sha256=token_sha256(invitation.token),
        now=now() + later,
    )


async def refusal(conn: Connection, invitation: Invitation, **changed: object) -> str:
    with pytest.raises(TokenRefusedError) as refused:
        await redeem(conn, invitation, **changed)  # type: ignore[arg-type]
    return refused.value.reason


async def somebody_waits_for(conn: Connection) -> None:
    """Return once another session waits for a lock that this one holds."""
    async with asyncio.timeout(10):
        waiting = 0
        while not waiting:
            cursor = await conn.execute(
                "SELECT FROM pg_locks"
                " WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
            )
            waiting = cursor.rowcount
            await asyncio.sleep(0.01)


async def test_an_invitation_makes_a_gateway_and_a_token_kept_only_as_its_hash(
    conn: Connection,
) -> None:
    site = Site(site="LC-1", label="North", place_name="Holborn", longitude=-0.1, latitude=51.5)
    [made] = await invitations.invite(conn, tenant="camden", sites=[site], actor=ACTOR)
    assert made.outcome == "invited"
    assert made.expires_at is not None
    assert timedelta(hours=71) < made.expires_at - now() <= timedelta(hours=72)
    [facts] = await gateway_facts(conn)
    assert (facts.device, facts.tenant, facts.site) == (made.device, "camden", "LC-1")
    assert (facts.label, facts.place_name) == ("North", "Holborn")
    assert (facts.longitude, facts.latitude) == (-0.1, 51.5)
    assert (facts.status, facts.enrolled_at) == ("invited", None)
    assert facts.token_expires_at == made.expires_at
    token = await redeem(conn, made)
    assert (token.device, token.tenant, token.used_kid) == (made.device, "camden", None)
    kept = await (
        await conn.execute("SELECT enrolment_token::text FROM enrolment_token")
    ).fetchone()
    assert kept is not None
    assert made.token not in kept[0]
    assert made.token not in repr(made)


async def test_inviting_again_is_harmless(conn: Connection) -> None:
    first = await invite(conn, "A", "B")
    again = await invite(conn, "B", "A", "C")
    assert [found.outcome for found in again] == ["already invited", "already invited", "invited"]
    assert [found.device for found in again[:2]] == [first[1].device, first[0].device]
    assert [found.token for found in again[:2]] == ["", ""]
    assert again[0].expires_at == first[1].expires_at
    assert await redeem(conn, first[0])
    entries = await audit.entries(conn, tenant="camden")
    assert sorted(entry.subject for entry in entries) == sorted(
        [first[0].device, first[1].device, again[2].device]
    )
    assert {(entry.action, entry.actor) for entry in entries} == {("gateway.invite", ACTOR)}


async def test_a_site_list_read_again_corrects_labels_and_places(conn: Connection) -> None:
    [first] = await invite(conn, "A")
    for told in (
        Site(site="A", label="North", longitude=-0.1, latitude=51.5),
        Site(site="A", place_name="Holborn"),
    ):
        [found] = await invitations.invite(conn, tenant="camden", sites=[told], actor=ACTOR)
        assert found.outcome == "already invited"
    [facts] = await gateway_facts(conn, device=first.device)
    assert (facts.label, facts.place_name) == ("North", "Holborn")
    assert (facts.longitude, facts.latitude) == (-0.1, 51.5)


async def test_an_expired_token_is_renewed_for_the_same_device(conn: Connection) -> None:
    [old] = await invitations.invite(
        conn, tenant="camden", sites=[Site(site="A")], actor=ACTOR, lifetime=timedelta(0)
    )
    [fresh] = await invite(conn, "A")
    assert (fresh.outcome, fresh.device) == ("renewed", old.device)
    assert fresh.token not in ("", old.token)
    assert await refusal(conn, old) == "withdrawn"
    assert (await redeem(conn, fresh)).device == old.device


async def test_renewing_withdraws_the_earlier_token_and_lets_an_enrolled_gateway_return(
    conn: Connection,
) -> None:
    [first] = await invite(conn, "A")
    [second] = await invitations.invite(
        conn, tenant="camden", sites=[Site(site="A")], actor=ACTOR, renew=True
    )
    assert await refusal(conn, first) == "withdrawn"
    await enrol(conn, second)
    [left_alone] = await invite(conn, "A")
    assert (left_alone.outcome, left_alone.token) == ("already enrolled", "")
    [third] = await invitations.invite(
        conn, tenant="camden", sites=[Site(site="A")], actor=ACTOR, renew=True
    )
    assert (third.outcome, third.device) == ("renewed", first.device)
    assert await refusal(conn, second) == "withdrawn"
    await enrol(conn, third)
    [facts] = await gateway_facts(conn)
    assert facts.status == "active"


async def test_a_revoked_gateway_leaves_its_site_to_another_device(conn: Connection) -> None:
    device = await enrolled(conn, "A")
    await registry.set_gateway_status(conn, device=device, status="revoked", actor=ACTOR)
    [fresh] = await invite(conn, "A")
    assert fresh.outcome == "invited"
    assert fresh.device != device
    assert [(found.device, found.status) for found in await gateway_facts(conn)] == [
        *sorted([(device, "revoked"), (fresh.device, "invited")])
    ]


async def test_a_new_device_takes_over_label_and_place_of_the_one_revoked_at_its_site_last(
    conn: Connection,
) -> None:
    first = Site(site="A", label="North", place_name="Holborn", longitude=-0.1, latitude=51.5)
    for told, facts_wanted in (
        (first, ("North", "Holborn", -0.1, 51.5)),
        (Site(site="A", label="North gate"), ("North gate", "Holborn", -0.1, 51.5)),
        (Site(site="A", longitude=-0.2, latitude=51.6), ("North gate", "Holborn", -0.2, 51.6)),
    ):
        [made] = await invitations.invite(conn, tenant="camden", sites=[told], actor=ACTOR)
        assert made.outcome == "invited"
        [found] = await gateway_facts(conn, device=made.device)
        assert (found.label, found.place_name, found.longitude, found.latitude) == facts_wanted
        await registry.set_gateway_status(conn, device=made.device, status="revoked", actor=ACTOR)
    [elsewhere] = await invite(conn, "B")
    [other_council] = await invite(conn, "A", tenant="leeds")
    for made in (elsewhere, other_council):
        [found] = await gateway_facts(conn, device=made.device)
        assert (found.label, found.place_name, found.longitude) == ("", "", None)


async def test_a_token_is_good_for_one_device_of_one_council_and_a_while(conn: Connection) -> None:
    [mine, other] = await invite(conn, "A", "B")
    assert await refusal(conn, mine, tenant="leeds") == "wrong-council"
    assert await refusal(conn, mine, device=other.device) == "wrong-device"
    assert await refusal(conn, mine, later=73 * HOUR) == "expired"
    assert (await redeem(conn, mine, later=71 * HOUR)).device == mine.device
    with pytest.raises(TokenRefusedError) as refused:
        await invitations.redeem(
            conn, tenant="camden", device=mine.device, token_sha256=bytes(32), now=now()
        )
    assert refused.value.reason == "unknown"


async def test_a_gateway_that_is_suspended_or_revoked_redeems_nothing(conn: Connection) -> None:
    device = await enrolled(conn, "A")
    [token] = await invitations.invite(
        conn, tenant="camden", sites=[Site(site="A")], actor=ACTOR, renew=True
    )
    await registry.set_gateway_status(conn, device=device, status="suspended", actor=ACTOR)
    assert await refusal(conn, token) == "suspended-gateway"
    await registry.set_gateway_status(conn, device=device, status="active", actor=ACTOR)
    assert await redeem(conn, token)
    await registry.set_gateway_status(conn, device=device, status="revoked", actor=ACTOR)
    assert await refusal(conn, token) == "revoked-gateway"


async def test_a_token_is_spent_on_one_key(conn: Connection) -> None:
    [invitation] = await invite(conn, "A")
    token = await redeem(conn, invitation)
    for _ in range(2):
        await invitations.spend(conn, token_id=token.token_id, kid=b"original", now=now())
    assert (await redeem(conn, invitation)).used_kid == b"original"
    for token_id, reason in ((token.token_id, "spent"), (token.token_id + 1, "unknown")):
        with pytest.raises(TokenRefusedError) as refused:
            await invitations.spend(conn, token_id=token_id, kid=b"another!", now=now())
        assert refused.value.reason == reason
    assert (await redeem(conn, invitation)).used_kid == b"original"


async def test_of_two_gateways_with_one_token_one_wins(conn: Connection, dsn: str) -> None:
    [invitation] = await invite(conn, "A")
    both_began = asyncio.Barrier(2)

    async def attempt(kid: bytes) -> bytes:
        async with await connect(dsn, autocommit=True, application_name="kerbstone test") as mine:
            await both_began.wait()
            async with mine.transaction():
                token = await redeem(mine, invitation)
                if token.used_kid not in (None, kid):
                    raise TokenRefusedError("spent")
                await somebody_waits_for(mine)
                await invitations.spend(mine, token_id=token.token_id, kid=kid, now=now())
        return kid

    outcomes = await asyncio.gather(
        attempt(b"gateway1"), attempt(b"gateway2"), return_exceptions=True
    )
    [winner] = [found for found in outcomes if isinstance(found, bytes)]
    [loser] = [found for found in outcomes if isinstance(found, TokenRefusedError)]
    assert loser.reason == "spent"
    assert (await redeem(conn, invitation)).used_kid == winner


async def test_of_a_redemption_and_a_revocation_the_first_is_done_first(
    conn: Connection, dsn: str
) -> None:
    [invitation] = await invite(conn, "A")

    async def revoke() -> None:
        async with await connect(dsn, autocommit=True, application_name="kerbstone test") as mine:
            await registry.set_gateway_status(
                mine, device=invitation.device, status="revoked", actor=ACTOR
            )

    async with conn.transaction():
        token = await redeem(conn, invitation)
        revoking = asyncio.create_task(revoke())
        await somebody_waits_for(conn)
        await invitations.spend(conn, token_id=token.token_id, kid=b"original", now=now())
    await revoking
    assert await refusal(conn, invitation) == "revoked-gateway"


async def test_two_uploads_of_one_list_at_once_invite_each_site_once(
    conn: Connection, dsn: str
) -> None:
    sites = [f"S{number}" for number in range(50)]

    async def upload() -> list[Invitation]:
        async with await connect(dsn, autocommit=True, application_name="kerbstone test") as mine:
            return await invite(mine, *sites)

    one, other = await asyncio.gather(upload(), upload())
    assert {found.outcome for found in one} ^ {found.outcome for found in other} == {
        "invited",
        "already invited",
    }
    assert [found.device for found in one] == [found.device for found in other]


async def test_a_thousand_sites_are_invited_at_once_and_again_harmlessly(
    conn: Connection,
) -> None:
    sites = [
        Site(site=f"S{n}", label=f"Site {n}", longitude=n / 1e4, latitude=51.0) for n in range(1000)
    ]
    begun = time.perf_counter()
    first = await invitations.invite(conn, tenant="camden", sites=sites, actor=ACTOR)
    again = await invitations.invite(conn, tenant="camden", sites=sites, actor=ACTOR)
    ended = time.perf_counter()
    assert {found.outcome for found in first} == {"invited"}
    assert {found.outcome for found in again} == {"already invited"}
    assert [found.device for found in first] == [found.device for found in again]
    assert len({found.token for found in first}) == 1000
    assert len(await gateway_facts(conn, tenant="camden")) == 1000
    assert ended - begun < 5


async def test_a_device_id_that_is_taken_is_drawn_again(conn: Connection) -> None:
    await registry.add_gateway(conn, tenant="leeds", device="0000000000")
    drawn = iter([bytes(10), bytes(range(10)), bytes(16)])
    [invitation] = await invitations.invite(
        conn,
        tenant="camden",
        sites=[Site(site="A")],
        actor=ACTOR,
        random=lambda count: next(drawn)[:count],
    )
    assert invitation.device == "0123456789"


async def test_what_cannot_be_invited_is_refused(conn: Connection) -> None:
    with pytest.raises(registry.UnknownCouncilError):
        await invite(conn, "A", tenant="atlantis")
    with pytest.raises(ValueError, match="named twice"):
        await invite(conn, "A", "A")
    assert await invite(conn) == []
    assert await gateway_facts(conn) == []


async def test_the_database_itself_allows_one_working_gateway_a_site(conn: Connection) -> None:
    await invite(conn, "A")
    await invite(conn, "A", tenant="leeds")
    with pytest.raises(UniqueViolation):
        await conn.execute(
            "INSERT INTO gateway (council_id, device, site)"
            " SELECT council_id, 'another', site FROM gateway LIMIT 1"
        )


async def test_inviting_wakes_those_who_follow_the_registry(conn: Connection, dsn: str) -> None:
    changes = registry.changes(dsn, application_name="kerbstone test")
    async with asyncio.timeout(10):
        assert await anext(changes) == ""
        await invite(conn, "A", "B")
        assert await anext(changes) == ""
    await changes.aclose()
