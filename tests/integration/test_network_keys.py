"""Rotating keys, a council's own recipients, and restoring what was lost, by commands."""

import asyncio
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from command_line.network import rotation
from command_line.network.commands import rotate
from device_protocol.recipient_pem import decode_pem
from enrolment.files import read_certificate
from storage.database import Connection
from tests.integration.fix_network import CAMDEN, Operator

pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


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
    assert adopted.signed
    assert adopted.stragglers == (device,)
    early = kerbstone("rotate", "destroy-retired", "--yes")
    assert early.status == 1
    assert device in early.err
    assert "late messages" in early.err

    kerbstone.announced(device, adopted.key_set_version)
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


def test_who_waits_for_new_keys_is_told_what_holds_them_up(
    kerbstone: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotate, "SIGNED_WITHIN_SECONDS", 0.0)
    said = kerbstone("rotate", "recipients", "--wait", "0.1", "--json")
    assert said.err.count("does the enrolment service run") == 1


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


def test_a_rotation_cut_short_is_ended_by_the_next(kerbstone: Operator) -> None:
    services = kerbstone.directory.authority / "services"
    (services / "ingest.pem").rename(services / ".ingest.pem.before")
    renewed = kerbstone("rotate", "services", "--json").json["certificates"]
    assert str(services / "ingest.pem") in renewed
    assert [path.name for path in services.iterdir() if path.name.startswith(".")] == []


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
    [before] = kerbstone("status", "--json").json["status"]["councils"]
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
    for rising in ("revocation_list_number", "key_set_version"):
        assert council[rising] > before[rising]


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
    before = _key_sets(kerbstone)
    shutil.rmtree(kerbstone.directory.authority / "councils/camden")
    lost = kerbstone("status", "--json").json["status"]["alarms"]
    assert [alarm for alarm in lost if "camden: its root is missing" in alarm]
    assert kerbstone("council", "add", *CAMDEN).status == 0
    root = read_certificate(kerbstone.directory.authority / "councils/camden/root.pem")
    [(message,)] = kerbstone.has(_revocation_list)
    assert x509.load_der_x509_crl(message).is_signature_valid(root.public_key())  # type: ignore[arg-type]  # P-256
    status = kerbstone("status", "--json").json["status"]
    after = _key_sets(kerbstone)
    assert after["bristol"] == before["bristol"]
    assert after["camden"] > before["camden"]
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


def _key_sets(kerbstone: Operator) -> dict[str, int]:
    councils = kerbstone("status", "--json").json["status"]["councils"]
    return {each["tenant"]: each["key_set_version"] for each in councils}


def test_the_region_roots_key_is_never_taken_from_whoever_put_it_there(
    kerbstone: Operator, tmp_path: Path
) -> None:
    """Somebody brings the only key to just where the authority looks for it."""
    authority = kerbstone.directory.authority
    offline, here = authority / "offline", authority / "region-root.key"
    passphrase = ("--region-passphrase-file", str(offline / "region-root.passphrase"))
    (offline / "region-root.key").rename(here)
    content = here.read_bytes()
    rotate = ("rotate", "services", *passphrase, "--region-root-key")
    assert kerbstone(*rotate, str(here)).status == 0
    assert here.read_bytes() == content
    assert str(here) in kerbstone("status").out

    another = tmp_path / "another.key"
    another.write_bytes(b"ENCRYPTED, and another region's")
    refused = kerbstone(*rotate, str(another))
    assert (refused.status, "another key" in refused.err) == (1, True), refused
    assert here.read_bytes() == content

    stick = tmp_path / "region-root.key"
    stick.write_bytes(content)
    assert kerbstone(*rotate, str(stick)).status == 0
    assert not here.exists(), "a copy left behind by a power cut"


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
