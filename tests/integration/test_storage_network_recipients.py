"""Recipients and the change from one key to the next, settings asked for, what people see."""

import secrets
from datetime import timedelta

import pytest
from psycopg.errors import CheckViolation

from device_protocol.description import Datastream
from device_protocol.keys import thumbprint
from storage import audit, batches, configurations, recipients, registry
from storage.configurations import UnknownConfigurationError
from storage.database import Connection
from storage.descriptions import Describer, store_description
from storage.epochs import NewEpoch, insert_epochs
from storage.network_view import gateway_facts
from storage.recipients import LastRecipientError, RetiredError, UnknownRecipientError, stragglers
from tests.integration.enrolled import ACTOR, DAY, add_councils, enrolled, invite, now
from tests.simulators.gateway import datastream, description, new_recipient_key

HOUR = timedelta(hours=1)


@pytest.fixture
async def conn(connection: Connection) -> Connection:
    await add_councils(connection)
    return connection


async def add(
    conn: Connection,
    cose_key: bytes,
    *,
    group: str = "main",
    role: str = "region",
    tenant: str = "camden",
    days: float = 30,
) -> bytes:
    return await recipients.add_recipient(
        conn,
        tenant=tenant,
        group=group,
        role=role,
        cose_key=cose_key,
        valid_from=now(),
        valid_until=now() + days * DAY,
        actor=ACTOR,
    )


async def retire(conn: Connection, kid: bytes, *, group: str = "main") -> None:
    await recipients.retire_recipient(
        conn, tenant="camden", group=group, kid=kid, actor=ACTOR, now=now()
    )


async def announce(
    conn: Connection,
    device: str,
    version: int | None,
    *,
    counter: int,
    group: str = "main",
    ago: timedelta = timedelta(0),
    heard: timedelta = timedelta(0),
) -> None:
    """Store an epoch announced that long ago, of a gateway heard that long ago."""
    [row] = await registry.gateways(conn, device)
    received_at = int((now() - ago).timestamp())
    epoch = NewEpoch(
        epoch_id=secrets.token_bytes(8),
        gateway_id=row.id,
        group=group,
        counter=counter,
        announcement_sha256=bytes(32),
        content_algorithm=24,
        sealed_key=b"sealed",
        received_at=received_at,
        closes_at=received_at + 604_800,
        key_set_version=version,
        previous=None,
    )
    assert await insert_epochs(conn, [epoch]) == frozenset()
    await batches.update_seen(conn, {row.id: int((now() - heard).timestamp())})


async def test_recipients_are_added_prolonged_and_retired_but_the_last(conn: Connection) -> None:
    old, new = new_recipient_key().cose_key, new_recipient_key().cose_key
    first = await add(conn, old)
    assert first == thumbprint(old)
    assert await add(conn, old, days=60) == first
    [row] = await recipients.recipients(conn, "camden")
    assert (row.group, row.role, row.cose_key, row.retired_at) == ("main", "region", old, None)
    assert row.valid_until - row.valid_from > 59 * DAY
    with pytest.raises(LastRecipientError):
        await retire(conn, first)
    second = await add(conn, new)
    for _ in range(2):
        await retire(conn, first)
    with pytest.raises(RetiredError):
        await add(conn, old)
    with pytest.raises(LastRecipientError):
        await retire(conn, second)
    kept = {row.kid: row.retired_at for row in await recipients.recipients(conn)}
    assert kept[second] is None
    assert kept[first] is not None
    acts = [(act.action, act.subject) for act in await audit.entries(conn, tenant="camden")]
    assert acts == [
        ("recipient.retire", first.hex()),
        ("recipient.add", second.hex()),
        ("recipient.add", first.hex()),
        ("recipient.add", first.hex()),
    ]


async def test_a_key_may_be_in_several_groups_and_councils(conn: Connection) -> None:
    key = new_recipient_key().cose_key
    kid = await add(conn, key)
    await add(conn, key, group="council", role="council")
    await add(conn, key, tenant="leeds")
    await retire(conn, kid, group="council")
    assert [
        (row.tenant, row.group, row.retired_at is None) for row in await recipients.recipients(conn)
    ] == [("camden", "council", False), ("camden", "main", True), ("leeds", "main", True)]


async def test_what_cannot_be_a_recipient_is_refused(conn: Connection) -> None:
    key = new_recipient_key().cose_key
    with pytest.raises(registry.UnknownCouncilError):
        await add(conn, key, tenant="atlantis")
    with pytest.raises(CheckViolation):
        await add(conn, key, role="stranger")
    with pytest.raises(UnknownRecipientError):
        await retire(conn, thumbprint(key))
    assert await recipients.recipients(conn) == []


async def test_suites_are_the_councils_choice(conn: Connection) -> None:
    camden, leeds = await registry.councils(conn)
    assert (camden.tenant, camden.suites) == ("camden", (1, 2))
    await recipients.set_suites(conn, tenant="camden", suites=[3, 1, 3], actor=ACTOR)
    assert [row.suites for row in await registry.councils(conn)] == [(1, 3), leeds.suites]
    for wrong in ([], [1, 9]):
        with pytest.raises(ValueError, match="known"):
            await recipients.set_suites(conn, tenant="camden", suites=wrong, actor=ACTOR)
    [act] = await audit.entries(conn)
    assert (act.action, act.detail) == ("council.suites", {"suites": [1, 3]})


async def test_stragglers_are_those_heard_lately_that_still_seal_for_an_older_set(
    conn: Connection,
) -> None:
    fresh, late, mute, unversioned, held = [
        await enrolled(conn, site) for site in ("fresh", "late", "mute", "unversioned", "held")
    ]
    silent = await enrolled(conn, "silent")
    elsewhere = await enrolled(conn, "elsewhere", tenant="leeds")
    await announce(conn, fresh, 6, counter=1, ago=2 * HOUR)
    await announce(conn, fresh, 7, counter=2, ago=HOUR)
    await announce(conn, late, 7, counter=1, ago=2 * HOUR)
    await announce(conn, late, 6, counter=2, ago=HOUR)
    await announce(conn, mute, 6, counter=1, ago=25 * HOUR, heard=25 * HOUR)
    await announce(conn, unversioned, None, counter=1)
    await announce(conn, held, 6, counter=1)
    await announce(conn, elsewhere, 6, counter=1)
    await registry.set_gateway_status(conn, device=held, status="suspended", actor=ACTOR)
    assert await stragglers(conn, tenant="camden", version=7) == sorted([late, unversioned])
    assert await stragglers(conn, tenant="camden", version=6) == [unversioned]
    assert await stragglers(conn, tenant="leeds", version=7) == [elsewhere]
    assert silent not in await stragglers(conn, tenant="camden", version=7)


async def test_a_gateway_is_a_straggler_in_every_group_that_it_still_uses(
    conn: Connection,
) -> None:
    device = await enrolled(conn, "A")
    await announce(conn, device, 3, counter=1, group="left", ago=30 * HOUR)
    await announce(conn, device, 6, counter=1, group="council", ago=2 * HOUR)
    await announce(conn, device, 7, counter=1, group="main", ago=HOUR)
    assert await stragglers(conn, tenant="camden", version=7) == [device]
    await announce(conn, device, 7, counter=2, group="council", ago=timedelta(minutes=5))
    assert await stragglers(conn, tenant="camden", version=7) == []


async def report(conn: Connection, device: str, **results: float) -> None:
    """Let a gateway report these of its health, as described by itself."""
    [row] = await registry.gateways(conn, device)
    urn = f"urn:dev:{device}:health"
    health = description(*map(_counting, results), thing=urn, sensor=urn)
    describer = Describer(
        gateway_id=row.id, council_id=row.council_id, described_at=int(now().timestamp())
    )
    assert not (await store_description(conn, describer, health, b"")).conflicts
    for name, result in results.items():
        await conn.execute(
            "INSERT INTO latest (datastream_id, time, value)"
            " SELECT id, now(), %s FROM datastream"
            "  WHERE short_name = %s AND sensor_id = (SELECT id FROM sensor WHERE urn = %s)"
            " ON CONFLICT (datastream_id) DO UPDATE SET value = excluded.value",
            (result, name, urn),
        )


def _counting(name: str) -> Datastream:
    return datastream(name, "spool_readings", "count")


async def ask(conn: Connection, device: str, lifetime: timedelta = DAY, **settings: object) -> int:
    return await configurations.request_configuration(
        conn, device=device, settings=settings, actor=ACTOR, lifetime=lifetime
    )


async def sign(conn: Connection, device: str, version: int) -> None:
    await configurations.put_signed(
        conn, device=device, version=version, message=b"C%d" % version, signed_at=now()
    )


async def states(conn: Connection, device: str) -> list[tuple[int, str]]:
    return [
        (found.version, found.state)
        for found in await configurations.configuration_states(conn, device)
    ]


async def test_settings_are_asked_for_signed_and_published(conn: Connection, dsn: str) -> None:
    device = await enrolled(conn, "A")
    other = await enrolled(conn, "B", tenant="leeds")
    assert await configurations.newest_configurations(conn) == {}
    first = await ask(conn, device, interval=60)
    second = await ask(conn, device, interval=30, groups=["main"])
    assert second > first
    await ask(conn, other)
    [mine] = [found for found in await configurations.unsigned(conn) if found.device == device]
    assert (mine.tenant, mine.version) == ("camden", second)
    assert mine.settings == {"interval": 30, "groups": ["main"]}
    assert mine.expires_at - mine.requested_at == DAY
    changes = registry.changes(dsn, application_name="kerbstone test")
    assert await anext(changes) == ""
    await sign(conn, device, second)
    assert await anext(changes) == device
    await changes.aclose()
    assert await configurations.newest_configurations(conn) == {("camden", device): b"C%d" % second}
    assert [found.device for found in await configurations.unsigned(conn)] == [other]
    third = await ask(conn, device)
    kept = {("camden", device): b"C%d" % second}
    assert await configurations.newest_configurations(conn) == kept
    await sign(conn, device, third)
    taken = {("camden", device): b"C%d" % third}
    assert await configurations.newest_configurations(conn) == taken
    acts = await audit.entries(conn, subject=device)
    [act] = [act for act in acts if act.detail.get("version") == second]
    assert (act.action, act.actor) == ("gateway.configure", ACTOR)
    assert act.detail["settings"] == {"interval": 30, "groups": ["main"]}


async def test_the_state_of_settings_follows_what_the_gateway_reports(conn: Connection) -> None:
    device = await enrolled(conn, "A")
    one = await ask(conn, device)
    assert await states(conn, device) == [(one, "requested")]
    await sign(conn, device, one)
    assert await states(conn, device) == [(one, "signed")]
    await report(conn, device, configuration_version=0, configuration_refused=0)
    assert await states(conn, device) == [(one, "signed")]
    await report(conn, device, configuration_version=one)
    assert await states(conn, device) == [(one, "in force")]
    two = await ask(conn, device)
    assert await states(conn, device) == [(two, "requested"), (one, "in force")]
    await sign(conn, device, two)
    await report(conn, device, configuration_refused=two)
    assert await states(conn, device) == [(two, "refused"), (one, "in force")]
    three = await ask(conn, device)
    await sign(conn, device, three)
    await report(conn, device, configuration_version=three)
    assert await states(conn, device) == [
        (three, "in force"),
        (two, "refused"),
        (one, "superseded"),
    ]
    [facts] = await gateway_facts(conn)
    assert facts.configuration_wanted == three
    assert (facts.configuration_in_force, facts.configuration_refused) == (three, two)


async def test_versions_rise_though_the_database_forgot_the_newest(conn: Connection) -> None:
    device = await enrolled(conn, "A")
    began = now()
    seen = await ask(conn, device)
    seen_key_set = await registry.next_key_set_version(conn, "camden")
    await conn.execute("DELETE FROM gateway_configuration")  # an older backup comes back
    assert await ask(conn, device) >= seen >= int(began.timestamp())
    assert await registry.next_key_set_version(conn, "camden") >= seen_key_set
    assert seen_key_set >= int(began.timestamp())
    far = 1 << 52  # a clock was once ahead
    await conn.execute("UPDATE gateway_configuration SET version = %s", (far,))
    assert await ask(conn, device) == far + 1


async def test_expired_settings_are_neither_signed_nor_published(conn: Connection) -> None:
    device = await enrolled(conn, "A")
    one = await ask(conn, device)
    await sign(conn, device, one)
    two = await ask(conn, device, lifetime=timedelta(0))
    assert await configurations.unsigned(conn) == []
    assert await states(conn, device) == [(two, "expired"), (one, "superseded")]
    await conn.execute(
        "UPDATE gateway_configuration SET expires_at = now() WHERE version = %s", (one,)
    )
    assert await configurations.newest_configurations(conn) == {}


async def test_nothing_is_asked_of_who_is_revoked_or_unknown(conn: Connection) -> None:
    device = await enrolled(conn, "A")
    await sign(conn, device, await ask(conn, device))
    await ask(conn, device)
    await registry.set_gateway_status(conn, device=device, status="revoked", actor=ACTOR)
    assert await configurations.unsigned(conn) == []
    assert await configurations.newest_configurations(conn) == {}
    with pytest.raises(registry.RevokedForGoodError):
        await ask(conn, device)
    with pytest.raises(registry.UnknownGatewayError):
        await ask(conn, "nobody")
    with pytest.raises(UnknownConfigurationError):
        await sign(conn, device, 9)


async def test_people_see_every_gateway_of_a_council_in_the_order_of_its_sites(
    conn: Connection,
) -> None:
    await registry.add_gateway(conn, tenant="camden", device="without-site")
    second = await enrolled(conn, "B")
    [first] = await invite(conn, "A")
    elsewhere = await enrolled(conn, "A", tenant="leeds")
    await announce(conn, second, 5, counter=1, ago=2 * HOUR)
    await announce(conn, second, 6, counter=2, ago=HOUR)
    found = await gateway_facts(conn)
    assert [facts.device for facts in found] == [first.device, second, "without-site", elsewhere]
    assert [facts.key_set_version for facts in found] == [None, 6, None, None]
    assert found[1].last_message_at is not None
    assert found[1].first_reading_at is None
    assert found[1].configuration_wanted is None
    assert [facts.device for facts in await gateway_facts(conn, tenant="leeds")] == [elsewhere]
    assert [facts.device for facts in await gateway_facts(conn, device=second)] == [second]
