"""What a city on one computer is made of: councils, gateways, their settings tables.

Values only. The tests build small cities of the same kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoCouncil:
    """A council. tenant: short name in topics. gss: ONS code."""

    tenant: str
    gss: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoGateway:
    """A gateway to be started as a process of its own.

    key: stable name of its folder. things, sensors: `[[thing]]` and `[[sensor]]` tables of its
        settings file.
    overrides: further tables, e.g. `{"uplink": {"window_messages": 4}}`.
    suite: of the envelope, 1 or 2.
    """

    key: str
    name: str
    tenant: str
    things: tuple[Mapping[str, Any], ...]
    sensors: tuple[Mapping[str, Any], ...]
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    suite: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class City:
    """Councils that share one network, and the gateways in it."""

    name: str
    councils: tuple[DemoCouncil, ...]
    gateways: tuple[DemoGateway, ...]
