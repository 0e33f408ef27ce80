"""How long to wait before trying again, so that many clients never come back together."""

import random
from collections.abc import Callable


class FullJitter:
    """Waits drawn evenly from 0 to a bound that doubles with each try, up to a cap.

    base_seconds: the first bound. cap_seconds: the greatest bound.
    """

    def __init__(
        self,
        base_seconds: float,
        cap_seconds: float,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._base_seconds = base_seconds
        self._cap_seconds = cap_seconds
        self._random = random
        self._bound_seconds = base_seconds

    def next(self) -> float:
        """Return the seconds to wait before the next try."""
        bound = min(self._bound_seconds, self._cap_seconds)
        self._bound_seconds = min(bound * 2, self._cap_seconds)
        return self._random() * bound

    def widen(self, bound_seconds: float) -> None:
        """Let the next bound be no less than this, once many have lost the same at one moment."""
        self._bound_seconds = max(self._bound_seconds, bound_seconds)

    def reset(self) -> None:
        """Start again from the first bound, once a try has proved itself."""
        self._bound_seconds = self._base_seconds
