"""Patterns match as Python's do, in linear time, and refuse what they do not understand."""

import random
import re

import pytest

from standards_mapping.ngsi_ld.errors import BadRequestDataError
from standards_mapping.ngsi_ld.pattern import Pattern

ATOMS = ["a", "b", ".", "[ab]", "[^a]", "(a|b)", "(ab|c)", r"\d", "(?:a*b)", "[0-9a]", r"\."]
TIMES = ["", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "{0,2}", "{0}"]


def test_patterns_match_as_pythons_do() -> None:
    chance = random.Random(20260301)  # noqa: S311  # no secret
    for _ in range(2000):
        parts = [chance.choice(ATOMS) + chance.choice(TIMES) for _ in range(chance.randint(1, 4))]
        text = chance.choice(["", "^"]) + "".join(parts) + chance.choice(["", "$", "|b"])
        pattern = Pattern(text)
        for _ in range(5):
            tried = "".join(chance.choice("abc1.") for _ in range(chance.randint(0, 6)))
            assert pattern.search(tried) == bool(re.search(text, tried)), (text, tried)


@pytest.mark.parametrize("text", ["(a+)+$", "(a|a)+$", "(.*a){20}$", "a*a*a*a*a*a*b"])
def test_what_makes_others_backtrack_is_matched_a_character_at_a_time(text: str) -> None:
    steps = 0
    pattern = Pattern(text)
    step = pattern._step

    def counted(now: frozenset[int], character: str) -> frozenset[int]:
        nonlocal steps
        steps += 1
        return step(now, character)

    pattern._step = counted  # type: ignore[method-assign]
    assert not pattern.search("a" * 19 + "c")
    assert steps == 20


@pytest.mark.parametrize(
    "text",
    [
        "a**",
        "(",
        "[a",
        "a)",
        r"\1",
        "(?=a)",
        "x{3,1}",
        "*",
        "a{",
        "a{1001}",
        "((a{999}){999}){9}",
        "a" * 513,
        "(" * 60 + ")" * 60,
        "[b-a]",
        "\\",
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(BadRequestDataError):
        Pattern(text)
