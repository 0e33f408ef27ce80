"""`kerbstone network export-broker`: the files of a broker, and telling one that runs."""

import getpass
import pwd
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest

from broker_config.embedded import find_mosquitto
from broker_config.free_ports import free_ports
from broker_config.network import PID_FILE
from tests.integration.fix_network import CAMDEN, Operator

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


@pytest.mark.parametrize(
    ("kind", "main_file"), [("mosquitto", "mosquitto.conf"), ("nats", "nats.conf")]
)
def test_a_brokers_files_name_who_may_connect_and_carry_its_certificates(
    kerbstone: Operator, tmp_path: Path, kind: str, main_file: str
) -> None:
    device, gone = kerbstone.enrolled("A1"), kerbstone.enrolled("A2")
    kerbstone("gateway", "revoke", gone, "--yes")
    output = tmp_path / "broker"
    said = kerbstone("export-broker", "--kind", kind, "--output", str(output), "--json").json
    assert said["exported"]["main"] == str(output / main_file)
    assert said["exported"]["gateways"] == 1
    written = b"".join(path.read_bytes() for path in output.iterdir())
    assert device.encode() in written
    assert gone.encode() not in written
    assert str(kerbstone.directory.authority).encode() not in written
    assert (output / "server.key").exists()
    assert kerbstone.acts()[-1] == "broker.export"


def test_without_options_the_networks_own_broker_gets_its_files(
    newcomer: Operator, tmp_path: Path
) -> None:
    data = tmp_path / "its own store"
    newcomer.init("--broker-data", str(data), "--pid-file", str(tmp_path / "pid"))
    newcomer("council", "add", *CAMDEN)
    settings = newcomer.directory.enrolment_settings
    text = settings.read_text().replace("data_directory", 'run_as = "broker"\ndata_directory')
    settings.write_text(text)
    said = newcomer("export-broker", "--json").json
    assert said["kind"] == "mosquitto"
    main = newcomer.directory.broker / "mosquitto.conf"
    assert said["exported"]["main"] == str(main)
    assert "user broker\n" in main.read_text()
    assert f"persistence_location {data}/" in main.read_text()
    other = newcomer("export-broker", "--kind", "nats")
    assert (other.status, "--output is needed" in other.err) == (2, True)


def test_the_brokers_user_may_read_its_files_and_those_to_come(
    kerbstone: Operator, tmp_path: Path
) -> None:
    output, me = tmp_path / "broker", getpass.getuser()
    words = ("export-broker", "--output", str(output), "--data", str(tmp_path / "data"))
    assert "chgrp" not in kerbstone(*words, "--run-as", me).out
    group = pwd.getpwnam(me).pw_gid
    assert {path.stat().st_gid for path in (output, *output.iterdir())} == {group}
    assert stat.S_IMODE(output.stat().st_mode) == 0o2750
    assert stat.S_IMODE((output / "access.acl").stat().st_mode) == 0o640
    assert stat.S_IMODE((output / "keeper.key").stat().st_mode) == 0o600
    said = kerbstone(*words, "--run-as", "nobody-of-that-name").out
    assert f"chgrp -R nobody-of-that-name {output} && chmod 2750 {output}" in said


def test_a_database_that_was_never_migrated_is_named_with_its_remedy(
    kerbstone: Operator,
) -> None:
    kerbstone.has(lambda conn: conn.execute("ALTER TABLE council RENAME TO elsewhere"))
    said = kerbstone("status")
    assert said.status == 1
    assert 'relation "council" does not exist' in said.err
    assert "kerbstone database migrate" in said.err


def test_a_running_broker_is_told_and_sessions_of_the_revoked_are_ended(
    newcomer: Operator, tmp_path: Path
) -> None:
    service, keeper, own = free_ports(3)
    newcomer.init(
        *("--host", "localhost", "--bind", "127.0.0.1"),
        *("--service-port", str(service), "--keeper-port", str(keeper)),
    )
    newcomer("council", "add", *CAMDEN, "--port", str(own))
    device = newcomer.enrolled("A1")
    output, data = tmp_path / "broker", tmp_path / "data"
    export = (
        *("export-broker", "--kind", "mosquitto", "--output", str(output)),
        *("--data", str(data), "--run-as", "root", "--json"),
    )
    assert newcomer(*export).status == 0
    program = find_mosquitto()
    assert program is not None, "deploy/debian-prefix --package mosquitto"
    with subprocess.Popen(
        [program, "-c", output / "mosquitto.conf"], stderr=subprocess.DEVNULL
    ) as broker:
        try:
            wait_for_port(keeper)
            told = ("--pid-file", str(data / PID_FILE))
            assert newcomer(*export, *told).json["exported"]["ended"] == []
            newcomer("gateway", "revoke", device, "--yes")
            exported = newcomer(*export, *told).json["exported"]
            assert (exported["ended"], exported["gateways"]) == ([device], 0)
            assert newcomer(*export, *told).json["exported"]["ended"] == []
        finally:
            broker.terminate()


def test_a_broker_that_is_not_there_cannot_be_told(kerbstone: Operator, tmp_path: Path) -> None:
    said = kerbstone(
        *("export-broker", "--kind", "nats", "--output", str(tmp_path / "broker")),
        *("--pid-file", str(tmp_path / "no.pid")),
    )
    assert (said.status, "no.pid" in said.err) == (1, True)


def wait_for_port(port: int) -> None:
    """Return once somebody listens there."""
    ends = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            assert time.monotonic() < ends, f"nobody listens on {port}"
            time.sleep(0.02)
        else:
            return
