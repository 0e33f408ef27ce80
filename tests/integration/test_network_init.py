"""`kerbstone network init`, and the whole life of a network that begins with it."""

import getpass
import hashlib
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from analytics.settings import AnalyticsSettings
from api.publishing.settings import PublishSettings
from api.settings import ApiSettings
from broker_config.network import load as load_network
from command_line.__main__ import main
from device_protocol.first_boot import FirstBoot
from enrolment.files import read_certificate
from enrolment.settings import EnrolmentSettings
from ingest.settings import IngestSettings
from runtime.settings import load
from storage.certificates import add_certificate
from tests.integration import enrolled
from tests.integration.fix_network import CAMDEN, Operator, contents

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


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
    root_bytes = root.public_bytes(Encoding.DER)
    assert first_boot.region_root_sha256 == hashlib.sha256(root_bytes).digest()

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
    assert kerbstone("gateway", "suspend", device, "--yes", "--reason", "moved").status == 0
    assert kerbstone("gateway", "resume", device, "--yes").status == 0
    assert kerbstone("gateway", "revoke", device, "--yes", "--reason", "stolen").status == 0
    shown = kerbstone("gateway", "show", device)
    assert "revoked" in shown.out
    assert "stolen" in shown.out
    refused = kerbstone("gateway", "resume", device, "--yes")
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
