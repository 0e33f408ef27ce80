"""Somebody who visits a broker: with which credential, until when, and what is heard meanwhile."""

import asyncio
import contextlib
import os
import select
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiomqtt
import pytest

from broker_config.broker_log import BrokerLog
from broker_config.keeper import Keeper
from broker_config.network import PID_FILE
from tests.integration.fix_brokers import City

MINE, NEIGHBOUR, FOREIGN, NEWCOMER = "k7q2m9xd4t", "w3n8b5rc6h", "z9f4j2tv7p", "n3wc0m3rgw"
SECONDS = 10
on_mosquitto = pytest.mark.parametrize("broker_kind", ["mosquitto"], scope="session")
on_nats = pytest.mark.parametrize("broker_kind", ["nats"], scope="session")


@dataclass(frozen=True)
class Visit:
    """What became of a try to connect: let in, or why not; and the TLS session it had."""

    let_in: bool
    reason: str = ""
    session: ssl.SSLSession | None = None
    resumed: bool = False


def visit(
    city: City,
    device: str,
    *,
    port: int = 0,
    credential: tuple[Path, Path] | None = None,
    session: ssl.SSLSession | None = None,
    context: ssl.SSLContext | None = None,
) -> Visit:
    """Connect once, by hand, and hear the reason of a refusal.

    With TLS 1.3 it comes after the client's handshake, and would be lost if we spoke first.
    Something comes in any case: whoever is let in is handed a ticket.
    """
    context = context or tls(city, device, credential)
    port = port or city.broker.council_endpoint(city.tenant_of(device)).port
    with socket.create_connection(("127.0.0.1", port), SECONDS) as plain:
        try:
            with context.wrap_socket(
                plain, server_hostname="localhost", session=session
            ) as connection:
                select.select([connection], [], [], SECONDS)
                connection.settimeout(0)
                with contextlib.suppress(ssl.SSLWantReadError):
                    connection.recv(1)
                connection.settimeout(SECONDS)
                connection.sendall(hello(device))
                answer = connection.recv(4)
                resumed = bool(connection.session_reused)
                return Visit(answer == CONNECTED, answer.hex(), connection.session, resumed)
        except OSError as error:
            return Visit(let_in=False, reason=getattr(error, "reason", "") or str(error))


CONNECTED = bytes((0x20, 2, 0, 0))


def hello(client_id: str) -> bytes:
    """Return CONNECT, clean session (MQTT 3.1.1, section 3.1)."""
    rest = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(client_id).to_bytes(2, "big")
    rest += client_id.encode()
    return bytes((0x10, len(rest))) + rest


def tls(city: City, device: str, credential: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    files = city.gateways[device].credential
    context = ssl.create_default_context(cafile=city.authority.service_root())
    context.load_cert_chain(*(credential or (files.certificate, files.key)))
    return context


def data(city: City, device: str) -> str:
    return f"snaas/1/{city.tenant_of(device)}/{device}/d/main"


async def send(client: aiomqtt.Client, topic: str, payload: bytes) -> None:
    await client.publish(topic, payload, qos=1, timeout=SECONDS)


async def next_payload(client: aiomqtt.Client) -> bytes:
    async with asyncio.timeout(SECONDS):
        return bytes((await anext(client.messages)).payload)


async def until_ended(client: aiomqtt.Client) -> None:
    """Return once the broker has ended this client's connection."""
    async with asyncio.timeout(SECONDS):
        with contextlib.suppress(aiomqtt.MqttError):
            async for _ in client.messages:
                pass


@contextlib.asynccontextmanager
async def connected(city: City, device: str) -> AsyncIterator[aiomqtt.Client]:
    """A gateway that is connected, and may be thrown out before the block ends."""
    client = city.gateway_client(device, clean=False)
    await client.__aenter__()
    try:
        yield client
    finally:
        with contextlib.suppress(aiomqtt.MqttError):
            await client.__aexit__(None, None, None)


def keeper_over(city: City, **changed: object) -> Keeper:
    """A keeper of the running broker, as the enrolment service has one."""
    broker = city.broker
    options: dict[str, object] = {
        "pid_file": broker.paths.data / PID_FILE,
        "log": BrokerLog(broker.kind, broker.log),
        "run_as": "root" if os.geteuid() == 0 else "mosquitto",
    }
    return Keeper(broker.kind, broker.paths, **(options | changed))  # type: ignore[arg-type]
