"""Whether the next batch may be copied straight into `observation`. Pure.

Going straight in costs the database about a third less than by way of the staging table, but one
repeated observation undoes the whole copy, and what it had written by then stays behind as dead
rows until autovacuum comes by. So after a failure the staged way is kept until STORED_PER_DEAD
times as many rows as the failed batch held have been stored without meeting a repetition. That
bounds what can be left behind, whatever is delivered: at most one dead row for so many stored.
It is counted in rows and not in time, because a busy hour leaves more behind than a quiet one;
and a storm of redeliveries, which each staged batch sees, keeps starting the count anew.
"""

from typing import Final

STORED_PER_DEAD: Final = 16


class Optimism:
    """What the last batches met. It outlives connections, and starts out hopeful.

    A restart is no reason for caution: messages that a broker delivers again are told by their
    sequence numbers before the database is asked.
    """

    def __init__(self) -> None:
        self._price = 0
        self._owed = 0
        self.way = ""
        """How the last batch went in: straight, or staged."""

    def justified(self) -> bool:
        """Whether to try the next batch straight."""
        return self._owed <= 0

    def succeeded(self) -> None:
        """Note a batch that went in straight."""
        self.way = "straight"

    def failed(self, rows: int) -> None:
        """Note that a batch of so many rows held a repetition and had to be undone."""
        self._price = max(rows, 1) * STORED_PER_DEAD
        self._owed = self._price

    def staged(self, rows: int, *, repetitions: bool) -> None:
        """Note a batch that was stored by way of the staging table."""
        self.way = "staged"
        self._owed = self._price if repetitions else max(self._owed - rows, 0)
