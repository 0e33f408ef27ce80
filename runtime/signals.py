"""Stopping: SIGTERM and SIGINT cancel the main task, which closes what it opened.

systemd is told, should it have asked.
"""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

from runtime.systemd import notify

INTERRUPTED = 128 + signal.SIGINT


async def run_until_stopped(main: Coroutine[Any, Any, Any]) -> int:
    """Run `main` until it returns or a signal asks it to stop; return the exit code.

    0 when it returned or was stopped by SIGTERM (a supervisor's ordinary stop), 130 when
    stopped by SIGINT. What `main` raises is raised here.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(main, name="main")
    received: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        notify("STOPPING=1")
        received.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not received:
            raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return INTERRUPTED if signal.SIGINT in received else 0
