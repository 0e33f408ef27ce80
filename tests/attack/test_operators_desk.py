"""What an operator looks at, restores and verifies may have been written by an attacker."""

import json
import logging
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from command_line.data.terminal import guarded
from command_line.quarantine import _json, _MisuseError, _write_new, entry_line, shown
from runtime.logs import JsonFormatter
from storage.archive.backup_file import MANIFEST, BackupError, create, read
from storage.archive.export import ExportError
from storage.archive.export_files import Export
from storage.archive.restore import _check_columns
from storage.archive.tables import Table
from storage.quarantine_review import Entry

NASTY = "\x1b[2J\x1b]0;all is well\x07\x9b31m\u202eno2\r\n  8  nothing waits\x7f\u2028"
ENTRY = Entry(
    id=7,
    received_at=datetime(2026, 6, 1, 12, tzinfo=UTC),
    tenant="camden",
    device="k7q2m9xd4t",
    reason="unit-mismatch",
    first_reason=None,
    detail=f"unit {NASTY}",
    topic="snaas/1/camden/k7q2m9xd4t/d/main",
    senml_name=NASTY,
    phenomenon_time=datetime(2026, 6, 1, 12, tzinfo=UTC),
    result=NASTY,
    unit=NASTY,
    quality=0,
    state="held",
    asked_at=None,
    tries=0,
    tried_at=None,
    message_bytes=None,
)
TABLE = Table("gateway", ("device",), ("text",))
MANIFEST_DOCUMENT: dict[str, Any] = {
    "format": 1,
    "taken_at": "2026-06-01T12:00:00+00:00",
    "version": "1",
    "server": "PostgreSQL 18",
    "edition": "plain",
    "migrations": ["0001_registry"],
    "observation_floor": None,
    "contents": [
        {
            "table": "gateway",
            "columns": ["device"],
            "types": ["text"],
            "stretch": None,
            "member": "gateway.copy.zst",
            "rows": 1,
            "bytes": 10,
            "sha256": "00" * 32,
        }
    ],
    "counters": [],
}


def test_write_to_an_operators_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    async def fail() -> int:
        raise BackupError(f"of version {NASTY}")

    assert guarded(fail()) == 1
    record = logging.makeLogRecord({"msg": "refused", "topic": NASTY})
    record.detail = NASTY
    line = JsonFormatter("ingest").format(record)
    assert json.loads(line)["detail"] == NASTY
    printed = [entry_line(ENTRY), *shown(ENTRY), _json({"detail": NASTY}), line]
    assert "\\u001b[2J" in printed[0]
    assert all(each.isprintable() for each in printed)
    assert all(each.isprintable() for each in capsys.readouterr().err.splitlines())


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("elsewhere")])
def test_have_a_message_written_over_a_file(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "message"
    make(path)
    with pytest.raises(_MisuseError, match="exists"):
        _write_new(path, b"sealed")
    assert not (tmp_path / "elsewhere").exists()
    _write_new(tmp_path / "new", b"sealed")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def backup(path: Path, manifest: object, *, member: bytes = b"", packed: bool = False) -> Path:
    """Write what claims to be a backup; packed: its manifest by ZIP's own means."""
    with zipfile.ZipFile(path, "w") as archive:
        kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        archive.writestr(MANIFEST, json.dumps(manifest), compress_type=kind)
        archive.writestr("gateway.copy.zst", member)
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"counters": [{"table": "gateway", "column": "id", "value": "1); DROP", "called": True}]},
        {"contents": [MANIFEST_DOCUMENT["contents"][0] | {"rows": "1"}]},
        {"contents": [MANIFEST_DOCUMENT["contents"][0] | {"member": None}]},
        {"migrations": [1]},
        {"version": {}},
        {"padding": "x" * (64 << 20)},
    ],
    ids=["counter", "rows", "member", "migration", "version", "size"],
)
def test_restore_what_a_stranger_wrote(change: dict[str, Any], tmp_path: Path) -> None:
    path = backup(tmp_path / "backup", MANIFEST_DOCUMENT | change)
    with pytest.raises(BackupError, match="no backup"), read(path):
        pass


def test_restore_a_bomb(tmp_path: Path) -> None:
    packed = backup(tmp_path / "packed", MANIFEST_DOCUMENT, packed=True)
    with pytest.raises(BackupError, match="compressed"), read(packed):
        pass
    made = tmp_path / "made"
    with create(made) as writer, writer.member("gateway.copy.zst") as member:
        for _ in range(8):
            member.write(bytes(4 << 20))
    with zipfile.ZipFile(made) as archive:
        frames = archive.read("gateway.copy.zst")
    assert len(frames) < 1 << 16
    with read(backup(tmp_path / "bomb", MANIFEST_DOCUMENT, member=frames)) as reader:
        taken: list[bytes] = []
        with pytest.raises(BackupError, match="not what was written"):
            taken.extend(reader.blocks(reader.manifest.contents[0]))
    assert sum(map(len, taken)) <= 10


@pytest.mark.parametrize("table", ["pg_authid", 'gateway"; DROP TABLE gateway; --', "their_own"])
def test_restore_into_a_table_of_somebody_else(table: str, tmp_path: Path) -> None:
    document = json.loads(json.dumps(MANIFEST_DOCUMENT))
    with read(backup(tmp_path / "backup", document)) as reader:
        manifest = reader.manifest
    _check_columns(manifest, {"gateway": TABLE})
    stranger = replace(manifest.contents[0], table=table)
    with pytest.raises(BackupError, match="not as it was"):
        _check_columns(replace(manifest, contents=(stranger,)), {"gateway": TABLE})
    document["counters"] = [{"table": table, "column": "id", "value": 1, "called": True}]
    with read(backup(tmp_path / "counter", document)) as reader:
        manifest = reader.manifest
    with pytest.raises(BackupError, match="no column"):
        _check_columns(manifest, {"gateway": TABLE})


@pytest.mark.parametrize(
    ("council", "file"),
    [
        ("camden", "../../../etc/shadow"),
        ("camden", "/etc/shadow"),
        ("../..", "council=../../day=2026-06-01/observations.parquet"),
    ],
)
def test_lead_an_export_out_of_its_directory(council: str, file: str, tmp_path: Path) -> None:
    day = {
        "council": council,
        "day": "2026-06-01",
        "version": 1,
        "changed_at": "2026-06-02T00:00:00+00:00",
        "thinned": False,
        "file": file,
        "rows": 1,
        "bytes": 1,
        "sha256": "00" * 32,
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, "days": [day]}))
    with pytest.raises(ExportError, match="no manifest"):
        Export(tmp_path).read_manifest()
