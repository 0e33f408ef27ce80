"""What one broker connection is subscribed to: all of its councils, or the gateways we own.

Over the same connection other workers' gateways may be heard as well: a broker keeps the session of
an earlier division. Whatever is not ours is dropped here; its owner is subscribed to it, too.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NoReturn, Protocol

import aiomqtt

from ingest.admission.snapshot import DeviceKey
from ingest.settings import BrokerSettings
from runtime.mqtt import failures

_FILTERS_AT_ONCE: Final = 100  # in one packet
_TENANT, _DEVICE, _GROUP = 2, 3, 5  # levels of a topic


class Duties(Protocol):
    """What this process has to serve, as the registry says at the moment."""

    def places(self, tenant: str) -> Collection[DeviceKey]:
        """Return, of a council or "+", the gateways to hear; "+" in place of any name."""
        ...

    def owns(self, device: DeviceKey) -> bool:
        """Return whether a gateway is ours."""
        ...


class Subscriptions:
    """Of one connection. duties: None is all gateways of its council."""

    def __init__(self, settings: BrokerSettings, duties: Duties | None) -> None:
        self._tenant = settings.tenant
        self._groups = settings.groups
        self._duties = duties
        self._made: set[str] = set()
        self._changed = asyncio.Event()

    def serves(self, topic: str) -> bool:
        """Tell whether a topic is one of ours; a kept session may bring others."""
        if not self._groups and self._duties is None:
            return True
        levels = topic.split("/")
        if len(levels) <= _GROUP:
            return True  # of no form that we know: refused by name
        if self._groups and levels[_GROUP] not in self._groups:
            return False
        return self._duties is None or self._duties.owns((levels[_TENANT], levels[_DEVICE]))

    def changed(self) -> None:
        """Hear that the registry has changed."""
        if self._duties is not None:
            self._changed.set()

    async def begin(self, client: aiomqtt.Client) -> None:
        """Subscribe on a new connection.

        Raises:
            aiomqtt.MqttError: refused, or the connection is lost.
        """
        self._made.clear()
        self._changed.clear()
        if self._groups:  # the broker may keep a session of ours in which all were served
            await client.unsubscribe([*self._filters(("+",))])
        await self._catch_up(client)

    async def follow(self, client: aiomqtt.Client) -> NoReturn:
        """Subscribe to what becomes ours, and leave what no longer is, until the connection ends.

        Raises:
            aiomqtt.MqttError: as `begin`.
        """
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._catch_up(client)

    async def _catch_up(self, client: aiomqtt.Client) -> None:
        wanted = set(self._filters(self._groups or ("+",)))
        for portion in _portions(sorted(wanted - self._made)):
            granted = await client.subscribe([(topic, 1) for topic in portion])
            if codes := failures(granted):
                raise aiomqtt.MqttError(f"subscription refused: {codes}")
            self._made.update(portion)
        for portion in _portions(sorted(self._made - wanted)):
            await client.unsubscribe(portion)
            self._made.difference_update(portion)

    def _filters(self, groups: Iterable[str]) -> Iterator[str]:
        duties = self._duties
        places = [(self._tenant, "+")] if duties is None else duties.places(self._tenant)
        for tenant, device in places:
            for group in groups:
                for kind in "kd":
                    yield f"snaas/1/{tenant}/{device}/{kind}/{group}"


def _portions(filters: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(filters), _FILTERS_AT_ONCE):
        yield filters[start : start + _FILTERS_AT_ONCE]
