"""Every member and element of a JSON text has its line."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runtime.json_lines import KeyPath, json_lines

values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
)


def paths(value: Any, at: KeyPath = ()) -> list[KeyPath]:
    """Every path in a document, in the order in which `json` writes it."""
    parts: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, list):
        parts = list(enumerate(value))
    return [at, *(path for key, part in parts for path in paths(part, (*at, key)))]


@given(values)
def test_every_path_has_a_line_in_the_order_of_the_text(value: Any) -> None:
    text = json.dumps(value, indent=1)
    lines = json_lines(text)
    found = [lines[path] for path in paths(value)]
    assert set(lines) == set(paths(value))
    assert found == sorted(found)
    assert set(json_lines(json.dumps(value)).values()) == {1}


def test_lines_are_those_an_editor_shows() -> None:
    text = '\n{"a": [1,\n "x",\r\n {"b" :\n null}], "c\\n": {}\n}'
    assert json_lines(text) == {
        (): 2,
        ("a",): 2,
        ("a", 0): 2,
        ("a", 1): 3,
        ("a", 2): 4,
        ("a", 2, "b"): 4,
        ("c\n",): 5,
    }
