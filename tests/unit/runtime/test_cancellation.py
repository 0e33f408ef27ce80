import asyncio

import pytest

from runtime import cancellation
from runtime.cancellation import stoppable


async def test_work_that_ends_by_itself_ends_here_too() -> None:
    done = []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append(True)

    await stoppable(work(), name="work")
    assert done


async def test_what_work_raises_is_raised() -> None:
    async def work() -> None:
        raise OSError("lost")

    with pytest.raises(OSError, match="lost"):
        await stoppable(work(), name="work")


async def _cancel(task: asyncio.Task[None]) -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_swallows_a_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cancellation, "_ASK_AGAIN_SECONDS", 0.01)
    swallowed = 0

    async def work() -> None:
        nonlocal swallowed
        while swallowed < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.Event().wait()

    await _cancel(asyncio.create_task(stoppable(work(), name="work")))
    assert swallowed == 2


async def test_a_failure_that_comes_with_the_cancellation_does_not_count() -> None:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("lost")

    await _cancel(asyncio.create_task(stoppable(work(), name="work")))
