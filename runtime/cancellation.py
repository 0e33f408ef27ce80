"""Stopping work that goes through libraries which may swallow a cancellation.

asyncio.wait_for of Python 3.11 loses a cancellation when what it waits for comes just then, and a
TaskGroup loses one when a child fails just then. A process that is told to stop would go on.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

_ASK_AGAIN_SECONDS: Final = 30.0  # longer than an orderly end takes, which it would interrupt


async def stoppable(work: Coroutine[Any, Any, None], *, name: str) -> None:
    """Do `work` in a task of its own, which a cancellation of ours surely ends.

    It is given time to end in order, and cancelled again if it has not; what it raises instead
    does not count.
    """
    task = asyncio.create_task(work, name=name)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_ASK_AGAIN_SECONDS)
        if not task.cancelled():
            task.exception()  # seen
        raise
    await task
