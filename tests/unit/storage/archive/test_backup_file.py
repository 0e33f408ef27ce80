import os
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from storage.archive.backup_file import BackupError, Content, Manifest, create, read
from storage.archive.tables import Counter, Stretch, _in_order
from storage.edition import Edition

BLOCK = os.urandom(1000) * 9000  # more than one frame


def write(path: Path, *, content: bytes = BLOCK) -> Manifest:
    with create(path) as writer:
        with writer.member("observation/2026-06-01.copy.zst") as member:
            for start in range(0, len(content), 300_000):
                member.write(content[start : start + 300_000])
            member.flush()
        manifest = Manifest(
            taken_at=datetime(2026, 6, 1, 12, tzinfo=UTC),
            version="1",
            server="PostgreSQL 18",
            edition=Edition.APACHE,
            migrations=("0001_registry",),
            observation_floor=None,
            contents=(
                Content(
                    table="observation",
                    columns=("time",),
                    types=("timestamp with time zone",),
                    stretch=Stretch(date(2026, 6, 1), None),
                    member="observation/2026-06-01.copy.zst",
                    rows=3,
                    bytes=member.bytes,
                    sha256=member.sha256,
                ),
            ),
            counters=(Counter("gateway", "id", 7, called=True),),
        )
        writer.finish(manifest)
    return manifest


def test_what_is_written_is_read(tmp_path: Path) -> None:
    manifest = write(tmp_path / "backup")
    with read(tmp_path / "backup") as backup:
        assert backup.manifest == manifest
        assert b"".join(backup.blocks(manifest.contents[0])) == BLOCK


def test_a_content_that_says_something_else_is_refused_at_its_end(tmp_path: Path) -> None:
    manifest = write(tmp_path / "backup")
    write(tmp_path / "other", content=BLOCK[:-1])
    with read(tmp_path / "other") as backup, pytest.raises(BackupError, match="not what was"):
        list(backup.blocks(manifest.contents[0]))


def test_a_backup_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with create(tmp_path / "backup") as writer, writer.member("x") as member:
            member.write(b"x")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_tables_come_after_those_they_refer_to() -> None:
    references = {"batch": {"epoch", "gateway"}, "epoch": {"gateway"}, "gateway": set(), "a": set()}
    assert _in_order(references) == ["a", "gateway", "epoch", "batch"]
