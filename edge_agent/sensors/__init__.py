"""The kinds of sensors a gateway can read, by the name that stands as `adapter` in its settings."""

from typing import Final

from edge_agent.sensors import host, replay
from edge_agent.sensors.adapter import Adapter, AdapterError, Harvest, Surroundings

__all__ = ["ADAPTERS", "Adapter", "AdapterError", "Harvest", "Surroundings"]

ADAPTERS: Final[dict[str, Adapter]] = {
    "host": Adapter(host.datastreams, host.harvests),
    "replay": Adapter(replay.datastreams, replay.harvests),
}
