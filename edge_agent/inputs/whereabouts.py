"""Where the gateway is, as far as one of its sensors knows; nothing here leaves the gateway.

Written by whoever reads a satellite receiver. Time from satellites goes to `edge_agent.clock`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """Degrees north and east, WGS 84, and the monotonic time at which that was known."""

    latitude: float
    longitude: float
    at_monotonic: float


class Whereabouts:
    """newest: the last position that a receiver vouched for; None so far."""

    def __init__(self) -> None:
        self.newest: Position | None = None
