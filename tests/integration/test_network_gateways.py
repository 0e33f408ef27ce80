"""`kerbstone network gateway …`: inviting, listing, revoking, and settings from afar."""

import asyncio
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from command_line.network import gateways
from command_line.network.commands import gateway
from enrolment.files import read_certificate
from tests.integration.fix_network import Operator, status_of
from tests.integration.test_storage_network_recipients import report

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


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


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        ("revoke", "active", "revoked"),
        ("suspend", "active", "suspended"),
        ("resume", "suspended", "active"),
    ],
)
def test_a_change_of_standing_asks_and_without_a_terminal_refuses(
    kerbstone: Operator, typed: Callable[[str], None], change: str, before: str, after: str
) -> None:
    device = kerbstone.enrolled("A1")
    if before == "suspended":
        assert kerbstone("gateway", "suspend", device, "--yes").status == 0
    refused = kerbstone("gateway", change, device)
    assert (refused.status, "--yes" in refused.err) == (2, True)
    typed("yes")
    unsure = kerbstone("gateway", change, device)
    assert (unsure.status, "nothing was done" in unsure.err) == (2, True)
    assert f"This {change}s {device}" in unsure.err
    assert status_of(kerbstone, device) == before
    typed(device)
    assert kerbstone("gateway", change, device).status == 0
    assert status_of(kerbstone, device) == after


def test_several_are_revoked_together_or_not_at_all(
    kerbstone: Operator, typed: Callable[[str], None]
) -> None:
    devices = [kerbstone.enrolled("A1"), kerbstone.enrolled("A2")]
    unknown = kerbstone("gateway", "revoke", *devices, "nobody0000", "--yes")
    assert (unknown.status, "nobody0000" in unknown.err) == (1, True)
    assert [status_of(kerbstone, device) for device in devices] == ["active", "active"]
    typed("revoke 2")
    assert kerbstone("gateway", "revoke", *devices).status == 0
    assert [status_of(kerbstone, device) for device in devices] == ["revoked", "revoked"]


def test_a_revoked_gateway_never_comes_back_but_its_site_does(kerbstone: Operator) -> None:
    first = kerbstone.enrolled("A1")
    kerbstone("gateway", "revoke", first, "--yes")
    second = kerbstone.enrolled("A1")
    assert second != first
    assert [status_of(kerbstone, device) for device in (first, second)] == ["revoked", "active"]


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
    version = late.json["version"]
    assert _configurations(kerbstone, device) == {version: "signed"}
    newer = kerbstone(*configure, "--set", "uplink.batch_seconds=6", "--json").json["version"]
    assert newer > version
    assert _configurations(kerbstone, device) == {version: "superseded", newer: "requested"}
    settled = asyncio.run(
        gateways.settled(kerbstone.directory, device=device, version=version, within_seconds=60)
    )
    assert settled.state == "superseded"


def test_a_token_on_the_screen_comes_with_what_else_must_be_typed(kerbstone: Operator) -> None:
    said = kerbstone("gateway", "invite", "camden", "--site", "A1")
    assert "kerbstone agent enrol --url https://broker.example.org:8445/.well-known" in said.out
    digest = re.search(r"--region-root-sha256 ([0-9a-f]{64}) ", said.out)
    assert digest
    root = read_certificate(kerbstone.directory.region_root)
    assert root.fingerprint(hashes.SHA256()).hex() == digest[1]
    assert "agent enrol" not in kerbstone("gateway", "invite", "camden", "--site", "A1").out


def test_who_waits_for_settings_is_told_what_holds_them_up(
    kerbstone: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "SIGNED_WITHIN_SECONDS", 0.0)
    device = kerbstone.enrolled("A1")
    configure = ("gateway", "configure", device, "--set", "uplink.batch_seconds=5", "--wait", "0.1")
    said = kerbstone(*configure)
    assert "does the enrolment service run" in said.err
    assert said.out.splitlines()[1].startswith("Nothing is signed yet")
    assert said.status == 1


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


def _configurations(kerbstone: Operator, device: str) -> dict[int, str]:
    found = kerbstone("gateway", "show", device, "--json").json["gateway"]["configurations"]
    return {each["version"]: each["state"] for each in found}
