"""Messages recorded on the way and published again: the state that knows them must have survived.

Recorded in ingest's place, with its certificate, while it is away; published again by whoever holds
the gateway's certificate, after ingest has read its state back from the database.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import aiomqtt

from edge_agent.settings import AgentSettings
from edge_agent.settings import BrokerSettings as GatewayBrokerSettings
from ingest.settings import BrokerSettings, IngestSettings
from runtime.settings import load
from runtime.tls import client_context
from tests.chaos.city import Running
from tests.chaos.pushing import push_each

_POSTS: Final = 2
_MOST_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Recorded:
    """A message D as it was on the wire."""

    topic: str
    message: bytes


async def record(city: Running) -> list[Recorded]:
    """Take ingest's place at the broker while gateways send some readings; return their messages.

    Nobody has acknowledged those, so the gateways send them again when ingest is back.
    """
    ingest = city.processes["ingest"]
    await asyncio.to_thread(ingest.kill)
    recorded: list[Recorded] = []
    settings = load(IngestSettings, city.ingest_settings)
    async with asyncio.timeout(_MOST_SECONDS), asyncio.TaskGroup() as tasks:
        tapped = [asyncio.Event() for _ in settings.broker]
        tapping = [
            tasks.create_task(_tap(connection, ready, recorded), name=f"tap {connection.name}")
            for connection, ready in zip(settings.broker, tapped, strict=True)
        ]
        for ready in tapped:  # what is sent before would be sent again only after a long while
            await ready.wait()
        await push_each(city.sensors, _POSTS)
        senders = {f"/{load(AgentSettings, f).device}/d/" for f in city.agent_settings.values()}
        while not all(  # noqa: ASYNC110  # a list that others grow
            any(sender in one.topic for one in recorded) for sender in senders
        ):
            await asyncio.sleep(0.1)
        for task in tapping:
            task.cancel()
    ingest.start()
    return recorded


async def replay(city: Running, recorded: list[Recorded]) -> None:
    """Restart ingest and publish all of it again as the gateways would; their agents are away.

    Then sensors push once more: what comes of that reaches ingest behind what was replayed.
    """
    ingest = city.processes["ingest"]
    await asyncio.to_thread(ingest.kill)
    ingest.start()
    for number, file in city.agent_settings.items():
        agent = city.processes[f"gateway {number}"]
        await asyncio.to_thread(agent.stop)
        own = load(AgentSettings, file)
        async with asyncio.timeout(_MOST_SECONDS), _client(own.broker, own.device) as client:
            for each in recorded:
                if f"/{own.device}/d/" in each.topic:
                    await client.publish(each.topic, each.message, qos=1)
        agent.start()
    await push_each(city.sensors, _POSTS)


async def _tap(connection: BrokerSettings, ready: asyncio.Event, recorded: list[Recorded]) -> None:
    async with _client(connection, connection.client_id) as client:
        await client.subscribe(f"snaas/1/{connection.tenant}/+/d/+", qos=1)
        ready.set()
        async for message in client.messages:
            if isinstance(message.payload, bytes):
                recorded.append(  # noqa: PERF401  # others look on as it grows
                    Recorded(message.topic.value, message.payload)
                )


def _client(settings: BrokerSettings | GatewayBrokerSettings, identifier: str) -> aiomqtt.Client:
    """Return a connection without a session of its own."""
    is_version_5 = settings.mqtt_version == "5"
    return aiomqtt.Client(
        settings.host,
        settings.port,
        identifier=identifier,
        protocol=aiomqtt.ProtocolVersion.V5 if is_version_5 else aiomqtt.ProtocolVersion.V311,
        clean_session=None if is_version_5 else True,
        tls_context=client_context(
            ca_file=settings.ca_file,
            certificate_file=settings.certificate_file,
            key_file=settings.key_file,
        ),
    )
