"""What somebody on the wire gets of a whole city: sizes, times and topics, and nothing else.

Every packet of a demo is recorded from its first start to its end, enrolment included: on the
broker's ports and the enrolment service's. Pages and database stay on their machine.
"""

import base64
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from broker_config.network import load
from command_line.demo import provisioning
from command_line.demo.backfill import backfilled
from command_line.demo.layout import Layout
from command_line.demo.london import LONDON
from command_line.demo.provisioning import Founded
from command_line.demo.session import Options, running
from device_protocol.first_boot import FirstBoot
from enrolment.settings import EnrolmentSettings
from runtime import settings
from storage.database import connect
from storage.embedded import remove
from tests.simulators.packet_tap import PacketTap

TLS_HANDSHAKE = 0x16
SERVER_HELLO = 2
SUPPORTED_VERSIONS = b"\x00\x2b\x00\x02\x03\x04"  # RFC 8446, section 4.2.1: TLS 1.3 was chosen
ENOUGH_BYTES = 1_000_000
CANARY = b"a canary in the clear, to be noticed"


@dataclass
class Recorded:
    """What crossed the wire, and what must not have.

    mqtt, enrolment: bytes by flow. secrets: by what they are.
    """

    mqtt: dict[tuple[str, int, str, int], bytes]
    enrolment: dict[tuple[str, int, str, int], bytes]
    lost: int
    secrets: dict[str, bytes]


@pytest.fixture(scope="module", params=["mosquitto", "nats"])
async def recorded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Recorded]:
    layout = Layout(tmp_path_factory.mktemp("demo"))
    invitations: list[FirstBoot] = []
    enrol_gateways = provisioning.enrol_gateways

    async def remember(founded: Founded) -> None:
        """The tokens exist for a moment only: take them down on their way to the gateways."""
        invitations.extend(founded.invitations.values())
        await enrol_gateways(founded)

    with pytest.MonkeyPatch.context() as patch, PacketTap() as tap:
        patch.setattr(provisioning, "enrol_gateways", remember)
        options = Options(layout=layout, broker=request.param, port=0)
        async with running(LONDON, options) as session:
            await backfilled(session)
            network = load(session.network.network_file)
            enrolment_port = settings.load(
                EnrolmentSettings, session.network.enrolment_settings
            ).port
            with socket.create_connection(("127.0.0.1", enrolment_port)) as wire:
                wire.sendall(CANARY)
            secrets = dict(_tokens(invitations)) | dict(_keys(layout))
            secrets |= dict(await _readings(session.dsn))
    councils = [council.port for council in network.councils]
    yield Recorded(
        mqtt=tap.between([network.service_port, *councils]),
        enrolment=tap.between([enrolment_port]),
        lost=tap.lost,
        secrets=secrets,
    )
    remove(layout.database)


def _tokens(invitations: Iterable[FirstBoot]) -> Iterator[tuple[str, bytes]]:
    for each in invitations:
        basic = base64.b64encode(f"{each.device}:{each.token}".encode())
        yield f"token of {each.device}", each.token.encode()
        yield f"token of {each.device}, without groups", each.token.replace("-", "").encode()
        yield f"token of {each.device}, as HTTP says it", basic


def _keys(layout: Layout) -> Iterator[tuple[str, bytes]]:
    files = [*layout.network.glob("centre/**/*.key"), *layout.root.glob("gateways/**/gateway.key")]
    assert len(files) >= 5 + 3
    for file in files:
        text = file.read_bytes()
        if b"PRIVATE KEY" not in text:
            yield f"{file.name}", bytes.fromhex(text.decode())
            continue
        key = load_pem_private_key(text, password=None)
        yield (
            f"{file}, PKCS #8",
            key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        )
        yield f"{file}, PEM", text.splitlines()[1]


async def _readings(dsn: str) -> list[tuple[str, bytes]]:
    """Names that every pack of readings holds, and values that are no round numbers."""
    async with await connect(dsn, application_name="capture") as conn:
        names = await conn.execute("SELECT urn FROM sensor")
        secrets = [(urn, urn.encode()) for (urn,) in await names.fetchall()]
        values = await conn.execute(
            "SELECT DISTINCT value FROM observation "
            "WHERE value * 1024 <> floor(value * 1024) LIMIT 500"
        )
        found = [value for (value,) in await values.fetchall()]
    assert len(found) > 100
    return secrets + [(f"reading {value}", struct.pack(">d", value)) for value in found]


def test_the_recording_is_whole_and_long(recorded: Recorded) -> None:
    assert recorded.lost == 0
    assert sum(map(len, recorded.mqtt.values())) > ENOUGH_BYTES
    assert sum(map(len, recorded.enrolment.values())) > 10_000
    assert len(recorded.secrets) > 500


def test_no_reading_no_token_and_no_key_crosses_the_wire(recorded: Recorded) -> None:
    wire = [*recorded.mqtt.values(), *recorded.enrolment.values()]
    assert leaked(recorded.secrets, wire) == []


def test_what_was_said_in_the_clear_is_found(recorded: Recorded) -> None:
    """The recorder and the search work: a canary sent without TLS is noticed."""
    planted = {"canary": CANARY, **recorded.secrets}
    assert leaked(planted, recorded.enrolment.values()) == ["canary"]


def leaked(secrets: Mapping[str, bytes], wire: Iterable[bytes]) -> list[str]:
    """Return which of the secrets occur on the wire; none is so short that it could by chance."""
    flows = list(wire)
    assert all(len(secret) >= 8 for secret in secrets.values())
    return [what for what, secret in secrets.items() if any(secret in flow for flow in flows)]


def test_every_connection_to_the_broker_is_tls_1_3(recorded: Recorded) -> None:
    ports = {flow[3] for flow in recorded.mqtt}
    answers = [flow for (_, port, _, _), flow in recorded.mqtt.items() if flow and port in ports]
    hellos = [flow for flow in answers if flow[0] == TLS_HANDSHAKE and flow[5] == SERVER_HELLO]
    assert len(hellos) >= len(LONDON.gateways)
    assert all(SUPPORTED_VERSIONS in flow[:200] for flow in hellos)
    assert all(flow[0] in {TLS_HANDSHAKE, 0x15} for flow in recorded.mqtt.values() if flow)
