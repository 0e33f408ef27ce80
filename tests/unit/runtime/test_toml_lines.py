"""Lines are found through every form TOML has."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from runtime.toml_lines import key_lines

DOCUMENT = '''# a comment with = and [brackets]
title = "text with # and ] inside"   # trailing
a.b."c d" = 1
'quoted key' = 'literal'
long = """
several
lines with \\""" quotes
"""
when = 1979-05-27 07:32:00Z
list = [
  1, # one
  { x = 2, y = [3, 4] },
]
[table]
key = {inner = {deep = true}}
[[thing]]
urn = "one"
[thing.place]
x = 1
[[thing]]
urn = "two"
  [[thing.sensor]]
  name = \'\'\'it\'s\'\'\'
'''


def test_lines_of_tables_keys_and_elements() -> None:
    tomllib.loads(DOCUMENT)
    lines = key_lines(DOCUMENT)
    expected = {
        ("title",): 2,
        ("a", "b", "c d"): 3,
        ("quoted key",): 4,
        ("long",): 5,
        ("when",): 9,
        ("list",): 10,
        ("list", 0): 11,
        ("list", 1, "y"): 12,
        ("table",): 14,
        ("table", "key", "inner", "deep"): 15,
        ("thing", 0): 16,
        ("thing", 0, "urn"): 17,
        ("thing", 0, "place", "x"): 19,
        ("thing", 1, "urn"): 21,
        ("thing", 1, "sensor", 0): 22,
        ("thing", 1, "sensor", 0, "name"): 23,
    }
    assert {path: lines.get(path) for path in expected} == expected


TEXTS = st.text(st.sampled_from("ab\"\\\n#=[]{},.' é"), max_size=12)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=6, unique_by=lambda pair: pair[0]))
def test_any_quoted_keys_and_values_are_walked(pairs: list[tuple[str, str]]) -> None:
    def quoted(text: str) -> str:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'

    document = "".join(f"{quoted(key)} = {quoted(value)}\n" for key, value in pairs)
    assert tomllib.loads(document) == dict(pairs)
    lines = key_lines(document)
    assert {key: lines[(key,)] for key, _ in pairs} == {
        key: index for index, (key, _) in enumerate(pairs, start=1)
    }
