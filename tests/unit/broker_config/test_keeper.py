"""What a keeper remembers and asks of a broker; NATS, where a reload is all there is to ask."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker_config import broker_log
from broker_config.broker_log import BrokerLog
from broker_config.errors import BrokerError, BrokerRefusedError
from broker_config.files import BrokerKind
from broker_config.keeper import Keeper, hang_up
from broker_config.network import BrokerCertificates, BrokerPaths, Council, Network

NETWORK = Network(
    name="London",
    host="localhost",
    service_port=8883,
    councils=(Council(tenant="camden", gss="E09000007", name="Camden", port=8884),),
).with_gateway("camden", "k7q2m9xd4t")


@dataclass
class Broker:
    """A broker that reads nothing, counts how often it is told to, and may not listen."""

    directory: Path
    reloads: int = 0
    deaf: bool = False

    def reload(self) -> None:
        if self.deaf:
            raise BrokerError("not there")
        self.reloads += 1

    def keeper(self) -> Keeper:
        root = self.directory / "root.pem"
        root.write_text("root")
        paths = BrokerPaths(
            configuration=self.directory / "broker",
            data=self.directory / "data",
            certificates=BrokerCertificates(
                service_root=root,
                server_certificate=root,
                server_key=root,
                council_roots={"camden": root},
            ),
        )
        return Keeper(BrokerKind.NATS, paths, pid_file=None, reload=self.reload)


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    return Broker(tmp_path)


def test_broker_is_told_once(broker: Broker) -> None:
    assert broker.keeper().apply(NETWORK, {}).changed
    assert not broker.keeper().apply(NETWORK, {}).changed
    assert broker.reloads == 1


def test_gateway_left_out_is_named_once(broker: Broker) -> None:
    broker.keeper().apply(NETWORK, {})
    less = NETWORK.without_gateway("k7q2m9xd4t")
    assert broker.keeper().apply(less, {}).ended == ("k7q2m9xd4t",)
    assert broker.keeper().apply(less, {}).ended == ()


def test_gateway_left_out_while_the_broker_was_away_is_not_forgotten(broker: Broker) -> None:
    broker.keeper().apply(NETWORK, {})
    broker.deaf = True
    more = NETWORK.with_gateway("camden", "w3n8b5rc6h")
    for network in (more, NETWORK.without_gateway("k7q2m9xd4t")):
        with pytest.raises(BrokerError, match="not there"):
            broker.keeper().apply(network, {})
    broker.deaf = False
    applied = broker.keeper().apply(NETWORK.without_gateway("k7q2m9xd4t"), {})
    assert set(applied.ended) == {"k7q2m9xd4t", "w3n8b5rc6h"}


def test_file_changed_by_another_hand_is_put_right(broker: Broker) -> None:
    broker.keeper().apply(NETWORK, {})
    main = broker.directory / "broker" / "nats.conf"
    before = main.read_bytes()
    main.write_text("# mine now\n")
    assert broker.keeper().apply(NETWORK, {}).changed
    assert main.read_bytes() == before


def test_damaged_record_says_what_to_do(broker: Broker) -> None:
    broker.keeper().apply(NETWORK, {})
    (broker.directory / "broker" / "taken.json").write_text('{"fingerprint": ""}')
    with pytest.raises(BrokerError, match=r"taken\.json is damaged.*Remove it and restart"):
        broker.keeper().apply(NETWORK, {})


def test_keeper_needs_a_way_to_reload(broker: Broker) -> None:
    with pytest.raises(ValueError, match="neither a pid_file nor"):
        Keeper(BrokerKind.NATS, broker.keeper().paths, pid_file=None)


def test_another_program_under_the_brokers_pid_is_left_in_peace(tmp_path: Path) -> None:
    pid_file = tmp_path / "broker.pid"
    with pytest.raises(BrokerError, match=r"nats does not run, by .*broker\.pid"):
        hang_up(BrokerKind.NATS, pid_file)()
    pid_file.write_text(f"{os.getpid()}\n")
    with pytest.raises(BrokerError, match=f"names process {os.getpid()}, which is"):
        hang_up(BrokerKind.NATS, pid_file)()


RELOADING = "2026-03-01T12:00:00: Reloading config.\n"
NO_LISTENERS = (
    "2026-03-01T12:00:00: Error: It is not currently possible to add/remove listeners when "
    "reloading the config file.\n"
)
BAD_LIST = '2026-03-01T12:00:00: Error: Unable to load certificate revocation file "x".\n'


def unasked() -> None:
    raise AssertionError("the broker need not be asked again")


@pytest.mark.parametrize(
    ("kind", "said", "refused"),
    [
        (BrokerKind.MOSQUITTO, RELOADING, False),
        (BrokerKind.MOSQUITTO, RELOADING + NO_LISTENERS, False),
        (BrokerKind.MOSQUITTO, RELOADING + BAD_LIST, True),
        (BrokerKind.MOSQUITTO, RELOADING + NO_LISTENERS + BAD_LIST, True),
        (BrokerKind.NATS, "[INF] Reloaded server configuration\n", False),
        (BrokerKind.NATS, "[ERR] Failed to reload server configuration: no\n", True),
    ],
)
def test_refusal_is_told_from_the_log(
    tmp_path: Path, kind: BrokerKind, said: str, *, refused: bool
) -> None:
    log = BrokerLog(kind, tmp_path / "broker.log")
    assert log.mark() == 0
    log.path.write_text("an earlier refusal: Error: Failed to reload\n")
    mark = log.mark()
    with log.path.open("a") as file:
        file.write(said)
    if refused:
        with pytest.raises(BrokerRefusedError, match="refused its new configuration"):
            log.wait_until_reloaded(mark, 1, unasked)
    else:
        log.wait_until_reloaded(mark, 1, unasked)


def test_silent_broker_is_not_taken_for_a_content_one(tmp_path: Path) -> None:
    log = BrokerLog(BrokerKind.NATS, tmp_path / "broker.log")
    log.path.write_text("")
    with pytest.raises(BrokerError, match="did not say within 0 s"):
        log.wait_until_reloaded(0, 0, unasked)


def test_broker_that_has_missed_the_signal_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_log, "_PATIENCE_SECONDS", 0.01)
    log = BrokerLog(BrokerKind.MOSQUITTO, tmp_path / "broker.log")
    log.path.write_text("")

    def answer() -> None:
        log.path.write_text(RELOADING)

    log.wait_until_reloaded(0, 10, answer)


def test_log_that_was_begun_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = BrokerLog(BrokerKind.NATS, tmp_path / "broker.log")
    log.path.write_text("a long story of an earlier day")
    mark = log.mark()
    log.path.write_text("new")
    assert log.said(mark) == "new"
