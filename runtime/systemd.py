"""What a process tells systemd: that it is ready, how it fares, that it is alive, that it stops.

The protocol of sd_notify(3) in a few lines: datagrams to the socket named in NOTIFY_SOCKET.
Without systemd, or in a unit that is not `Type=notify`, nothing is said.

The watchdog (sd_watchdog_enabled(3)) is answered only by what is really alive. What that means
the process says by the question it gives to `attend`: one that comes back only while everything
that must move still does. A question that never comes back lets the watchdog run out, and systemd
starts the process again. Anything a restart does not cure must not hold up the answer: an agent
whose disk is full is alive, for it would be no better off after a restart, or after a thousand.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

_MICROSECONDS: Final = 1_000_000
_STATUS_SECONDS: Final = 30.0  # between two status lines where there is no watchdog
_STEP_SECONDS: Final = 60.0
_ABSTRACT: Final = "@"


def notify(*states: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send states such as "READY=1"; return whether there was somebody to tell.

    A line break in a state would begin another and becomes a space. A supervisor that does not
    listen is no reason to fail.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", _ABSTRACT)):
        return False
    if address.startswith(_ABSTRACT):
        address = "\0" + address[1:]
    message = "\n".join(state.replace("\n", " ") for state in states)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0)
        with suppress(OSError):
            sender.sendto(message.encode(), address)
            return True
    return False


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """Return the time within which systemd wants to hear from this process; None if it does not."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / _MICROSECONDS if microseconds > 0 else None


def still_working(environment: Mapping[str, str] = os.environ) -> None:
    """Say that long work gets on which holds up the answer: at the start, or to the watchdog.

    To be said again within a minute, at each step that was really done.
    """
    extended = f"EXTEND_TIMEOUT_USEC={_STEP_SECONDS * _MICROSECONDS:.0f}"
    notify("WATCHDOG=1", extended, environment=environment)


async def attend(
    answers: Callable[[], Awaitable[object]],
    status: Callable[[], str],
    *,
    environment: Mapping[str, str] = os.environ,
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Tell systemd that this process is ready, then that it is alive, until cancelled.

    answers: comes back only while the process is alive; asked twice in the watchdog's time.
    status: one line for people, shown by `systemctl status`.
    Returns at once where nobody listens. That it stops is said by `runtime.signals`: work may
    end and begin anew without it, and systemd would take it at its word.
    """
    watchdog = watchdog_seconds(environment)
    seconds = _STATUS_SECONDS if watchdog is None else watchdog / 2
    if not notify("READY=1", environment=environment):
        return
    while True:
        await answers()
        notify("WATCHDOG=1", f"STATUS={status()}", environment=environment)
        await pause(seconds)
