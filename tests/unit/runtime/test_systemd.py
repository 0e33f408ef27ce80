"""systemd hears from the living, and only what it asked for."""

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from runtime.systemd import attend, notify, still_working, watchdog_seconds

_ROOM: Final = 4096


@pytest.fixture(params=["a path", "an abstract name"])
def listener(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[socket.socket, Mapping[str, str]]]:
    """A socket such as systemd's, and the environment that names it."""
    name = str(tmp_path / "notify")
    shown = name if request.param == "a path" else f"@{name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(shown.replace("@", "\0"))
        bound.settimeout(0)
        yield bound, {"NOTIFY_SOCKET": shown, "WATCHDOG_USEC": "20000000"}


def test_states_are_lines_of_one_datagram(
    listener: tuple[socket.socket, Mapping[str, str]],
) -> None:
    bound, environment = listener
    assert notify("READY=1", "STATUS=two\nlines", environment=environment)
    assert bound.recv(_ROOM) == b"READY=1\nSTATUS=two lines"


@pytest.mark.parametrize(
    "environment",
    [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": "/nowhere/x"}],
)
def test_nobody_listening_is_no_failure(environment: Mapping[str, str]) -> None:
    assert not notify("READY=1", environment=environment)


def test_a_supervisor_that_reads_nothing_holds_up_nobody(
    listener: tuple[socket.socket, Mapping[str, str]],
) -> None:
    _, environment = listener
    heard = [notify("WATCHDOG=1", environment=environment) for _ in range(10_000)]
    assert heard[0]
    assert not heard[-1]


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_ours_only_if_it_names_us(
    environment: Mapping[str, str], seconds: float | None
) -> None:
    assert watchdog_seconds(environment) == seconds


def test_long_work_asks_for_time_at_each_step(
    listener: tuple[socket.socket, Mapping[str, str]],
) -> None:
    bound, environment = listener
    still_working(environment)
    assert bound.recv(_ROOM) == b"WATCHDOG=1\nEXTEND_TIMEOUT_USEC=60000000"


async def test_the_living_are_heard_twice_in_the_time_of_the_watchdog(
    listener: tuple[socket.socket, Mapping[str, str]],
) -> None:
    bound, environment = listener
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise EOFError

    async def answers() -> None:
        return

    with pytest.raises(EOFError):
        await attend(answers, lambda: "well", environment=environment, pause=pause)
    assert [bound.recv(_ROOM) for _ in range(3)] == [
        b"READY=1",
        b"WATCHDOG=1\nSTATUS=well",
        b"WATCHDOG=1\nSTATUS=well",
    ]
    assert pauses == [10.0, 10.0]


async def test_what_is_stuck_says_nothing_until_it_moves_again(
    listener: tuple[socket.socket, Mapping[str, str]],
) -> None:
    bound, environment = listener
    asked, moves = asyncio.Event(), asyncio.Event()

    async def answers() -> None:
        asked.set()
        await moves.wait()

    task = asyncio.create_task(attend(answers, lambda: "", environment=environment))
    await asked.wait()
    assert bound.recv(_ROOM) == b"READY=1"
    with pytest.raises(BlockingIOError):
        bound.recv(_ROOM)
    moves.set()
    while not task.done():
        await asyncio.sleep(0)
        try:
            assert bound.recv(_ROOM) == b"WATCHDOG=1\nSTATUS="
        except BlockingIOError:
            continue
        task.cancel()
    assert task.cancelled()


async def test_without_systemd_there_is_nothing_to_do() -> None:
    async def answers() -> None:
        raise AssertionError

    await attend(answers, lambda: "", environment={})
