"""What a broker sends again is known again; what is let go comes again; memory has its bounds."""

import asyncio
import gc
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest

from edge_agent.inputs.mailboxes import (
    MOST_BYTES_OF_ONE,
    Arrived,
    Mailbox,
    Mailboxes,
    Message,
    subscription_number,
)

RECEIVED = datetime(2030, 3, 17, 20, 0, tzinfo=UTC)
WINDOW = 20


class FakeConnection:
    """Somebody who can acknowledge, while it stands."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.stands = True

    def acknowledge(self, mid: int) -> None:
        if self.stands:
            self.acknowledged.append(mid)


@pytest.fixture
def connection() -> FakeConnection:
    return FakeConnection()


@pytest.fixture
def boxes() -> Mailboxes:
    return Mailboxes(lambda: RECEIVED)


def arrived(mid: int | None = 1, **changes: Any) -> Arrived:
    values = {
        "topic": "zigbee2mqtt/lamp",
        "payload": f"message {mid}".encode(),
        "retained": False,
        "again": False,
        "mid": mid,
    }
    return Arrived(**(values | changes))


def taken(box: Mailbox) -> Message:
    message = box.take()
    assert message is not None
    return message


async def let_go() -> None:
    """Let the loop learn of messages that nobody holds any more."""
    gc.collect()
    await asyncio.sleep(0)


async def test_a_message_is_acknowledged_when_its_reader_says_so_and_once(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    with boxes.reading("zigbee2mqtt/+") as box:
        assert boxes.put(arrived(), connection, WINDOW)
        message = taken(box)
        assert (message.topic, message.payload) == ("zigbee2mqtt/lamp", b"message 1")
        assert message.received == RECEIVED
        assert connection.acknowledged == []
        message.acknowledge()
        message.acknowledge()
        assert connection.acknowledged == [1]
        assert box.take() is None


async def test_a_message_for_several_readers_waits_for_the_last(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    with boxes.reading("#") as one, boxes.reading("zigbee2mqtt/lamp") as other:
        boxes.put(arrived(), connection, WINDOW)
        taken(one).acknowledge()
        assert connection.acknowledged == []
        taken(other).acknowledge()
        assert connection.acknowledged == [1]


async def test_copies_that_come_by_one_subscription_each_go_to_its_readers_only(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    with boxes.reading("#") as one, boxes.reading("zigbee2mqtt/+") as other:
        for mid, topic_filter in ((1, "#"), (2, "zigbee2mqtt/+")):
            copy = arrived(mid, subscriptions=(subscription_number(topic_filter),))
            boxes.put(copy, connection, WINDOW)
        assert taken(one).payload == b"message 1"
        assert taken(other).payload == b"message 2"
        assert one.take() is other.take() is None


async def test_copies_for_overlapping_filters_that_tell_nothing_of_it_count_once(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    with boxes.reading("#") as one, boxes.reading("+/lamp") as other, boxes.reading("#") as third:
        for mid in (1, 2, 3, 4):
            boxes.put(arrived(mid, payload=b"ON"), connection, WINDOW)
        assert connection.acknowledged == [2, 4], "copies; their firsts wait for the disk"
        for box in (one, other, third):
            assert [taken(box).payload, taken(box).payload] == [b"ON", b"ON"]
            assert box.take() is None


async def test_a_repeated_message_without_overlapping_filters_counts_each_time(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    with boxes.reading("#") as box:
        for mid in (1, 2):
            boxes.put(arrived(mid, payload=b"ON"), connection, WINDOW)
        assert [taken(box).payload, taken(box).payload] == [b"ON", b"ON"]


async def test_a_message_that_nobody_wants_is_acknowledged(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    with boxes.reading("other/#"):
        boxes.put(arrived(3), connection, WINDOW)
        boxes.put(arrived(None), connection, WINDOW)
    assert connection.acknowledged == [3]


async def test_a_message_too_large_for_a_sensor_is_not_kept(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    with boxes.reading("#") as box:
        boxes.put(arrived(payload=bytes(MOST_BYTES_OF_ONE + 1)), connection, WINDOW)
        assert box.take() is None
    assert connection.acknowledged == [1]


async def test_a_message_sent_again_over_the_next_connection_is_not_read_twice(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    after = FakeConnection()
    with boxes.reading("#") as box:
        for mid in (1, 2, 3):
            boxes.put(arrived(mid), connection, WINDOW)
        stored, on_its_way = taken(box), taken(box)
        stored.acknowledge()  # its PUBACK is lost on the way
        connection.stands = False
        for mid in (1, 2, 3):
            boxes.put(arrived(mid, again=True), after, WINDOW)
        assert after.acknowledged == [1]
        on_its_way.acknowledge()
        assert after.acknowledged == [1, 2]
        taken(box).acknowledge()
        assert after.acknowledged == [1, 2, 3]
        assert box.take() is None


async def test_a_message_stored_between_two_connections_is_acknowledged_over_the_second(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    after = FakeConnection()
    with boxes.reading("#") as box:
        boxes.put(arrived(), connection, WINDOW)
        connection.stands = False
        taken(box).acknowledge()
        boxes.put(arrived(again=True), after, WINDOW)
        assert box.take() is None
    assert after.acknowledged == [1]


@pytest.mark.parametrize(
    "changes", [{"again": False}, {"again": True, "payload": b"another"}, {"topic": "other"}]
)
async def test_another_message_under_the_same_identifier_is_another_message(
    boxes: Mailboxes, connection: FakeConnection, changes: dict[str, Any]
) -> None:
    with boxes.reading("#") as box:
        boxes.put(arrived(), connection, WINDOW)
        taken(box).acknowledge()
        boxes.put(arrived(**changes), connection, WINDOW)
        taken(box).acknowledge()
        assert connection.acknowledged == [1, 1]


async def test_a_broker_that_forgot_the_session_sends_nothing_again(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    after = FakeConnection()
    with boxes.reading("#") as box:
        boxes.put(arrived(), connection, WINDOW)
        message = taken(box)
        boxes.forget_session()
        boxes.put(arrived(payload=b"new"), after, WINDOW)
        message.acknowledge()
        assert connection.acknowledged == after.acknowledged == []
        taken(box).acknowledge()
        assert after.acknowledged == [1]


async def test_a_message_let_go_unacknowledged_comes_again_before_later_ones(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    boxes.put(arrived(9), connection, WINDOW)
    with boxes.reading("#") as box:
        for mid in (1, 2):
            boxes.put(arrived(mid), connection, WINDOW)
        taken(box)
        await let_go()
        assert taken(box).payload == b"message 1"


async def test_what_waits_for_a_reader_that_failed_is_for_its_successor(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    with boxes.reading("#"):
        boxes.put(arrived(1), connection, WINDOW)
    boxes.put(arrived(2), connection, WINDOW)
    with boxes.reading("#") as box:
        payloads = [taken(box).payload, taken(box).payload]
    assert payloads == [b"message 1", b"message 2"]


async def test_a_message_that_fails_its_sensor_five_times_is_given_up(
    boxes: Mailboxes, connection: FakeConnection, caplog: pytest.LogCaptureFixture
) -> None:
    boxes_read = 0
    with boxes.reading("#") as box:
        boxes.put(arrived(), connection, WINDOW)
        while box.take() is not None:
            boxes_read += 1
            await let_go()
    assert boxes_read == 5
    assert connection.acknowledged == [1]
    assert [record.message for record in caplog.records] == ["message given up"]


async def test_beyond_its_bounds_what_the_broker_keeps_is_refused_and_the_rest_dropped(
    boxes: Mailboxes, connection: FakeConnection, caplog: pytest.LogCaptureFixture
) -> None:
    big = bytes(MOST_BYTES_OF_ONE)
    with boxes.reading("#") as box:
        taken_in = 0
        while boxes.put(arrived(taken_in + 1, payload=big), connection, WINDOW):
            taken_in += 1
        assert taken_in == 15
        for _ in range(3):
            assert boxes.put(arrived(None, payload=big), connection, WINDOW)
        assert boxes.dropped == 3
        assert [record.message for record in caplog.records] == ["messages without QoS dropped"]
        taken(box).acknowledge()
        assert boxes.put(arrived(99, payload=big), connection, WINDOW)


async def test_no_more_than_two_hundred_messages_are_held_however_small(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    with boxes.reading("#") as box:
        taken_in = [boxes.put(arrived(mid), connection, 300) for mid in range(1, 301)]
        assert taken_in == [True] * 200 + [False] * 100
        assert len(box.waiting) == 200


async def test_a_flood_without_qos_leaves_room_for_what_the_broker_keeps(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    """Else one noisy sensor would end the connection of all, again and again."""
    with boxes.reading("#") as box:
        for _ in range(100_000):
            assert boxes.put(arrived(None, topic="noisy"), connection, WINDOW)
        assert (len(box.waiting), boxes.dropped) == (100, 99_900)
        assert all(boxes.put(arrived(mid), connection, WINDOW) for mid in range(1, WINDOW + 1))


async def test_a_flood_of_topics_keeps_its_bounds(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    """100,000 messages, each of a topic of its own of 60 KB, by two filters that overlap."""
    tracemalloc.start()
    with boxes.reading("#"), boxes.reading("+/#"):
        for number in range(100_000):
            topic = f"{number:060000}" if number % 100 == 0 else f"{number:060}"
            boxes.put(arrived(None, topic=topic), connection, WINDOW)
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


async def test_messages_are_urgent_before_the_broker_waits_for_acknowledgements(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    with boxes.reading("#") as box:
        held = []
        for mid in range(1, WINDOW + 1):
            boxes.put(arrived(mid), connection, WINDOW)
            held.append(taken(box))
        assert [message.urgent for message in held].index(True) == WINDOW // 2 - 1


async def test_closing_waits_for_what_is_on_its_way_to_the_disk_only(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    with boxes.reading("#") as box:
        for mid in (1, 2):
            boxes.put(arrived(mid), connection, WINDOW)
        message = taken(box)
        waiting = asyncio.create_task(boxes.settled(60.0, never))
        await asyncio.sleep(0)
        assert not waiting.done()
        message.acknowledge()
        await waiting
        assert len(box.waiting) == 1


async def test_closing_does_not_wait_for_acknowledgements_that_cannot_be_sent(
    boxes: Mailboxes, connection: FakeConnection
) -> None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    with boxes.reading("#") as box:
        boxes.put(arrived(), connection, WINDOW)
        message = taken(box)
        waiting = asyncio.create_task(boxes.settled(60.0, ended))
        await asyncio.sleep(0)
        ended.set_result("the connection is lost")
        await waiting
        message.acknowledge()


def test_subscription_numbers_are_what_mqtt_allows_and_stay() -> None:
    assert subscription_number("zigbee2mqtt/+") == subscription_number("zigbee2mqtt/+")
    assert all(1 <= subscription_number(str(each)) <= 268_435_455 for each in range(1000))
