"""What `kerbstone network` tells people and scripts: passes, audit, status, JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from command_line.network import directory as network_directory
from storage.database import Connection
from tests.integration.fix_network import CAMDEN, Operator, status_of

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.parametrize("database_server", ["plain"], indirect=True)


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
        ("gateway", "suspend", device, "--yes"),
        ("gateway", "resume", device, "--yes"),
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
