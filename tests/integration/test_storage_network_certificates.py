"""Certificates, what becomes of a gateway's status, and revocation lists, on both editions."""

from datetime import timedelta

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage import audit, certificates, invitations, registry
from storage.certificates import SupersededError, SuspendedError
from storage.database import Connection
from storage.invitations import Invitation
from storage.network_view import gateway_facts
from storage.site_list import Site
from storage.status_board import gateway_states
from tests.integration.enrolled import (
    ACTOR,
    DAY,
    add_councils,
    certificate,
    enrol,
    enrolled,
    invite,
    kid_of,
    now,
)


@pytest.fixture
async def conn(connection: Connection) -> Connection:
    await add_councils(connection)
    return connection


async def status_of(conn: Connection, device: str) -> str:
    [facts] = await gateway_facts(conn, device=device)
    return facts.status


async def become(
    conn: Connection, device: str, status: registry.Status, reason: str = "", actor: str = ACTOR
) -> None:
    await registry.set_gateway_status(
        conn, device=device, status=status, actor=actor, reason=reason
    )


async def test_a_certificate_makes_an_invited_gateway_active_and_lets_its_key_sign(
    conn: Connection, dsn: str
) -> None:
    [invitation] = await invite(conn, "A")
    changes = registry.changes(dsn, application_name="kerbstone test")
    assert await anext(changes) == ""
    kid = await enrol(conn, invitation)
    assert await anext(changes) == invitation.device
    await changes.aclose()
    [row] = await registry.gateways(conn, invitation.device)
    assert row.status == "active"
    assert [key.kid for key in row.keys] == [kid]
    kept = await certificates.certificate_of(conn, device=invitation.device, kid=kid)
    assert kept is not None
    assert kid_of(kept) == kid
    assert row.keys[0].valid_until == int(kept.not_valid_after_utc.timestamp())
    [facts] = await gateway_facts(conn)
    assert facts.certificate_until == kept.not_valid_after_utc
    assert facts.token_expires_at is None
    assert facts.enrolled_at is not None
    [entry, _] = await audit.entries(conn, subject=invitation.device)
    assert (entry.action, entry.actor) == ("gateway.enrol", f"gateway {invitation.device}")
    assert "again" not in entry.detail
    assert entry.detail["kid"] == kid.hex()


async def test_a_renewal_adds_a_key_and_keeps_the_day_of_enrolment(conn: Connection) -> None:
    device = await enrolled(conn, "A")
    [before] = await gateway_facts(conn)
    renewed = certificate(device, days=9)
    await certificates.add_certificate(
        conn, device=device, certificate=renewed, issued_by="simplereenroll"
    )
    [after] = await gateway_facts(conn)
    assert after.certificate_until == renewed.not_valid_after_utc
    assert (after.enrolled_at, after.status_at) == (before.enrolled_at, before.status_at)
    [row] = await registry.gateways(conn, device)
    assert len(row.keys) == 2
    assert (await audit.entries(conn))[0].action == "gateway.renew"


async def invited_again(conn: Connection, site: str) -> Invitation:
    """Return the invitation of a site whose gateway has lost its keys, or let them be seen."""
    [invitation] = await invitations.invite(
        conn, tenant="camden", sites=[Site(site=site)], actor=ACTOR, renew=True
    )
    return invitation


async def test_a_gateway_that_enrols_anew_leaves_everything_behind(conn: Connection) -> None:
    device = await enrolled(conn, "A")
    neighbour = await enrolled(conn, "B")
    [row] = await registry.gateways(conn, device)
    renewed = certificate(device, days=9)
    await certificates.add_certificate(
        conn, device=device, certificate=renewed, issued_by="simplereenroll"
    )
    held = {row.keys[0].kid, kid_of(renewed)}
    expired = certificate(device, begins=-8)
    await certificates.add_certificate(conn, device=device, certificate=expired, issued_by="local")

    fresh = await enrol(conn, await invited_again(conn, "A"))

    [row] = await registry.gateways(conn, device)
    assert {key.kid for key in row.keys if key.superseded} == held | {kid_of(expired)}
    assert {key.kid for key in row.keys if not key.superseded} == {fresh}
    for kid in held:
        assert await certificates.certificate_of(conn, device=device, kid=kid) is None
    kept = await certificates.certificate_of(conn, device=device, kid=fresh)
    assert kept is not None
    [facts] = await gateway_facts(conn, device=device)
    assert facts.certificate_until == kept.not_valid_after_utc < renewed.not_valid_after_utc
    [entry, *_] = await audit.entries(conn, subject=device)
    assert entry.action == "gateway.enrol"
    assert entry.detail["again"]
    assert set(entry.detail["superseded"].split(", ")) == {kid.hex() for kid in held}
    [row] = await registry.gateways(conn, neighbour)
    assert not row.keys[0].superseded


async def test_what_a_gateway_left_behind_is_revoked_for_good(conn: Connection) -> None:
    device = await enrolled(conn, "A")
    [row] = await registry.gateways(conn, device)
    old = await certificates.certificate_of(conn, device=device, kid=row.keys[0].kid)
    assert old is not None
    expired = certificate(device, begins=-8)
    await certificates.add_certificate(conn, device=device, certificate=expired, issued_by="local")
    assert await certificates.revoked_certificates(conn, tenant="camden", now=now()) == []

    fresh = await enrol(conn, await invited_again(conn, "A"))

    [left] = await certificates.revoked_certificates(conn, tenant="camden", now=now())
    assert (left.serial, left.hold, left.superseded) == (old.serial_number, False, True)
    assert abs(left.since - now()) < timedelta(minutes=1)
    await become(conn, device, "suspended")
    listed = await certificates.revoked_certificates(conn, tenant="camden", now=now())
    held = await certificates.certificate_of(conn, device=device, kid=fresh)
    assert held is not None
    assert {(each.serial, each.hold, each.superseded) for each in listed} == {
        (old.serial_number, False, True),
        (held.serial_number, True, False),
    }
    await become(conn, device, "active")
    assert await certificates.revoked_certificates(conn, tenant="camden", now=now()) == [left]


async def test_a_key_left_behind_is_never_taken_again(conn: Connection) -> None:
    device = await enrolled(conn, "A")
    key = Ed25519PrivateKey.generate()
    before = certificate(device, key=key)
    await certificates.add_certificate(conn, device=device, certificate=before, issued_by="local")
    await enrol(conn, await invited_again(conn, "A"))
    for issued_by in ("simpleenroll", "simplereenroll", "local"):
        for again in (before, certificate(device, key=key, days=8)):
            with pytest.raises(registry.TakenError):
                await certificates.add_certificate(
                    conn, device=device, certificate=again, issued_by=issued_by
                )
    [row] = await registry.gateways(conn, device)
    assert [key.superseded for key in row.keys].count(False) == 1


async def test_the_same_answer_once_more_ends_nothing(conn: Connection) -> None:
    [invitation] = await invite(conn, "A")
    device = invitation.device
    kid = await enrol(conn, invitation)
    first = await certificates.certificate_of(conn, device=device, kid=kid)
    assert first is not None
    second = certificate(device)  # of the key in hardware, certified beside TLS's
    await certificates.add_certificate(
        conn, device=device, certificate=second, issued_by="simplereenroll"
    )
    await certificates.add_certificate(
        conn, device=device, certificate=first, issued_by="simpleenroll"
    )
    [row] = await registry.gateways(conn, device)
    assert {key.kid for key in row.keys if not key.superseded} == {kid, kid_of(second)}
    acts = await audit.entries(conn, subject=device)
    assert [act.detail.get("superseded") for act in acts] == [None] * 3


async def test_keys_that_ended_long_ago_are_told_of_no_more_and_never_reused(
    conn: Connection,
) -> None:
    device = await enrolled(conn, "A")
    ago = registry.KEYS_REMEMBERED / DAY + 7
    recent, gone = (certificate(device, begins=-ago + days) for days in (0.01, -0.01))
    for issued in (recent, gone):
        await certificates.add_certificate(
            conn, device=device, certificate=issued, issued_by="simplereenroll"
        )
    for asked in (device, None):
        [row] = await registry.gateways(conn, asked)
        kids = {key.kid for key in row.keys}
        assert len(kids) == 2
        assert kid_of(recent) in kids
    other = await enrolled(conn, "B")
    with pytest.raises(registry.TakenError):
        await certificates.add_certificate(
            conn, device=other, certificate=gone, issued_by="simpleenroll"
        )
    await conn.execute("UPDATE signing_key SET valid_until = now() - INTERVAL '1 year'")
    assert [row.keys for row in await registry.gateways(conn)] == [(), ()]


async def test_a_key_belongs_to_one_gateway_and_one_certificate(conn: Connection) -> None:
    device = await enrolled(conn, "A")
    other = await enrolled(conn, "B", tenant="leeds")
    issued = certificate(device)
    for _ in range(2):  # the very same certificate again changes nothing
        await certificates.add_certificate(
            conn, device=device, certificate=issued, issued_by="simplereenroll"
        )
    [row] = await registry.gateways(conn, device)
    assert len(row.keys) == 2
    with pytest.raises(registry.TakenError):
        await certificates.add_certificate(
            conn, device=other, certificate=issued, issued_by="simpleenroll"
        )
    assert await certificates.certificate_of(conn, device=other, kid=kid_of(issued)) is None


async def test_a_key_is_not_certified_twice_for_its_own_gateway(conn: Connection) -> None:
    device = await enrolled(conn, "A")
    [row] = await registry.gateways(conn, device)
    first = await certificates.certificate_of(conn, device=device, kid=row.keys[0].kid)
    assert first is not None
    again = certificate(device)
    await certificates.add_certificate(
        conn, device=device, certificate=again, issued_by="simplereenroll"
    )
    await conn.execute("DELETE FROM gateway_certificate WHERE kid = %s", (kid_of(again),))
    with pytest.raises(registry.TakenError):
        await certificates.add_certificate(
            conn, device=device, certificate=again, issued_by="simplereenroll"
        )
    await certificates.add_certificate(conn, device=device, certificate=again, issued_by="local")


async def test_no_certificate_for_who_is_suspended_revoked_or_unknown(conn: Connection) -> None:
    device = await enrolled(conn, "A")
    for status, error in (
        ("suspended", SuspendedError),
        ("revoked", registry.RevokedForGoodError),
    ):
        await become(conn, device, status)  # type: ignore[arg-type]
        with pytest.raises(error):
            await certificates.add_certificate(
                conn, device=device, certificate=certificate(device), issued_by="simplereenroll"
            )
    assert await status_of(conn, device) == "revoked"
    with pytest.raises(registry.UnknownGatewayError):
        await certificates.add_certificate(
            conn, device="nobody", certificate=certificate("nobody"), issued_by="local"
        )


async def test_a_gateway_is_suspended_resumed_and_revoked_for_good(conn: Connection) -> None:
    device = await enrolled(conn, "A")
    await become(conn, device, "suspended", "found open")
    [facts] = await gateway_facts(conn)
    assert (facts.status, facts.status_reason) == ("suspended", "found open")
    await become(conn, device, "active", "closed again")
    await become(conn, device, "active", "told twice")
    await become(conn, device, "revoked", "stolen", "staff 3 (Ben, camden)")
    await become(conn, device, "revoked", "told twice")
    for status in ("active", "suspended"):
        with pytest.raises(registry.RevokedForGoodError):
            await become(conn, device, status)
    acts = await audit.entries(conn, tenant="camden", subject=device)
    assert [(act.action, act.actor, act.detail.get("reason")) for act in acts[:3]] == [
        ("gateway.revoke", "staff 3 (Ben, camden)", "stolen"),
        ("gateway.resume", ACTOR, "closed again"),
        ("gateway.suspend", ACTOR, "found open"),
    ]
    assert len(acts) == 5  # and before: invited, enrolled


async def test_an_invited_gateway_can_only_be_revoked(conn: Connection) -> None:
    [invitation] = await invite(conn, "A")
    for status in ("active", "suspended"):
        with pytest.raises(registry.NotEnrolledError):
            await become(conn, invitation.device, status)
    await become(conn, invitation.device, "revoked")
    [facts] = await gateway_facts(conn)
    assert (facts.status, facts.token_expires_at) == ("revoked", None)


async def test_a_revocation_list_names_unexpired_certificates_on_hold_or_revoked(
    conn: Connection,
) -> None:
    devices = [await enrolled(conn, site) for site in ("A", "B", "C")]
    elsewhere = await enrolled(conn, "A", tenant="leeds")
    expired = certificate(devices[1], begins=-8)
    await certificates.add_certificate(
        conn, device=devices[1], certificate=expired, issued_by="local"
    )
    await become(conn, devices[0], "suspended")
    await become(conn, devices[1], "revoked")
    await become(conn, elsewhere, "revoked")
    held, revoked = await certificates.revoked_certificates(conn, tenant="camden", now=now())
    assert (held.hold, revoked.hold) == (True, False)
    [facts] = await gateway_facts(conn, device=devices[0])
    assert held.since == facts.status_at
    [row] = await registry.gateways(conn, devices[1])
    found = {key.kid: key for key in row.keys}
    kept = await certificates.certificate_of(
        conn, device=devices[1], kid=next(kid for kid in found if kid != kid_of(expired))
    )
    assert kept is not None
    assert revoked.serial == kept.serial_number
    assert await certificates.revoked_certificates(conn, tenant="camden", now=now() + 8 * DAY) == []
    await become(conn, devices[0], "active")
    [left] = await certificates.revoked_certificates(conn, tenant="camden", now=now())
    assert left == revoked


async def test_the_largest_serial_number_is_kept(conn: Connection) -> None:
    device = await enrolled(conn, "A")
    largest = (1 << 159) - 1
    await conn.execute("UPDATE gateway_certificate SET serial = %s", (largest,))
    await become(conn, device, "revoked")
    [revoked] = await certificates.revoked_certificates(conn, tenant="camden", now=now())
    assert revoked.serial == largest


async def test_only_a_newer_revocation_list_takes_the_place_of_the_last(conn: Connection) -> None:
    begun = now()
    times = {"this_update": begun, "next_update": begun + timedelta(days=7)}
    put = certificates.put_revocation_list
    await put(conn, tenant="camden", number=1, message=b"one", **times)
    await put(conn, tenant="leeds", number=9, message=b"nine", **times)
    await put(conn, tenant="camden", number=3, message=b"three", **times)
    for number in (2, 3):
        with pytest.raises(SupersededError):
            await put(conn, tenant="camden", number=number, message=b"late", **times)
    with pytest.raises(registry.UnknownCouncilError):
        await put(conn, tenant="atlantis", number=1, message=b"", **times)
    lists = await certificates.revocation_lists(conn)
    assert {tenant: (found.number, found.message) for tenant, found in lists.items()} == {
        "camden": (3, b"three"),
        "leeds": (9, b"nine"),
    }
    assert lists["camden"].next_update == begun + timedelta(days=7)


async def test_who_never_enrolled_is_not_among_those_that_should_be_heard(
    conn: Connection,
) -> None:
    device = await enrolled(conn, "A")
    await invite(conn, "B")
    assert [state.device for state in await gateway_states(conn)] == [device]
    await become(conn, device, "revoked")
    assert [(state.device, state.status) for state in await gateway_states(conn)] == [
        (device, "revoked")
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET actor = 'somebody else'",
        "DELETE FROM audit_entry",
        "TRUNCATE audit_entry",
        "UPDATE audit_entry SET actor = 'nobody' WHERE false",
    ],
)
async def test_what_was_done_stays_written(conn: Connection, statement: str) -> None:
    await invite(conn, "A")
    before = await audit.entries(conn)
    with pytest.raises(psycopg.errors.RaiseException, match="audit_entry is append-only"):
        await conn.execute(statement)
    assert await audit.entries(conn) == before != []


async def test_an_act_that_is_undone_leaves_no_entry(conn: Connection) -> None:
    async with conn.transaction(force_rollback=True):
        await invite(conn, "A")
        assert len(await audit.entries(conn)) == 1
    assert await audit.entries(conn) == []


async def test_entries_are_found_by_council_and_subject_newest_first(conn: Connection) -> None:
    for number, (tenant, subject) in enumerate(
        [("camden", "a"), ("leeds", "b"), ("", "region"), ("camden", "b")]
    ):
        await audit.record(
            conn,
            actor=ACTOR,
            tenant=tenant,
            action="test.act",
            subject=subject,
            detail={"n": number},
        )

    async def found(
        tenant: str | None = None, subject: str | None = None, limit: int = 100
    ) -> list[int]:
        acts = await audit.entries(conn, tenant=tenant, subject=subject, limit=limit)
        return [act.detail["n"] for act in acts]

    assert await found() == [3, 2, 1, 0]
    assert await found(tenant="camden") == [3, 0]
    assert await found(tenant="") == [2]
    assert await found(subject="b") == [3, 1]
    assert await found(tenant="leeds", subject="b") == [1]
    assert await found(limit=2) == [3, 2]
