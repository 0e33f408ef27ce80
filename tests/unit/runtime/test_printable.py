import json

import pytest

from runtime.printable import printable


@pytest.mark.parametrize("text", ["", "NO₂ 80 µg/m³, “Camden”, ليدز", 'back\\slash "quoted"'])
def test_what_can_be_shown_is_shown(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b31m", "a\r\nb", "\u202eno2", "\x7f", "\u2028"])
def test_what_a_terminal_would_obey_is_named(text: str) -> None:
    assert printable(text).isprintable()
    assert json.loads(f'"{printable(text)}"') == text
