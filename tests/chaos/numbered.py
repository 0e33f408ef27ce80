"""Numbered readings: which number stands where, and what a gateway has said to each.

Pure. A sensor pushes them in posts of `FIELDS` numbers, one for each of its datastreams, all of one
time. No number and no time of a sensor comes twice, so a stored value tells where it belongs.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

FIELDS: Final = 50
_SENSOR_STEP: Final = 1_000_000_000


class Answer(Enum):
    """What the gateway said in the end.

    TOLD: 200, it has made itself responsible. REFUSED: 4xx, it will not have it.
    UNTOLD: nothing, or 503 for as long as the sensor had patience.
    """

    TOLD = "told"
    REFUSED = "refused by the gateway"
    UNTOLD = "not told"


@dataclass(slots=True)
class Post:
    """Some numbers of one time. time: Unix milliseconds. reason: of a refusal."""

    time: int
    answer: Answer = Answer.UNTOLD
    reason: str = ""


@dataclass(slots=True)
class Sensor:
    """One sensor and all that it ever pushed. number: its own among all sensors, from 0."""

    number: int
    gateway: int
    port: int
    posts: list[Post] = field(default_factory=list)

    @property
    def urn(self) -> str:
        """Its lasting name."""
        return f"urn:dev:kerbstone:numbers:{self.number}"

    @property
    def path(self) -> str:
        """Where it pushes to."""
        return f"/numbers-{self.number}"

    def first_of(self, index: int) -> int:
        """Return the first number of a post; its others follow."""
        return self.number * _SENSOR_STEP + index * FIELDS

    def new_post(self, now: int) -> int:
        """Begin a post at Unix millisecond `now`, or as soon after as no other is; its index."""
        time = max(now, self.posts[-1].time + 1) if self.posts else now
        self.posts.append(Post(time))
        return len(self.posts) - 1

    def body(self, index: int) -> str:
        """Return a post as JSON."""
        first = self.first_of(index)
        numbers = ",".join(map(str, range(first, first + FIELDS)))
        return f'{{"t":{self.posts[index].time},"v":[{numbers}]}}'


def field_name(place: int) -> str:
    """Return the short name of the datastream of the number at that place of a post."""
    return f"n{place:02}"


def counts(sensors: list[Sensor]) -> dict[Answer, int]:
    """Return how many numbers were answered how."""
    found = dict.fromkeys(Answer, 0)
    for sensor in sensors:
        for post in sensor.posts:
            found[post.answer] += FIELDS
    return found
