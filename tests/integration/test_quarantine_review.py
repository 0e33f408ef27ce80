"""Working through the quarantine: asked for at the command line, tried again by a real ingest."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage import audit, registry
from storage.database import Connection
from tests.integration.fix_brokers import City
from tests.integration.region import DEVICE, OTHER, Region, begin, make_region, minutes, now
from tests.simulators.gateway import MqttGateway, datastream, description, reading

pytestmark = [
    pytest.mark.parametrize("database_server", ["plain"], indirect=True),
    pytest.mark.parametrize("broker_kind", ["mosquitto"], indirect=True, scope="session"),
]


@pytest.fixture
async def region(city: City, dsn: str, tmp_path: Path, connection: Connection) -> Region:
    return await make_region(city, dsn, tmp_path, connection)


async def quarantine(region: Region, action: str, *words: str, status: int = 0) -> dict[str, Any]:
    """Run the command as a person would; return what it printed as JSON."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "command_line", "quarantine", action, region.dsn, "--json", *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert process.returncode == status, errors.decode()
    return dict(json.loads(output)) if output else {}


async def states(region: Region) -> list[tuple[str, str]]:
    cursor = await region.conn.execute("SELECT state, reason FROM quarantine ORDER BY id")
    return await cursor.fetchall()


async def until(region: Region, holds: Callable[[list[tuple[str, str]]], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds(await states(region)):  # noqa: ASYNC110 - another process changes them
            await asyncio.sleep(0.05)


async def describe_anew(gateway: MqttGateway, name: str, maximum: float, *, seq: int) -> None:
    described = description(datastream(name, valid=(0, maximum)))
    await gateway.publish(gateway.gateway.describe(described))
    await gateway.acknowledged(seq)


async def test_reading_out_of_range_is_stored_once_the_range_is_corrected(region: Region) -> None:
    async with region.ingest(), region.gateway() as gateway:
        await begin(gateway)
        await describe_anew(gateway, "no2", 50, seq=2)
        await gateway.publish(gateway.gateway.report([reading(80, time=minutes(0))]))
        await gateway.acknowledged(3)
        refused = await quarantine(
            region, "retry", "--reason", "out-of-range", "--yes", "--wait", "20", status=1
        )
        assert [each["state"] for each in refused["ended"]] == ["held"]
        await describe_anew(gateway, "no2", 100, seq=4)
        stored = await quarantine(region, "retry", "--all", "--yes", "--wait", "20")
        assert [each["state"] for each in stored["ended"]] == ["retried"]
    assert await region.count("observation") == 1
    assert [entry.action for entry in await audit.entries(region.conn, subject=DEVICE)][:2] == [
        "quarantine.retry"
    ] * 2


async def test_reading_of_an_unknown_datastream_is_stored_at_the_next_start(
    region: Region,
) -> None:
    async with region.ingest(), region.gateway() as gateway:
        await begin(gateway)
        unknown = reading(3, name="o3", time=minutes(0))
        await gateway.publish(gateway.gateway.report([unknown]))
        await gateway.acknowledged(2)
        wrong = await quarantine(region, "retry", "--all", "--yes", "--wait", "20", status=1)
        assert [each["reason"] for each in wrong["ended"]] == ["unknown-datastream"]
    await region.conn.execute(
        "INSERT INTO datastream (council_id, thing_id, sensor_id, observed_property_id, short_name,"
        " name, description, unit) SELECT council_id, thing_id, sensor_id, observed_property_id,"
        " 'o3', name, description, unit FROM datastream LIMIT 1"
    )
    asked = await quarantine(region, "retry", "--gateway", DEVICE, "--yes")
    assert asked["rows"] == 1
    assert await states(region) == [("asked", "unknown-datastream")]
    async with region.ingest():
        await until(region, lambda found: found == [("retried", "unknown-datastream")])
    assert await region.count("observation") == 1


async def test_whole_messages_of_an_epoch_that_ingest_never_knew(region: Region) -> None:
    """A gateway was suspended when it announced an epoch and sent under it."""
    set_status = registry.set_gateway_status
    await set_status(region.conn, device=OTHER, status="suspended", actor="operator test")
    async with region.ingest(), region.gateway(OTHER) as gateway:
        simulated = gateway.gateway
        await gateway.publish(simulated.announce(now(), counter=now()), retain=False)
        await gateway.publish(simulated.describe(description()))
        await gateway.publish(simulated.report([reading(1, time=minutes(0))]))
        await until(region, lambda found: len(found) == 3)
        await set_status(region.conn, device=OTHER, status="active", actor="operator test")
        listed = await quarantine(region, "list", "--council", "camden", "--since", "1h")
        _, first, second = sorted(entry["id"] for entry in listed["entries"])
        waiting = await quarantine(
            region, "retry", "--id", str(first), str(second), "--yes", "--wait", "1", status=1
        )
        assert [each["state"] for each in waiting["ended"]] == ["asked"]  # no key to open them
        assert await region.count("signed_batch") == 0
        stored = await quarantine(region, "retry", "--all", "--yes")
        assert stored["rows"] == 1
        await gateway.acknowledged(2)
    assert await states(region) == [("retried", "revoked")] * 3
    assert await region.count("observation") == 1


async def test_message_that_was_stored_meanwhile_counts_as_stored(region: Region) -> None:
    async with region.ingest(), region.gateway() as gateway:
        await begin(gateway)
        message = gateway.gateway.report([reading(1, time=minutes(0))])
        await region.conn.execute(
            "INSERT INTO quarantine (tenant, device, reason, detail, topic, message) VALUES"
            " ('camden', %(device)s, 'revoked', '', %(topic)s, %(message)s),"
            " ('camden', %(device)s, 'payload', '', %(topic)s, %(message)s),"
            " ('camden', %(device)s, 'revoked', '', %(topic)s, %(forged)s)",
            {
                "device": DEVICE,
                "topic": message.topic,
                "message": message.payload,
                "forged": message.payload[:-1] + bytes([message.payload[-1] ^ 1]),
            },
        )
        await gateway.publish(message)
        await gateway.acknowledged(2)
        await quarantine(region, "retry", "--all", "--yes", "--wait", "20", status=1)
    assert await states(region) == [
        ("retried", "revoked"),
        ("refused", "duplicate"),
        ("refused", "aead"),
    ]
    cursor = await region.conn.execute("SELECT first_reason FROM quarantine ORDER BY id")
    assert await cursor.fetchall() == [(None,), ("payload",), ("revoked",)]


async def test_looking_and_giving_up(region: Region, tmp_path: Path) -> None:
    await region.conn.execute(
        "INSERT INTO quarantine (tenant, device, reason, detail, topic, message, received_at)"
        " SELECT 'camden', %s, 'payload', 'not CBOR', 'snaas/1/camden/x/d/main', 'abc',"
        " now() - i * interval '1 day' FROM generate_series(0, 4) AS i",
        (DEVICE,),
    )
    page = await quarantine(region, "list", "--limit", "2")
    assert page["summary"][0]["n"] == 5
    ids = [entry["id"] for entry in page["entries"]]
    rest = await quarantine(region, "list", "--before", str(ids[-1]))
    assert len(rest["entries"]) == 3
    file = tmp_path / "message"
    shown = await quarantine(region, "show", str(ids[0]), "--message", str(file))
    assert file.read_bytes() == b"abc"
    assert "Compare versions" in str(shown["remedy"])
    await quarantine(
        region, "discard", "--since", "60h", "--why", "test", status=2
    )  # nobody to ask
    given_up = await quarantine(region, "discard", "--since", "60h", "--why", "junk", "--yes")
    assert given_up["rows"] == 3
    assert [state for state, _ in await states(region)].count("discarded") == 3
    [entry] = await audit.entries(region.conn, subject=DEVICE)
    assert (entry.action, entry.detail["why"]) == ("quarantine.discard", "junk")
    assert entry.detail["ids"] == sorted(entry.detail["ids"])
    await quarantine(region, "show", "999999999", status=1)
