"""Rows are found on pages as SQLite writes them, and garbage yields none but never fails."""

import sqlite3
from contextlib import closing
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from edge_agent.spool.wal import read_log, rows_on

PAGE_BYTES = 4096
ROWS = [
    (0, 0, "", 0),
    (1, 1, "a", -1),
    (127, 1_900_000_000, '["x",1]', 4_294_967_295),
    (128, -(1 << 40), "£" * 40, 1 << 60),
    ((6 << 48) | 77, 200, "b" * 200, 65_536),
]


def page_of(tmp_path: Path) -> bytes:
    path = tmp_path / "database"
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            "CREATE TABLE reading (place INTEGER PRIMARY KEY, accepted INTEGER NOT NULL,"
            " body TEXT NOT NULL, checksum INTEGER NOT NULL)"
        )
        database.executemany("INSERT INTO reading VALUES (?, ?, ?, ?)", ROWS)
        database.commit()
    return path.read_bytes()[PAGE_BYTES : 2 * PAGE_BYTES]


def test_rows_are_read_as_sqlite_wrote_them(tmp_path: Path) -> None:
    found = list(rows_on(page_of(tmp_path)))
    assert found == [(key, first, text.encode(), last) for key, first, text, last in ROWS]


@given(st.binary(max_size=300))
@example(b"\x00\x00\xff\xff\x00" + b"\xff" * 100)
def test_garbage_is_no_failure(content: bytes) -> None:
    list(rows_on(b"\x0d" + content))
    list(rows_on(content))


def test_no_log_is_no_damage(tmp_path: Path) -> None:
    log = read_log(tmp_path / "spool.sqlite")
    assert not log.lost
    assert log.beyond == {}
