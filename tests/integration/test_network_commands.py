"""`kerbstone network …` as an operator types it, on a real database, from init to revocation.

Gateways and keys have files of their own. The commands run in this process, and two of them
through one of their own.
"""

import contextlib
import getpass
import hashlib
import json
import os
import pwd
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from analytics.settings import AnalyticsSettings
from api.publishing.settings import PublishSettings
from api.settings import ApiSettings
from broker_config.embedded import find_mosquitto
from broker_config.network import PID_FILE
from broker_config.network import load as load_network
from command_line.__main__ import main
from command_line.network import directory as network_directory
from device_protocol.first_boot import FirstBoot
from enrolment.files import read_certificate
from enrolment.settings import EnrolmentSettings
from ingest.settings import IngestSettings
from runtime.settings import load
from storage.certificates import add_certificate
from storage.database import Connection
from tests.integration import enrolled
from tests.integration.fix_network import CAMDEN, Operator, contents, status_of

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


# The whole life


def test_the_whole_life_of_a_network_from_init_to_revocation(
    newcomer: Operator, tmp_path: Path
) -> None:
    kerbstone = newcomer
    made = kerbstone.init("--json").json
    assert made["new"]
    assert made["enrolment_url"] == "https://broker.example.org:8445"
    assert kerbstone("council", "add", *CAMDEN).status == 0
    [council] = kerbstone("council", "list", "--json").json["councils"]
    assert (council["tenant"], council["port"], council["suites"]) == ("camden", 8884, [1, 2])

    files = tmp_path / "cards"
    invited = kerbstone(
        *("gateway", "invite", "camden", "--site", "LC-1", "--label", "Lamp 1", "--json"),
        *("--first-boot-directory", str(files)),
    ).json
    [invitation] = invited["invitations"]
    device = invitation["device"]
    first_boot = FirstBoot.from_toml(Path(invited["first_boot_files"][device]).read_text())
    assert first_boot == FirstBoot.from_uri(invitation["uri"])
    assert first_boot.token == invitation["token"]
    root = read_certificate(kerbstone.directory.region_root)
    assert first_boot.region_root_sha256 == _sha256(root.public_bytes(Encoding.DER))

    kerbstone.has(
        lambda conn: add_certificate(
            conn,
            device=device,
            certificate=enrolled.certificate(device),
            issued_by="simpleenroll",
        )
    )
    assert kerbstone("gateway", "show", device, "--json").json["gateway"]["facts"]["status"] == (
        "active"
    )
    assert kerbstone("gateway", "suspend", device, "--reason", "moved").status == 0
    assert kerbstone("gateway", "resume", device).status == 0
    assert kerbstone("gateway", "revoke", device, "--yes", "--reason", "stolen").status == 0
    shown = kerbstone("gateway", "show", device)
    assert "revoked" in shown.out
    assert "stolen" in shown.out
    refused = kerbstone("gateway", "resume", device)
    assert (refused.status, device in refused.err) == (1, True)
    assert kerbstone.acts() == [
        "network.init",
        "recipient.add",
        "recipient.add",
        "council.add",
        "gateway.invite",
        "gateway.enrol",
        "gateway.suspend",
        "gateway.resume",
        "gateway.revoke",
    ]


# Making it


def test_making_it_again_changes_nothing(newcomer: Operator) -> None:
    assert newcomer.init().status == 0
    before = contents(newcomer.directory.root)
    again = newcomer.init("--json").json
    assert not again["new"]
    assert contents(newcomer.directory.root) == before
    assert newcomer.acts() == ["network.init"]


def test_what_it_writes_is_what_the_processes_read(kerbstone: Operator) -> None:
    directory = kerbstone.directory
    enrolment = load(EnrolmentSettings, directory.enrolment_settings)
    assert enrolment.public_url == "https://broker.example.org:8445"
    assert load(IngestSettings, directory.ingest_settings).recipient_key_directory == (
        directory.recipients
    )
    assert load(ApiSettings, directory.serve_settings).database == kerbstone.dsn
    assert load(AnalyticsSettings, directory.analytics_settings).database == kerbstone.dsn
    network = load_network(directory.network_file)
    assert network.tenants == ("camden",)
    assert network.services_of("camden")


def test_a_broker_of_readers_is_made_only_where_it_is_asked_for(
    newcomer: Operator, tmp_path: Path
) -> None:
    directory = newcomer.directory
    newcomer.init()
    assert not directory.publish_settings.exists()
    assert load(ApiSettings, directory.serve_settings).mqtt_endpoints == ()
    readers = ("--force", "--yes", "--readers-port", "8893")
    refused = newcomer.init(*readers)
    assert (refused.status, "--api-url" in refused.err) == (2, True)
    newcomer.init(*readers, "--api-url", "https://data.example.org/")
    publish = load(PublishSettings, directory.publish_settings)
    assert (publish.base_url, publish.broker.port) == ("https://data.example.org", 8893)
    assert load(ApiSettings, directory.serve_settings).mqtt_endpoints == (
        "mqtts://broker.example.org:8893",
    )
    secret = directory.publisher_secret
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert len(publish.broker.secret()) == 64
    text = directory.publish_settings.read_text()
    me = getpass.getuser()
    text += f'data_directory = "{tmp_path / "data"}"\nrun_as = "{me}"\n'
    directory.publish_settings.write_text(text)
    files = tmp_path / "files"
    words = ("--config", str(directory.publish_settings), "--output", str(files))
    assert main(["publish", "broker", *words]) == 0
    held = {path.name for path in files.iterdir()}
    assert held == {"access.acl", "mosquitto.conf", "passwords", "server.key", "server.pem"}
    assert {path.stat().st_gid for path in files.iterdir()} == {pwd.getpwnam(me).pw_gid}


def test_secrets_are_for_their_owner_alone_and_signing_keys_encrypted(kerbstone: Operator) -> None:
    root = kerbstone.directory.root
    for path in [*root.rglob("*.key"), *root.rglob("*.passphrase"), *root.rglob("*.url")]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    signing = [*root.rglob("*root.key"), *root.rglob("*signer.key")]
    assert len(signing) == 5
    for path in signing:
        assert b"ENCRYPTED" in path.read_bytes(), path


def test_the_region_roots_key_goes_where_it_is_told(newcomer: Operator, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    said = newcomer.init("--region-root-key", str(stick), "--json").json
    assert said["region_root_key"] == str(stick / "region-root.key")
    assert not list(newcomer.directory.root.rglob("region-root.key"))
    (stick / "region-root.key").unlink()
    assert newcomer("council", "add", *CAMDEN).status == 0
    newcomer.serve()


def test_making_it_ends_what_a_power_cut_left_of_moving_the_region_roots_key(
    newcomer: Operator,
) -> None:
    newcomer.init()
    authority = newcomer.directory.authority
    moved = authority / "offline/region-root.key"
    (authority / "region-root.key").write_bytes(moved.read_bytes())
    assert newcomer.init().status == 0
    assert moved.exists()
    assert not (authority / "region-root.key").exists()

    (authority / "region-root.key").write_bytes(b"another's")
    assert newcomer.init().status != 0
    assert (authority / "region-root.key").read_bytes() == b"another's"


def test_another_host_is_refused_and_force_asks_first(newcomer: Operator) -> None:
    newcomer.init()
    key = newcomer.directory.service_key.read_bytes()
    other = ("--host", "other.example.org")
    refused = newcomer.init(*other)
    assert (refused.status, "other.example.org" in refused.err) == (2, True)
    unasked = newcomer.init(*other, "--force")
    assert (unasked.status, "--yes" in unasked.err) == (2, True)
    assert newcomer.init(*other, "--force", "--yes").status == 0
    assert 'host = "other.example.org"' in newcomer.directory.network_file.read_text()
    assert "other.example.org" in newcomer.directory.enrolment_settings.read_text()
    assert newcomer.directory.service_key.read_bytes() == key


IMPOSSIBLE_NETWORKS = (
    (("--name", "Othershire"), "Othershire"),
    (("--database", "postgresql://nobody@127.0.0.1:9/none"), "--database"),
    (("--enrolment-url", "http://x"), "http://x"),
    (("--host", "no host"), "no host"),
    (("--service-port", "99999"), "99999"),
    (("--service-port", "8882"), "8882"),
)


def test_a_value_that_cannot_be_is_named(newcomer: Operator) -> None:
    newcomer.init()
    for words, named in IMPOSSIBLE_NETWORKS:
        said = newcomer.init(*words)
        assert (said.status, named in said.err) == (2, True), said


def test_a_database_that_is_away_is_no_misuse(newcomer: Operator) -> None:
    away = Operator(newcomer.directory, "postgresql://nobody@127.0.0.1:9/none", newcomer.capsys)
    assert away.init().status == 1
    assert newcomer.init().status == 0


def test_passphrases_come_from_files_that_only_their_owner_reads(
    newcomer: Operator, tmp_path: Path
) -> None:
    file = tmp_path / "passphrase"
    file.write_text("three words and a lamp post\n")
    words = ("--passphrase-file", str(file), "--region-passphrase-file", str(file))
    file.chmod(0o644)
    open_to_all = newcomer.init(*words)
    assert (open_to_all.status, f"chmod 600 {file}" in open_to_all.err) == (2, True)
    file.chmod(0o600)
    assert newcomer.init(*words).status == 0
    settings = load(EnrolmentSettings, newcomer.directory.enrolment_settings)
    assert settings.passphrase_file == file
    file.write_text("four other words and a bench\n")
    wrong = newcomer("council", "add", *CAMDEN)
    assert (wrong.status, "service-root.key" in wrong.err) == (1, True), wrong


def test_without_a_terminal_no_passphrase_is_asked(newcomer: Operator) -> None:
    said = newcomer(
        *("init", "--name", "Testshire", "--host", "localhost", "--database", newcomer.dsn)
    )
    assert (said.status, "terminal" in said.err) == (2, True)
    assert not newcomer.directory.exists()


def test_passphrases_are_asked_for_twice(
    newcomer: Operator, typed: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["long enough it is", "long enough it was"]
    monkeypatch.setattr("getpass.getpass", lambda _prompt: answers.pop(0))
    words = ("init", "--name", "Testshire", "--host", "localhost", "--database", newcomer.dsn)
    typed("")
    assert "differ" in newcomer(*words).err
    answers += ["long enough it is"] * 2 + ["long enough, too"] * 2
    assert newcomer(*words).status == 0
    settings = load(EnrolmentSettings, newcomer.directory.enrolment_settings)
    assert settings.passphrase_file is None


def test_a_directory_without_a_network_is_named_with_the_remedy(newcomer: Operator) -> None:
    for words in (("council", "list"), ("gateway", "list"), ("status",), ("audit",)):
        said = newcomer(*words)
        assert (said.status, "kerbstone network init" in said.err) == (1, True), words


# Councils


def test_adding_a_council_again_changes_nothing(kerbstone: Operator) -> None:
    before, acts = contents(kerbstone.directory.root), kerbstone.acts()
    again = kerbstone("council", "add", *CAMDEN, "--json").json
    assert not again["new"]
    assert contents(kerbstone.directory.root) == before
    assert kerbstone.acts() == acts


IMPOSSIBLE_COUNCILS = (
    (("camden", "--gss", "E09000008", "--name", "Camden"), "Croydon"),
    (("camden", "--gss", "E09000099", "--name", "Camden"), "E09000007"),
    (("bristol", "--gss", "E06000023", "--name", "Bath"), "Bristol"),
    (("camden", "--gss", "E06000023", "--name", "Bristol"), "E09000007"),
    (("Bristol", "--gss", "E06000023", "--name", "Bristol"), "Bristol"),
    (("bristol", "--gss", "E06000023", "--name", "Bristol", "--port", "8884"), "8884"),
    ((*CAMDEN, "--port", "9000"), "8884"),
)


def test_a_council_that_cannot_be_is_refused_and_nothing_made(kerbstone: Operator) -> None:
    before = contents(kerbstone.directory.root)
    for words, named in IMPOSSIBLE_COUNCILS:
        said = kerbstone("council", "add", *words)
        assert (said.status, named in said.err) == (2, True), said
    assert contents(kerbstone.directory.root) == before
    assert len(kerbstone("council", "list", "--json").json["councils"]) == 1


def test_new_boundaries_bring_a_council_another_code(kerbstone: Operator) -> None:
    change = ("council", "code", "camden", "--gss", "E09000099", "--name", "Camden and Barnet")
    unlisted = kerbstone(*change, "--since", "2026-04-01")
    assert (unlisted.status, "--unlisted" in unlisted.err) == (2, True)
    assert kerbstone(*change, "--since", "2026-04-01", "--unlisted").status == 0
    [council] = kerbstone("council", "list", "--json").json["councils"]
    assert (council["gss"], council["name"]) == ("E09000099", "Camden and Barnet")
    told = kerbstone("council", "codes", "--json").json["codes"]
    assert [
        (each["gss"], each["valid_from"], each["valid_until"], each["replaced_by"]) for each in told
    ] == [("E09000007", None, "2026-03-31", "E09000099"), ("E09000099", "2026-04-01", None, "")]
    before = contents(kerbstone.directory.root)
    again = kerbstone(*change, "--since", "2026-04-01", "--unlisted")
    assert (again.status, "2026-04-01" in again.err) == (2, True)
    back = ("council", "code", "camden", "--gss", "E09000007", "--name", "Camden")
    taken = kerbstone(*back, "--since", "2027-04-01")
    assert (taken.status, "E09000007 is or was" in taken.err) == (2, True)
    assert contents(kerbstone.directory.root) == before
    newest = ("council", "add", "camden", "--gss", "E09000099", "--name", "Camden and Barnet")
    assert not kerbstone(*newest, "--unlisted", "--json").json["new"]
    assert kerbstone.acts()[-1] == "council.code"


def test_on_nats_each_council_brings_a_connection_of_ingest(newcomer: Operator) -> None:
    newcomer.init("--broker", "nats")
    newcomer("council", "add", *CAMDEN)
    added = newcomer(
        *("council", "add", "bristol", "--gss", "E06000023", "--name", "Bristol", "--json")
    ).json
    assert not added["broker_restart_needed"]
    listed = newcomer("council", "list", "--json").json["councils"]
    assert [each["port"] for each in (added, *listed)] == [8883, 8883, 8883], "one listener"
    found = load(IngestSettings, newcomer.directory.ingest_settings).broker
    assert [(each.tenant, each.mqtt_version) for each in found] == [
        ("camden", "3.1.1"),
        ("bristol", "3.1.1"),
    ]
    assert len({each.client_id for each in found}) == 2


def test_post_quantum_delivery_needs_a_recipient_and_ingest_that_take_it(
    kerbstone: Operator,
) -> None:
    switch = ("council", "suites", "camden", "--post-quantum")
    refused = kerbstone(*switch, "on")
    assert (refused.status, "ingest.toml" in refused.err) == (2, True)
    ingest = kerbstone.directory.ingest_settings
    ingest.write_text("suites = [1, 2, 3]\n" + ingest.read_text())
    refused = kerbstone(*switch, "on")
    assert (refused.status, "--key-type x-wing" in refused.err) == (2, True)
    assert kerbstone("rotate", "recipients", "--key-type", "x-wing").status == 0
    [before] = kerbstone("status", "--json").json["status"]["councils"]
    assert kerbstone(*switch, "on", "--json").json["suites"] == [1, 2, 3]
    kerbstone.serve()
    [after] = kerbstone("status", "--json").json["status"]["councils"]
    assert after["key_set_version"] > before["key_set_version"]
    assert kerbstone(*switch, "off", "--json").json["suites"] == [1, 2]


# Broker, people, reports


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


def test_a_pass_is_shown_once_and_ends_when_withdrawn(kerbstone: Operator) -> None:
    added = kerbstone("pass", "add", "Ben", "--council", "camden", "--json").json["pass"]
    secret = added["secret"]
    listed = kerbstone("pass", "list", "--json")
    assert secret not in listed.out
    assert secret not in kerbstone("audit").out
    [found] = listed.json["passes"]
    assert (found["id"], found["name"], found["tenant"]) == (added["id"], "Ben", "camden")
    assert kerbstone("pass", "withdraw", str(added["id"])).status == 2, "it asks first"
    assert kerbstone("pass", "withdraw", str(added["id"]), "--yes").status == 0
    assert kerbstone("pass", "list", "--json").json["passes"][0]["withdrawn_at"]
    assert kerbstone("pass", "withdraw", "99", "--yes").status == 1
    assert kerbstone("pass", "add", "Ann", "--council", "leeds").status == 1
    assert kerbstone("pass", "add", "Ann").status == 2, "for whom?"


def test_the_audit_is_told_by_council_and_subject(kerbstone: Operator) -> None:
    device = kerbstone.enrolled("A1")
    entries = kerbstone("audit", "--subject", device, "--json").json["entries"]
    assert [entry["action"] for entry in entries] == ["gateway.enrol", "gateway.invite"]
    assert entries[0]["actor"] == f"gateway {device}"
    assert entries[1]["actor"].startswith("operator ")
    assert kerbstone("audit", "--council", "leeds", "--json").json["entries"] == []
    assert kerbstone("audit", "--limit", "0").status == 2


def test_the_status_names_what_a_person_must_see_to(kerbstone: Operator) -> None:
    (kerbstone.directory.authority / "offline/region-root.key").unlink()
    well = kerbstone("status")
    assert (well.status, "Nothing needs seeing to" in well.out) == (0, True), well

    async def neglect(conn: Connection) -> None:
        await conn.execute("UPDATE revocation_list SET this_update = now() - INTERVAL '4 days'")
        await conn.execute("UPDATE recipient SET valid_from = now() - INTERVAL '31 days'")
        await conn.execute("DELETE FROM key_set")

    kerbstone.has(neglect)
    ill = kerbstone("status", "--json")
    assert ill.status == 1
    alarms = ill.json["status"]["alarms"]
    assert len(alarms) == 3
    assert all(alarm.startswith("camden: ") for alarm in alarms)


def test_every_answer_to_a_script_is_one_line_of_json(kerbstone: Operator) -> None:
    device = kerbstone.enrolled("A1")
    for words in (
        ("council", "add", *CAMDEN),
        ("council", "list"),
        ("gateway", "invite", "camden", "--site", "A2"),
        ("gateway", "list"),
        ("gateway", "show", device),
        ("gateway", "suspend", device),
        ("gateway", "resume", device),
        ("gateway", "configure", device, "--set", "uplink.batch_seconds=5"),
        ("gateway", "revoke", device, "--yes"),
        ("rotate", "recipients"),
        ("rotate", "services"),
        ("pass", "add", "Ben", "--region"),
        ("pass", "list"),
        ("audit",),
        ("status",),
    ):
        said = kerbstone(*words, "--json")
        assert isinstance(said.json, dict), words
        assert said.out.count("\n") == 1, words
        shown = kerbstone(*words)
        assert "{" not in shown.out.splitlines()[0], words


# A process of its own


def test_in_a_process_of_its_own_it_finds_its_directory_and_refuses_to_guess(
    kerbstone: Operator,
) -> None:
    device = kerbstone.enrolled("A1")
    environment = os.environ | {network_directory.VARIABLE: str(kerbstone.directory.root)}

    def typed(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "command_line", "network", *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    refused = typed("gateway", "revoke", device)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--yes" in refused.stderr
    done = typed("gateway", "revoke", device, "--yes", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["status"] == "revoked"
    assert status_of(kerbstone, device) == "revoked"


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def free_ports(count: int) -> list[int]:
    """Return distinct ports of loopback that nobody listens on now."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


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
