"""Settings of what a gateway does with a sensor's readings before it signs them.

Whether the names in them are datastreams of the sensor is `edge_agent.processing.consistency`'s.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from runtime.settings import KeyPath, setting

FunctionName = Literal["mean", "count", "max", "min", "sum"]

_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """When a result of one datastream is flagged; it is never altered. In its own unit."""

    minimum: float | None = setting(
        "Least result that can be true; less is flagged as out of range. The sensor's own range "
        "holds as well.",
        default=None,
    )
    maximum: float | None = setting(
        "Greatest result that can be true; more is flagged as out of range.", default=None
    )
    most_change: float | None = setting(
        "Most change in a second that can be true; a leap is flagged as suspect.",
        default=None,
        minimum=0,
    )
    stuck_seconds: float | None = setting(
        "A result that has not changed for as long is flagged as suspect.", default=None, minimum=1
    )
    repeat_seconds: float = setting(
        "The same result again within so long is a repeat and left out: for events, where a "
        "radio sends each several times and stamps each anew.",
        default=0.0,
        minimum=0,
        maximum=3600,
    )

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse a range that holds nothing."""
        if None not in (self.minimum, self.maximum) and self.minimum >= self.maximum:  # type: ignore[operator]
            yield ("maximum",), f"must be more than minimum, {self.minimum:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateSettings:
    """Sends what an interval comes to instead of its readings."""

    interval_seconds: int = setting(
        "Length of an interval; they begin at midnight UTC, so it must divide a day.",
        minimum=1,
        maximum=_DAY_SECONDS,
    )
    functions: tuple[FunctionName, ...] = setting(
        "What is sent of each datastream of numbers, as <name>.mean and so on; how many readings "
        "it was made of is sent as <name>.n. With count, truth values and texts are counted, too, "
        "and not sent themselves.",
        default=("mean",),
    )
    wait_seconds: float = setting(
        "How long after its end an interval waits for readings that come late; later ones are "
        "left out, and counted.",
        default=30.0,
        minimum=0,
        maximum=_DAY_SECONDS,
    )

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse intervals that would not begin alike every day, and functions named twice."""
        if _DAY_SECONDS % self.interval_seconds:
            yield ("interval_seconds",), f"must divide the {_DAY_SECONDS} seconds of a day"
        if not self.functions:
            yield ("functions",), "must name at least one"
        for index, name in enumerate(self.functions):
            if name in self.functions[:index]:
                yield ("functions", index), "stands twice"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacySettings:
    """What must not leave the gateway."""

    drop: tuple[str, ...] = setting("Datastreams that are not even described.", default=())
    hash: tuple[str, ...] = setting(
        "Datastreams of identifiers (unit 1): only a keyed hash of each is sent.", default=()
    )
    salt_hours: int = setting(
        "How long an identifier keeps its hash; then the key is thrown away, and nobody can tell "
        "any more which hashes were one identifier's.",
        default=24,
        minimum=1,
        maximum=168,
    )
    position_decimals: int | None = setting(
        "Positions, and the place of the sensor's thing, are rounded to as many decimals of a "
        "degree; 3 are about 100 m, 2 about 1 km.",
        default=None,
        minimum=0,
        maximum=6,
    )
    minimum_count: int = setting(
        "Counts from 1 to less than this are withheld, and so is the aggregate of fewer readings "
        "where each is about somebody; 0 withholds nothing.",
        default=0,
        minimum=0,
        maximum=1_000,
    )

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse to hash what is dropped, and a minimum that withholds nothing."""
        for index, name in enumerate(self.hash):
            if name in self.drop:
                yield ("hash", index), "is dropped already"
        if self.minimum_count == 1:
            yield ("minimum_count",), "must be 0, or 2 and more: less than 1 is nothing to withhold"


Checks = Mapping[str, CheckSettings]
"""By the short name of the datastream."""
