"""The broker's operator against a gateway: the real agent, told lies about what to do.

It is told to delete, to seal for somebody else, to follow old orders. Nothing can stop a broker
from saying so: each row is stopped in the agent, which names the reason in its log and, where it
counts it, in its status; its readings flow on to the centre.
"""

import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import edge_agent.delivery.sealer
import edge_agent.delivery.uplink
from device_protocol import cbor, cose, topics
from device_protocol.announcement import decode as decode_announcement
from device_protocol.configuration import Configuration, sign_configuration
from device_protocol.delivery import parse as parse_wrapped
from device_protocol.key_set import KeySet, Recipient, certificate_chain, sign_key_set
from device_protocol.keys import SigningKey
from enrolment.files import read_certificate, read_key
from tests.attack.agent import Agent, an_agent, publish_key_set
from tests.attack.stage import TENANT, Stage, eventually
from tests.integration.region import now
from tests.simulators.centre import key_set_of
from tests.simulators.gateway import new_recipient_key, new_signing_key, public
from tests.simulators.rogue_broker import Passing, RogueBroker, honestly

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)

KEY_SETS = topics.key_set(TENANT)


def recipients_of(announcement: Passing) -> set[bytes]:
    body = decode_announcement(cose.decode_sign1(announcement.payload).payload)
    return {parse_wrapped(box).kid for box in body.wrapped}


async def begun_anew(broker: RogueBroker, agent: Agent) -> Passing:
    """Have the council change its key set, so that a new epoch begins; return message K."""
    seen = len(broker.of_kind(topics.Kind.ANNOUNCEMENT))
    version = agent.facts()["key_set_version"]
    await publish_key_set(agent.stage)
    await agent.until(lambda facts: facts["key_set_version"] > version, "the newer key set")
    await broker.until_seen(topics.Kind.ANNOUNCEMENT, seen + 1)
    return broker.of_kind(topics.Kind.ANNOUNCEMENT)[-1]


async def test_forge_an_acknowledgement_for_the_agent(stage: Stage, tmp_path: Path) -> None:
    """401: it deletes nothing, and all that was dropped meanwhile is stored in the end."""
    async with (
        an_agent(stage, "forgedack0", tmp_path) as agent,
        RogueBroker.between(stage.city, TENANT) as broker,
    ):
        agent.configure(broker.endpoint)
        async with agent.running():
            await agent.delivers()
            before = len(broker.seen)
            broker.upward = broker.downward = lambda _: ()
            genuine = broker.told[-1]
            mac = cose.decode_mac0(genuine.payload)
            lie = cbor.encode({1: 1000, 2: 1, 3: 0, 4: now()})
            forged = cose.Mac0(mac.protected, {}, lie, mac.tag).encode()
            # The agent tells of itself once a second: what it told before must be past.
            await eventually(lambda: len(broker.seen) >= before + 10, "ten dropped messages")
            await agent.until(lambda facts: facts["spool"]["readings"] >= 20, "readings wait")
            waiting = agent.facts()["spool"]["readings"]
            await broker.tell(genuine.topic, forged)
            await agent.until(
                lambda facts: facts["messages"].get("acknowledgement_refused", 0) >= 1,
                "the refusal of the forged acknowledgement",
            )
            assert agent.facts()["spool"]["readings"] >= waiting
            broker.upward = broker.downward = honestly
            await agent.until(lambda facts: facts["spool"]["readings"] < 20, "an empty spool")
        await stage.flows_on()


async def test_drop_everything_an_agent_sends(stage: Stage, tmp_path: Path) -> None:
    """A PUBACK proves nothing: what the centre did not acknowledge is kept, and sent again."""
    async with (
        an_agent(stage, "dropped000", tmp_path) as agent,
        RogueBroker.between(stage.city, TENANT) as broker,
    ):
        agent.configure(broker.endpoint)
        async with agent.running():
            await agent.delivers()
            before = len(broker.seen)
            broker.upward = lambda _: ()
            await eventually(lambda: len(broker.seen) >= before + 10, "ten dropped messages")
            await agent.until(lambda facts: facts["spool"]["readings"] >= 20, "readings wait")
            broker.upward = honestly
            await agent.until(lambda facts: facts["spool"]["readings"] < 20, "an empty spool")
            times = sorted(await agent.stored())
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert max(gap.total_seconds() for gap in gaps) < 1, "no reading is lost"
        await stage.flows_on()


async def test_replay_a_stale_key_set(stage: Stage, tmp_path: Path) -> None:
    """key-set-rollback: an old R, retained and handed out anew, brings nobody removed back."""
    async with (
        an_agent(stage, "staler0000", tmp_path) as agent,
        RogueBroker.between(stage.city, TENANT) as broker,
    ):
        agent.configure(broker.endpoint)
        async with agent.running():
            await agent.delivers()
            stale = next(each for each in broker.told if each.topic == KEY_SETS)
            await begun_anew(broker, agent)
            version = agent.facts()["key_set_version"]
            await broker.tell(KEY_SETS, stale.payload, retain=True)
            await agent.until_said("old key set refused", f"held already: {version}")
            await agent.delivers()
            assert agent.facts()["key_set_version"] == version
        await stage.flows_on()


def own_key_set(stage: Stage, device: str, thief: Any) -> dict[str, bytes]:
    """Return key sets that name the thief, by whose certificate signs them."""
    authority = stage.city.authority
    mine = stage.city.gateways[device].credential
    moment = now()
    entry = Recipient(public(thief), "region", moment - 60, moment + 3600)
    key_set = KeySet(1 << 20, moment, moment + 1800, moment + 3600, (1, 2), {"main": (entry,)})

    def signed(key: Any, certificate: Path) -> bytes:
        chain = certificate_chain([read_certificate(certificate)])
        return sign_key_set(key_set, tenant=TENANT, signer=key, chain=chain)

    configurer = authority.configuration_signer(TENANT)
    genuine = authority.key_set_signer(TENANT)
    return {
        "another council's signer": key_set_of(
            authority, TENANT, {"main": thief}, version=1 << 20, signed_by="leeds"
        ),
        "a gateway": signed(SigningKey.from_private(read_key(mine.key)), mine.certificate),
        "the signer of settings": signed(
            SigningKey.from_private(read_key(configurer.key)), configurer.certificate
        ),
        "nobody's key under the genuine certificate": signed(
            new_signing_key(), genuine.certificate
        ),
    }


async def test_swap_the_recipient_keys(stage: Stage, tmp_path: Path) -> None:
    """203 and 402: whoever signs it but the council's signer of key sets, nobody is added."""
    thief = new_recipient_key()
    async with (
        an_agent(stage, "swapped000", tmp_path) as agent,
        RogueBroker.between(stage.city, TENANT) as broker,
    ):
        agent.configure(broker.endpoint)
        async with agent.running():
            await agent.delivers()
            forged = own_key_set(stage, agent.device, thief)
            for count, message in enumerate(forged.values(), start=1):
                await broker.tell(KEY_SETS, message, retain=True)
                await eventually(
                    lambda count=count: len(agent.said("key set refused")) == count,
                    f"{count} refusals",
                )
            announced = await begun_anew(broker, agent)
            assert recipients_of(announced) == {stage.region.recipient.kid}
            await agent.delivers()
            reasons = agent.said("key set refused")
            assert "not issued by 'CN=camden" in reasons[0]
            assert "lacks the extended key usage" in reasons[1]
            assert "lacks the extended key usage" in reasons[2]
            assert "signature is not of key" in reasons[3]
        await stage.flows_on()


async def test_replay_a_stale_configuration(stage: Stage, tmp_path: Path) -> None:
    """configuration-rollback: settings of yesterday, retained, do not come back into force."""
    async with (
        an_agent(stage, "stalec0000", tmp_path) as agent,
        RogueBroker.between(stage.city, TENANT) as broker,
    ):
        agent.configure(broker.endpoint)
        topic = topics.configuration(TENANT, agent.device)
        first, second = (configuration(stage, agent.device, version) for version in (1, 2))
        async with agent.running():
            await agent.delivers()
            for version, message in ((1, first), (2, second)):
                await broker.tell(topic, message, retain=True)
                await agent.until(
                    lambda facts, version=version: facts["configuration"] == version,
                    f"configuration {version} in force",
                )
            await broker.tell(topic, first, retain=True)
            await agent.until_said("old configuration refused", "2")
            await agent.delivers()
            assert agent.facts()["configuration"] == 2
        await stage.flows_on()


async def test_forge_a_configuration(stage: Stage, tmp_path: Path) -> None:
    """203: settings signed for another gateway, or by the signer of key sets, are none."""
    async with (
        an_agent(stage, "forgedc000", tmp_path) as agent,
        RogueBroker.between(stage.city, TENANT) as broker,
    ):
        agent.configure(broker.endpoint)
        topic = topics.configuration(TENANT, agent.device)
        async with agent.running():
            await agent.delivers()
            other = configuration(stage, "w3n8b5rc6h", 3)
            wrong = configuration(stage, agent.device, 3, signer="key set")
            for count, message in enumerate((other, wrong), start=1):
                await broker.tell(topic, message, retain=True)
                await eventually(
                    lambda count=count: len(agent.said("configuration refused")) == count,
                    f"{count} refusals",
                )
            [not_mine, not_its_office] = agent.said("configuration refused")
            assert "signature is not of key" in not_mine
            assert "lacks the extended key usage" in not_its_office
            await agent.delivers()
            assert agent.facts()["configuration"] == 0
        await stage.flows_on()


def configuration(
    stage: Stage, device: str, version: int, *, signer: str = "configuration"
) -> bytes:
    """Return a message C of Camden."""
    authority = stage.city.authority
    key, chain = (
        authority.sign_as_configuration_signer(TENANT)
        if signer == "configuration"
        else authority.sign_as_key_set_signer(TENANT)
    )
    wanted = Configuration(version, now(), now() + 3600, {"uplink.batch_readings": 10 + version})
    return sign_configuration(
        wanted, tenant=TENANT, device=device, signer=key, chain=certificate_chain(chain)
    )


async def test_restore_an_old_disk(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """301 at ingest, once for every try; then the agent leaps over what was used, and delivers."""
    monkeypatch.setattr(edge_agent.delivery.sealer, "_FRUITLESS_ANNOUNCEMENTS", 1)
    monkeypatch.setattr(edge_agent.delivery.uplink, "_FINISH_SECONDS", 0.2)
    async with (
        an_agent(stage, "olddisk000", tmp_path) as agent,
        RogueBroker.between(stage.city, TENANT) as broker,
    ):
        agent.configure(broker.endpoint)
        state, backup = agent.directory / "state", tmp_path / "backup"
        async with agent.running():
            await agent.delivers()
        shutil.copytree(state, backup)
        for _ in range(2):
            async with agent.running():
                await agent.delivers()
        used = agent.facts()["epoch_counter"]
        shutil.rmtree(state)
        shutil.copytree(backup, state)
        async with (
            stage.refuses("epoch-rollback", at_least=True, at=(TENANT, agent.device)),
            agent.running(),
        ):
            await agent.delivers()
            await agent.until(lambda facts: facts["epoch_counter"] > used, "a counter never used")
        await stage.flows_on()
