"""Runs parts: one after another, or two at once where their tests wait for servers of their own.

What runs beside another part writes into a file, which is shown whole when it ends; meanwhile a
line now and then says what is under way.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, Final

from command_line.progress import say
from command_line.testing.parts import Part, Step

ROOT: Final = Path(__file__).parents[2]
LANES: Final = 2
_POLL_SECONDS: Final = 0.2
_SAY_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0


def run_parts(parts: Sequence[Part], extra: Sequence[str]) -> list[str]:
    """Run all parts; return the names of those that failed. extra: words for pytest."""
    failed: list[str] = []
    for together, group in groupby(parts, key=lambda part: part.beside):
        found = list(group)
        if together and len(found) > 1:
            failed += _run_side_by_side(found, extra)
        else:
            failed += [part.name for part in found if not _run_alone(part, extra)]
    return failed


def _command(step: Step, extra: Sequence[str]) -> list[str]:
    return [sys.executable, *step.words, *(extra if step.is_pytest else ())]


def _run_alone(part: Part, extra: Sequence[str]) -> bool:
    passed = True
    for step in part.steps:
        print(f"\n== {part.name}: {step.title}", flush=True)
        started = time.monotonic()
        status = subprocess.run(_command(step, extra), cwd=ROOT, check=False).returncode  # noqa: S603 - our own
        print(f"== {part.name}: {step.title}: {time.monotonic() - started:.0f} s", flush=True)
        passed = passed and status == 0
    return passed


@dataclass(slots=True)
class _Lane:
    """One part under way: its steps still to come, the one that runs, and what it has written."""

    part: Part
    steps: deque[Step]
    output: IO[bytes]
    process: "subprocess.Popen[bytes]"
    started: float
    passed: bool = True


def _run_side_by_side(parts: Sequence[Part], extra: Sequence[str]) -> list[str]:
    waiting, failed, said = deque(parts), [], time.monotonic()
    under_way: list[_Lane] = []
    say(f"\n== {LANES} at a time: {', '.join(part.name for part in parts)}")
    try:
        while waiting or under_way:
            while waiting and len(under_way) < LANES:
                under_way.append(_begin(waiting.popleft(), extra))
            for lane in list(under_way):
                if _has_ended(lane, extra):
                    under_way.remove(lane)
                    failed += [] if lane.passed else [lane.part.name]
            if time.monotonic() - said >= _SAY_SECONDS:
                said = time.monotonic()
                say("   " + ", ".join(_under_way(under_way)))
            time.sleep(_POLL_SECONDS)
    finally:
        for lane in under_way:  # interrupted
            _stop(lane.process)
            lane.output.close()
    return failed


def _begin(part: Part, extra: Sequence[str]) -> _Lane:
    steps = deque(part.steps)
    output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the part has ended
    return _Lane(part, steps, output, _start(steps.popleft(), extra, output), time.monotonic())


def _start(step: Step, extra: Sequence[str], output: IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - our own
        _command(step, extra), cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
    )


def _has_ended(lane: _Lane, extra: Sequence[str]) -> bool:
    """Go on to the part's next step where one has ended; after the last, show what it wrote."""
    status = lane.process.poll()
    if status is None:
        return False
    lane.passed = lane.passed and status == 0
    if lane.steps:
        lane.process = _start(lane.steps.popleft(), extra, lane.output)
        return False
    print(f"\n== {lane.part.name}", flush=True)
    lane.output.seek(0)
    sys.stdout.buffer.write(lane.output.read())
    lane.output.close()
    print(f"== {lane.part.name}: {time.monotonic() - lane.started:.0f} s", flush=True)
    return True


def _under_way(lanes: Sequence[_Lane]) -> Iterator[str]:
    for lane in lanes:
        written = os.fstat(lane.output.fileno()).st_size
        yield f"{lane.part.name} {time.monotonic() - lane.started:.0f} s ({written:,} bytes said)"


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
