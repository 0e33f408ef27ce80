"""Every message of the demo's attack is refused for the reason it is told to be."""

import time

import pytest

from command_line.demo.hostile_messages import (
    Attack,
    Observed,
    by_a_stolen_gateway,
    by_the_operator,
    flipped,
    flood,
)
from device_protocol.errors import DuplicateError, RejectionError
from device_protocol.receiver import Device, Receiver, Signer
from tests.simulators.gateway import SimulatedGateway, new_recipient_key, public

NOW = int(time.time())
RECIPIENT = new_recipient_key()


def gateway(tenant: str, device: str) -> SimulatedGateway:
    return SimulatedGateway(tenant, device, [public(RECIPIENT)])


VICTIM, NEIGHBOUR, ELSEWHERE = (
    gateway("camden", "victim0000"),
    gateway("camden", "neighbour0"),
    gateway("leeds", "elsewhere0"),
)


def registered(one: SimulatedGateway) -> Device:
    signer = Signer(one.verifying_key, NOW - 3600, NOW + 3600)
    return Device(one.tenant, one.device, revoked=False, signers={signer.key.kid: signer})


@pytest.fixture
def receiver() -> Receiver:
    devices = [registered(one) for one in (VICTIM, NEIGHBOUR, ELSEWHERE)]
    return Receiver(devices=devices, recipients=[RECIPIENT])


@pytest.fixture
def seen(receiver: Receiver) -> Observed:
    """What passed, after the centre has taken it."""
    announced, data = VICTIM.announce(NOW, counter=7), VICTIM.seal(b"readings")
    for message in (announced, data):
        receiver.receive(*message, retained=False, now=NOW)
    return Observed(
        tenant=VICTIM.tenant,
        device=VICTIM.device,
        group=VICTIM.group,
        announced=announced.payload,
        data=data.payload,
        now=NOW,
        neighbour=NEIGHBOUR.device,
        elsewhere=(ELSEWHERE.tenant, ELSEWHERE.device),
    )


def test_every_message_is_refused_for_its_reason(receiver: Receiver, seen: Observed) -> None:
    attacks: list[Attack] = [
        *by_the_operator(seen),
        *by_a_stolen_gateway(seen, VICTIM.signer),
        flood(seen, 50),
    ]
    assert len(attacks) > 12
    for attack in attacks:
        for topic, payload in attack.messages:
            with pytest.raises(RejectionError) as refusal:
                receiver.receive(topic, payload, retained=False, now=NOW)
            found = (refusal.value.reason, refusal.value.code)
            assert found == (attack.reason, attack.code), attack.what


def test_the_attacked_gateway_is_not_disturbed(receiver: Receiver, seen: Observed) -> None:
    for attack in (*by_the_operator(seen), *by_a_stolen_gateway(seen, VICTIM.signer)):
        for topic, payload in attack.messages:
            with pytest.raises(RejectionError):
                receiver.receive(topic, payload, retained=False, now=NOW)
    receiver.receive(*VICTIM.seal(b"more readings"), retained=False, now=NOW)
    with pytest.raises(DuplicateError):
        receiver.receive(*VICTIM.announcement(), retained=False, now=NOW)


def test_a_flood_is_of_as_many_messages_as_asked_for(seen: Observed) -> None:
    assert len(flood(seen, 1234).messages) == 1234


@pytest.mark.parametrize("at", [-1, -5, 0, 3])
def test_one_bit_is_changed_and_no_length(at: int) -> None:
    message = b"a message of some length"
    bent = flipped(message, at)
    assert len(bent) == len(message)
    assert sum(one != other for one, other in zip(bent, message, strict=True)) == 1
