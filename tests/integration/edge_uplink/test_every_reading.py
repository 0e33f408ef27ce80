"""Whatever happens on the way, every reading arrives, and the spool empties only then."""

import asyncio
import signal
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from broker_config.files import BrokerKind
from device_protocol.keys import RecipientKey
from edge_agent.agent import run
from tests.integration.fix_brokers import City
from tests.integration.fix_uplink import (
    DEVICE,
    P256_DEVICE,
    Gateway,
    Tasks,
    bytes_by_seq,
    centre_of,
    process,
    results,
)
from tests.simulators.centre import Centre


async def test_every_reading_arrives_and_then_the_spool_is_empty(
    gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    tasks.start(centre.run())
    begun = datetime.now(UTC)
    tasks.start(run(gateway.settings))
    expected = gateway.expected(begun)
    await centre.until(lambda heard: len(results(heard)[1]) >= len(expected[1]))
    await gateway.until_facts(lambda facts: facts["spool"]["readings"] == 0)
    assert results(centre.heard) == expected
    assert centre.heard.refusals == []
    assert centre.heard.opened[0].content_format == 60
    assert [thing.urn for thing in centre.heard.descriptions[0].things] == [
        "urn:dev:example:site",
        f"urn:dev:kerbstone:{DEVICE}:health",
    ]
    names = {record.name for record in centre.heard.records}
    assert f"urn:dev:kerbstone:{DEVICE}:health:spool_readings" in names


async def test_a_gateway_with_a_p256_key_uses_suite_2(
    own_city: City, tasks: Tasks, tmp_path: Path
) -> None:
    recipient = RecipientKey.from_private(ec.generate_private_key(ec.SECP256R1()))
    centre = centre_of(own_city, P256_DEVICE, recipient)
    gateway = Gateway(own_city, tmp_path, P256_DEVICE)
    tasks.start(centre.run())
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: bool(heard.records))
    assert centre.heard.announcements[0].epoch.content_algorithm == 3


async def test_withheld_acknowledgements_stop_the_flow_at_the_window_and_repeat_the_same_bytes(
    gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    gateway.configure(window_messages=4)
    tasks.start(centre.run())
    begun = datetime.now(UTC)
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: len(heard.opened) >= 2)  # the description is through
    centre.withheld = True
    await centre.until(lambda heard: heard.repeated >= 8)
    outstanding = (
        gateway.facts()["messages"]["sealed"] - gateway.facts()["messages"]["acknowledged"]
    )
    assert outstanding == 4
    assert gateway.facts()["spool"]["readings"] >= 150
    assert all(len(messages) == 1 for messages in bytes_by_seq(centre.heard).values())
    assert len(centre.heard.announcements) == 1
    centre.withheld = False
    expected = gateway.expected(begun)
    await centre.until(lambda heard: len(results(heard)[1]) >= len(expected[1]))
    assert results(centre.heard) == expected
    assert all(len(messages) == 1 for messages in bytes_by_seq(centre.heard).values())
    await gateway.until_facts(lambda facts: facts["spool"]["readings"] == 0)


async def test_a_broker_killed_and_restarted_costs_no_reading(
    own_city: City, gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    gateway.configure(window_messages=3)
    tasks.start(centre.run())
    begun = datetime.now(UTC)
    tasks.start(run(gateway.settings))
    for heard_before in (5, 12):
        await centre.until(lambda heard, n=heard_before: len(heard.opened) >= n)
        await asyncio.to_thread(own_city.broker.kill)
        await gateway.until_facts(lambda facts: not facts["connected"])
        await asyncio.to_thread(own_city.broker.restart)
    expected = gateway.expected(begun)
    await centre.until(lambda heard: len(results(heard)[1]) >= len(expected[1]), 60)
    assert results(centre.heard) == expected
    assert all(len(messages) == 1 for messages in bytes_by_seq(centre.heard).values())
    assert len(centre.heard.announcements) == 1, "an outage is no reason for a new epoch"
    await gateway.until_facts(lambda facts: facts["spool"]["readings"] == 0)


async def test_an_agent_killed_at_any_moment_loses_no_reading(
    gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    gateway.configure(window_messages=3)
    tasks.start(centre.run())
    begun = datetime.now(UTC)
    for life, messages in enumerate((1, 3, 4)):
        before = len(centre.heard.opened)
        async with process(gateway) as agent:
            await centre.until(
                lambda heard, life=life, least=before + messages: (
                    len(heard.announcements) > life and len(heard.opened) >= least
                )
            )
            centre.withheld = life == 1
            agent.send_signal(signal.SIGKILL)
            await agent.wait()
        assert not gateway.status().running
        centre.withheld = False
    async with process(gateway) as agent:
        expected = gateway.expected(begun)
        await centre.until(lambda heard: len(results(heard)[1]) >= len(expected[1]), 60)
        await gateway.until_facts(lambda facts: facts["spool"]["readings"] == 0)
        assert results(centre.heard) == expected
        agent.terminate()
        assert await agent.wait() == 0
    counters = [each.epoch.counter for each in centre.heard.announcements]
    assert counters == [1, 2, 3, 4]
    assert all(len(messages) == 1 for messages in bytes_by_seq(centre.heard).values())
    status = gateway.status()
    assert "DOES NOT RUN" in status.render()
    assert "the agent was stopped" in status.render()


async def test_with_nobody_there_nothing_counts_as_delivered(
    own_city: City, gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    running = tasks.start(centre.run())
    await centre.connected.wait()
    await tasks.stop(running)  # the key set stays, retained; nobody subscribes any more
    begun = datetime.now(UTC)
    tasks.start(run(gateway.settings))
    await gateway.until_facts(lambda facts: facts["epoch_counter"] == 1)
    if own_city.broker.kind is BrokerKind.MOSQUITTO:  # reason code 0x10 exists in MQTT 5 only
        await gateway.until_facts(lambda facts: "not_delivered" in facts["messages"])
    expected = gateway.expected(begun)
    centre = centre_of(own_city, recipient=centre.recipient)
    tasks.start(centre.run())
    await centre.until(lambda heard: len(results(heard)[1]) >= len(expected[1]))
    assert results(centre.heard) == expected
