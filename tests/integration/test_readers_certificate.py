"""A readers' broker takes a renewed certificate while it runs, and ends no connection for it."""

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from broker_config.errors import BrokerError
from broker_config.readers_broker import renew
from tests.integration.fix_brokers import City
from tests.integration.readers import Readers, run_readers

TOPIC = "v1.1/Datastreams(1)/Observations"
SECONDS = 20


async def shown(readers: Readers) -> bytes:
    """Return the certificate that whoever connects now is shown."""
    context = ssl.create_default_context(cafile=str(readers.root))
    _, sent = await asyncio.open_connection(
        "localhost", readers.broker.broker.port, ssl=context, server_hostname="localhost"
    )
    found: bytes = sent.get_extra_info("ssl_object").getpeercert(binary_form=True)
    sent.transport.abort()
    return found


async def test_a_renewed_certificate_is_taken_while_it_runs(city: City, tmp_path: Path) -> None:
    with run_readers(city.broker.kind, tmp_path / "readers", city.authority) as readers:
        broker = readers.broker.broker
        certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
        certificate.write_bytes(broker.certificate.read_bytes())
        key.write_bytes(broker.key.read_bytes())
        broker = replace(broker, certificate=certificate, key=key)
        kind = readers.broker.kind
        assert not renew(kind, broker), "nothing is new"
        before = await shown(readers)
        async with readers.publisher() as publisher, readers.client() as reader:
            await reader.subscribe(TOPIC, qos=0, timeout=SECONDS)
            renewed = city.authority.broker_server(["localhost", "readers.example.org"])
            certificate.write_bytes(renewed.certificate.read_bytes())
            key.write_bytes(renewed.key.read_bytes())
            assert renew(kind, broker)
            async with asyncio.timeout(SECONDS):
                while await shown(readers) == before:  # noqa: ASYNC110 - only a look tells
                    await asyncio.sleep(0.05)
            await publisher.publish(TOPIC, b"still connected", qos=1, timeout=SECONDS)
            async with asyncio.timeout(SECONDS):
                assert bytes((await anext(reader.messages)).payload) == b"still connected"
        assert not renew(kind, broker)
    certificate.write_bytes(b"another")
    for _ in range(2):  # it stays to be done
        with pytest.raises(BrokerError, match="does not run"):
            renew(kind, broker)
