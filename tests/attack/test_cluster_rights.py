"""What a cluster's own files let anyone do who holds one council's or one service's certificate.

That the pinned server keeps to them is shown by tests/integration/test_nats_contract.py.
"""

import json
import re
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from broker_config import nats
from broker_config.network import (
    BrokerCertificates,
    BrokerPaths,
    Council,
    Gateway,
    Network,
    Service,
)
from broker_config.nodes import Node
from ingest.receiving.inbox import Inbox
from ingest.receiving.nats_intake import NatsIntake
from ingest.settings import BrokerSettings, NodeSettings

NETWORK = Network(
    name="London",
    host="localhost",
    councils=(
        Council(tenant="camden", gss="E09000007", name="Camden"),
        Council(tenant="leeds", gss="E08000035", name="Leeds"),
    ),
    gateways=(Gateway("camden", "k7q2m9xd4t"), Gateway("leeds", "a2b3c4d5e6")),
    services=(Service("ingest", ("camden", "leeds")), Service("observer", ("leeds",))),
    nodes=tuple(
        Node(
            name=f"n{number}",
            host=f"n{number}.example.org",
            mqtt_port=8883,
            native_port=4222,
            route_port=6222,
        )
        for number in (1, 2, 3)
    ),
)
ROOT = Path("/certificates")
PATHS = BrokerPaths(
    configuration=Path("/configuration"),
    data=Path("/data"),
    certificates=BrokerCertificates(
        service_root=ROOT / "service-root.pem",
        server_certificate=ROOT / "n1.pem",
        server_key=ROOT / "n1.key",
        council_roots={"camden": ROOT / "camden.pem", "leeds": ROOT / "leeds.pem"},
    ),
)
USER = re.compile(
    r'user: "([^"]+)", allowed_connection_types: (\[.*?\]), permissions: \{'
    r"\s+publish: (\[.*?\])\s+subscribe: (\[.*?\])"
)


@pytest.fixture(scope="module")
def text() -> str:
    return nats.render(NETWORK, PATHS, "n1")[nats.MAIN_FILE]


def account(text: str, tenant: str) -> str:
    """Return what the file says of a council."""
    return text.partition(f"council-{tenant}: {{")[2].partition("\n  }\n")[0]


def users(text: str) -> dict[str, tuple[list[str], list[str], list[str]]]:
    """Return ways in, and what may be published and heard, by user."""
    return {
        name: (json.loads(ways), json.loads(publish), json.loads(subscribe))
        for name, ways, publish, subscribe in USER.findall(text)
    }


@pytest.mark.parametrize("tenant", ["camden", "leeds"])
def test_reach_another_councils_stream(text: str, tenant: str) -> None:
    """No account imports or exports anything, and no user is in two."""
    own = account(text, tenant)
    [other] = {"camden", "leeds"} - {tenant}
    assert users(own)
    assert not users(own).keys() & users(account(text, other)).keys()
    assert all(name.split(".")[1] == tenant for name in users(own))
    assert other not in own
    assert not re.search(r"\b(imports|exports|mappings|system_account|no_auth_user)\b", text)


@pytest.mark.parametrize("tenant", ["camden", "leeds"])
def test_ask_for_more_of_a_stream_than_ones_own(text: str, tenant: str) -> None:
    """A gateway asks JetStream nothing; a service takes from its own consumer and makes none."""
    for name, (ways, publish, subscribe) in users(account(text, tenant)).items():
        who, rest = name.split(".", 1)
        if not rest.endswith("._services"):
            assert ways == ["MQTT"]
            assert not [subject for subject in publish if subject.startswith("$")]
            continue
        assert not {">", "*", "$JS.>", "_INBOX.>"} & {*publish, *subscribe}
        assert [each for each in subscribe if each.startswith("_INBOX")] == [f"_INBOX.{who}.>"]
        asked = [subject for subject in publish if subject.startswith("$")]
        if who != "keeper":
            assert asked == [
                f"$JS.API.CONSUMER.MSG.NEXT.$MQTT_msgs.{who}",
                f"$JS.API.CONSUMER.INFO.$MQTT_msgs.{who}",
                f"$JS.ACK.$MQTT_msgs.{who}.>",
            ]
        assert not [each for each in asked if "DELETE" in each or "PURGE" in each]


def test_come_in_by_the_back_door(text: str) -> None:
    """Every listener asks for a certificate by TLS 1.3, routes for a node's; nothing monitors."""
    assert text.count('min_version: "1.3"') == 3
    assert text.count("verify_and_map: true") == 2
    assert text.count("verify_cert_and_check_known_urls: true") == 1
    assert not re.search(
        r"\b(http_port|https_port|http|https|monitor_port|leafnodes|gateway) ?[:{]", text
    )


async def test_send_more_than_was_asked_for() -> None:
    """A cluster that sends on while the inbox is full is not taken from, and left."""
    here = Path(__file__)
    settings = BrokerSettings(
        name="camden",
        client_id="ingest",
        ca_file=here,
        certificate_file=here,
        key_file=here,
        tenant="camden",
        receive="jetstream",
        mqtt_version="3.1.1",
        node=(NodeSettings(host="n1.example.org", port=8883, native_port=4222),),
    )
    inbox = Inbox(10, 1 << 20)
    intake = NatsIntake(settings, inbox, lambda _tenant: {})
    subject = "$MQTT.msgs.snaas.1.camden.k7q2m9xd4t.d.main"
    for number in range(10_000):
        reply = f"$JS.ACK.$MQTT_msgs.ingest.1.{number}.{number}.0.0"
        await intake._take_native(Msg(None, subject, reply, b"x"))  # type: ignore[arg-type]
    assert len(inbox) < 2_100
    assert "more than was asked for" in intake._trouble
