import asyncio

from ingest.receiving.delivery import Delivery
from ingest.receiving.inbox import Inbox


def delivery(size: int = 10) -> Delivery:
    return Delivery("city", "topic", bytes(size), retained=False, received_at=0)


async def test_deliveries_come_out_in_order() -> None:
    inbox = Inbox(10, 1000)
    deliveries = [delivery(size) for size in range(5)]
    for found in deliveries:
        inbox.put(found)
    assert inbox.take(2) + inbox.take(10) == deliveries
    assert inbox.take(1) == []


async def test_full_inbox_keeps_what_comes_and_asks_for_a_pause() -> None:
    inbox = Inbox(4, 1000)
    for _ in range(6):
        inbox.put(delivery())
    assert len(inbox) == 6
    assert inbox.full.is_set()
    assert not inbox.room.is_set()


async def test_reading_goes_on_once_half_is_worked_off() -> None:
    inbox = Inbox(4, 1000)
    for _ in range(4):
        inbox.put(delivery())
    inbox.take(1)
    assert inbox.full.is_set()
    inbox.take(1)
    assert inbox.room.is_set()
    assert not inbox.full.is_set()


async def test_bytes_are_a_limit_too() -> None:
    inbox = Inbox(100, 1000)
    inbox.put(delivery(999))
    assert not inbox.full.is_set()
    inbox.put(delivery(1))
    assert inbox.full.is_set()
    inbox.take(1)
    assert inbox.room.is_set()


async def test_arrival_ends_the_wait_and_so_does_the_time() -> None:
    inbox = Inbox(4, 1000)
    await inbox.arrived(0.001)
    asyncio.get_running_loop().call_soon(inbox.put, delivery())
    async with asyncio.timeout(5):
        await inbox.arrived(None)
    assert len(inbox) == 1
