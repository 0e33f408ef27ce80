"""Key sets, epochs and certificates: what an agent waits for, follows and refuses."""

import asyncio
from datetime import UTC, datetime

import pytest

from edge_agent.agent import run
from edge_agent.delivery.connection import Connection
from edge_agent.delivery.key_sets import KeySets
from tests.integration.fix_brokers import City
from tests.integration.fix_uplink import DEVICE, HOST, Gateway, Tasks, centre_of, results
from tests.simulators.centre import Centre, key_set_of, registered


async def test_without_a_key_set_readings_wait(
    own_city: City, gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    begun = datetime.now(UTC)
    tasks.start(run(gateway.settings))
    await gateway.until_facts(
        lambda facts: facts["waiting_for"] == "no key set has come from the council yet"
    )
    await gateway.until_facts(lambda facts: facts["connected"])
    expected = gateway.expected(begun)
    count = len(expected[0]) + len(expected[1])
    await gateway.until_facts(lambda facts: facts["spool"]["readings"] >= count)
    assert gateway.facts()["messages"] == {}
    tasks.start(centre.run())
    await centre.until(lambda heard: len(results(heard)[1]) >= len(expected[1]))
    assert results(centre.heard) == expected


async def test_a_key_set_that_got_lost_on_the_way_is_asked_for_again(
    gateway: Gateway, centre: Centre, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = KeySets.offer
    lost = iter([True, True])
    monkeypatch.setattr(
        KeySets,
        "offer",
        lambda self, message: False if next(lost, False) else offer(self, message),
    )
    monkeypatch.setattr("edge_agent.delivery.uplink._ASK_AGAIN_SECONDS", 0.1)
    tasks.start(centre.run())
    await centre.connected.wait()
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: bool(heard.opened))


async def test_a_new_key_set_means_a_new_epoch_and_an_old_one_is_refused(
    own_city: City, gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    gateway.configure(sensors=HOST)
    tasks.start(centre.run())
    agent = tasks.start(run(gateway.settings))
    await centre.until(lambda heard: len(heard.opened) > 1)
    second = key_set_of(own_city.authority, "camden", {"main": centre.recipient}, version=2)
    first = centre.key_set
    await centre.publish_key_set(second)
    await centre.until(lambda heard: len(heard.announcements) == 2)
    assert [each.key_set_version for each in centre.heard.announcements] == [1, 2]
    assert centre.heard.announcements[1].previous is not None
    await tasks.stop(agent)
    await centre.publish_key_set(first)
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: len(heard.announcements) == 3)
    assert centre.heard.announcements[2].key_set_version == 2


async def test_a_key_set_of_another_council_is_not_followed(
    own_city: City,
    gateway: Gateway,
    centre: Centre,
    tasks: Tasks,
    caplog: pytest.LogCaptureFixture,
) -> None:
    centre.key_set = key_set_of(own_city.authority, "leeds", {"main": centre.recipient})
    tasks.start(centre.run())
    tasks.start(run(gateway.settings))
    await gateway.until_facts(lambda facts: facts["connected"])
    await centre.connected.wait()
    await asyncio.sleep(0.5)
    refused = sum("key set refused" in record.message for record in caplog.records)
    assert refused <= 2, "a refused key set is not asked for again and again"
    assert gateway.facts()["key_set_version"] is None
    assert centre.heard.announcements == []


async def test_a_higher_counter_at_the_centre_raises_the_alarm(
    gateway: Gateway, centre: Centre, tasks: Tasks
) -> None:
    centre.highest_counter = 99
    tasks.start(centre.run())
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: len(heard.announcements) == 2)
    assert centre.heard.announcements[1].epoch.counter == 100
    await gateway.until_facts(lambda facts: facts["rolled_back"])
    assert "ALARM" in gateway.status().render()


async def test_a_replaced_certificate_is_taken_up_with_a_new_epoch(
    own_city: City,
    gateway: Gateway,
    centre: Centre,
    tasks: Tasks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_agent.delivery.uplink._WATCH_SECONDS", 0.1)
    gateway.configure(sensors=HOST)
    before = registered("camden", DEVICE, gateway.files)
    tasks.start(run(gateway.settings))
    first = tasks.start(centre.run())
    await centre.until(lambda heard: len(heard.opened) > 1)
    own_city.enrol("camden", DEVICE)
    await gateway.until_facts(lambda facts: facts["epoch_counter"] == 2)
    await tasks.stop(first)
    after = registered("camden", DEVICE, gateway.files)
    assert before.signers.keys() != after.signers.keys()
    again = centre_of(own_city, recipient=centre.recipient)
    tasks.start(again.run())
    await again.until(lambda heard: len(heard.opened) > 1)
    assert again.heard.announcements[-1].signer_kid in after.signers


async def test_no_message_is_sent_before_its_announcement_has_its_puback(
    gateway: Gateway, centre: Centre, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []
    deliver = Connection.deliver

    async def slowly(self: Connection, topic: str, message: bytes, *, retain: bool = False) -> bool:
        kind = topic.split("/")[4]
        order.append(f"{kind} sent")
        answer = await deliver(self, topic, message, retain=retain)
        await asyncio.sleep(0.2 if kind == "k" else 0)
        order.append(f"{kind} answered")
        return answer

    monkeypatch.setattr(Connection, "deliver", slowly)
    tasks.start(centre.run())
    tasks.start(run(gateway.settings))
    await centre.until(lambda heard: len(heard.opened) > 3)
    assert order[:3] == ["k sent", "k answered", "d sent"]
