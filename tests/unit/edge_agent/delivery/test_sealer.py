"""The sender's rules of the envelope, section 7, against the receiver's own code."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device_protocol import topics
from device_protocol.acknowledgement import Acknowledgement, seal_acknowledgement
from device_protocol.errors import AeadError, UnknownEpochError
from device_protocol.keys import RecipientKey, SigningKey, VerifyingKey
from device_protocol.reading import Reading
from device_protocol.receiver import Announcement, Device, OpenedMessage, Receiver, Signer
from device_protocol.senml import decode_cbor
from edge_agent.clock import Clock, ClockQuality
from edge_agent.delivery.counter import EpochCounter
from edge_agent.delivery.sealer import Outgoing, Progress, Sealer
from edge_agent.settings import UplinkSettings
from edge_agent.spool.rows import HIGHEST_NUMBER, Priority, Span, Waiting
from tests.unit.edge_agent.conftest import NOW, FakeTime

PLACE = ("camden", "k7q2m9xd4t", "main")
SENSOR = "urn:dev:example:no2"


class Bench:
    """A sealer between a spool that is a list and a receiver that is real."""

    def __init__(self, tmp_path: Path, clock: Clock, **uplink: float) -> None:
        device_key = Ed25519PrivateKey.generate()
        recipient = RecipientKey.from_private(X25519PrivateKey.generate())
        signer = Signer(
            VerifyingKey.from_public(device_key.public_key()), int(NOW) - 60, int(NOW) + 604_800
        )
        device = Device(PLACE[0], PLACE[1], False, {signer.key.kid: signer})  # noqa: FBT003
        self.receiver = Receiver(devices=[device], recipients=[recipient])
        self.announcement: Announcement | None = None
        self._directory = tmp_path
        self._clock = clock
        self._settings = replace(UplinkSettings(), **uplink)
        self._begin = {
            "signer": SigningKey.from_private(device_key),
            "recipients": (recipient.public(),),
            "key_set_version": 7,
            "content_algorithm": 24,
        }
        self.sealer = self.new_sealer()

    def new_sealer(self) -> Sealer:
        """A sealer as after a restart: only what is on the disk is left."""
        return Sealer(
            tenant=PLACE[0],
            device=PLACE[1],
            group=PLACE[2],
            counter=EpochCounter(self._directory / "epoch.json", now=int(self._clock.unix())),
            clock=self._clock,
            settings=self._settings,
            description=b"\xa0",
        )

    def begin(self) -> Announcement:
        self.sealer.begin(**self._begin)  # type: ignore[arg-type]
        accepted = self.receiver.receive(
            topics.announcement(*PLACE),
            self.sealer.announcement,
            retained=True,
            now=int(self._clock.unix()),
        )
        assert isinstance(accepted, Announcement)
        self.announcement = accepted
        return accepted

    def unsealed(self) -> int:
        """The number of the first NORMAL row that is still to be sealed."""
        return self.sealer.lanes.live()[0].first

    def describe(self) -> None:
        outgoing = self.sealer.seal_description()
        self.acknowledge(outgoing.seq)

    def open(self, outgoing: Outgoing) -> OpenedMessage:
        opened = self.receiver.receive(
            topics.data(*PLACE), outgoing.message, retained=False, now=int(self._clock.unix())
        )
        assert isinstance(opened, OpenedMessage)
        return opened

    def acknowledgement(self, contiguous: int, *, counter: int | None = None) -> bytes:
        assert self.announcement is not None
        epoch = self.announcement.epoch
        return seal_acknowledgement(
            Acknowledgement(contiguous, counter or epoch.counter, 0, int(self._clock.unix())),
            tenant=PLACE[0],
            device=PLACE[1],
            group=PLACE[2],
            epoch_id=epoch.epoch_id,
            epoch_key=epoch.key,
        )

    def acknowledge(self, contiguous: int) -> Progress:
        return self.sealer.acknowledge(self.acknowledgement(contiguous))


@pytest.fixture
def bench(tmp_path: Path, clock: Clock) -> Bench:
    return Bench(tmp_path, clock)


@pytest.fixture
def make_bench(tmp_path: Path, clock: Clock) -> Callable[..., Bench]:
    return lambda **uplink: Bench(tmp_path, clock, **uplink)


def waiting(
    numbers: Sequence[int], priority: Priority = Priority.NORMAL, result: float | str = 1.0
) -> list[Waiting]:
    begin = datetime(2030, 3, 17, tzinfo=UTC)
    return [
        Waiting(
            priority,
            number,
            Reading(
                sensor=SENSOR,
                name="no2",
                phenomenon_time=begin + timedelta(seconds=number),
                result=result,
                unit="ug/m3",
            ),
        )
        for number in numbers
    ]


def test_counter_is_on_the_disk_before_the_announcement_exists(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_before: list[str] = []

    def begin(**_: object) -> None:
        stored_before.append((tmp_path / "epoch.json").read_text())
        raise KeyboardInterrupt

    monkeypatch.setattr("edge_agent.delivery.sealer.Epoch.begin", begin)
    with pytest.raises(KeyboardInterrupt):
        bench.begin()
    assert '"counter": 1' in stored_before[0]
    assert bench.sealer.announcement == b""


def test_a_restart_begins_a_new_epoch_with_a_higher_counter(bench: Bench) -> None:
    first = bench.begin()
    assert bench.sealer.ended() is None
    bench.sealer = bench.new_sealer()
    assert bench.sealer.ended() == "start"
    second = bench.begin()
    assert second.epoch.counter == first.epoch.counter + 1
    assert second.epoch.key != first.epoch.key
    assert second.previous is None  # how a killed process's epoch ended, nobody knows


def test_an_orderly_end_is_told_in_the_next_announcement(bench: Bench) -> None:
    bench.begin()
    bench.describe()
    bench.sealer.seal_readings(waiting([1, 2]))
    bench.sealer.close()
    bench.sealer = bench.new_sealer()
    assert bench.begin().previous == (1, 2)


def test_a_failed_store_of_the_counter_begins_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("edge_agent.delivery.counter.write_durably", full)
    with pytest.raises(OSError, match="disk full"):
        bench.begin()
    assert bench.sealer.announcement == b""
    assert bench.sealer.ended() == "start"


def test_the_description_goes_before_any_reading(bench: Bench) -> None:
    bench.begin()
    assert bench.sealer.must_describe
    outgoing = bench.sealer.seal_description()
    assert bench.open(outgoing).content_format == 60
    assert not bench.sealer.must_describe
    assert not bench.sealer.described
    bench.acknowledge(outgoing.seq)
    assert bench.sealer.described


def test_a_description_that_was_not_acknowledged_is_sealed_again_in_the_next_epoch(
    bench: Bench,
) -> None:
    bench.begin()
    bench.sealer.seal_description()
    bench.sealer.end("key set")
    bench.begin()
    assert bench.sealer.must_describe


def test_readings_arrive_whole_and_are_released_by_what_is_acknowledged(bench: Bench) -> None:
    bench.begin()
    bench.describe()
    first = bench.sealer.seal_readings(waiting([1, 2, 3]))
    second = bench.sealer.seal_readings(waiting([4, 5]))
    records = decode_cbor(bench.open(first).payload)
    assert [record.name for record in records] == [f"{SENSOR}:no2"] * 3
    assert bench.acknowledge(first.seq).released == (Span(Priority.NORMAL, 1, 3),)
    assert list(bench.sealer.outstanding) == [second.seq]
    assert bench.acknowledge(first.seq).released == ()
    assert bench.acknowledge(second.seq).released == (Span(Priority.NORMAL, 4, 5),)


def test_a_message_of_two_priorities_releases_both(bench: Bench) -> None:
    bench.begin()
    bench.describe()
    outgoing = bench.sealer.seal_readings([*waiting([9], Priority.ALARM), *waiting([3, 4])])
    assert bench.acknowledge(outgoing.seq).released == (
        Span(Priority.ALARM, 9, 9),
        Span(Priority.NORMAL, 3, 4),
    )
    assert bench.sealer.lanes.alarms() == [Span(Priority.ALARM, 10, HIGHEST_NUMBER)]
    assert bench.unsealed() == 5


def test_a_forged_or_foreign_acknowledgement_releases_nothing(bench: Bench) -> None:
    bench.begin()
    old = bench.acknowledgement(1)
    bench.describe()
    outgoing = bench.sealer.seal_readings(waiting([1]))
    forged = bytearray(bench.acknowledgement(outgoing.seq))
    forged[-1] ^= 1
    with pytest.raises(AeadError):
        bench.sealer.acknowledge(bytes(forged))
    bench.sealer.end("key set")
    bench.begin()
    with pytest.raises(UnknownEpochError):
        bench.sealer.acknowledge(old)


def test_outstanding_bytes_stay_the_same_within_an_epoch(bench: Bench) -> None:
    bench.begin()
    bench.describe()
    outgoing = bench.sealer.seal_readings(waiting([1, 2]))
    before = (bench.sealer.announcement, outgoing.message)
    bench.sealer.repeated()
    assert (bench.sealer.announcement, bench.sealer.outstanding[outgoing.seq].message) == before


def test_a_new_epoch_takes_outstanding_readings_from_the_spool_again(bench: Bench) -> None:
    bench.begin()
    bench.describe()
    acknowledged = bench.sealer.seal_readings(waiting([1, 2]))
    bench.sealer.seal_readings(waiting([3, 4]))
    bench.acknowledge(acknowledged.seq)
    bench.sealer.end("key set")
    bench.begin()
    assert bench.unsealed() == 3
    assert bench.sealer.outstanding == {}


@pytest.mark.parametrize("reason", ["expired", "exhausted"])
def test_an_epoch_ends_at_its_expiry_or_when_exhausted(
    bench: Bench, fake_time: FakeTime, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    accepted = bench.begin()
    if reason == "expired":
        fake_time.advance(accepted.expires_at - accepted.issued_at - 16)
        assert bench.sealer.ended() is None
        fake_time.advance(1)
    else:
        monkeypatch.setattr("device_protocol.epoch.MAX_SEQ", 1)
        bench.sealer.seal_description()
    assert bench.sealer.ended() == reason


def test_an_epoch_announced_by_an_unset_clock_ends_once_it_is_set(
    bench: Bench, fake_time: FakeTime
) -> None:
    fake_time.quality, fake_time.wall = ClockQuality.NONE, NOW + 7200
    assert bench.begin().clock == ClockQuality.NONE
    fake_time.advance(60)
    assert bench.sealer.ended() is None
    fake_time.wall, fake_time.quality = NOW + 3600, ClockQuality.NETWORK
    assert bench.sealer.ended() == "clock set"
    assert bench.begin().clock == ClockQuality.NETWORK
    assert bench.sealer.ended() is None


def test_expiry_is_by_the_monotonic_clock(bench: Bench, fake_time: FakeTime) -> None:
    bench.begin()
    fake_time.wall += 86_400
    assert bench.sealer.ended() is None


def test_a_batch_is_at_most_so_many_readings(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(batch_readings=5)
    bench.begin()
    outgoing = bench.sealer.seal_readings(waiting(range(1, 9)))
    assert outgoing.readings == 5
    assert bench.unsealed() == 6


def test_a_batch_stays_about_its_size_and_takes_at_least_one_reading(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(batch_bytes=1000)
    bench.begin()
    outgoing = bench.sealer.seal_readings(waiting(range(1, 101), result="x" * 50))
    assert 5 < outgoing.readings < 20
    assert len(bench.open(outgoing).payload) <= 1000
    large = bench.sealer.seal_readings(waiting([101], result="x" * 2000))
    assert large.readings == 1


def test_the_window_closes_and_opens(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(window_messages=2)
    bench.begin()
    bench.describe()
    bench.sealer.seal_readings(waiting([1]))
    assert bench.sealer.has_room
    last = bench.sealer.seal_readings(waiting([2]))
    assert not bench.sealer.has_room
    bench.acknowledge(last.seq)
    assert bench.sealer.has_room


def test_silence_is_broken_by_an_empty_batch(bench: Bench, fake_time: FakeTime) -> None:
    bench.begin()
    bench.describe()
    fake_time.advance(899)
    assert not bench.sealer.heartbeat_due()
    assert bench.sealer.seconds_until_due() == pytest.approx(1)
    fake_time.advance(1)
    assert bench.sealer.heartbeat_due()
    heartbeat = bench.sealer.seal_heartbeat()
    assert decode_cbor(bench.open(heartbeat).payload) == []
    assert not bench.sealer.heartbeat_due()


def test_missing_acknowledgements_are_met_with_growing_patience(
    bench: Bench, fake_time: FakeTime
) -> None:
    bench.begin()
    bench.describe()
    bench.sealer.seal_readings(waiting([1]))
    waits = []
    for _ in range(6):
        wait = bench.sealer.seconds_until_repetition()
        waits.append(wait)
        fake_time.advance(wait - 1)
        assert not bench.sealer.repetition_due()
        fake_time.advance(1)
        assert bench.sealer.repetition_due()
        bench.sealer.repeated()
    assert waits == [60, 120, 240, 480, 900, 900]
    second = bench.sealer.seal_readings(waiting([2]))
    bench.acknowledge(second.seq)
    bench.sealer.seal_readings(waiting([3]))
    assert bench.sealer.seconds_until_repetition() == 60


def test_nothing_outstanding_nothing_repeated(bench: Bench, fake_time: FakeTime) -> None:
    bench.begin()
    bench.describe()
    fake_time.advance(1000)
    assert not bench.sealer.repetition_due()


def test_an_epoch_that_was_never_acknowledged_gives_way_to_ever_higher_counters(
    bench: Bench, fake_time: FakeTime
) -> None:
    counters = []
    for _ in range(3):
        counters.append(bench.begin().epoch.counter)
        bench.sealer.seal_description()
        while bench.sealer.ended() is None:
            fake_time.advance(bench.sealer.seconds_until_repetition())
            bench.sealer.repeated()
            assert bench.sealer.ended() in (None, "never acknowledged", "expired")
    assert counters == [1, 17, 273]
    bench.begin()
    bench.describe()
    bench.sealer.end("key set")
    assert bench.begin().epoch.counter == counters[-1] + 16**3 + 1


def test_an_epoch_acknowledged_once_waits_for_the_centre(bench: Bench, fake_time: FakeTime) -> None:
    bench.begin()
    bench.describe()
    bench.sealer.seal_readings(waiting([1]))
    for _ in range(5):
        bench.sealer.repeated()
    assert bench.sealer.ended() is None


def test_a_higher_counter_at_the_centre_is_followed_and_raises_the_alarm(bench: Bench) -> None:
    bench.begin()
    bench.sealer.acknowledge(bench.acknowledgement(0, counter=41))
    assert bench.sealer.rolled_back
    assert bench.sealer.ended() == "counter behind"
    assert bench.begin().epoch.counter == 42


def test_a_damaged_counter_file_never_lowers_the_counter(bench: Bench, tmp_path: Path) -> None:
    bench.begin()
    (tmp_path / "epoch.json").write_bytes(b"\0\0\0")
    bench.sealer = bench.new_sealer()
    assert bench.begin().epoch.counter == int(NOW) + 1
