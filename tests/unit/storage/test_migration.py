from pathlib import Path

import pytest

from storage.edition import Edition
from storage.migration import (
    MIGRATIONS,
    Applied,
    Migration,
    MigrationError,
    find_missing,
    read_migrations,
)

FIRST, SECOND, THIRD = (Migration(f"000{i}_step", b"SELECT %d" % i) for i in (1, 2, 3))


def done(*migrations: Migration) -> list[Applied]:
    return [Applied(migration.name, migration.sha256) for migration in migrations]


def test_what_follows_the_applied_steps_is_missing() -> None:
    assert find_missing([FIRST, SECOND, THIRD], []) == [FIRST, SECOND, THIRD]
    assert find_missing([FIRST, SECOND, THIRD], done(FIRST)) == [SECOND, THIRD]
    assert find_missing([FIRST, SECOND], done(FIRST, SECOND)) == []


def test_a_changed_an_unknown_and_a_late_step_are_refused() -> None:
    changed = Migration(FIRST.name, b"SELECT 0")
    with pytest.raises(MigrationError, match="0001_step was changed"):
        find_missing([changed, SECOND], done(FIRST))
    with pytest.raises(MigrationError, match="0002_step, which this version does not know"):
        find_missing([FIRST], done(FIRST, SECOND))
    with pytest.raises(MigrationError, match="0001_step sorts before 0002_step"):
        find_missing([FIRST, SECOND, THIRD], done(SECOND))


def test_each_edition_reads_its_own_files_in_order(tmp_path: Path) -> None:
    for name in ("0002_b.plain", "0002_b.apache", "0002_b.timescale", "0001_a", "0003_c"):
        (tmp_path / f"{name}.sql").write_text(name)
    for edition in Edition:
        names = [migration.name for migration in read_migrations(tmp_path, edition)]
        assert names == ["0001_a", f"0002_b.{edition.value}", "0003_c"]


def test_our_migrations_are_numbered_without_gap_in_every_edition() -> None:
    for edition in Edition:
        numbers = [int(step.name[:4]) for step in read_migrations(MIGRATIONS, edition)]
        assert numbers == list(range(1, len(numbers) + 1))
