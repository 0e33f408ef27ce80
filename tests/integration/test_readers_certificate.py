"""A readers' broker takes a renewed certificate while it runs, and ends no connection for it."""

import asyncio
import re
import ssl
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from broker_config.errors import BrokerError
from broker_config.readers_broker import renew
from tests.integration.fix_brokers import City
from tests.integration.readers import Readers, run_readers

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy/readers/kerbstone-readers-renew.service"
SETTINGS = """\
dsn = "postgresql://localhost/not-asked"
base_url = "https://data.example.org"
[broker]
kind = "{kind}"
host = "localhost"
secret_file = "{secret}"
ca_file = "{root}"
certificate_file = "{certificate}"
key_file = "{key}"
data_directory = "{data}"
"""
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


def run_unit(settings: Path, output: Path) -> tuple[int, str]:
    """Run what the timer starts, on other files; return its status and what it said."""
    [line] = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    words = line.split()
    assert words[:2] == ["/opt/kerbstone/.venv/bin/python", "-P"]
    places = {
        "/etc/kerbstone/network/centre/publish.toml": str(settings),
        "/etc/kerbstone/readers": str(output),
    }
    assert places.keys() <= set(words)
    command = [sys.executable, *(places.get(word, word) for word in words[2:])]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout + ran.stderr


async def test_what_the_timer_starts_renews(city: City, tmp_path: Path) -> None:
    settings = tmp_path / "publish.toml"
    with run_readers(city.broker.kind, tmp_path / "readers", city.authority) as readers:
        broker = readers.broker.broker
        certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
        certificate.write_bytes(broker.certificate.read_bytes())
        key.write_bytes(broker.key.read_bytes())
        settings.write_text(
            SETTINGS.format(
                kind=readers.broker.kind.value,
                secret=readers.secret_file,
                root=readers.root,
                certificate=certificate,
                key=key,
                data=broker.data,
            )
        )
        output = broker.configuration
        assert run_unit(settings, output) == (0, "Nothing is new.\n")
        before = await shown(readers)
        renewed = city.authority.broker_server(["localhost", "readers.example.org"])
        certificate.write_bytes(renewed.certificate.read_bytes())
        key.write_bytes(renewed.key.read_bytes())
        assert run_unit(settings, output) == (0, "The broker has the renewed certificate.\n")
        async with asyncio.timeout(SECONDS):
            while await shown(readers) == before:  # noqa: ASYNC110 - only a look tells
                await asyncio.sleep(0.05)
        assert run_unit(settings, output) == (0, "Nothing is new.\n")
    certificate.write_bytes(b"another")
    status, said = run_unit(settings, output)
    assert status == 1
    assert "does not run" in said
