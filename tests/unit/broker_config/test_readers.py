"""What both renderings of a broker of readers grant, and which descriptions are refused."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from broker_config.files import BrokerKind
from broker_config.network import NetworkError
from broker_config.readers import (
    ACCESS_FILE,
    MAIN_FILES,
    MARK,
    PASSWORD_FILE,
    PUBLISHER,
    ReadersBroker,
    render,
)

BROKER = ReadersBroker(
    bind="192.0.2.1",
    port=8893,
    connections=500,
    secret="ab" * 32,
    configuration=Path("/etc/readers"),
    data=Path('/var/lib/"the" data'),
    certificate=Path("/pki/server.pem"),
    key=Path("/pki/server.key"),
)


def test_mosquitto_lets_whoever_gives_no_name_read_and_nothing_else() -> None:
    before, _, after = render(BrokerKind.MOSQUITTO, BROKER)[ACCESS_FILE].partition("\nuser ")
    assert re.findall(r"^topic (.*)$", before, re.MULTILINE) == ["read v1.1/#"]
    assert after.splitlines() == [PUBLISHER, "topic write v1.1/#", f"topic write {MARK}"]


def test_mosquitto_keeps_the_secret_as_a_hash_that_is_its_own() -> None:
    files = render(BrokerKind.MOSQUITTO, BROKER)
    assert not any(BROKER.secret in text for text in files.values())
    user, _, hashed = files[PASSWORD_FILE].strip().partition(":")
    _, kind, rounds, salt, digest = hashed.split("$")
    assert (user, kind) == (PUBLISHER, "7")
    assert base64.b64decode(digest) == hashlib.pbkdf2_hmac(
        "sha512", BROKER.secret.encode(), base64.b64decode(salt), int(rounds)
    )


def test_mosquitto_bounds_what_strangers_can_take() -> None:
    text = render(BrokerKind.MOSQUITTO, BROKER)[MAIN_FILES[BrokerKind.MOSQUITTO]]
    told = dict(line.split(" ", 1) for line in text.splitlines() if line and line[0] != "#")
    assert told["listener"] == "8893 192.0.2.1"
    assert told["max_connections"] == "500"
    assert (told["tls_version"], told["persistence"], told["sys_interval"]) == (
        "tlsv1.3",
        "false",
        "0",
    )
    for bound in ("memory_limit", "max_packet_size", "max_queued_messages", "max_queued_bytes"):
        assert int(told[bound]) > 0  # 0 is without bound


def test_nats_grants_the_same() -> None:
    text = render(BrokerKind.NATS, BROKER)[MAIN_FILES[BrokerKind.NATS]]
    users = re.findall(
        r'user: "(\w+)", password: "(\w+)", allowed_connection_types: (\[.*?\]), permissions: \{'
        r"\s+publish: \{ (\w+): (\[.*?\]) \}\s+subscribe: \{ (\w+): (\[.*?\]) \}",
        text,
    )
    granted = {
        name: (json.loads(ways), publish, json.loads(written), subscribe, json.loads(read))
        for name, _, ways, publish, written, subscribe, read in users
    }
    topics = ["v1//1.>", "v1//1"]
    assert granted == {
        "publisher": (["MQTT"], "allow", [*topics, MARK], "deny", [">"]),
        "reader": (["MQTT"], "deny", [">"], "allow", topics),
    }
    assert {name: password for name, password, *_ in users}["publisher"] == BROKER.secret
    assert 'no_auth_user: "reader"' in text
    assert "max_connections: 500" in text
    assert 'store_dir: "/var/lib/\\"the\\" data"' in text


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"bind": "everywhere"}, "bind = 'everywhere' is not an IP address"),
        ({"port": 0}, "port = 0 is not a port"),
        ({"connections": 1}, "connections = 1 leaves no room"),
        ({"secret": "short"}, "32 or more letters and digits"),
        ({"secret": 'a" }' * 20}, "32 or more letters and digits"),
    ],
)
def test_what_no_broker_takes_is_refused(changed: dict[str, object], says: str) -> None:
    with pytest.raises(NetworkError, match=re.escape(says)):
        replace(BROKER, **changed)  # type: ignore[arg-type]
