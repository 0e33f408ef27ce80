from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_protocol import cbor, cose
from device_protocol.acknowledgement import Acknowledgement, seal_acknowledgement
from device_protocol.epoch import MAX_PAYLOAD_BYTES, partial_iv
from device_protocol.errors import (
    AeadError,
    AlgorithmError,
    SeqLimitError,
    SizeError,
    StructureError,
    UnknownEpochError,
)


def test_sequence_numbers_rise_by_one_from_one(suite: Any) -> None:
    epoch = suite.begin()
    assert (epoch.last_seq, epoch.exhausted) == (0, False)
    assert [epoch.seal(b"", 112).seq for _ in range(3)] == [1, 2, 3]
    assert epoch.last_seq == 3


def test_two_epochs_share_nothing(suite: Any) -> None:
    first, second = suite.begin(), suite.begin()
    assert first.epoch_id != second.epoch_id
    assert first._key.key != second._key.key
    assert first._key.base_iv != second._key.base_iv


def test_all_that_is_random_is_drawn_from_the_generator_given(suite: Any) -> None:
    def deterministic() -> Any:
        generator = Random(20)  # noqa: S311 - to draw the same twice
        return generator.randbytes

    first, second = (suite.begin(random=deterministic()) for _ in range(2))
    payloads = [cose.decode_sign1(epoch.announcement).payload for epoch in (first, second)]
    assert payloads[0] == payloads[1]


def test_each_recipient_gets_its_own_ephemeral_key(suite: Any) -> None:
    body = cbor.decode(cose.decode_sign1(suite.begin().announcement).payload)
    assert isinstance(body, dict)
    boxes = [cose.decode_encrypt(box) for box in body[9]]
    ephemeral = [str(box.recipients[0].unprotected[cose.EPHEMERAL_KEY]) for box in boxes]
    assert len(set(ephemeral)) == len(boxes) == 2


def test_an_exhausted_epoch_seals_nothing_more(suite: Any) -> None:
    epoch = suite.begin()
    epoch.last_seq = 2**20 - 1
    assert epoch.seal(b"", 112).seq == 2**20
    assert epoch.exhausted
    with pytest.raises(SeqLimitError):
        epoch.seal(b"", 112)
    assert epoch.last_seq == 2**20


def test_the_largest_payload_fits_and_a_larger_uses_no_number(suite: Any) -> None:
    receiver, epoch = suite.receiver(), suite.begin()
    receiver.receive(suite.announcement_topic, epoch.announcement, retained=False, now=suite.now)
    epoch.last_seq = 2**20 - 2  # the longest partial IV
    with pytest.raises(SizeError):
        epoch.seal(bytes(MAX_PAYLOAD_BYTES + 1), 112)
    sealed = epoch.seal(bytes(MAX_PAYLOAD_BYTES), 112)
    assert sealed.seq == 2**20 - 1
    opened = receiver.receive(suite.data_topic, sealed.message, retained=False, now=suite.now)
    assert len(opened.payload) == MAX_PAYLOAD_BYTES


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"recipients": []}, StructureError),
        ({"lifetime_seconds": 86_401}, StructureError),
        ({"counter": 0}, StructureError),
        ({"clock": 4}, StructureError),
        ({"content_algorithm": 1}, AlgorithmError),
    ],
)
def test_an_epoch_no_receiver_would_take_is_not_begun(
    suite: Any, changes: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        suite.begin(**changes)


def test_overhead_of_a_kilobyte_is_as_designed(suite: Any) -> None:
    assert len(suite.begin().seal(bytes(1000), 112).message) - 1000 <= 128


@given(st.integers(1, 2**20))
def test_partial_iv_is_the_shortest_form(seq: int) -> None:
    assert int.from_bytes(partial_iv(seq), "big") == seq
    assert partial_iv(seq)[0] != 0


def _acknowledge(suite: Any, epoch: Any, ack: Acknowledgement, **changes: Any) -> bytes:
    arguments = {
        "tenant": suite.tenant,
        "device": suite.device,
        "group": suite.group,
        "epoch_id": epoch.epoch_id,
        "epoch_key": epoch._key.key,
    }
    return seal_acknowledgement(ack, **(arguments | changes))


def test_an_acknowledgement_opens_in_its_epoch_only(suite: Any) -> None:
    epoch = suite.begin()
    ack = Acknowledgement(contiguous_seq=812, highest_counter=41, last_refusal=601, time=suite.now)
    assert epoch.open_acknowledgement(_acknowledge(suite, epoch, ack)) == ack
    with pytest.raises(UnknownEpochError):
        suite.begin().open_acknowledgement(_acknowledge(suite, epoch, ack))
    with pytest.raises(AeadError):
        epoch.open_acknowledgement(_acknowledge(suite, epoch, ack, epoch_key=bytes(32)))
    with pytest.raises(AeadError):
        epoch.open_acknowledgement(_acknowledge(suite, epoch, ack, group="council"))
