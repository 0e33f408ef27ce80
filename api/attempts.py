"""How often somebody may try a wrong pass. Pure: the caller says who and when.

A pass has 128 random bits, so nobody guesses one; the limit keeps those who try from burdening
the database and makes them visible.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

MOST_CLIENTS: Final = 4096
"""How many are remembered; the one that failed longest ago is forgotten first."""


@dataclass(slots=True)
class Attempts:
    """Wrong attempts of the last `seconds`: at most `each` of one client and `together` of all.

    Beyond `together` whoever has failed once waits, and nobody else: many who guess must not keep
    out those who have a pass.
    """

    each: int
    together: int
    seconds: float
    _by_client: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)
    _of_all: deque[float] = field(default_factory=deque)

    def wait_seconds(self, client: str, now: float) -> float:
        """Return how long `client` must wait at `now` before it may try; 0 if it may."""
        own = self._by_client.get(client, deque())
        if not self._wait(own, 1, now):
            return 0.0
        return max(self._wait(own, self.each, now), self._wait(self._of_all, self.together, now))

    def note_failure(self, client: str, now: float) -> None:
        """Count a wrong attempt."""
        own = self._by_client.setdefault(client, deque(maxlen=self.each))
        self._by_client.move_to_end(client)
        if len(self._by_client) > MOST_CLIENTS:
            self._by_client.popitem(last=False)
        own.append(now)
        self._of_all.append(now)
        while len(self._of_all) > self.together:
            self._of_all.popleft()

    def _wait(self, failures: deque[float], most: int, now: float) -> float:
        if len(failures) < most:
            return 0.0
        return max(0.0, failures[-most] + self.seconds - now)
