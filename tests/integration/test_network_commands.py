"""`kerbstone network …` as an operator types it, on a real database, from init to revocation.

The commands run in this process, and two of them through one of their own. What the enrolment
service does between two commands is done by its own `Upkeep`, and a gateway's part by `enrolled`.
"""

import asyncio
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from analytics.settings import AnalyticsSettings
from api.settings import ApiSettings
from broker_config.network import load as load_network
from command_line.__main__ import main
from command_line.network import directory as network_directory
from command_line.network import gateways, rotation
from command_line.network.directory import NetworkDirectory
from device_protocol.first_boot import FirstBoot
from device_protocol.recipient_pem import decode_pem
from enrolment.authority import Authority
from enrolment.files import read_certificate
from enrolment.settings import EnrolmentSettings
from enrolment.upkeep import Upkeep
from ingest.settings import IngestSettings
from runtime.settings import load
from storage import registry
from storage.certificates import add_certificate
from storage.database import Connection, connect, open_pool
from storage.epochs import NewEpoch, insert_epochs
from tests.integration import enrolled
from tests.integration.test_storage_network_recipients import report

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
CAMDEN = ("camden", "--gss", "E09000007", "--name", "Camden")


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Operator:
    """Somebody at a terminal with a network of their own, or who is about to make it."""

    directory: NetworkDirectory
    dsn: str
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Said:
        """Type `kerbstone network WORDS`, and read what comes back."""
        self.capsys.readouterr()
        try:
            status = main(["network", *words, "--directory", str(self.directory.root)])
        except SystemExit as stopped:  # argparse, for words it does not know
            status = int(str(stopped.code))
        told = self.capsys.readouterr()
        return Said(status, told.out, told.err)

    def init(self, *more: str) -> Said:
        return self(
            "init",
            *("--name", "Testshire", "--host", "broker.example.org", "--database", self.dsn),
            "--generate-passphrases",
            *more,
        )

    def has(self, work: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        """Look into, or change, the database behind the commands' back."""

        async def do() -> T:
            async with await connect(
                self.dsn, autocommit=True, application_name="kerbstone test"
            ) as conn:
                return await work(conn)

        return asyncio.run(do())

    def serve(self) -> None:
        """Let the enrolment service look once at what is due, as it does within a second."""
        passphrase = (self.directory.root / "authority.passphrase").read_bytes().strip()

        async def look() -> None:
            authority = Authority(self.directory.authority, "Testshire", passphrase=passphrase)
            async with open_pool(self.dsn, application_name="kerbstone test") as pool:
                upkeep = Upkeep(authority, pool, None)
                for _ in range(100):
                    if await upkeep.look():
                        return
                    await asyncio.sleep(0.05)  # two lists are a second apart
                raise AssertionError("something is left to do")

        asyncio.run(look())

    def invited(self, site: str) -> str:
        """Invite a gateway and return its device id."""
        device: str = self("gateway", "invite", "camden", "--site", site, "--json").json[
            "invitations"
        ][0]["device"]
        return device

    def enrolled(self, site: str) -> str:
        """Invite a gateway and let it enrol; return its device id."""
        device = self.invited(site)
        self.has(
            lambda conn: add_certificate(
                conn,
                device=device,
                certificate=enrolled.certificate(device),
                issued_by="simpleenroll",
            )
        )
        return device

    def announced(self, device: str, version: int) -> None:
        """Let a gateway begin an epoch that is sealed for this key set."""

        async def announce(conn: Connection) -> None:
            [row] = await registry.gateways(conn, device)
            now = int(datetime.now(UTC).timestamp())
            epoch = NewEpoch(
                epoch_id=secrets.token_bytes(8),
                gateway_id=row.id,
                group="main",
                counter=version,
                announcement_sha256=bytes(32),
                content_algorithm=24,
                sealed_key=b"sealed",
                received_at=now,
                closes_at=now + 604_800,
                key_set_version=version,
                previous=None,
            )
            await insert_epochs(conn, [epoch])
            await conn.execute(
                "INSERT INTO gateway_seen (gateway_id, last_message_at) VALUES (%s, now())"
                " ON CONFLICT (gateway_id) DO UPDATE SET last_message_at = now()",
                (row.id,),
            )

        self.has(announce)

    def acts(self) -> list[str]:
        """Return what the audit says was done, oldest first."""
        entries = self("audit", "--json").json["entries"]
        return [entry["action"] for entry in reversed(entries)]


@pytest.fixture
def newcomer(dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    """An operator with a database and an empty directory."""
    return Operator(NetworkDirectory(tmp_path / "network"), dsn, capsys)


@pytest.fixture
def kerbstone(newcomer: Operator) -> Operator:
    """An operator with a network of one council."""
    assert newcomer.init().status == 0
    assert newcomer("council", "add", *CAMDEN).status == 0
    return newcomer


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sit down at a terminal and type this next."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def type_in(text: str) -> None:
        monkeypatch.setattr("sys.stdin", Terminal(f"{text}\n"))

    return type_in


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
    before = _contents(newcomer.directory.root)
    again = newcomer.init("--json").json
    assert not again["new"]
    assert _contents(newcomer.directory.root) == before
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
    before, acts = _contents(kerbstone.directory.root), kerbstone.acts()
    again = kerbstone("council", "add", *CAMDEN, "--json").json
    assert not again["new"]
    assert _contents(kerbstone.directory.root) == before
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
    before = _contents(kerbstone.directory.root)
    for words, named in IMPOSSIBLE_COUNCILS:
        said = kerbstone("council", "add", *words)
        assert (said.status, named in said.err) == (2, True), said
    assert _contents(kerbstone.directory.root) == before
    assert len(kerbstone("council", "list", "--json").json["councils"]) == 1


def test_on_nats_each_council_brings_a_connection_of_ingest(newcomer: Operator) -> None:
    newcomer.init("--broker", "nats")
    newcomer("council", "add", *CAMDEN)
    added = newcomer(
        *("council", "add", "bristol", "--gss", "E06000023", "--name", "Bristol", "--json")
    ).json
    assert not added["broker_restart_needed"]
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
    assert kerbstone(*switch, "on", "--json").json["suites"] == [1, 2, 3]
    kerbstone.serve()
    [council] = kerbstone("status", "--json").json["status"]["councils"]
    assert council["key_set_version"] == 2
    assert kerbstone(*switch, "off", "--json").json["suites"] == [1, 2]


# Gateways


def test_bad_rows_are_named_and_good_ones_kept(kerbstone: Operator, tmp_path: Path) -> None:
    listed = tmp_path / "sites.csv"
    listed.write_text(
        "site,label,longitude,latitude\nA1,One,-0.1,51.5\nA2,Two,-0.1,91\n,x,,\nA1,dup,,\nA3,,,\n"
    )
    sheet, cards = tmp_path / "out/sheet.html", tmp_path / "out/cards"
    words = (
        *("gateway", "invite", "camden", "--csv", str(listed)),
        *("--sheet", str(sheet), "--first-boot-directory", str(cards)),
    )
    said = kerbstone(*words, "--json")
    assert said.status == 1
    assert [(row["line"], row["site"]) for row in said.json["bad_rows"]] == [
        (3, "A2"),
        (4, ""),
        (5, "A1"),
    ]
    for line, reason in ((3, "latitude 91"), (4, "empty"), (5, "line 2")):
        assert re.search(rf"sites\.csv:{line}: .*{reason}", said.err), said.err
    made = said.json["invitations"]
    assert [(each["site"], each["outcome"]) for each in made] == [
        ("A1", "invited"),
        ("A3", "invited"),
    ]
    assert {path.name for path in cards.iterdir()} == {
        f"{each['device']}-first-boot.toml" for each in made
    }
    page = sheet.read_text()
    assert all(each["token"] in page for each in made)
    for path in (sheet, *cards.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_inviting_again_is_harmless_and_says_so(kerbstone: Operator, tmp_path: Path) -> None:
    listed, sheet = tmp_path / "sites.csv", tmp_path / "sheet.html"
    listed.write_text("site\nA1\nA2\n")
    words = ("gateway", "invite", "camden", "--csv", str(listed), "--sheet", str(sheet))
    assert kerbstone(*words).status == 0
    page, acts = sheet.read_text(), kerbstone.acts()
    again = kerbstone(*words)
    assert (again.status, again.err) == (0, "")
    assert "2 already invited" in again.out
    assert "Nothing has changed" in again.out
    assert sheet.read_text() == page
    assert kerbstone.acts() == acts
    renewed = kerbstone(*words, "--renew", "--json").json
    assert [each["outcome"] for each in renewed["invitations"]] == ["renewed", "renewed"]
    assert sheet.read_text() == page, "the first sheet is nobody's to overwrite"
    assert renewed["sheet"] == str(tmp_path / "sheet-2.html")


def test_hundreds_are_invited_with_a_bar(kerbstone: Operator, tmp_path: Path) -> None:
    listed = tmp_path / "sites.csv"
    listed.write_text("site\n" + "".join(f"LC-{number:04}\n" for number in range(250)))
    said = kerbstone("gateway", "invite", "camden", "--csv", str(listed), "--json")
    assert "Inviting: 250 gateways" in said.err
    devices = {each["device"] for each in said.json["invitations"]}
    tokens = {each["token"] for each in said.json["invitations"]}
    assert len(devices) == len(tokens) == 250


IMPOSSIBLE_INVITATIONS = (
    (("leeds", "--site", "A1"), "camden"),
    (("camden", "--site", ""), "site"),
    (("camden", "--site", "A1", "--longitude", "1"), "latitude"),
    (("camden", "--site", "A1", "--hours", "0"), "--hours 0"),
    (("camden", "--csv", "/nowhere/sites.csv"), "/nowhere/sites.csv"),
    (("camden", "--csv", "/dev/null"), "site"),
    (("camden", "--site", "A1", "--sheet", "/proc/nothing/sheet.html"), "--sheet"),
)


def test_an_invitation_that_cannot_be_made_makes_no_token(kerbstone: Operator) -> None:
    for words, named in IMPOSSIBLE_INVITATIONS:
        said = kerbstone("gateway", "invite", *words)
        assert (said.status, named in said.err) == (2, True), said
    assert kerbstone("gateway", "list", "--json").json["gateways"] == []


def test_gateways_are_listed_by_council_and_status(kerbstone: Operator) -> None:
    invited, active = kerbstone.invited("A1"), kerbstone.enrolled("A2")
    every = kerbstone("gateway", "list", "--json").json["gateways"]
    assert {each["device"] for each in every} == {invited, active}
    some = kerbstone("gateway", "list", "--council", "camden", "--status", "active", "--json").json
    assert [each["device"] for each in some["gateways"]] == [active]
    assert kerbstone("gateway", "list", "--council", "leeds").status == 1


def test_revoking_asks_and_without_a_terminal_refuses(
    kerbstone: Operator, typed: Callable[[str], None]
) -> None:
    device = kerbstone.enrolled("A1")
    refused = kerbstone("gateway", "revoke", device)
    assert (refused.status, "--yes" in refused.err) == (2, True)
    typed("yes")
    unsure = kerbstone("gateway", "revoke", device)
    assert (unsure.status, "nothing was done" in unsure.err) == (2, True)
    assert _status(kerbstone, device) == "active"
    typed(device)
    assert kerbstone("gateway", "revoke", device).status == 0
    assert _status(kerbstone, device) == "revoked"


def test_several_are_revoked_together_or_not_at_all(
    kerbstone: Operator, typed: Callable[[str], None]
) -> None:
    devices = [kerbstone.enrolled("A1"), kerbstone.enrolled("A2")]
    unknown = kerbstone("gateway", "revoke", *devices, "nobody0000", "--yes")
    assert (unknown.status, "nobody0000" in unknown.err) == (1, True)
    assert [_status(kerbstone, device) for device in devices] == ["active", "active"]
    typed("revoke 2")
    assert kerbstone("gateway", "revoke", *devices).status == 0
    assert [_status(kerbstone, device) for device in devices] == ["revoked", "revoked"]


def test_a_revoked_gateway_never_comes_back_but_its_site_does(kerbstone: Operator) -> None:
    first = kerbstone.enrolled("A1")
    kerbstone("gateway", "revoke", first, "--yes")
    second = kerbstone.enrolled("A1")
    assert second != first
    assert [_status(kerbstone, device) for device in (first, second)] == ["revoked", "active"]


# Settings from afar


def test_settings_are_checked_asked_for_and_followed(kerbstone: Operator) -> None:
    device = kerbstone.enrolled("A1")
    configure = ("gateway", "configure", device)
    for words, named in (
        (("--set", "uplink.batch_seconds=901"), "from 0 to 900"),
        (("--set", "state_directory=/"), "state_directory"),
        (("--set", "uplink.batch_seconds"), "KEY=VALUE"),
        (("--set", "broker.port=1", "--set", "broker.port=2"), "twice"),
    ):
        said = kerbstone(*configure, *words)
        assert (said.status, named in said.err) == (2, True), said
    late = kerbstone(*configure, "--set", "uplink.batch_seconds=5", "--wait", "0.1", "--json")
    assert (late.status, late.json["state"]) == (1, "requested")
    kerbstone.serve()
    assert _configurations(kerbstone, device) == {1: "signed"}
    assert kerbstone(*configure, "--set", "uplink.batch_seconds=6").status == 0
    assert _configurations(kerbstone, device) == {1: "superseded", 2: "requested"}
    settled = asyncio.run(
        gateways.settled(kerbstone.directory, device=device, version=1, within_seconds=60)
    )
    assert settled.state == "superseded"


def test_waiting_ends_when_the_gateway_reports_that_it_follows(kerbstone: Operator) -> None:
    device = kerbstone.enrolled("A1")
    version = asyncio.run(
        gateways.configure(kerbstone.directory, device=device, settings={"uplink.batch_seconds": 5})
    )
    kerbstone.serve()

    async def follow() -> str:
        waiting = asyncio.create_task(
            gateways.settled(kerbstone.directory, device=device, version=version, within_seconds=60)
        )
        async with kerbstone.directory.connection() as conn:
            await report(conn, device, configuration_version=version)
        return (await waiting).state

    assert asyncio.run(follow()) == "in force"


# Keys


def test_recipient_keys_go_in_three_steps(kerbstone: Operator) -> None:
    device = kerbstone.enrolled("A1")
    old = set(kerbstone.directory.recipients.iterdir())
    said = kerbstone("rotate", "recipients", "--json").json
    assert len(said["rotated"]["made"]) == len(said["rotated"]["retired"]) == 2
    assert not said["complete"]
    assert old < set(kerbstone.directory.recipients.iterdir()), "the old keys are still needed"

    kerbstone.announced(device, 1)
    kerbstone.serve()
    [adopted] = asyncio.run(rotation.adoption(kerbstone.directory))
    assert (adopted.key_set_version, adopted.signed) == (2, True)
    assert adopted.stragglers == (device,)
    early = kerbstone("rotate", "destroy-retired", "--yes")
    assert early.status == 1
    assert device in early.err
    assert "late messages" in early.err

    kerbstone.announced(device, 2)
    assert asyncio.run(rotation.adoption(kerbstone.directory))[0].complete
    assert kerbstone("rotate", "destroy-retired", "--yes").status == 1
    kerbstone.has(_a_week_passes)
    assert kerbstone("rotate", "destroy-retired").status == 2, "it asks first"
    assert old <= set(kerbstone.directory.recipients.iterdir())
    assert kerbstone("rotate", "destroy-retired", "--yes").status == 0
    assert not old & set(kerbstone.directory.recipients.iterdir())
    assert kerbstone("rotate", "destroy-retired", "--json").json == {"destroyed": [], "kept": []}
    assert kerbstone.acts()[-2:] == ["recipient.destroy", "recipient.destroy"]


def test_a_needed_key_is_destroyed_only_with_a_reason_that_is_kept(kerbstone: Operator) -> None:
    kerbstone("rotate", "recipients", "--key-type", "x25519")
    forced = ("rotate", "destroy-retired", "--force", "copied by a thief")
    assert kerbstone(*forced).status == 2
    assert kerbstone(*forced, "--yes").status == 0
    [entry] = kerbstone("audit", "--limit", "1", "--json").json["entries"]
    assert entry["detail"]["forced"] == "copied by a thief"
    assert len(entry["detail"]["needed"]) == 2


def test_waiting_for_the_new_keys_says_when_some_have_not_come(kerbstone: Operator) -> None:
    said = kerbstone("rotate", "recipients", "--wait", "0.1", "--json")
    assert (said.status, said.json["complete"]) == (1, False)
    kerbstone.serve()
    assert asyncio.run(rotation.adoption(kerbstone.directory))[0].complete
    assert kerbstone("rotate", "recipients", "--group", "council").status == 1


def test_services_get_new_certificates_that_the_authority_stands_by(kerbstone: Operator) -> None:
    files = rotation.service_certificates(kerbstone.directory)
    before = {path: path.read_bytes() for path in files}
    said = kerbstone("rotate", "services", "--json").json
    assert {Path(path) for path in said["certificates"]} == set(before)
    after = {path: path.read_bytes() for path in files}
    assert all(after[path] != before[path] for path in files)
    assert not list(kerbstone.directory.authority.rglob(".*before"))
    kerbstone.serve()
    assert {path: path.read_bytes() for path in files} == after


def test_a_council_lists_recipients_of_its_own(kerbstone: Operator, tmp_path: Path) -> None:
    file = tmp_path / "council.key"
    made = kerbstone("recipient", "make", "--output", str(file), "--json").json
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert decode_pem(file.read_bytes()).cose_key.hex() == made["public_key"]
    assert kerbstone("recipient", "make", "--output", str(file)).status == 2
    add = ("recipient", "add", "camden", "--public-key")
    assert kerbstone(*add, "a0").status == 2
    assert kerbstone(*add, made["public_key"], "--group", "No").status == 2
    assert kerbstone(*add, made["public_key"], "--json").json["kid"] == made["kid"]
    kerbstone.serve()
    [(message,)] = kerbstone.has(_newest_key_set)
    key_set = rotation.newest_key_set(kerbstone.directory, "camden", message)
    assert key_set is not None
    assert [each.key.kid.hex() for each in key_set.groups["council"]] == [made["kid"]]
    assert len(key_set.groups["main"]) == 2

    listed = kerbstone("recipient", "list", "--json").json["recipients"]
    [region, *_] = [each["kid"] for each in listed if each["role"] == "region"]
    retire = ("recipient", "retire", "camden")
    assert kerbstone(*retire, made["kid"]).status == 2, "it asks first"
    assert kerbstone(*retire, region, "--group", "main", "--yes").status == 2
    assert kerbstone(*retire, "00" * 8, "--yes").status == 1
    assert kerbstone(*retire, made["kid"], "--yes").status == 0
    assert kerbstone(*add, made["public_key"]).status == 1, "it never comes back"


# Restoring


def test_an_authority_restored_from_its_backup_goes_on_as_before(
    kerbstone: Operator, tmp_path: Path
) -> None:
    device = kerbstone.enrolled("A1")
    backup = tmp_path / "backup"
    shutil.copytree(kerbstone.directory.root, backup)
    shutil.rmtree(kerbstone.directory.root)
    assert kerbstone("status").status == 1
    shutil.copytree(backup, kerbstone.directory.root)

    said = kerbstone("status", "--json").json["status"]
    assert [alarm for alarm in said["alarms"] if "offline" not in alarm] == []
    kerbstone("gateway", "revoke", device, "--yes")
    kerbstone("rotate", "recipients")
    kerbstone.serve()
    [council] = kerbstone("status", "--json").json["status"]["councils"]
    assert (council["revocation_list_number"], council["key_set_version"]) == (2, 2)


def test_lost_recipient_keys_raise_an_alarm_until_new_ones_are_made(kerbstone: Operator) -> None:
    for path in kerbstone.directory.recipients.iterdir():
        path.unlink()
    lost = kerbstone("status")
    assert (lost.status, "rotate recipients" in lost.out) == (1, True)
    assert kerbstone("rotate", "recipients").status == 0
    kerbstone.serve()
    assert "private keys are not in" not in kerbstone("status").out


def test_a_lost_council_root_begins_anew_for_that_council_alone(kerbstone: Operator) -> None:
    kerbstone("council", "add", "bristol", "--gss", "E06000023", "--name", "Bristol")
    device = kerbstone.enrolled("A1")
    shutil.rmtree(kerbstone.directory.authority / "councils/camden")
    lost = kerbstone("status", "--json").json["status"]["alarms"]
    assert [alarm for alarm in lost if "camden: its root is missing" in alarm]
    assert kerbstone("council", "add", *CAMDEN).status == 0
    root = read_certificate(kerbstone.directory.authority / "councils/camden/root.pem")
    [(message,)] = kerbstone.has(_revocation_list)
    assert x509.load_der_x509_crl(message).is_signature_valid(root.public_key())  # type: ignore[arg-type]  # P-256
    status = kerbstone("status", "--json").json["status"]
    assert {each["tenant"]: each["key_set_version"] for each in status["councils"]} == {
        "bristol": 1,
        "camden": 2,
    }
    assert [alarm for alarm in status["alarms"] if "offline" not in alarm] == []
    [again] = kerbstone("gateway", "invite", "camden", "--site", "A1", "--renew", "--json").json[
        "invitations"
    ]
    assert (again["device"], again["outcome"]) == (device, "renewed")


def test_a_lost_service_root_is_made_anew_with_the_key_from_offline(
    kerbstone: Operator, tmp_path: Path
) -> None:
    authority, stick = kerbstone.directory.authority, tmp_path / "stick"
    (authority / "offline").rename(stick)
    root = kerbstone.directory.region_root.read_bytes()
    (authority / "service-root.key").unlink()
    assert kerbstone("rotate", "services").status == 1
    said = kerbstone(
        *("rotate", "services", "--region-root-key", str(stick / "region-root.key")),
        *("--region-passphrase-file", str(stick / "region-root.passphrase")),
    )
    assert said.status == 0, said
    assert kerbstone.directory.region_root.read_bytes() == root, "gateways notice nothing"
    assert not (authority / "region-root.key").exists()
    server = read_certificate(authority / "server.pem")
    server.verify_directly_issued_by(read_certificate(authority / "service-root.pem"))
    kerbstone.serve()


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
    assert _status(kerbstone, device) == "revoked"


async def _revocation_list(conn: Connection) -> list[Any]:
    cursor = await conn.execute(
        "SELECT message FROM revocation_list JOIN council ON council.id = council_id"
        " WHERE tenant = 'camden'"
    )
    return await cursor.fetchall()


async def _newest_key_set(conn: Connection) -> list[Any]:
    cursor = await conn.execute("SELECT message FROM key_set ORDER BY version DESC LIMIT 1")
    return await cursor.fetchall()


async def _a_week_passes(conn: Connection) -> None:
    await conn.execute("UPDATE recipient SET retired_at = retired_at - INTERVAL '8 days'")


def _status(kerbstone: Operator, device: str) -> str:
    shown = kerbstone("gateway", "show", device, "--json").json
    return str(shown["gateway"]["facts"]["status"])


def _configurations(kerbstone: Operator, device: str) -> dict[int, str]:
    found = kerbstone("gateway", "show", device, "--json").json["gateway"]["configurations"]
    return {each["version"]: each["state"] for each in found}


def _contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
