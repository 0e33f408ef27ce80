"""What a receiver accepts. What it refuses, and which check decides: `test_receiver_order.py`."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_protocol import cbor, cose, topics
from device_protocol.errors import (
    AeadError,
    AlgorithmError,
    ContentFormatError,
    DuplicateError,
    EpochClosedError,
    RejectionError,
    SignerError,
    TopicError,
    UnknownEpochError,
    UnwrapError,
)
from device_protocol.keys import VerifyingKey
from device_protocol.receiver import (
    Announcement,
    Device,
    OpenedMessage,
    Policy,
    Receiver,
    Signer,
    open_data,
    outer_headers,
)

quickly = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def _announce(receiver: Any, suite: Any, epoch: Any, now: int | None = None) -> Announcement:
    accepted = receiver.receive(
        suite.announcement_topic, epoch.announcement, retained=True, now=now or suite.now
    )
    assert isinstance(accepted, Announcement)
    return accepted


def _deliver(receiver: Any, suite: Any, message: bytes, now: int | None = None) -> OpenedMessage:
    opened = receiver.receive(suite.data_topic, message, retained=False, now=now or suite.now)
    assert isinstance(opened, OpenedMessage)
    return opened


def test_announcement_says_what_the_gateway_said(suite: Any) -> None:
    epoch = suite.begin(counter=41, previous=(40, 812), lifetime_seconds=900)
    accepted = _announce(suite.receiver(), suite, epoch)
    assert accepted.epoch.epoch_id == epoch.epoch_id
    assert accepted.epoch.counter == 41
    assert accepted.epoch.content_algorithm == suite.content_algorithm
    assert accepted.epoch.closes_at == suite.now + 900 + 604_800
    assert accepted.previous == (40, 812)
    assert (accepted.issued_at, accepted.expires_at) == (suite.now, suite.now + 900)
    assert (accepted.clock, accepted.key_set_version) == (2, 7)
    assert accepted.signer_kid == suite.signer.kid


def test_what_is_sealed_is_what_is_opened(suite: Any) -> None:
    receiver, epoch = suite.receiver(), suite.begin()
    _announce(receiver, suite, epoch)

    @quickly
    @given(st.binary(max_size=2000), st.sampled_from([60, 112]))
    def check(payload: bytes, content_format: int) -> None:
        sealed = epoch.seal(payload, content_format)
        opened = _deliver(receiver, suite, sealed.message)
        assert opened.payload == payload
        assert opened.content_format == content_format
        assert (opened.epoch_id, opened.seq) == (epoch.epoch_id, sealed.seq)
        assert opened.signer_kid == suite.signer.kid

    check()


def test_either_content_algorithm_serves_either_suite(suite: Any) -> None:
    for counter, algorithm in enumerate((cose.CHACHA20_POLY1305, cose.A256GCM), start=1):
        receiver = suite.receiver()
        epoch = suite.begin(counter=counter, content_algorithm=algorithm)
        _announce(receiver, suite, epoch)
        assert _deliver(receiver, suite, epoch.seal(b"x", 112).message).payload == b"x"


def test_signed_object_is_evidence_without_the_epoch_key(suite: Any) -> None:
    receiver, epoch = suite.receiver(), suite.begin()
    _announce(receiver, suite, epoch)
    opened = _deliver(receiver, suite, epoch.seal(b"x", 112).message)
    signed = cose.decode_sign1(opened.signed, tagged=False)
    assert signed.payload == b"x"


def test_any_flipped_bit_of_data_is_refused(suite: Any) -> None:
    receiver, epoch = suite.receiver(), suite.begin()
    _announce(receiver, suite, epoch)
    message = epoch.seal(b"\x81\xa1\x02\x18\x2a", 112).message

    @given(st.integers(0, 8 * len(message) - 1))
    def check(flipped: int) -> None:
        with pytest.raises(RejectionError) as refusal:
            _deliver(receiver, suite, _flip(message, flipped))
        assert refusal.value.code in {101, 102, 300, 400, 401, 403, 503}

    check()
    assert _deliver(receiver, suite, message).seq == 1


def test_any_flipped_bit_of_an_announcement_is_refused(suite: Any) -> None:
    receiver, epoch = suite.receiver(), suite.begin()

    @given(st.integers(0, 8 * len(epoch.announcement) - 1))
    def check(flipped: int) -> None:
        with pytest.raises(RejectionError) as refusal:
            receiver.receive(
                suite.announcement_topic,
                _flip(epoch.announcement, flipped),
                retained=False,
                now=suite.now,
            )
        assert refusal.value.code in {101, 102, 203, 400, 402}

    check()
    _announce(receiver, suite, epoch)


@pytest.mark.parametrize("kind", ["announcement_topic", "data_topic"])
def test_random_bytes_raise_nothing_but_a_refusal(suite: Any, kind: str) -> None:
    receiver = suite.receiver()

    @quickly
    @given(st.binary(max_size=200))
    def check(message: bytes) -> None:
        with pytest.raises(RejectionError):
            receiver.receive(getattr(suite, kind), message, retained=False, now=suite.now)

    check()


def test_damaged_copies_of_real_messages_raise_nothing_but_a_refusal(suite: Any) -> None:
    receiver, epoch = suite.receiver(), suite.begin()
    _announce(receiver, suite, epoch)
    messages = [epoch.announcement, epoch.seal(b"x", 112).message]

    @quickly
    @given(
        st.sampled_from(messages), st.integers(0, 1000), st.integers(0, 40), st.binary(max_size=8)
    )
    def check(message: bytes, begin: int, length: int, inserted: bytes) -> None:
        damaged = message[:begin] + inserted + message[begin + length :]
        if damaged in messages:
            return
        for topic in (suite.announcement_topic, suite.data_topic):
            with pytest.raises(RejectionError):
                receiver.receive(topic, damaged, retained=False, now=suite.now)

    check()


def test_announcement_of_one_gateway_is_not_anothers(suite: Any) -> None:
    other = Device(suite.tenant, "p3w8e5ra2c", revoked=False, signers={})
    receiver = Receiver(devices=[suite.registered(), other], recipients=[suite.recipient])
    with pytest.raises(SignerError):
        receiver.receive(
            topics.announcement(other.tenant, other.device, suite.group),
            suite.begin().announcement,
            retained=False,
            now=suite.now,
        )


def test_data_before_its_announcement_waits(suite: Any) -> None:
    receiver, epoch = suite.receiver(), suite.begin()
    message = epoch.seal(b"x", 112).message
    with pytest.raises(UnknownEpochError):
        _deliver(receiver, suite, message)
    _announce(receiver, suite, epoch)
    assert _deliver(receiver, suite, message).payload == b"x"


def test_announcement_again_byte_for_byte_is_a_duplicate(suite: Any) -> None:
    receiver, epoch = suite.receiver(), suite.begin()
    _announce(receiver, suite, epoch)
    epoch.seal(b"x", 112)
    with pytest.raises(DuplicateError):
        _announce(receiver, suite, epoch)
    assert _deliver(receiver, suite, epoch.seal(b"y", 112).message).seq == 2


def test_announcement_that_cannot_be_unwrapped_leaves_no_trace(suite: Any) -> None:
    receiver = suite.receiver()
    counterfeit = type(suite.recipient.public())(suite.stranger._key.public_key())
    counterfeit.kid = suite.recipient.kid  # wrapped to another key under this one's name
    with pytest.raises(UnwrapError):
        _announce(receiver, suite, suite.begin(recipients=[counterfeit]))
    _announce(receiver, suite, suite.begin())


def test_without_a_clock_an_epoch_closes_by_the_time_of_receipt(suite: Any) -> None:
    receiver = suite.receiver()
    epoch = suite.begin(clock=0, issued_at=86_400, lifetime_seconds=600)
    closes_at = _announce(receiver, suite, epoch).epoch.closes_at
    assert closes_at == suite.now + 600 + 604_800
    _deliver(receiver, suite, epoch.seal(b"x", 112).message, now=closes_at)
    with pytest.raises(EpochClosedError):
        _deliver(receiver, suite, epoch.seal(b"x", 112).message, now=closes_at + 1)


@pytest.mark.parametrize("ahead", [300, 0, -604_800])
def test_clock_may_be_ahead_by_300_s_and_behind_by_the_longest_delay(
    suite: Any, ahead: int
) -> None:
    _announce(suite.receiver(), suite, suite.begin(issued_at=suite.now + ahead))


def test_signers_window_reaches_from_its_beginning_to_its_end_and_the_longest_delay(
    suite: Any,
) -> None:
    key = VerifyingKey.from_cose_key(suite.signer.cose_key)
    for window in ((suite.now, suite.now), (0, suite.now - 604_800)):
        signers = {key.kid: Signer(key, *window)}
        device = Device(suite.tenant, suite.device, revoked=False, signers=signers)
        receiver = Receiver(devices=[device], recipients=[suite.recipient])
        _announce(receiver, suite, suite.begin())


def test_the_last_sequence_number_of_an_epoch_is_accepted(suite: Any) -> None:
    receiver, epoch = suite.receiver(), suite.begin()
    _announce(receiver, suite, epoch)
    epoch.last_seq = 2**20 - 1
    assert _deliver(receiver, suite, epoch.seal(b"x", 112).message).seq == 2**20


def test_each_group_has_its_own_epochs_and_counters(suite: Any) -> None:
    receiver = suite.receiver()
    for group in ("main", "council"):
        epoch = suite.begin(group=group)
        receiver.receive(
            topics.announcement(suite.tenant, suite.device, group),
            epoch.announcement,
            retained=False,
            now=suite.now,
        )
        message = epoch.seal(b"x", 112).message
        elsewhere = "council" if group == "main" else "main"
        with pytest.raises(UnknownEpochError):
            receiver.receive(
                topics.data(suite.tenant, suite.device, elsewhere),
                message,
                retained=False,
                now=suite.now,
            )


def test_epoch_key_under_another_group_fails_at_the_tag(suite: Any) -> None:
    receiver, epoch = suite.receiver(), suite.begin()
    _announce(receiver, suite, epoch)
    # The same epoch known to another group, as if the receiver had mixed them up.
    state = receiver._channels[suite.tenant, suite.device, "main"]
    receiver._channels[suite.tenant, suite.device, "other"] = state
    with pytest.raises(AeadError):
        receiver.receive(
            topics.data(suite.tenant, suite.device, "other"),
            epoch.seal(b"x", 112).message,
            retained=False,
            now=suite.now,
        )


def test_tenant_decides_algorithms_and_formats(suite: Any) -> None:
    narrow = Policy(
        content_algorithms=frozenset({suite.content_algorithm}), content_formats=frozenset({112})
    )
    receiver = suite.receiver(narrow)
    other = ({cose.CHACHA20_POLY1305, cose.A256GCM} - {suite.content_algorithm}).pop()
    with pytest.raises(AlgorithmError):
        _announce(receiver, suite, suite.begin(content_algorithm=other))
    epoch = suite.begin()
    _announce(receiver, suite, epoch)
    with pytest.raises(ContentFormatError):
        _deliver(receiver, suite, epoch.seal(b"x", 60).message)
    unsigned = suite.receiver(Policy(signature_algorithms=frozenset()))
    with pytest.raises(AlgorithmError):
        _announce(unsigned, suite, suite.begin())


@pytest.mark.parametrize("topic", ["snaas/1/bristol/k7q2m9xd4t/a/main", "snaas/1/bristol/r"])
def test_what_is_not_for_a_receiver_is_refused(suite: Any, topic: str) -> None:
    with pytest.raises(TopicError):
        suite.receiver().receive(topic, b"", retained=False, now=suite.now)


def test_first_message_of_an_epoch_needs_no_window(suite: Any) -> None:
    epoch = suite.begin()
    accepted = _announce(suite.receiver(), suite, epoch)
    opened = open_data(
        topics.parse(suite.data_topic),
        epoch.seal(b"x", 112).message,
        retained=False,
        devices={(suite.tenant, suite.device): suite.registered()},
        epochs={epoch.epoch_id: accepted.epoch},
        windows={},
        policy=Policy(),
        now=suite.now,
    )
    assert opened.seq == 1


def test_printing_an_epoch_shows_no_key(suite: Any) -> None:
    accepted = _announce(suite.receiver(), suite, suite.begin())
    shown = repr(accepted)
    assert repr(accepted.epoch.key) not in shown
    assert repr(accepted.epoch.base_iv) not in shown


def _headers_as_any_cbor(protected: bytes) -> tuple[int, bytes, bytes]:
    outer = cbor.fields(cose.protected_headers(protected), (1, 4, 6))
    return cbor.integer(outer[1]), cbor.octets(outer[4], 8), cbor.octets(outer[6])


def _either(take: Any, *arguments: Any) -> object:
    try:
        return take(*arguments)
    except RejectionError as error:
        return type(error), str(error)


@given(
    st.sampled_from((3, 24, 25, -9, 256)),
    st.binary(min_size=8, max_size=8) | st.binary(max_size=10),
    st.binary(max_size=7),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 255)), max_size=2),
    st.binary(max_size=2),
)
def test_outer_headers_are_read_like_any_cbor(
    algorithm: int, epoch_id: bytes, iv: bytes, damage: list[tuple[int, int]], tail: bytes
) -> None:
    """Also where a shorter way is taken: the same values, or the same refusal."""
    whole = cbor.encode({1: algorithm, 4: epoch_id, 6: iv})
    changed = bytearray(whole)
    for at, byte in damage:
        changed[at % len(changed)] = byte
    for protected in (whole, bytes(changed) + tail, whole[: -len(tail) - 1]):
        found = _either(outer_headers, protected)
        assert found == _either(_headers_as_any_cbor, protected)


def _flip(message: bytes, bit: int) -> bytes:
    flipped = bytearray(message)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)
