"""The accounts: what became of every number that a gateway made itself responsible for.

Pure: takes what was pushed and what was found, returns what that comes to. Finding is `ledger`'s.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tests.chaos.numbered import FIELDS, Answer, Sensor

_HOUR_MICROSECONDS: Final = 3_600_000_000
_SHOWN: Final = 5


class Place(NamedTuple):
    """Where a reading stands: sensor by number, datastream by place in a post, time in µs."""

    sensor: int
    field: int
    time: int


@dataclass(slots=True)
class Account:
    """What became of the numbers, counted; and some of those that went wrong, in words.

    told: gateways said 200 to them. stored: of those, once and as they were sent. spooled: not
    stored, still in their gateway's spool. refused: neither, in quarantine by reason.
    bonus: stored though the gateway had not said 200. doubled: stored in two places. altered:
    stored in a place where they were never sent. unsent: stored, but no number of ours.
    """

    pushed: int = 0
    told: int = 0
    stored: int = 0
    spooled: int = 0
    bonus: int = 0
    lost: int = 0
    doubled: int = 0
    altered: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    turned_away: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        """How many numbers there is no excuse for."""
        return self.lost + self.doubled + self.altered

    def note(self, example: str) -> None:
        """Keep an example of what went wrong, as long as there are few."""
        if len(self.examples) < _SHOWN:
            self.examples.append(example)


def number_at(sensor: Sensor, posts: Mapping[int, int], place: Place) -> float | None:
    """Return the number that was sent for a place; None where none was.

    posts: index of the post by its time in µs.
    """
    index = posts.get(place.time)
    return None if index is None else float(sensor.first_of(index) + place.field)


def account(
    sensors: Iterable[Sensor],
    stored: Iterable[tuple[Place, float]],
    spooled: Iterable[tuple[Place, float]],
    refused: Mapping[Place, str],
) -> Account:
    """Draw up the accounts.

    stored, spooled: every reading found there with its value. refused: readings in quarantine,
    with the reason.
    """
    made = Account()
    by_number = {sensor.number: sensor for sensor in sensors}
    posts = {
        number: {post.time * 1000: index for index, post in enumerate(sensor.posts)}
        for number, sensor in by_number.items()
    }
    found = _judge(made, by_number, posts, stored, "stored")
    waiting = _judge(made, by_number, posts, spooled, "spooled")
    for sensor in by_number.values():
        for index, post in enumerate(sensor.posts):
            made.pushed += FIELDS
            first = sensor.first_of(index)
            told = post.answer is Answer.TOLD
            made.told += FIELDS if told else 0
            if post.answer is Answer.REFUSED:
                made.turned_away[post.reason] += FIELDS
            for place in range(FIELDS):
                here = Place(sensor.number, place, post.time * 1000)
                if first + place in found:
                    made.stored += told
                    made.bonus += not told
                elif told:
                    _excuse(made, here, first + place in waiting, refused.get(here))
    return made


def _judge(
    made: Account,
    sensors: Mapping[int, Sensor],
    posts: Mapping[int, Mapping[int, int]],
    readings: Iterable[tuple[Place, float]],
    where: str,
) -> set[int]:
    """Return the numbers found in their own place; count those found in another, and twice."""
    right: set[int] = set()
    for place, value in readings:
        sensor = sensors.get(place.sensor)
        wanted = None if sensor is None else number_at(sensor, posts[place.sensor], place)
        if wanted != value:
            made.altered += 1
            made.note(f"{where} at {place}: {value}, sent was {wanted}")
        elif int(value) in right and where == "stored":
            made.doubled += 1
            made.note(f"{where} twice: {value} at {place}")
        else:
            right.add(int(value))
    return right


def _excuse(made: Account, place: Place, waits: bool, reason: str | None) -> None:  # noqa: FBT001
    if waits:
        made.spooled += 1
    elif reason is not None:
        made.refused[reason] += 1
    else:
        made.lost += 1
        made.note(f"lost: {place}")


class Hour(NamedTuple):
    """What one hour of one datastream comes to: start of it in µs, then as in `rollup_1h`."""

    datastream: int
    bucket: int
    n: int
    sum: float
    minimum: float
    maximum: float


def hours(readings: Iterable[tuple[int, int, float]]) -> set[Hour]:
    """Return all hours of readings given as datastream, time in µs and value.

    Values are whole numbers, so that sums are exact in whatever order.
    """
    values: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    for datastream, time, value in readings:
        values[datastream, time - time % _HOUR_MICROSECONDS].append(value)
    return {
        Hour(datastream, bucket, len(each), sum(each), min(each), max(each))
        for (datastream, bucket), each in values.items()
    }
