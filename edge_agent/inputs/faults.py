"""What comes in and is of no use: counted, and told without filling the log.

What is wrong with it is said by whoever reads it, e.g. `fields` and `uplinks`.
"""

import logging
from typing import Final, Protocol

log = logging.getLogger(__name__)

_MOST_KINDS: Final = 100


class Fault(Protocol):
    """An error about what came in; its text says what is wrong, for people."""

    @property
    def reason(self) -> str:
        """What it is counted by; of few different ones."""


class Faults:
    """The faults of one source: counted by reason, logged at the first, tenth, hundredth.

    message: what the log calls them. facts: said with each, e.g. the sensor.
    counts: by reason; no more than the first hundred.
    """

    def __init__(self, message: str, **facts: str) -> None:
        self.counts: dict[str, int] = {}
        self._message = message
        self._facts = facts

    def note(self, fault: Fault, **facts: str) -> None:
        """Count one, with further facts about it."""
        reason = fault.reason
        if reason not in self.counts and len(self.counts) >= _MOST_KINDS:
            return
        count = self.counts[reason] = self.counts.get(reason, 0) + 1
        if str(count).strip("0") == "1":
            said = {"reason": reason, "problem": str(fault), "count": count}
            log.warning(self._message, extra={**self._facts, **said, **facts})
