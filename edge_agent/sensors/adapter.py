"""What an adapter is: the part of the agent that knows one kind of sensor.

Adapters are listed in `edge_agent.sensors`; running them, and starting them again after a
failure, is `edge_agent.collection`'s business.
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_protocol.description import Datastream
from device_protocol.reading import Reading
from edge_agent.clock import Clock


class AdapterError(Exception):
    """A sensor cannot be read at present; the message says why. The adapter is started again."""


@dataclass(frozen=True, slots=True)
class Harvest:
    """Readings of one sensor, handed over together.

    at_once: they are committed before the adapter goes on, so that it may then note how far
        it has come; else they wait for others.
    """

    readings: tuple[Reading, ...]
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an adapter is given besides its settings.

    state_directory: where it may keep how far it has come, under a name of its own.
    """

    clock: Clock
    state_directory: Path


@dataclass(frozen=True, slots=True)
class Adapter:
    """One kind of sensor. Both functions take the adapter's own settings class.

    datastreams: what the sensor measures; does no IO.
    harvests: yields readings until it is closed. Raises AdapterError or OSError when it fails.
    """

    datastreams: Callable[[Any], tuple[Datastream, ...]]
    harvests: Callable[[Any, Surroundings], AsyncGenerator[Harvest, None]]
