"""Faults as they are done to a running city, and undone; and whatever ends by itself, revived.

Which come when is `schedule`'s business. Everything here may be done twice without harm.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import psycopg

from broker_config.embedded import BrokerError
from command_line.progress import say
from storage.programs import EmbeddedDatabaseError
from tests.chaos.city import Running
from tests.chaos.processes import children_of, title_of
from tests.chaos.schedule import BROKER, DATABASE, Fault, Kind
from tests.simulators.bent_network import Bend, Weather

_LOOK_SECONDS: Final = 0.5
_START_SECONDS: Final = 120.0
_BENDS: Final = {
    Kind.CUT: Bend.CUT,
    Kind.DELAY: Bend.DELAYED,
    Kind.SWALLOW: Bend.SWALLOWED,
    Kind.SLOW: Bend.SLOW,
}


class Breaker:
    """Does faults to a city.

    now: the faults that are on. revived: what ended by itself, in words.
    """

    def __init__(self, city: Running) -> None:
        self.now: list[Fault] = []
        self.revived: list[str] = []
        self._city = city
        self._database = asyncio.Lock()
        self._wanted = {BROKER: True, DATABASE: True}
        self._paused: list[int] = []

    async def run(self, faults: Iterable[Fault], begun: float) -> None:
        """Do all faults at their time; return when the last is over. begun: by the loop's clock."""
        clock = asyncio.get_running_loop().time
        async with asyncio.TaskGroup() as tasks:
            for fault in faults:
                await asyncio.sleep(max(0.0, begun + fault.at - clock()))
                tasks.create_task(self._do(fault, begun), name=str(fault))

    async def _do(self, fault: Fault, begun: float) -> None:
        self.now.append(fault)
        await self.begin(fault)
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(max(0.0, begun + fault.ends - clock()))
        await self.end(fault)
        self.now.remove(fault)

    async def begin(self, fault: Fault) -> None:
        """Break what the fault breaks."""
        if fault.kind in _BENDS:
            weather = Weather(
                _BENDS[fault.kind], delay_seconds=fault.amount, bytes_per_second=fault.amount
            )
            await asyncio.to_thread(self._city.network.links[fault.target].bend, weather)
        elif fault.kind is Kind.FULL:
            await asyncio.to_thread(self._city.disks[fault.target].fill)
        elif fault.kind is Kind.CLOCK:
            self._city.clock_file.write_text(f"{fault.amount:+.0f}\n")
        elif fault.target in (BROKER, DATABASE):
            await (self._break_broker if fault.target == BROKER else self._break_database)(fault)
        elif fault.kind is Kind.KILL:
            await asyncio.to_thread(self._kill, fault)
        else:
            self._signal(fault.target, signal.SIGSTOP)

    async def end(self, fault: Fault) -> None:
        """Undo it."""
        if fault.kind in _BENDS:
            await asyncio.to_thread(self._city.network.links[fault.target].mend)
        elif fault.kind is Kind.FULL:
            await asyncio.to_thread(self._city.disks[fault.target].free)
        elif fault.kind is Kind.CLOCK:
            self._city.clock_file.write_text("+0\n")
        elif fault.target == BROKER:
            await self._mend_broker()
        elif fault.target == DATABASE:
            await self._mend_database()
        elif fault.kind is Kind.KILL:
            if fault.target in self._city.processes:
                self._city.processes[fault.target].start()
        else:
            self._signal(fault.target, signal.SIGCONT)

    async def watch(self) -> None:
        """Start again whatever has ended by itself, as a service manager would, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for process in self._city.processes.values():
                status = process.revive()
                if status is not None:
                    self._note(f"{process.name} ended by itself with status {status}")
            if self._wanted[BROKER] and _has_ended(self._city.broker):
                self._note("the broker ended by itself")
                await self._mend_broker()
            if self._wanted[DATABASE] and _has_ended(self._city.database):
                self._note("the database ended by itself")
                await self._mend_database()

    async def mend_all(self) -> None:
        """Undo whatever may be on, and see that everything runs."""
        for fault in tuple(self.now):
            await self.end(fault)
        for process in self._city.processes.values():
            process.start()
        await self._mend_broker()
        await self._mend_database()

    async def let_go(self) -> None:
        """Undo only what would keep something from being stopped; nothing is started again."""
        for disk in self._city.disks.values():
            await asyncio.to_thread(disk.free)
        for link in self._city.network.links.values():
            await asyncio.to_thread(link.mend)
        for target in self._city.processes:
            self._signal(target, signal.SIGCONT)
        with contextlib.suppress(BrokerError):
            _send(self._city.broker.pid, signal.SIGCONT)
        self._continue_database()

    def _continue_database(self) -> None:
        for pid in reversed(self._paused):
            _send(pid, signal.SIGCONT)
        self._paused = []

    def _note(self, what: str) -> None:
        if what not in self.revived:  # else one that never comes up would fill the screen
            say(f"  {what}; started again")
        self.revived.append(what)

    def _kill(self, fault: Fault) -> None:
        if fault.target in self._city.processes:
            self._city.processes[fault.target].kill()
            return
        for pid in self._worker(fault.target):
            _send(pid, signal.SIGKILL)  # whose parent is to start another

    def _signal(self, target: str, number: signal.Signals) -> None:
        if target in self._city.processes:
            self._city.processes[target].send(number)
            return
        for pid in self._worker(target):
            _send(pid, number)

    def _worker(self, target: str) -> list[int]:
        """Return the process of a worker of ingest, told by its number."""
        number = target.rpartition(" ")[2]
        children = children_of(self._city.processes["ingest"].pid)
        return [pid for pid in children if f"--worker {number}" in title_of(pid)]

    async def _break_broker(self, fault: Fault) -> None:
        broker = self._city.broker
        if fault.kind is Kind.PAUSE:
            with contextlib.suppress(BrokerError):
                _send(broker.pid, signal.SIGSTOP)
            return
        self._wanted[BROKER] = False
        await asyncio.to_thread(broker.kill)
        if fault.kind is Kind.WIPE:
            shutil.rmtree(broker.paths.data, ignore_errors=True)
            broker.paths.data.mkdir(parents=True)

    async def _mend_broker(self) -> None:
        broker = self._city.broker
        if _has_ended(broker):
            await _tried(lambda: asyncio.to_thread(broker.restart), BrokerError)
        with contextlib.suppress(BrokerError):
            _send(broker.pid, signal.SIGCONT)
        self._wanted[BROKER] = True

    async def _break_database(self, fault: Fault) -> None:
        database = self._city.database
        if fault.kind is Kind.PAUSE:
            self._paused = [database.pid, *children_of(database.pid)]
            for pid in self._paused:
                _send(pid, signal.SIGSTOP)
        elif fault.kind is Kind.BACKEND:
            sessions = [pid for pid in children_of(database.pid) if "kerbstone" in title_of(pid)]
            if sessions:
                _send(random.Random(fault.at).choice(sessions), signal.SIGKILL)  # noqa: S311
        else:
            self._wanted[DATABASE] = False
            async with self._database:
                end = database.stop if fault.kind is Kind.RESTART else database.kill
                await asyncio.to_thread(end)

    async def _mend_database(self) -> None:
        self._continue_database()
        async with self._database:
            if _has_ended(self._city.database):
                starting = self._city.start_database
                failures = (EmbeddedDatabaseError, OSError, psycopg.Error)
                await _tried(lambda: asyncio.to_thread(starting), *failures)
        self._wanted[DATABASE] = True


async def _tried(work: Callable[[], Awaitable[None]], *failures: type[Exception]) -> None:
    """Do something until it succeeds, as long as it may take for a disk to have room again.

    Raises:
        Exception: of `failures`, the last one.
    """
    last, clock = "", asyncio.get_running_loop().time
    gives_up = clock() + _START_SECONDS
    while True:
        try:
            await work()
        except failures as error:
            if clock() > gives_up:
                raise
            if str(error) != last:
                last = str(error)
                say(f"  not started yet: {last.splitlines()[-1]}")
            await asyncio.sleep(1)
        else:
            return


def _has_ended(server: object) -> bool:
    """Tell whether a server's process is gone; reaps it."""
    process = getattr(server, "_process")  # noqa: B009
    return process is None or process.poll() is not None


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
