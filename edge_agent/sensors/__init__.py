"""The kinds of sensors a gateway can read: one module of this package for each.

A module is imported when a gateway's settings first name it, so that a gateway pays only for
the sensors that it has.
"""

from importlib import import_module
from pathlib import Path
from typing import Final

from edge_agent.adapter import (
    Adapter,
    AdapterError,
    Harvest,
    SensorSettings,
    Surroundings,
)

__all__ = [
    "ADAPTERS",
    "Adapter",
    "AdapterError",
    "Harvest",
    "SensorSettings",
    "Surroundings",
    "adapter_names",
    "settings_class",
]

_NO_ADAPTERS: Final = frozenset({"__init__", "adapter"})


class _Adapters(dict[str, Adapter]):
    """Adapters by name, each imported when it is first asked for."""

    def __missing__(self, name: str) -> Adapter:
        adapter: Adapter = import_module(f"{__name__}.{name}").ADAPTER
        self[name] = adapter
        return adapter


ADAPTERS: Final = _Adapters()


def adapter_names() -> tuple[str, ...]:
    """Return what may stand as `adapter` in the settings: the names of the files here."""
    files = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return tuple(sorted(name for name in files if name not in _NO_ADAPTERS))


def settings_class(name: str) -> type[SensorSettings]:
    """Return what the adapter of that name, one of `adapter_names()`, is told."""
    return ADAPTERS[name].settings
