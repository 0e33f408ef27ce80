"""What has been learnt of how one gateway writes its packs: the memory of `packs`. Pure.

It holds pieces of packs and what they were found to mean. It belongs to a `snapshot.Gateway`, whose
datastreams its meanings depend on, and goes with it.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

MOST_LEARNT: Final = 4096
"""Pieces remembered of one gateway; a gateway that writes always anew is read the general way."""


class Place(NamedTuple):
    """Where readings of one name and unit go.

    pairs: how many follow the value in each record that begins like this.
    """

    datastream_id: int
    minimum: float
    maximum: float
    pairs: int


class Places(dict[bytes, Place]):
    """Places by what stands before the value, under one base name and base unit."""

    def __init__(self, base_name: str, base_unit: str) -> None:
        super().__init__()
        self.base_name = base_name
        self.base_unit = base_unit


@dataclass(frozen=True, slots=True)
class Opening:
    """How a pack begins: what follows value and time in its first record, but for `bt`'s number.

    pairs: how many there are, with `bt`. quality: flags of the first reading.
    """

    pairs: int
    quality: int
    places: Places


@dataclass(frozen=True, slots=True)
class Turn:
    """What follows value and time in a later record: another base name (or None), flags."""

    pairs: int
    quality: int
    base_name: str | None


@dataclass(slots=True)
class Habits:
    """Everything learnt of one gateway; only ever forgotten altogether.

    openings: by what stands before and after `bt`. turns: by their bytes.
    """

    openings: dict[tuple[bytes, bytes], Opening] = field(default_factory=dict)
    turns: dict[bytes, Turn] = field(default_factory=dict)
    _places: dict[tuple[str, str], Places] = field(default_factory=dict)
    _learnt: int = 0

    def places(self, base_name: str, base_unit: str) -> Places:
        """Return the places known under a base name and unit."""
        key = (base_name, base_unit)
        found = self._places.get(key)
        if found is None:
            self.count()
            found = self._places[key] = Places(*key)
        return found

    def count(self) -> None:
        """Note that one more piece is remembered; before it is, for this may forget all."""
        self._learnt += 1
        if self._learnt > MOST_LEARNT:
            self._learnt = 0
            for memory in (self.openings, self.turns, self._places):
                memory.clear()
