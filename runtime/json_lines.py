"""On which line of a JSON text each member and element stands; values are read by `json` itself.

The same as `toml_lines` is for TOML, so that a mistake is named with its line in either.
"""

import json
import re
from typing import Final, TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]

_BLANK: Final = re.compile(r"[ \t\n\r]*")
_decode: Final = json.JSONDecoder().raw_decode


def json_lines(text: str) -> dict[KeyPath, int]:
    """Return the line (from 1) of every member and element of valid JSON, by its path."""
    walk = _Walk(text)
    walk.value((), 0)
    return walk.lines


class _Walk:
    """Goes through a text once, value by value."""

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._counted = (0, 1)

    def value(self, path: KeyPath, at: int) -> int:
        """Note where the value at a position stands; return the position after it."""
        at = self._blank(at)
        self.lines.setdefault(path, self._line(at))
        opening = self._text[at]
        if opening not in "{[":
            return int(_decode(self._text, at)[1])
        closing = "}" if opening == "{" else "]"
        number = 0
        at = self._blank(at + 1)
        while self._text[at] != closing:
            at = self._part(path, number, at, named=opening == "{")
            number += 1
        return at + 1

    def _part(self, path: KeyPath, number: int, at: int, *, named: bool) -> int:
        """Walk one member or element and the comma after it."""
        key: str | int = number
        if named:
            line = self._line(at)
            key, at = _decode(self._text, at)
            self.lines[(*path, key)] = line
            at = self._blank(at) + 1  # the colon
        at = self._blank(self.value((*path, key), at))
        return self._blank(at + 1) if self._text[at] == "," else at

    def _blank(self, at: int) -> int:
        found = _BLANK.match(self._text, at)
        return found.end() if found else at

    def _line(self, at: int) -> int:
        before, line = self._counted
        self._counted = (at, line + self._text.count("\n", before, at))
        return self._counted[1]
