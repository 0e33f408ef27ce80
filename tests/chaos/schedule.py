"""Which faults come when: drawn from a seed and from nothing else.

Pure. What a fault does to running processes is `faults`' business.

Faults are dealt like cards: every kind comes once before any comes again, in an order that the seed
decides. Two faults of one resource (a process, a link, a disk) never overlap; others do.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

DATABASE: Final = "database"
BROKER: Final = "broker"
INGEST: Final = "ingest"
ANALYTICS: Final = "analytics"
GATEWAY: Final = "gateway"  # one of them is drawn

_FIRST_SECONDS: Final = 3.0  # something must flow before anything is broken
_LAST_SHARE: Final = 0.95  # every fault is over by then
_TOGETHER: Final = 0.2  # share of faults that come in the same moment as the one before


class Kind(Enum):
    """What is done.

    KILL: SIGKILL, started again at the end. PAUSE: SIGSTOP, SIGCONT at the end.
    BACKEND: SIGKILL to one of the database's sessions, so that it restarts all by itself.
    RESTART: stopped in order, started again at the end. WIPE: killed, its store deleted.
    CUT, DELAY, SWALLOW, SLOW: see `tests.simulators.bent_network.Bend`.
    FULL: no byte more fits on its disk. CLOCK: its clock is set to another time.
    """

    KILL = "killed"
    PAUSE = "paused"
    BACKEND = "session killed"
    RESTART = "restarted"
    WIPE = "killed and its store wiped"
    CUT = "network cut"
    DELAY = "network late"
    SWALLOW = "network swallows"
    SLOW = "network slow"
    FULL = "disk full"
    CLOCK = "clock jumps"


LINK_KINDS: Final = (Kind.CUT, Kind.DELAY, Kind.SWALLOW, Kind.SLOW)

DECK: Final = (
    *((GATEWAY, kind) for kind in (Kind.KILL, Kind.PAUSE, *LINK_KINDS, Kind.CLOCK, Kind.FULL)),
    *((INGEST, kind) for kind in (Kind.KILL, Kind.PAUSE, *LINK_KINDS)),
    *((DATABASE, kind) for kind in (Kind.KILL, Kind.PAUSE, Kind.BACKEND, Kind.RESTART, Kind.FULL)),
    *((DATABASE, kind) for kind in LINK_KINDS),
    *((BROKER, kind) for kind in (Kind.KILL, Kind.PAUSE, Kind.WIPE)),
    *((ANALYTICS, kind) for kind in (Kind.KILL, Kind.PAUSE)),
)

JUMPS_SECONDS: Final = (-86_400.0, -600.0, -2.0, 2.0, 600.0, 86_400.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong.

    at: seconds after the beginning. seconds: how long. target: "ingest", "gateway 2", "worker 1".
    amount: of DELAY the seconds one way, of SLOW the bytes a second, of CLOCK the seconds it jumps.
    """

    at: float
    kind: Kind
    target: str
    seconds: float
    amount: float = 0.0

    @property
    def ends(self) -> float:
        """Seconds after the beginning at which it is over."""
        return self.at + self.seconds

    @property
    def resource(self) -> str:
        """What it breaks: a process, its link, its disk or its clock."""
        if self.kind in LINK_KINDS:
            return f"link of {self.target}"
        if self.kind in (Kind.FULL, Kind.CLOCK):
            return f"{self.kind.value} of {self.target}"
        return self.target

    def __str__(self) -> str:
        amounts = {
            Kind.DELAY: f" by {self.amount:.1f} s",
            Kind.SLOW: f", {self.amount / 1000:.0f} kB/s",
            Kind.CLOCK: f" by {self.amount:+.0f} s",
        }
        return f"{self.target} {self.kind.value}{amounts.get(self.kind, '')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What there is to break.

    gateways: how many. workers: of ingest; beside ingest itself each is a target where there are
    several. without: kinds that this machine gives no right to.
    """

    gateways: int
    workers: int = 1
    without: frozenset[Kind] = frozenset()


def schedule(seed: int, minutes: float, stage: Stage) -> tuple[Fault, ...]:
    """Return the faults of a run in the order in which they come; the same for the same arguments.

    The longer the run, the longer they are and the further apart.
    """
    draw = random.Random(seed)  # noqa: S311  # to be drawn again, not to be secret
    whole = minutes * 60
    longest = 3.0 if minutes <= 1 else 12.0
    gap = 2.0 if minutes <= 1 else 4.0
    cards = _cards(draw, stage)
    faults: list[Fault] = []
    at = _FIRST_SECONDS
    while at < whole * _LAST_SHARE - 1:
        fault = _fault(draw, *next(cards), at=at, longest=longest)
        fault = _shortened(fault, whole * _LAST_SHARE)
        if not any(_clash(fault, other) for other in faults):
            faults.append(fault)
        if draw.random() > _TOGETHER:
            at += draw.uniform(0.3, 1.7) * gap
    return tuple(faults)


def _cards(draw: random.Random, stage: Stage) -> Iterator[tuple[str, Kind]]:
    """Deal for ever, the whole deck before any of it again."""
    workers = [f"worker {number}" for number in range(stage.workers)] if stage.workers > 1 else []
    deck = [*DECK, *((worker, kind) for worker in workers for kind in (Kind.KILL, Kind.PAUSE))]
    deck = [card for card in deck if card[1] not in stage.without]
    while True:
        draw.shuffle(deck)
        for target, kind in deck:
            if target != GATEWAY:
                yield target, kind
            elif kind is Kind.CLOCK:
                yield f"{GATEWAY} 0", kind  # whose clock can be set
            elif kind is Kind.FULL:
                yield f"{GATEWAY} {stage.gateways - 1}", kind  # whose disk is small
            else:
                yield f"{GATEWAY} {draw.randrange(stage.gateways)}", kind


def _fault(draw: random.Random, target: str, kind: Kind, *, at: float, longest: float) -> Fault:
    seconds = draw.uniform(0.2, 1.0) * longest
    amount = 0.0
    if kind is Kind.BACKEND:
        seconds = 0.0
    elif kind is Kind.DELAY:
        amount = draw.uniform(0.05, 1.5)
    elif kind is Kind.SLOW:
        amount = draw.uniform(2_000, 40_000)
    elif kind is Kind.CLOCK:
        amount = draw.choice(JUMPS_SECONDS)
    return Fault(round(at, 3), kind, target, round(seconds, 3), round(amount, 3))


def _shortened(fault: Fault, end: float) -> Fault:
    seconds = min(fault.seconds, round(end - fault.at, 3))
    return Fault(fault.at, fault.kind, fault.target, seconds, fault.amount)


def _clash(one: Fault, other: Fault) -> bool:
    """Tell whether two faults break one resource at the same time, or nearly."""
    apart = 1.0
    return (
        one.resource == other.resource
        and one.at < other.ends + apart
        and other.at < one.ends + apart
    )
