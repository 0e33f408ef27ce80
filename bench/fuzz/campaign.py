"""A campaign of bent messages: drawn by number, fed, timed, and counted by what became of them.

Messages are numbered from 0; message N of a seed is the same in every campaign, however many
processes share the work. A process that dies takes its number with it: that is a finding too.
"""

import json
import multiprocessing
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from pathlib import Path
from random import Random
from typing import Any, Final

from bench.fuzz.corpus import Corpus, World, read_vectors
from bench.fuzz.targets import REASONS, Target, all_targets

SLOW_SECONDS: Final = 0.5
"""Of processor time for one message; more is a finding."""

GROWTH_BYTES: Final = 128 << 20
"""Of a process's memory over a campaign; more is a finding."""

_REPORT_EVERY: Final = 2_000
_WARM_UP: Final = 2_000
_KEPT_FINDINGS: Final = 20
_SHOWN_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True)
class Finding:
    """What should not have come of a message. message: hexadecimal, its beginning if it is long."""

    number: int
    target: str
    what: str
    message: str


@dataclass(slots=True)
class Tally:
    """What became of messages so far. codes: by target, then by reason.

    slowest_seconds: processor time. peak_bytes: of one process's memory; grown_bytes: since it
    had warmed up.
    """

    messages: int = 0
    codes: dict[str, Counter[str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    found: int = 0
    slowest_seconds: float = 0.0
    slowest: str = ""
    peak_bytes: int = 0
    grown_bytes: int = 0

    def add(self, other: "Tally") -> None:
        """Take in what another process counted."""
        self.messages += other.messages
        for target, codes in other.codes.items():
            self.codes.setdefault(target, Counter()).update(codes)
        self.findings = (self.findings + other.findings)[:_KEPT_FINDINGS]
        self.found += other.found
        if other.slowest_seconds > self.slowest_seconds:
            self.slowest_seconds, self.slowest = other.slowest_seconds, other.slowest
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)
        self.grown_bytes = max(self.grown_bytes, other.grown_bytes)

    def note(self, finding: Finding) -> None:
        """Count a finding, and keep the first few."""
        self.found += 1
        if len(self.findings) < _KEPT_FINDINGS:
            self.findings.append(finding)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "messages": self.messages,
            "codes": {
                target: dict(codes.most_common()) for target, codes in sorted(self.codes.items())
            },
            "findings": self.found,
            "first_findings": [
                {"number": each.number, "target": each.target, "what": each.what}
                | {"message": each.message}
                for each in self.findings
            ],
            "slowest_message_seconds": round(self.slowest_seconds, 6),
            "slowest_target": self.slowest,
            "peak_memory_mib": round(self.peak_bytes / (1 << 20), 1),
            "memory_growth_mib": round(self.grown_bytes / (1 << 20), 1),
        }


def vectors_in(directory: Path) -> list[World]:
    """Return the worlds of all envelope vectors in a directory.

    Raises:
        OSError, ValueError, KeyError, TypeError: one cannot be read, or is none.
    """
    files = sorted(directory.glob("envelope-*.json"))
    return [read_vectors(json.loads(file.read_bytes())) for file in files]


def feed(
    targets: Sequence[Target], seed: int, numbers: range, progress: Callable[[Tally], None]
) -> Tally:
    """Feed the messages of these numbers, in this process; `progress` is told now and then."""
    tally = Tally()
    shares = [target.share for target in targets]
    steady = 0
    for count, number in enumerate(numbers, start=1):
        random = Random(f"{seed}/{number}")  # noqa: S311 - to be repeatable is its purpose
        target = random.choices(targets, shares)[0]
        _feed_one(target, random, number, tally)
        tally.messages = count
        if count == min(_WARM_UP, len(numbers)):
            steady = _memory()
        if count % _REPORT_EVERY == 0:
            progress(tally)
    tally.peak_bytes = _memory()
    tally.grown_bytes = tally.peak_bytes - steady
    if tally.grown_bytes > GROWTH_BYTES:
        grown = f"memory grew by {tally.grown_bytes >> 20} MiB"
        tally.note(Finding(numbers.stop, "memory", grown, ""))
    return tally


def _feed_one(target: Target, random: Random, number: int, tally: Tally) -> None:
    message, act = target.feed(random)
    began = time.thread_time()
    try:
        code = act()
    except Exception as error:  # noqa: BLE001 - any other exception is what is looked for
        code = type(error).__name__
        _note(tally, number, target, f"{code}: {error}", message)
    else:
        if code not in REASONS:
            _note(tally, number, target, f"the undefined reason {code!r}", message)
    seconds = time.thread_time() - began
    if seconds > SLOW_SECONDS:
        _note(tally, number, target, f"{seconds:.2f} s of processor time", message)
    tally.codes.setdefault(target.name, Counter())[code] += 1
    if seconds > tally.slowest_seconds:
        tally.slowest_seconds, tally.slowest = seconds, f"{target.name}, number {number}"


def _note(tally: Tally, number: int, target: Target, what: str, message: bytes) -> None:
    tally.note(Finding(number, target.name, what, message[:_SHOWN_BYTES].hex()))


def run(
    messages: int,
    *,
    seed: int,
    vectors: Path,
    processes: int,
    progress: Callable[[int], None],
) -> Tally:
    """Feed so many messages, shared by processes; `progress` is told how many are done.

    Raises:
        OSError, ValueError, KeyError, TypeError: the vectors cannot be read.
    """
    vectors_in(vectors)
    context = multiprocessing.get_context("spawn")
    workers = [_Worker(context, seed, numbers, vectors) for numbers in _shares(messages, processes)]
    total = Tally()
    running = list(workers)
    while running:
        ready = wait([worker.told for worker in running])
        for worker in [each for each in running if each.told in ready]:
            if (tally := worker.hear()) is not None:
                total.add(tally)
                running.remove(worker)
            progress(sum(each.done for each in workers))
    for worker in workers:
        worker.end()
    return total


class _Worker:
    """One process and its share of the numbers. done: how many it has fed, as it last told."""

    def __init__(self, context: SpawnContext, seed: int, numbers: range, vectors: Path) -> None:
        self.told, there = context.Pipe(duplex=False)
        self.done = 0
        self._numbers = numbers
        self._process = context.Process(
            target=_work, args=(seed, numbers, vectors, there), daemon=True
        )
        self._process.start()
        there.close()

    def hear(self) -> Tally | None:
        """Take one word from it; return its tally once it has finished, or has died."""
        try:
            said: int | Tally = self.told.recv()
        except EOFError:
            last = self._numbers[min(self.done, len(self._numbers) - 1)]
            died = Tally(messages=self.done)
            died.note(Finding(last, "process", "it ended soon after this message", ""))
            return died
        if isinstance(said, Tally):
            self.done = said.messages
            return said
        self.done = said
        return None

    def end(self) -> None:
        """Wait until it has gone."""
        self._process.join()
        self.told.close()


def _work(seed: int, numbers: range, vectors: Path, told: "Connection[Any, Any]") -> None:
    targets = all_targets(Corpus(), vectors_in(vectors))
    told.send(feed(targets, seed, numbers, lambda tally: told.send(tally.messages)))
    told.close()


def _shares(messages: int, processes: int) -> Iterator[range]:
    """Yield each process's numbers: every n-th, so that all end at about the same time."""
    for first in range(min(processes, messages)):
        yield range(first, messages, processes)


def _memory() -> int:
    """Return the most memory that this process ever took, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
