"""`python -m tests.chaos --minutes N --seed S`: break everything, then account for every reading.

A city of real processes is started, sensors push numbered readings, faults come by the schedule
that the seed draws. In the end all is mended, there is a time of quiet, and the accounts are drawn
up. Exit status 0: every number is accounted for; 1: one is lost, doubled or altered, tables do not
agree, or a gateway did not come back.
"""

import argparse
import asyncio
import contextlib
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from broker_config.files import BrokerKind
from command_line.progress import say
from command_line.testing.provision import find_faketime
from edge_agent.health.status import read_status
from edge_agent.settings import AgentSettings
from runtime.settings import load
from tests.chaos import ledger, replaying
from tests.chaos.accounts import Account, account
from tests.chaos.city import Options, Running, running
from tests.chaos.disks import in_own_namespace, may_mount
from tests.chaos.faults import Breaker
from tests.chaos.numbered import FIELDS, Answer, counts
from tests.chaos.pushing import Pushing
from tests.chaos.schedule import Fault, Kind, Stage, schedule

_SAY_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.5
_REPLAY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended. faults: in what tables disagree, and who did not come back."""

    account: Account
    holdings: ledger.Holdings
    faults: list[str]
    revived: list[str]
    quiet_seconds: float

    @property
    def passed(self) -> bool:
        """Whether every number is accounted for and all else agrees."""
        return not self.faults and self.account.wrong == 0


def main() -> int:
    """Run one campaign; return its exit status."""
    arguments = _arguments()
    left_out = _rights(arguments)
    stage = Stage(
        gateways=arguments.gateways, workers=arguments.workers, without=frozenset(left_out)
    )
    faults = schedule(arguments.seed, arguments.minutes, stage)
    say(f"Chaos of {arguments.minutes:g} min, seed {arguments.seed}: {len(faults)} faults")
    for kind, why in left_out.items():
        say(f"LEFT OUT: {kind.value}: {why}")
    root = Path(tempfile.mkdtemp(prefix="kerbstone-chaos-"))
    root.chmod(0o711)  # the database runs as another user
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        verdict = asyncio.run(_campaign(arguments, _options(arguments, root, left_out), faults))
    except KeyboardInterrupt:
        say("Interrupted; everything is stopped")
        shutil.rmtree(root, ignore_errors=True)
        return 130
    except BaseException:
        say(f"Logs are kept in {root}")
        raise
    _report(arguments, verdict)
    if verdict.passed and not arguments.keep:
        shutil.rmtree(root, ignore_errors=True)
    else:
        say(f"Logs are kept in {root}")
    return 0 if verdict.passed else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kerbstone test chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (default 1)")
    parser.add_argument("--seed", type=int, help="of the faults; by default drawn, and told")
    parser.add_argument("--gateways", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1, help="of ingest")
    parser.add_argument(
        "--rate", type=float, default=2200.0, help="readings a second, all together"
    )
    parser.add_argument(
        "--broker", choices=[kind.value for kind in BrokerKind], default="mosquitto"
    )
    parser.add_argument("--edition", choices=["plain", "timescaledb"], default="plain")
    parser.add_argument("--keep", action="store_true", help="keep the logs of a good run, too")
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = secrets.randbelow(1_000_000)
    return arguments


def _rights(arguments: argparse.Namespace) -> dict[Kind, str]:
    """Return the kinds of faults that this machine gives no right to, and why."""
    left_out = {}
    if may_mount():
        in_own_namespace(["-m", "tests.chaos", *sys.argv[1:], "--seed", str(arguments.seed)])
    else:
        left_out[Kind.FULL] = "no right to mount a small disk; run it as root"
    if find_faketime() is None:
        left_out[Kind.CLOCK] = "no libfaketime; sudo apt install libfaketime"
    return left_out


def _options(arguments: argparse.Namespace, root: Path, left_out: dict[Kind, str]) -> Options:
    return Options(
        root=root,
        gateways=arguments.gateways,
        workers=arguments.workers,
        broker=BrokerKind(arguments.broker),
        timescaledb=arguments.edition == "timescaledb",
        small_disks=Kind.FULL not in left_out,
        faketime=None if Kind.CLOCK in left_out else find_faketime(),
    )


async def _campaign(
    arguments: argparse.Namespace, options: Options, faults: tuple[Fault, ...]
) -> Verdict:
    async with running(options) as city:
        breaker = Breaker(city)
        pushing = Pushing(city.sensors, arguments.rate / FIELDS / len(city.sensors))
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(breaker.watch(), name="watch")
                saying = tasks.create_task(_tell(city, breaker), name="tell")
                pushed = tasks.create_task(pushing.run(), name="push")
                begun = asyncio.get_running_loop().time()
                await breaker.run(faults, begun)
                await asyncio.sleep(max(0.0, begun + arguments.minutes * 60 - _now()))
                pushing.stopped.set()
                await breaker.mend_all()
                await pushed
                say("All is mended; quiet")
                quiet = _now()
                back = await _until_settled(city, 40 + 8 * arguments.minutes)
                quiet = _now() - quiet
                if not back:
                    back = await _replayed(city)
                watching.cancel()
                saying.cancel()
            return await _judge(city, breaker, back, quiet)
        finally:
            await breaker.let_go()
            _keep_server_log(city)


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _until_settled(city: Running, seconds: float) -> list[str]:
    """Wait until all spools are empty and all hours summarised; return what was not in time."""
    deadline, since = _now() + seconds, time.time()
    while True:
        waiting = [
            f"gateway {key} has {n} readings left"
            for key, n in _depths(city, since).items()
            if n != 0
        ]
        if not waiting and (hours := await asyncio.to_thread(ledger.rollups_wait, city.dsn)):
            waiting = [f"{hours} hours are not summarised"]
        if not waiting or _now() > deadline:
            return waiting
        await asyncio.sleep(_POLL_SECONDS)


async def _replayed(city: Running) -> list[str]:
    """Publish again what was recorded; return what did not settle afterwards."""
    say("Recording messages on the way")
    recorded = await replaying.record(city)
    if late := await _until_settled(city, _REPLAY_SECONDS):
        return late
    say(f"Publishing {len(recorded)} of them again")
    await replaying.replay(city, recorded)
    return await _until_settled(city, _REPLAY_SECONDS)


def _depths(city: Running, since: float = 0.0) -> dict[int, int | None]:
    """Return how many readings wait in each gateway's spool; None of who has not said so since.

    since: Unix seconds.
    """
    found: dict[int, int | None] = {}
    for key, file in city.agent_settings.items():
        facts = read_status(load(AgentSettings, file)).facts
        is_fresh = facts is not None and facts["written_at"] >= since
        found[key] = int(facts["spool"]["readings"]) if facts and is_fresh else None
    return found


async def _judge(city: Running, breaker: Breaker, back: list[str], quiet: float) -> Verdict:
    say("Drawing up the accounts")
    for name, process in city.processes.items():
        if name.startswith("gateway"):
            await asyncio.to_thread(process.stop)
    holdings = await asyncio.to_thread(ledger.read, city.dsn, city.sensors)
    spooled = [reading for file in city.agent_settings.values() for reading in ledger.spooled(file)]
    made = account(city.sensors, holdings.stored, spooled, holdings.refused)
    faults = [*holdings.faults(), *(f"did not settle: {each}" for each in back)]
    return Verdict(made, holdings, faults, breaker.revived, quiet)


async def _tell(city: Running, breaker: Breaker) -> None:
    """Say every few seconds how it goes."""
    begun = time.monotonic()
    while True:
        await asyncio.sleep(_SAY_SECONDS)
        try:
            stored = f"{await asyncio.to_thread(ledger.stored_count, city.dsn):,}"
        except psycopg.Error:
            stored = "?"
        told = counts(city.sensors)[Answer.TOLD]
        now = ", ".join(map(str, breaker.now)) or "no fault"
        say(
            f"{time.monotonic() - begun:5.0f} s  told {told:,}  stored {stored}  "
            f"spooled {sum(n or 0 for n in _depths(city).values()):,}  | {now}"
        )


def _keep_server_log(city: Running) -> None:
    """Copy the database's log from its disk, which goes away, to where the others are."""
    for name in ("server.log", "server.log.1"):
        with contextlib.suppress(OSError):
            shutil.copy(city.options.root / "database" / name, city.options.root / "logs" / name)


def _report(arguments: argparse.Namespace, verdict: Verdict) -> None:
    made, holdings = verdict.account, verdict.holdings
    held, refusals = Counter(holdings.held_messages), Counter(holdings.refusals)
    lines = [
        _title(arguments),
        f"  pushed                {made.pushed:>10,}",
        f"  gateways said 200 to  {made.told:>10,}",
        f"    stored once         {made.stored:>10,}",
        f"    still in a spool    {made.spooled:>10,}",
        f"    refused             {made.refused.total():>10,}  {_reasons(made.refused)}",
        f"    LOST                {made.lost:>10,}",
        f"    DOUBLED             {made.doubled:>10,}",
        f"    ALTERED             {made.altered:>10,}",
        f"  stored without a 200  {made.bonus:>10,}",
        f"  gateways said 4xx to  {made.turned_away.total():>10,}  {_reasons(made.turned_away)}",
        f"  signed messages kept  {holdings.messages:>10,}",
        f"  messages quarantined  {held.total():>10,}  {_reasons(held)}",
        f"  refusals counted      {refusals.total():>10,}  {_reasons(refusals)}",
        f"  quiet until settled   {verdict.quiet_seconds:>10.0f}  seconds",
    ]
    ended = Counter(verdict.revived)
    lines += [f"  {what}, {times} times" for what, times in ended.items()]
    lines += [f"  e.g. {example}" for example in made.examples]
    lines += [f"  WRONG: {fault}" for fault in verdict.faults]
    lines.append("Every reading is accounted for." if verdict.passed else "NOT accounted for.")
    print("\n".join(lines), flush=True)  # noqa: T201 - the result


def _title(arguments: argparse.Namespace) -> str:
    return (
        f"Chaos of {arguments.minutes:g} min, seed {arguments.seed}, {arguments.broker}, "
        f"{arguments.edition}, {arguments.gateways} gateways, {arguments.workers} worker(s)"
    )


def _reasons(found: Counter[str]) -> str:
    return ", ".join(f"{reason} {n:,}" for reason, n in found.most_common(6))


if __name__ == "__main__":
    sys.exit(main())
