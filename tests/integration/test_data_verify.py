"""What is stored is held against what was signed; each way to differ is found, both editions."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from command_line.__main__ import main
from device_protocol.reading import Quality
from ingest.store import Store
from storage.database import Connection
from storage.thinning import RetentionClass, thin
from tests.integration.ingest_centre import KEYS, START, Centre
from tests.simulators.gateway import (
    SimulatedGateway,
    datastream,
    description,
    reading,
    series,
)

MINUTE = timedelta(minutes=1)

Verify = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def centre(dsn: str, connection: Connection) -> AsyncIterator[Centre]:
    async with Store(dsn, KEYS) as store:
        yield Centre(connection, store)


@pytest.fixture
async def gateway(centre: Centre) -> SimulatedGateway:
    """A gateway whose first message (1) described it, and whose second (2) has three readings."""
    gateway = await centre.enrol("k7q2m9xd4t")
    await centre.describe(
        gateway,
        description(
            datastream(valid=(0, 1000)),
            datastream("bay", "bay_occupied", "bool"),
            datastream("batt", "battery_voltage", "V"),
        ),
    )
    await centre.take(gateway.report(series([1, 2, 3], start=START)))
    return gateway


@pytest.fixture
def verify(dsn: str, capsys: pytest.CaptureFixture[str]) -> Verify:
    async def run(*words: str) -> dict[str, Any]:
        status = await asyncio.to_thread(main, ["data", "verify", dsn, *words, "--json"])
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert status == (1 if found["wrong"] else 0)
        return found

    return run


async def test_all_that_became_of_readings_is_accounted_for(
    centre: Centre, gateway: SimulatedGateway, verify: Verify
) -> None:
    later = START + 10 * MINUTE
    mixed = [
        reading(True, name="bay", unit="", time=START),  # noqa: FBT003 - a result
        reading(5000, time=later),  # out of range: refused
        reading(5000, time=later + MINUTE, quality=Quality.OUT_OF_RANGE),
        reading(1.0, name="unknown", time=later),
        reading(4e-9, unit="kg/m3", time=later + 2 * MINUTE),  # stored in ug/m3
        reading(3.9, name="batt", unit="V", time=START - timedelta(days=40)),
    ]
    await centre.take(gateway.report(mixed))
    await centre.take(gateway.report(series([1, 2, 3.5], start=START)))  # repeats, contradicts
    battery = RetentionClass(
        name="battery",
        observed_properties=frozenset({"battery_voltage"}),
        councils=frozenset(),
        before=START,
    )
    assert await thin(centre.conn, battery) == 1
    for words in ([], ["--all"], ["--sample", "10"]):
        found = await verify(*words)
        assert found["wrong"] == []
        assert (found["messages"], found["messages_kept"]) == (4, 4)
        assert found["stored_as_signed"] == 3 + 3 + 2
        assert (found["contradicted"], found["dropped"]) == (1, 1)


ALTERED = "UPDATE observation SET value = 99 WHERE value = 2"
DELETED = "DELETE FROM observation WHERE value = 2"
FORGED = "UPDATE signed_batch SET signed = overlay(signed placing '\\x00' from 60) WHERE seq = 2"
ANOTHERS = "DELETE FROM signing_key"
MOVED = "UPDATE signed_batch SET seq = 7 WHERE seq = 2"
LOST = "DELETE FROM signed_batch WHERE seq = 2"


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (ALTERED, ["of 3 readings stored when it came 1 are not as signed; 1 have another result"]),
        (DELETED, ["of 3 readings stored when it came 1 are not as signed; 1 are not there"]),
        (FORGED, ["message 2 of "]),
        (ANOTHERS, ["is not registered for k7q2m9xd4t", "is not registered for k7q2m9xd4t"]),
        (MOVED, ["signature", "kept are (2, 7, 1)"]),
        (LOST, ["noted as (2, 2, 2), kept are (1, 1, 1)"]),
    ],
    ids=["altered", "deleted", "forged", "key", "moved", "lost"],
)
async def test_what_differs_is_found(
    centre: Centre, gateway: SimulatedGateway, verify: Verify, harm: str, told: list[str]
) -> None:
    assert (await verify("--all"))["wrong"] == []
    await centre.conn.execute(harm)  # type: ignore[arg-type]
    found = await verify("--all")
    assert len(found["wrong"]) == len(told)
    for wrong, expected in zip(found["wrong"], told, strict=True):
        assert expected in wrong


async def test_a_sample_is_no_larger_than_asked(
    centre: Centre, gateway: SimulatedGateway, verify: Verify
) -> None:
    for number in range(5):
        await centre.take(gateway.report([reading(1, time=START + (20 + number) * MINUTE)]))
    found = await verify("--sample", "3")
    assert (found["messages"], found["messages_kept"]) == (3, 7)
