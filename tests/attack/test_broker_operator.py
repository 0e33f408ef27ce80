"""The broker's operator against the readings: what passes can be seen, kept, bent and invented.

Every gateway's message goes through a broker that its operator controls wholly
(`tests.simulators.rogue_broker`), in front of a real one of either kind. The broker stops none of
this, since it is the attacker: each row is stopped at ingest, by the code that the test names.
"""

from collections.abc import Iterable

import pytest

from device_protocol import associated_data, cbor, cose, topics
from device_protocol.announcement import decode as decode_announcement
from device_protocol.delivery import parse as parse_wrapped
from device_protocol.delivery import unwrap
from device_protocol.errors import UnwrapError
from device_protocol.keys import RecipientKey
from device_protocol.receiver import MAX_SEQ, OpenEpoch
from device_protocol.senml import encode_cbor
from tests.attack.stage import TENANT, Honest, Stage, eventually, next_counter, next_time, passing
from tests.integration.region import DEVICE, LEEDS, OTHER, metric, now
from tests.simulators.gateway import (
    Message,
    SimulatedGateway,
    new_recipient_key,
    new_signing_key,
    public,
    reading,
)
from tests.simulators.rogue_broker import Passing, RogueBroker, honestly
from tests.simulators.rogue_gateway import (
    A128GCM,
    ES256,
    flipped,
    lengthened,
    on_topic,
    rewrapped_headers,
    seal_as_recipient,
    shortened,
)

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)
SECRET = "the mayor is at home"


async def inject(broker: RogueBroker, message: Message, *, retain: bool = False) -> None:
    await broker.publish(message.topic, message.payload, retain=retain)


def forger(signer_of: Honest | None = None) -> SimulatedGateway:
    """Return somebody who says to be the victim, without its key."""
    gateway = SimulatedGateway(TENANT, DEVICE, [public(new_recipient_key())])
    if signer_of is not None:
        gateway.recipients = signer_of.gateway.recipients
    return gateway


# Reading


async def test_read(stage: Stage) -> None:
    """305 and 306: nothing in what passes is legible, and no key but a recipient's opens it."""
    async with stage.rogue() as (broker, victim):
        announcement = await victim.begin()
        told = reading(SECRET, sensor=victim.sensor, time=next_time(), unit="")
        await victim.publish(victim.gateway.report([told]))
        await victim.acknowledged()
        everything = b"".join(each.payload for each in (*broker.seen, *broker.told))
        assert len(broker.of_kind(topics.Kind.DATA)) >= 1
        for legible in (SECRET, victim.sensor, "no2", "ug/m3", "Bloomsbury"):
            assert legible.encode() not in everything
        curious = new_recipient_key()
        [box] = boxes_of(announcement)
        assert curious.kid != box.kid, "305: nothing in it is for the operator"
        with pytest.raises(UnwrapError) as refusal:
            unwrap(box, curious, epoch_id=epoch_id_of(announcement), external_aad=b"")
        assert refusal.value.code == 306
        await stage.flows_on(victim)


def boxes_of(announcement: Message) -> list[object]:
    body = decode_announcement(cose.decode_sign1(announcement.payload).payload)
    return [parse_wrapped(box) for box in body.wrapped]


def epoch_id_of(announcement: Message) -> bytes:
    return decode_announcement(cose.decode_sign1(announcement.payload).payload).epoch_id


# Forging


async def test_forge_an_announcement(stage: Stage) -> None:
    """203: a key that is not registered for the device announces nothing."""
    async with stage.rogue() as (broker, victim):
        forged = forger(victim).announce(now(), counter=next_counter())
        async with stage.refuses("signer"):
            await inject(broker, forged, retain=True)
        await stage.flows_on(victim)
        await broker.publish(forged.topic, victim.gateway.announcement().payload, retain=True)


async def test_forge_a_message(stage: Stage) -> None:
    """401: without the epoch's key nothing opens, whatever stands inside."""
    async with stage.rogue() as (broker, victim):
        genuine = victim.report(1)
        await victim.publish(genuine)
        invented = cose.decode_encrypt0(genuine.payload)
        forged = cose.Encrypt0(invented.protected, {}, bytes(len(invented.ciphertext))).encode()
        async with stage.refuses("aead"):
            await inject(broker, genuine._replace(payload=forged))
        await stage.flows_on(victim)


async def test_forge_as_a_recipient(stage: Stage) -> None:
    """402: whoever may open an epoch still cannot write in it, for only the gateway signs."""
    async with stage.rogue() as (broker, victim):
        fellow = new_recipient_key()
        announcement = await victim.begin(recipients=[*victim.gateway.recipients, public(fellow)])
        epoch = opened_by(fellow, announcement, victim)
        payload = encode_cbor([reading(99, sensor=victim.sensor, time=next_time())])
        forged = seal_as_recipient(victim.gateway, epoch, 1, payload, signer=new_signing_key())
        before = await stage.observations()
        async with stage.refuses("signature"):
            await inject(broker, forged)
        assert await stage.observations() == before
        await stage.flows_on(victim)


def opened_by(recipient: RecipientKey, announcement: Message, victim: Honest) -> OpenEpoch:
    """Return the epoch as one of its recipients knows it."""
    body = decode_announcement(cose.decode_sign1(announcement.payload).payload)
    [box] = [box for box in map(parse_wrapped, body.wrapped) if box.kid == recipient.kid]
    place = (victim.gateway.tenant, victim.gateway.device, victim.gateway.group)
    aad = associated_data.wrapped(*place, body.counter, body.epoch_id)
    key = unwrap(box, recipient, epoch_id=body.epoch_id, external_aad=aad)
    return OpenEpoch(
        key.epoch_id, body.counter, key.content_algorithm, key.key, key.base_iv, 1 << 40
    )


async def test_forge_an_acknowledgement(stage: Stage) -> None:
    """401 at the gateway: it deletes nothing for an acknowledgement the centre did not give."""
    async with stage.rogue() as (broker, victim):
        await stage.stores(victim)
        broker.upward = nothing
        message = victim.report(1)
        await victim.publish(message)
        genuine = broker.told[-1]
        assert topics.parse(genuine.topic).kind is topics.Kind.ACKNOWLEDGEMENT
        forged = cose.decode_mac0(genuine.payload)
        body = cbor.encode({1: MAX_SEQ, 2: victim.gateway.counter, 3: 0, 4: now()})
        lie = cose.Mac0(forged.protected, {}, body, forged.tag).encode()
        await broker.tell(genuine.topic, lie)
        await victim.until(lambda: bool(victim.refused))
        assert victim.refused[-1].code == 401
        epoch = victim.gateway.epoch
        assert epoch is not None
        assert victim.contiguous == epoch.last_seq - 1, "the message is still kept"
        broker.upward = honestly
        await victim.publish(message)
        await victim.acknowledged()
        await stage.flows_on(victim)


# Altering on the way


async def test_alter_a_message(stage: Stage) -> None:
    """401, and the gateway keeps it, unacknowledged, until it has got through unaltered."""
    async with stage.rogue() as (broker, victim):
        broker.upward = lambda each: [bent(each)]
        message = victim.report(1)
        async with stage.refuses("aead"):
            await victim.publish(message)
        epoch = victim.gateway.epoch
        assert epoch is not None
        assert victim.contiguous == epoch.last_seq - 1
        broker.upward = honestly
        await victim.publish(message)
        await victim.acknowledged()
        await stage.flows_on(victim)


async def test_alter_an_announcement(stage: Stage) -> None:
    """402: what a gateway announces is signed."""
    async with stage.rogue() as (broker, victim):
        broker.upward = lambda each: [bent(each)]
        message = victim.gateway.announce(now(), counter=next_counter())
        async with stage.refuses("signature"):
            await victim.publish(message)
        broker.upward = honestly
        await victim.publish(message)
        await stage.flows_on(victim)


async def test_truncate(stage: Stage) -> None:
    """101 where a length is left standing, 401 where it was put right."""
    async with stage.rogue() as (broker, victim):
        message = victim.report(1)
        async with stage.refuses("encoding"), stage.refuses("aead"):
            await inject(broker, shortened(message, 20))
            await inject(broker, shortened(message, 20, honestly=True))
        await victim.publish(message)
        await stage.flows_on(victim)


async def test_append(stage: Stage) -> None:
    """101 after the message, 401 inside it."""
    async with stage.rogue() as (broker, victim):
        message = victim.report(1)
        async with stage.refuses("encoding"), stage.refuses("aead"):
            await inject(broker, lengthened(message, b"\x00"))
            await inject(broker, lengthened(message, b"more", honestly=True))
        await victim.publish(message)
        await stage.flows_on(victim)


def bent(message: Passing) -> Passing:
    return passing(flipped(Message(message.topic, message.payload)), retain=message.retain)


def nothing(_: Passing) -> Iterable[Passing]:
    return ()


# Replaying, reordering, dropping


async def test_replay(stage: Stage) -> None:
    """500: the same bytes again are stored once, however often they come."""
    async with stage.rogue() as (broker, victim):
        message = victim.report(1)
        await victim.publish(message)
        await victim.acknowledged()
        before = await stage.observations()
        async with stage.refuses("duplicate", 5):
            for _ in range(5):
                await inject(broker, message)
        assert await stage.observations() == before
        await stage.flows_on(victim)


async def test_replay_behind_the_window(stage: Stage) -> None:
    """501: what is older than the last 1 024 messages is not even compared."""
    async with stage.rogue() as (broker, victim):
        old = victim.report(1)
        await victim.publish(old)
        for _ in range(1100):
            newest = victim.report(2)
        await victim.publish(newest)
        async with stage.refuses("too-old"):
            await inject(broker, old)
        await victim.begin()
        await stage.flows_on(victim)


async def test_reorder(stage: Stage) -> None:
    """Harmless: every reading carries its own time, and the window of 1 024 takes any order.

    Until the first has come the acknowledgement stays where it was: nothing is deleted early.
    """
    async with stage.rogue() as (broker, victim):
        held: list[Passing] = []
        broker.upward = lambda each: held.append(each) or ()
        times = [next_time() for _ in range(6)]
        for result, time in enumerate(times):
            one = reading(float(result), sensor=victim.sensor, time=time)
            await victim.publish(victim.gateway.report([one]))
        await eventually(lambda: len(held) == 6, "six messages held back")
        stands = victim.contiguous
        broker.upward = honestly
        for each in reversed(held[1:]):
            await broker.publish(each.topic, each.payload)

        async def second_is_stored() -> bool:
            return await stage.stored_at(victim.sensor, times[1]) == [1.0]

        await eventually(second_is_stored, "the message after the first")
        assert victim.contiguous == stands
        await broker.publish(held[0].topic, held[0].payload)
        await victim.acknowledged()
        for result, time in enumerate(times):
            assert await stage.stored_at(victim.sensor, time) == [float(result)]
        await stage.flows_on(victim)


async def test_drop(stage: Stage) -> None:
    """Missing messages are counted, and no acknowledgement passes the gap until it is filled."""
    async with stage.rogue() as (broker, victim):
        await victim.begin()
        before = await missing(stage)
        lost = victim.report(1)
        broker.upward = nothing
        await victim.publish(lost)
        broker.upward = honestly
        await victim.publish(victim.report(2))
        assert await missing(stage) == before + 1
        assert victim.contiguous == 0, "the broker has confirmed both, the centre neither"
        await victim.publish(lost)
        await victim.acknowledged()
        await stage.flows_on(victim)
        assert await missing(stage) == before


async def test_drop_the_end_of_an_epoch(stage: Stage) -> None:
    """The next announcement tells how the epoch before it ended, so a cut tail is missing too."""
    async with stage.rogue() as (broker, victim):
        await victim.begin()
        await stage.stores(victim)
        before = await missing(stage)
        broker.upward = nothing
        lost = [victim.report(1), victim.report(2)]
        for message in lost:
            await victim.publish(message)
        broker.upward = honestly
        await victim.begin()
        assert await missing(stage) == before + 2
        for message in lost:
            await victim.publish(message)
        await stage.flows_on(victim)
        assert await missing(stage) == before


async def missing(stage: Stage) -> float:
    """Return how many of Camden's messages the centre says are missing; others' readings flow."""
    await stage.flows_on()
    await stage.flows_on()  # it counts as it begins its next batch
    return metric("ingest_missing_messages", tenant=TENANT)


# Moving


async def test_move_to_another_topic(stage: Stage) -> None:
    """102 as a message of another kind, 104 on a topic of no known form."""
    async with stage.rogue() as (broker, victim):
        message, announcement = victim.report(1), victim.gateway.announcement()
        async with stage.refuses("structure", 2):
            await inject(broker, on_topic(message, announcement.topic))
            await inject(broker, on_topic(announcement, message.topic))
        async with stage.refuses("topic", at=("unknown", "")):
            await inject(broker, on_topic(message, f"snaas/1/{TENANT}/{DEVICE}/d/Main"))
        await victim.publish(message)
        await stage.flows_on(victim)


async def test_move_to_another_device(stage: Stage) -> None:
    """203 for an announcement; 300 for a message: that device has no such epoch."""
    async with stage.rogue() as (broker, victim):
        message, announcement = victim.report(1), victim.gateway.announcement()
        async with stage.refuses("signer", at=(TENANT, OTHER)):
            await inject(broker, on_topic(announcement, topics.announcement(TENANT, OTHER, "main")))
        async with stage.refuses("unknown-epoch", at=(TENANT, OTHER)):
            await inject(broker, on_topic(message, topics.data(TENANT, OTHER, "main")))
        await victim.publish(message)
        await stage.flows_on(victim)


async def test_move_to_another_council(stage: Stage) -> None:
    """200 where that council has no such device, 203 in the name of one it has."""
    async with stage.rogue() as (broker, victim):
        message, announcement = victim.report(1), victim.gateway.announcement()
        async with stage.refuses("unknown-device", 2, at=("leeds", "")):
            await inject(
                broker, on_topic(announcement, topics.announcement("leeds", DEVICE, "main"))
            )
            await inject(broker, on_topic(message, topics.data("leeds", DEVICE, "main")))
        async with stage.refuses("signer", at=("leeds", LEEDS)):
            await inject(
                broker, on_topic(announcement, topics.announcement("leeds", LEEDS, "main"))
            )
        await victim.publish(message)
        await stage.flows_on(victim)


async def test_move_to_another_group(stage: Stage) -> None:
    """402 for an announcement, whose signature covers its group; 300 for a message."""
    async with stage.rogue() as (broker, victim):
        message, announcement = victim.report(1), victim.gateway.announcement()
        async with stage.refuses("signature"):
            await inject(
                broker, on_topic(announcement, topics.announcement(TENANT, DEVICE, "council"))
            )
        async with stage.refuses("unknown-epoch"):
            await inject(broker, on_topic(message, topics.data(TENANT, DEVICE, "council")))
        await victim.publish(message)
        await stage.flows_on(victim)


# Old announcements, other algorithms, retained data


async def test_replay_a_stale_announcement(stage: Stage) -> None:
    """301: the announcement of an earlier epoch, retained, brings no old key back."""
    async with stage.rogue() as (broker, victim):
        stale = victim.gateway.announcement()
        newest = await victim.begin()
        async with stage.refuses("epoch-rollback"):
            await inject(broker, stale, retain=True)
        async with stage.refuses("duplicate"):
            await inject(broker, newest, retain=True)
        await stage.flows_on(victim)


async def test_downgrade_the_algorithms(stage: Stage) -> None:
    """400: neither a weaker cipher, nor a weaker signature, nor another allowed cipher."""
    async with stage.rogue() as (broker, victim):
        message, announcement = victim.report(1), victim.gateway.announcement()
        async with stage.refuses("algorithm", 4):
            for algorithm in (A128GCM, cose.A256GCM):
                await inject(broker, with_algorithm(message, algorithm))
            for algorithm in (ES256, cose.ESP256):
                await inject(broker, with_algorithm(announcement, algorithm))
        await victim.publish(message)
        await stage.flows_on(victim)


def with_algorithm(message: Message, algorithm: int) -> Message:
    return rewrapped_headers(message, lambda headers: headers.update({cose.ALG: algorithm}))


async def test_send_retained_data(stage: Stage) -> None:
    """105: what a broker kept to hand to later subscribers is not taken as news."""
    async with stage.rogue() as (broker, victim):
        message = victim.report(1)
        await inject(broker, message, retain=True)
        await victim.acknowledged()
        await stage.stop_ingest()
        async with stage.refuses("retained"):
            await stage.start_ingest()
        await broker.publish(message.topic, b"", retain=True)
        await stage.flows_on(victim)
