"""The table of threats on the page of security agrees with the attack tests, and can be followed.

That the table is generated anew is held by `test_docs`; that the list behind it is whole, by
tests/attack. Here: what a reader of the page meets in a row is there.
"""

import ast
import re
from pathlib import Path

import pytest

from api.pages.words import REASONS
from docs import generate
from enrolment.refusal import ANSWERS
from tests.attack.threats import THREATS, Threat

PAGE = generate.SECURITY
LINK = re.compile(r"\[`([a-z0-9_]+)`\]\(([^)]+)\)")


def rows() -> dict[str, list[str]]:
    """Return the cells of each row by its threat."""
    text = PAGE.read_text(encoding="utf-8")
    part = text.partition("<!-- generated: threats -->")[2].partition("<!-- end -->")[0]
    cells = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| **")]
    return {row[0].strip("*"): row for row in cells}


def functions_of(file: Path) -> set[str]:
    """Return the names of the functions in a file of tests."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in tree.body if isinstance(node, kinds)}


def test_table_has_a_row_for_each_threat_in_their_order() -> None:
    assert list(rows()) == [threat.threat for threat in THREATS]


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.threat)
def test_row_leads_to_every_test_of_its_threat(threat: Threat) -> None:
    linked = LINK.findall(rows()[threat.threat][-1])
    assert len(linked) == len(threat.tests) > 0
    for name, link in linked:
        file = (PAGE.parent / link).resolve()
        assert f"test_{name}" in functions_of(file), link
        assert f"{file.name}::test_{name}" in threat.tests


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.threat)
def test_row_says_who_stops_it_by_what_and_where_it_shows(threat: Threat) -> None:
    _, stopped_by, check, alarm, _ = rows()[threat.threat]
    assert stopped_by.split(", ") == list(threat.stopped_by)
    assert check == threat.check
    assert alarm.replace("`", "") == threat.alarm


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.threat)
def test_every_code_of_a_row_can_be_looked_up(threat: Threat) -> None:
    """Its reason stands beside it, is explained on the page of reasons, and is that code's."""
    codes = {str(kind.code): kind.reason for kind in generate.refusals() if kind.code}
    for code, reason in re.findall(r"\b(\d{3}) ([a-z]+(?:-[a-z]+)*)\b", threat.check):
        if reason in REASONS:
            assert codes[code] == reason
    named = set(re.findall(r"\b(?:token|request|certificate)-[a-z-]+\b", threat.check))
    assert named <= {*ANSWERS}


def test_page_names_each_threat_of_the_council_s_own_words_once() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for threat in THREATS:
        assert text.count(f"| **{threat.threat}** |") == 1
