"""How often somebody may be wrong before being made to wait. Pure: the caller holds the clock.

Tokens hold 128 random bits, so this is not what keeps them from being guessed: it keeps guessers
from wearing out the database, and makes them seen.
"""

import ipaddress
import math
from collections import OrderedDict, deque

_NETWORK_BITS = 64  # an IPv6 customer has at least a /64: its addresses are one


class AttemptLimit:
    """Counts attempts by who made them, in a sliding window and in bounded memory.

    per_source: attempts one source may make within `window_seconds`; overall: all of them
    together, None for no limit. Beyond `overall` whoever has been wrong once within the window
    waits, and nobody else: many guessers must not keep out those who come with the right token.
    Times are in seconds of any steady clock.

    When more than `max_sources` are known the one heard of longest ago is forgotten; `overall`
    still counts it.
    """

    def __init__(
        self,
        *,
        per_source: int,
        overall: int | None,
        window_seconds: float,
        max_sources: int = 10_000,
    ) -> None:
        self._per_source = per_source
        self._overall = overall
        self._window = window_seconds
        self._max_sources = max_sources
        self._sources: OrderedDict[str, deque[float]] = OrderedDict()
        self._all: deque[float] = deque(maxlen=overall or 0)

    def wait(self, source: str, now: float) -> int:
        """Return for how many whole seconds `source` must wait; 0 lets it try."""
        made = self._sources.get(source, deque())
        if not _wait(made, 1, self._window, now):
            return 0
        return max(
            _wait(made, self._per_source, self._window, now),
            _wait(self._all, self._overall, self._window, now),
        )

    def note(self, source: str, now: float) -> None:
        """Count one attempt."""
        made = self._sources.setdefault(source, deque(maxlen=self._per_source))
        made.append(now)
        self._sources.move_to_end(source)
        self._all.append(now)
        if len(self._sources) > self._max_sources:
            self._sources.popitem(last=False)

    def __len__(self) -> int:
        return len(self._sources)


def source_of(address: str) -> str:
    """Return under which name an address is counted: itself, or its IPv6 /64 network."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _NETWORK_BITS), strict=False))


def _wait(made: deque[float], most: int | None, window: float, now: float) -> int:
    """Return when the oldest of the newest `most` attempts will be out of the window."""
    if most is None or len(made) < most:
        return 0
    return max(0, math.ceil(made[-most] + window - now))
