from pathlib import Path

import aiomqtt
import pytest

from ingest.admission.snapshot import DeviceKey
from ingest.receiving.subscriptions import Subscriptions
from ingest.settings import BrokerSettings
from ingest.workers.ownership import Ownership, owner

SOME = Path("some.pem")


def broker(*groups: str) -> BrokerSettings:
    return BrokerSettings(
        name="city",
        host="broker",
        port=8883,
        client_id="ingest",
        ca_file=SOME,
        certificate_file=SOME,
        key_file=SOME,
        groups=groups,
    )


class Client:
    """Remembers what it is asked to subscribe to."""

    def __init__(self, code: int = 1) -> None:
        self.filters: set[str] = set()
        self.requests = 0
        self._code = code

    async def subscribe(self, wanted: list[tuple[str, int]]) -> list[int]:
        self.requests += 1
        self.filters.update(topic for topic, _ in wanted)
        return [self._code] * len(wanted)

    async def unsubscribe(self, topics: list[str]) -> None:
        self.filters.difference_update(topics)


class Half:
    """Owns every other gateway."""

    def __init__(self, *devices: str) -> None:
        self.ownership = Ownership(worker=0, workers=2)
        self.devices = [("camden", device) for device in devices]

    def places(self, _tenant: str) -> list[DeviceKey]:
        return [device for device in self.devices if self.owns(device)]

    def owns(self, device: DeviceKey) -> bool:
        return self.ownership.owns(device)


def named(number: int, count: int) -> list[str]:
    """Return so many names that worker `number` of two owns."""
    found = (name for n in range(10_000) if owner(name := f"gateway-{n}", 2) == number)
    return [next(found) for _ in range(count)]


async def test_one_process_subscribes_to_all() -> None:
    client = Client()
    await Subscriptions(broker(), None).begin(client)  # type: ignore[arg-type]
    assert client.filters == {"snaas/1/+/+/k/+", "snaas/1/+/+/d/+"}


async def test_groups_are_served_alone() -> None:
    client, subscriptions = Client(), Subscriptions(broker("main"), None)
    client.filters = {"snaas/1/+/+/k/+", "snaas/1/+/+/d/+"}
    await subscriptions.begin(client)  # type: ignore[arg-type]
    assert client.filters == {"snaas/1/+/+/k/main", "snaas/1/+/+/d/main"}
    assert subscriptions.serves("snaas/1/camden/any/d/main")
    assert not subscriptions.serves("snaas/1/camden/any/d/council")


async def test_worker_subscribes_to_its_gateways_many_at_once() -> None:
    mine, others = named(0, 120), named(1, 3)
    client, subscriptions = Client(), Subscriptions(broker(), Half(*mine, *others))
    await subscriptions.begin(client)  # type: ignore[arg-type]
    assert client.filters == {f"snaas/1/camden/{name}/{kind}/+" for name in mine for kind in "kd"}
    assert client.requests == 3
    assert subscriptions.serves(f"snaas/1/camden/{mine[0]}/d/main")
    assert not subscriptions.serves(f"snaas/1/camden/{others[0]}/d/main")
    assert subscriptions.serves("of/no/form")


async def test_refused_subscription_is_an_outage() -> None:
    with pytest.raises(aiomqtt.MqttError, match="refused"):
        await Subscriptions(broker(), None).begin(Client(code=0x87))  # type: ignore[arg-type]
