"""Credentials that ended long ago are removed, and what was done by them is not; both editions."""

import secrets
from datetime import timedelta

import pytest

from device_protocol.first_boot import token_sha256
from storage import audit, certificates, invitations, staff
from storage.database import Connection
from storage.invitations import Invitation, TokenRefusedError
from storage.retention import forget_certificates, forget_credentials
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

KEPT = 90 * DAY


@pytest.fixture
async def conn(connection: Connection) -> Connection:
    await add_councils(connection)
    return connection


async def age(conn: Connection, invitation: Invitation, days: float) -> None:
    """Let a token have ended so long ago."""
    await conn.execute(
        "UPDATE enrolment_token SET expires_at = %s WHERE token_sha256 = %s",
        (now() - days * DAY, token_sha256(invitation.token)),
    )


async def refusal(conn: Connection, invitation: Invitation) -> str:
    with pytest.raises(TokenRefusedError) as refused:
        await invitations.redeem(
            conn,
            tenant="camden",
            device=invitation.device,
            token_sha256=token_sha256(invitation.token),
            now=now(),
        )
    return refused.value.reason


async def test_tokens_are_forgotten_ninety_days_after_their_end(conn: Connection) -> None:
    spent, unused, recent, spent_recently, still_good = await invite(conn, "A", "B", "C", "D", "E")
    for each in (spent, spent_recently):
        await enrol(conn, each)
    for each, days in ((spent, 90.1), (unused, 90.1), (recent, 89.9), (spent_recently, 89.9)):
        await age(conn, each, days)
    acts = await audit.entries(conn)

    assert await forget_credentials(conn, now() - KEPT) == 2

    for each, reason in (
        (spent, "unknown"),
        (unused, "unknown"),
        (recent, "expired"),
        (spent_recently, "expired"),
    ):
        assert await refusal(conn, each) == reason
    await enrol(conn, still_good)
    assert [act.id for act in await audit.entries(conn)][1:] == [act.id for act in acts]
    assert await forget_credentials(conn, now() - KEPT) == 0
    [again] = await invite(conn, "B")  # never enrolled, and its token is gone: it gets another
    assert (again.outcome, again.device) == ("renewed", unused.device)


async def test_sessions_are_forgotten_ninety_days_after_their_end(conn: Connection) -> None:
    secret = secrets.token_bytes(32)
    await staff.add_pass(
        conn,
        tenant="camden",
        name="Ben",
        role="deployer",
        pass_sha256=secret,
        expires_at=now() + 300 * DAY,
        actor=ACTOR,
    )
    kept = []
    for opened, lifetime, ended, stays in (
        (91, timedelta(hours=8), None, False),  # expired
        (91, 200 * DAY, 90.5, False),  # ended before it would have
        (100, 20 * DAY, None, True),  # expired since
        (100, 200 * DAY, 89.5, True),  # ended since
        (100, 200 * DAY, None, True),  # in use
    ):
        session = secrets.token_bytes(32)
        await staff.open_session(
            conn,
            pass_sha256=secret,
            session_sha256=session,
            now=now() - opened * DAY,
            lifetime=lifetime,
        )
        if ended is not None:
            await staff.end_session(conn, session, now() - ended * DAY)
        kept += [session] if stays else []
    acts = await audit.entries(conn)

    assert await forget_credentials(conn, now() - KEPT) == 2

    cursor = await conn.execute("SELECT session_sha256 FROM staff_session")
    assert {session for (session,) in await cursor.fetchall()} == set(kept)
    assert await staff.staff_of(conn, kept[-1], now()) is not None
    assert await audit.entries(conn) == acts
    assert len(acts) == 6


async def test_of_certificates_ended_a_year_ago_all_but_themselves_is_kept(
    conn: Connection,
) -> None:
    device = await enrolled(conn, "A")
    long_ago, recent = (certificate(device, begins=-days - 7) for days in (365.1, 364.9))
    for each in (long_ago, recent):
        await certificates.add_certificate(conn, device=device, certificate=each, issued_by="local")

    assert await forget_certificates(conn, now() - 365 * DAY) == 1
    assert await forget_certificates(conn, now() - 365 * DAY) == 0

    cursor = await conn.execute("SELECT serial, kid FROM gateway_certificate")
    kept = {(int(serial), bytes(kid)) for serial, kid in await cursor.fetchall()}
    assert {(each.serial_number, kid_of(each)) for each in (long_ago, recent)} < kept
    for each, found in ((long_ago, None), (recent, recent)):
        assert await certificates.certificate_of(conn, device=device, kid=kid_of(each)) == found
