"""Starting a region of several, showing that readings flow, and stopping it in order."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NoReturn

from bench.load import STREAMS
from bench.load import Plan as Load
from broker_config.free_ports import free_ports
from command_line.demo.processes import ROOT, Children
from command_line.progress import say
from command_line.scale.parts import Parts, written
from command_line.scale.plans import Plan
from storage.database import connect
from storage.overview import observation_count

_ROUND_SECONDS: Final = 30.0
_TIMES: Final = 100 // STREAMS  # moments in a message of a hundred readings
_LOOK_SECONDS: Final = 5.0
_TRIES: Final = 5  # a cluster that is busy making a council's streams lets nobody in meanwhile
_MARGIN: Final = timedelta(hours=1)


class ScaleError(Exception):
    """It cannot be started or has ended by itself; the message says what was last said."""


async def keep_running(plan: Plan, directory: Path, rate: float, seconds: float) -> None:
    """Start everything and go on until cancelled, or for so long.

    Raises:
        ScaleError: a process ended.
        BrokerError, EmbeddedDatabaseError: a server did not start.
    """
    say(f"Starting {plan.title}")
    with ExitStack() as stack:
        parts = Parts(plan, directory, stack)
        await asyncio.to_thread(parts.make_keys)
        await parts.start_databases()
        await parts.start_brokers()
        children = Children(directory / "processes")
        stack.callback(children.stop)
        stack.callback(say, "Stopping")
        settings = parts.write_settings()
        words = ("ingest", "run", "--config", str(settings))
        children.start("ingest", words, directory / "ingest.log")
        _start_pages(parts, children)
        say(f"Everything is in {directory}; ingest says what it does in ingest.log")
        say("Ctrl-C stops all of it")
        try:
            async with asyncio.timeout(seconds or None), asyncio.TaskGroup() as tasks:
                tasks.create_task(_load(parts, rate), name="load")
                tasks.create_task(_show(parts, children), name="show")
        except* TimeoutError:
            say(f"{seconds:.0f} s are over")
        except* ScaleError as errors:
            raise ScaleError(str(errors.exceptions[0])) from None


def _start_pages(parts: Parts, children: Children) -> None:
    """Start the pages over the first database, which they read from its replica if it has one."""
    share, database = next(iter(parts.databases.items()))
    [port] = free_ports(1)
    replica = {} if parts.replica is None else {"replica_dsn": parts.replica.dsn}
    settings = written(
        parts.directory / "serve.toml", {"dsn": database.dsn, "port": port} | replica
    )
    children.start("serve", ("serve", "--config", str(settings)), parts.directory / "serve.log")
    whose = f" of {share}" if share else ""
    reads = ", read from the replica" if replica else ""
    say(f"Pages{whose}{reads}: http://127.0.0.1:{port}/")


async def _load(parts: Parts, rate: float) -> NoReturn:
    """Let every gateway send readings, a round at a time, each of an earlier time than the last."""
    gateways = parts.load_gateways()
    messages = max(1, round(rate * _ROUND_SECONDS / len(gateways)))
    start = datetime.now(UTC) - _MARGIN
    counter, tries = int(time.time()), _TRIES
    while True:
        start -= timedelta(minutes=messages * _TIMES)
        counter += 1
        path = parts.directory / "load.json"
        Load(
            gateways=gateways,
            recipient=parts.recipient,
            messages=messages,
            times=_TIMES,
            start=start.isoformat(),
            counter=counter,
            rate=rate,
        ).write(path)
        async with _spawned("bench.load", str(path)) as process:
            if not await _line(process):
                tries -= 1
                if not tries:
                    raise ScaleError("the gateways could not make themselves known; see ingest.log")
                say("A gateway was not let in yet; trying again")
                continue
            tries = _TRIES
            process.stdin.write(b"\n")  # type: ignore[union-attr]  # a pipe, see below
            if not await _line(process):
                raise ScaleError("the gateways were not answered; see ingest.log")


@asynccontextmanager
async def _spawned(module: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        module,
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        limit=1 << 26,  # a line of every message's wait
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _line(process: asyncio.subprocess.Process) -> bytes:
    """Return the next line a process says; nothing when it has ended."""
    return b"" if process.stdout is None else await process.stdout.readline()


async def _show(parts: Parts, children: Children) -> NoReturn:
    """Say every few seconds what each database has stored.

    Raises:
        ScaleError: a process ended.
    """
    before = await _stored(parts)
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if ended := children.ended():
            raise ScaleError(f"{ended.name} ended; its log ends with:\n{ended.log_tail()}")
        now = await _stored(parts)
        say("   ".join(_words(name, now[name], before[name]) for name in now))
        before = now


def _words(name: str, now: int, before: int) -> str:
    return f"{name}: {now:,} readings, {(now - before) / _LOOK_SECONDS:,.0f} a second"


async def _stored(parts: Parts) -> Mapping[str, int]:
    """Return how many readings each server holds that can be asked."""
    servers = {share or "database": database.dsn for share, database in parts.databases.items()}
    if parts.replica is not None:
        servers[f"replica of {next(iter(parts.databases))}"] = parts.replica.dsn
    found = {}
    for name, dsn in servers.items():
        async with await connect(dsn, autocommit=True, application_name="kerbstone scale") as conn:
            found[name] = await observation_count(conn)
    return found
