"""Where each key of a TOML document stands, so that a mistake can be shown by line.

`tomllib` gives values without positions. This module walks the text of a document that
`tomllib` has already accepted, and notes lines only; it neither checks nor converts.
"""

import re
import tomllib
from typing import Final

KeyPath = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_OTHER_VALUE: Final = re.compile(r"[^\s,\]}#]+(?: \d[^\s,\]}#]*)?")  # a date may hold a space


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line (from 1) of every table, key and array element of valid TOML.

    A path is made of keys and array positions: `("sensor", 0, "urn")`.
    """
    return _Walk(text).document()


class _Walk:
    """One pass over one document; `position` only moves forward."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._line = 1
        self._counted_to = 0
        self._lines: dict[KeyPath, int] = {(): 1}
        self._elements: dict[KeyPath, int] = {}

    def document(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip_blank()
        while self._position < len(self._text):
            if self._text.startswith("[[", self._position):
                table = self._header(2)
            elif self._text.startswith("[", self._position):
                table = self._header(1)
            else:
                self._assignment(table)
            self._skip_blank()
        return self._lines

    def _header(self, brackets: int) -> KeyPath:
        line = self._current_line()
        self._position += brackets
        keys = self._dotted_key()
        self._position += brackets
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self._last_element((*path, key))
        path = (*path, keys[-1])
        if brackets == len("[["):
            self._lines.setdefault(path, line)
            self._elements[path] = self._elements.get(path, 0) + 1
            path = self._last_element(path)
        self._lines[path] = line
        return path

    def _last_element(self, path: KeyPath) -> KeyPath:
        count = self._elements.get(path)
        return path if count is None else (*path, count - 1)

    def _assignment(self, table: KeyPath) -> None:
        line = self._current_line()
        path = table
        for key in self._dotted_key():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._position += 1  # the equals sign
        self._value(path)

    def _dotted_key(self) -> list[str]:
        keys = []
        while True:
            self._skip_blank()
            quoted = _STRING.match(self._text, self._position)
            if quoted:
                keys.append(str(tomllib.loads(f"key = {quoted.group()}")["key"]))
                self._position = quoted.end()
            else:
                keys.append(self._take(_BARE_KEY))
            self._skip_blank()
            if not self._text.startswith(".", self._position):
                return keys
            self._position += 1

    def _value(self, path: KeyPath) -> None:
        self._skip_blank()
        self._lines.setdefault(path, self._current_line())
        opening = self._text[self._position]
        if opening == "[":
            self._array(path)
        elif opening == "{":
            self._inline_table(path)
        elif _STRING.match(self._text, self._position):
            self._take(_STRING)
        else:
            self._take(_OTHER_VALUE)

    def _array(self, path: KeyPath) -> None:
        self._position += 1
        count = 0
        while not self._closes("]"):
            self._value((*path, count))
            count += 1
            self._skip_comma()
        self._position += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._position += 1
        while not self._closes("}"):
            self._assignment(path)
            self._skip_comma()
        self._position += 1

    def _closes(self, bracket: str) -> bool:
        self._skip_blank()
        return self._text.startswith(bracket, self._position)

    def _skip_comma(self) -> None:
        self._skip_blank()
        if self._text.startswith(",", self._position):
            self._position += 1

    def _skip_blank(self) -> None:
        self._take(_BLANK)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._position)
        if match is None:
            raise ValueError(f"not TOML at line {self._current_line()}")
        self._position = match.end()
        return match.group()

    def _current_line(self) -> int:
        self._line += self._text.count("\n", self._counted_to, self._position)
        self._counted_to = self._position
        return self._line
