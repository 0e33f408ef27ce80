"""Which gateway may take over what another described, on both editions."""

import secrets

import pytest

from device_protocol.description import GatewayDescription
from storage import registry
from storage.database import Connection
from storage.descriptions import Describer, store_description
from tests.integration.enrolled import ACTOR, add_councils, enrolled, now
from tests.simulators.gateway import description


@pytest.fixture
async def conn(connection: Connection) -> Connection:
    await add_councils(connection)
    return connection


async def describe(
    conn: Connection, device: str, said: GatewayDescription
) -> list[tuple[str, str]]:
    """Store what a gateway describes; return the conflicts."""
    [row] = await registry.gateways(conn, device)
    describer = Describer(
        gateway_id=row.id, council_id=row.council_id, described_at=int(now().timestamp())
    )
    return (await store_description(conn, describer, said, secrets.token_bytes(32))).conflicts


async def owners(conn: Connection) -> set[tuple[str, str]]:
    """Return who owns each Thing and Sensor."""
    cursor = await conn.execute(
        "SELECT urn, device FROM thing JOIN gateway ON gateway.id = gateway_id"
        " UNION SELECT urn, device FROM sensor JOIN gateway ON gateway.id = gateway_id"
    )
    return set(await cursor.fetchall())


async def test_the_gateway_after_a_revoked_one_takes_over_what_is_at_its_site(
    conn: Connection,
) -> None:
    gone = await enrolled(conn, "A")
    said = description(thing="urn:dev:site", sensor="urn:dev:air")
    assert await describe(conn, gone, said) == []
    before = {found.datastream_id for found in await registry.streams(conn, gone)}
    await registry.set_gateway_status(conn, device=gone, status="revoked", actor=ACTOR)
    heir = await enrolled(conn, "A")
    assert await describe(conn, heir, said) == []
    assert await owners(conn) == {("urn:dev:site", heir), ("urn:dev:air", heir)}
    assert {found.datastream_id for found in await registry.streams(conn, heir)} == before
    assert await registry.streams(conn, gone) == []


async def test_only_a_revoked_gateway_of_the_same_council_and_site_is_succeeded(
    conn: Connection,
) -> None:
    first = await enrolled(conn, "A")
    said = description()
    assert await describe(conn, first, said) == []
    kept = await owners(conn)
    neighbour = await enrolled(conn, "B")
    elsewhere = await enrolled(conn, "A", tenant="leeds")
    await registry.add_gateway(conn, tenant="camden", device="without-site")
    for status in ("active", "suspended", "revoked"):
        await registry.set_gateway_status(conn, device=first, status=status, actor=ACTOR)
        for claimant in (neighbour, elsewhere, "without-site"):
            [(urn, detail)] = await describe(conn, claimant, said)
            assert (urn, detail) == ("urn:dev:site", "another gateway described this Thing first")
    assert await owners(conn) == kept


async def test_gateways_without_a_site_do_not_succeed_one_another(conn: Connection) -> None:
    for device in ("first", "second"):
        await registry.add_gateway(conn, tenant="camden", device=device)
    said = description()
    assert await describe(conn, "first", said) == []
    await registry.set_gateway_status(conn, device="first", status="revoked", actor=ACTOR)
    assert len(await describe(conn, "second", said)) == 1
