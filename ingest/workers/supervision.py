"""When a process that ended is started again, and when all of them end. Pure."""

from dataclasses import dataclass, field
from typing import Final

_BASE_SECONDS: Final = 0.5
_MOST_SECONDS: Final = 30.0
_PROVED_SECONDS: Final = 60.0

MISUSED: Final = 2
"""Exit code of a process whose settings, files or database are not what they should be."""


@dataclass(slots=True)
class Restarts:
    """The restarts of one process: at once after a long life, ever later after short ones."""

    delay_seconds: float = field(default=0.0)

    def ended(self, lived_seconds: float) -> float:
        """Return how many seconds to wait before the next start."""
        if lived_seconds >= _PROVED_SECONDS:
            self.delay_seconds = 0.0
        waits = self.delay_seconds
        self.delay_seconds = min(max(2 * waits, _BASE_SECONDS), _MOST_SECONDS)
        return waits


def ends_all(exit_code: int) -> bool:
    """Return whether starting again is of no use: then nothing of it would go on unnoticed."""
    return exit_code == MISUSED
