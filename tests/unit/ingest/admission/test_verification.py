from collections.abc import Iterator, Sequence
from dataclasses import replace
from threading import Event, current_thread, main_thread

import pytest

from device_protocol import topics
from device_protocol.receiver import Channel as KnownChannel
from device_protocol.receiver import (
    Device,
    OpenEpoch,
    Policy,
    Signer,
    UnverifiedMessage,
    decrypt_data,
    open_announcement,
)
from ingest.admission.verification import Verifier
from tests.simulators.gateway import (
    NOON,
    SimulatedGateway,
    new_recipient_key,
    new_signing_key,
    public,
    reading,
)

NOW = int(NOON.timestamp())


@pytest.fixture
def verifier() -> Iterator[Verifier]:
    with Verifier() as opened:
        yield opened


@pytest.fixture(scope="module")
def messages() -> list[UnverifiedMessage]:
    recipient = new_recipient_key()
    gateway = SimulatedGateway(
        "camden", "k7q2m9xd4t", [public(recipient)], signer=new_signing_key(suite=2)
    )
    signer = Signer(gateway.verifying_key, NOW - 60, NOW + 3600)
    devices = {
        ("camden", "k7q2m9xd4t"): Device(
            "camden", "k7q2m9xd4t", revoked=False, signers={gateway.verifying_key.kid: signer}
        )
    }
    announcement = gateway.announce(NOW)
    epoch: OpenEpoch = open_announcement(
        topics.parse(announcement.topic),
        announcement.payload,
        devices=devices,
        channel=KnownChannel(),
        recipients={recipient.kid: recipient},
        policy=Policy(),
        now=NOW,
    ).epoch
    return [
        decrypt_data(
            topics.parse(message.topic),
            message.payload,
            retained=False,
            devices=devices,
            epochs={epoch.epoch_id: epoch},
            policy=Policy(),
            now=NOW,
        )
        for message in (gateway.report([reading(float(n))]) for n in range(40))
    ]


def forged(message: UnverifiedMessage) -> UnverifiedMessage:
    return replace(message, signature=bytes(64))


@pytest.mark.parametrize("wrong", [(), (0,), (39,), (3, 4, 5, 20), tuple(range(40))])
def test_each_signature_has_its_own_verdict(
    verifier: Verifier, messages: Sequence[UnverifiedMessage], wrong: tuple[int, ...]
) -> None:
    mixed = [forged(found) if n in wrong else found for n, found in enumerate(messages)]
    for _ in range(20):
        assert verifier.holds(mixed) == [n not in wrong for n in range(40)]


@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_few_messages_are_checked_as_well(
    verifier: Verifier, messages: Sequence[UnverifiedMessage], count: int
) -> None:
    assert verifier.holds(messages[:count]) == [True] * count
    assert verifier.holds([forged(found) for found in messages[:count]]) == [False] * count


def test_a_helper_takes_part(verifier: Verifier) -> None:
    """A round ends although its caller is held up: by a signature only another thread ends."""
    others = Event()

    class Message:
        def verify(self) -> None:
            if current_thread() is main_thread():
                assert others.wait(10), "no other thread takes part"
            else:
                others.set()

    assert verifier.holds([Message()] * 8) == [True] * 8  # type: ignore[list-item]


def test_closed_verifier_goes_on_alone(messages: Sequence[UnverifiedMessage]) -> None:
    with Verifier() as verifier:
        pass
    assert verifier.holds(messages) == [True] * 40
