import tomllib
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from command_line.toml_text import toml_text

text = st.text(st.characters(exclude_categories=("Cs",)))
plain = (
    text
    | st.integers(-(2**53), 2**53)
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
)
table = st.dictionaries(text.filter(bool), plain, max_size=4)
document = st.dictionaries(
    st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True),
    plain | table | st.lists(plain, max_size=3) | st.lists(table, min_size=1, max_size=3),
    max_size=6,
)  # fmt: skip


@given(document)
def test_what_is_written_reads_back_the_same(value: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(value)) == value


def test_paths_are_written_as_strings_and_tables_follow_plain_values() -> None:
    written = toml_text({"table": {"file": Path("/a b")}, "plain": 1, "rows": [{"x": 1}, {"x": 2}]})
    assert written == 'plain = 1\n\n[table]\nfile = "/a b"\n\n[[rows]]\nx = 1\n\n[[rows]]\nx = 2\n'
