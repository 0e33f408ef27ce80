"""Several processes of ingest, kept running: started, started again, and stopped together.

Each is this program with `--share` and `--worker`; when to start one again is `supervision`'s
business. None outlives the supervisor: a child asks the kernel for SIGTERM when its parent ends.
"""

import asyncio
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from ingest.workers.shares import Child
from ingest.workers.supervision import Restarts, ends_all

log = logging.getLogger(__name__)

PARENT: Final = "KERBSTONE_SUPERVISOR"
"""Environment variable that tells a child the process id it must not outlive."""

_PR_SET_PDEATHSIG: Final = 1
_STOP_SECONDS: Final = 30.0  # for a last COMMIT and the brokers' farewells


class MisusedError(Exception):
    """A child said that its settings, files or database are not what they should be."""


async def supervise(children: Sequence[Child], command: Sequence[str]) -> None:
    """Keep all children running until cancelled; `command` starts one, with its name added.

    Raises:
        MisusedError: starting again would be of no use.
    """
    log.info("ingest divided", extra={"processes": [str(child) for child in children]})
    try:
        async with asyncio.TaskGroup() as tasks:
            for child in children:
                tasks.create_task(_keep(child, command), name=f"keep {child}")
    except* MisusedError as misused:
        raise MisusedError(str(misused.exceptions[0])) from None


def follow_parent(environment: Mapping[str, str] = os.environ) -> None:
    """Ask to be stopped when the supervisor ends, however it does."""
    parent = environment.get(PARENT)
    if parent is None:
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it ended before we asked
        os.kill(os.getpid(), signal.SIGTERM)


async def _keep(child: Child, command: Sequence[str]) -> None:
    restarts = Restarts()
    while True:
        began = time.monotonic()
        code = await _run(child, command)
        if ends_all(code):
            raise MisusedError(f"{child} cannot run: its message is above")
        wait = restarts.ended(time.monotonic() - began)
        log.warning(
            "process ended, starts again",
            extra={"child": str(child), "exit_code": code, "in_seconds": wait},
        )
        await asyncio.sleep(wait)


async def _run(child: Child, command: Sequence[str]) -> int:
    """Run a child to its end, or to ours; return its exit code."""
    which = ["--worker", str(child.worker)] + (["--share", child.share] if child.share else [])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(["-P"] if sys.flags.safe_path else []),
        *command,
        *which,
        stdin=asyncio.subprocess.DEVNULL,
        env=os.environ | {PARENT: str(os.getpid())},
        start_new_session=True,  # Ctrl-C reaches us alone, and we pass it on
    )
    log.info("process started", extra={"child": str(child), "pid": process.pid})
    try:
        return await process.wait()
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
