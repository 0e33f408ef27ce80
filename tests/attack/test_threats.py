"""The table of threats is whole: no row without a test, no test without a row, no unknown code."""

import ast
import re
from pathlib import Path

import pytest

from enrolment.refusal import ANSWERS
from tests.attack.stage import REASONS
from tests.attack.threats import THREATS, Threat, Where

HERE = Path(__file__).parent

ROWS = """
read, forge, alter, replay, reorder, drop, truncate, append, move to another topic, move to another
device, move to another council, move to another group, roll an epoch back, reuse an epoch id, clone
a gateway's disk, replay stale K, replay stale R, replay stale C, swap recipient keys, downgrade
algorithms, send retained D, flood (size), flood (rate), flood (unknown epochs), flood (expensive
forgeries), break MQTT itself, flood (a cluster's stream), read another's stream on a cluster,
become a node of a cluster, spoof CN across councils, connect with an expired certificate, connect
with a revoked
certificate, connect with a foreign certificate, connect with a self-signed certificate, steal a
client id, TLS 1.2 on MQTT, oversized CSR, malformed CSR, token reuse, token guessing, token of
another council or device, pose as the certificate service, enrolment of a duplicate key, council A
administering council B, shut sensors out of a gateway, send a gateway what is no reading, write
to an operator's terminal, tamper with a backup or an export, publish to readers as a stranger,
listen beyond open data as a reader, take from other readers what is theirs, exhaust the broker of
readers, learn what is restricted, go on listening to what becomes restricted,
write to another council's entities, take the name of a device or of another council, read by
writing, guess an API key, exhaust the pages by questions
"""
"""What a council's security officer asks about; every row of it stands in the table."""


def attack_tests() -> set[str]:
    """Return file and name of every attack test."""
    found = set()
    for path in HERE.glob("test_*.py"):
        if path != Path(__file__):
            tree = ast.parse(path.read_text())
            found |= {
                f"{path.name}::{node.name}"
                for node in tree.body
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and node.name.startswith("test_")
            }
    return found


def test_every_row_asked_for_is_in_the_table_once() -> None:
    wanted = [row.strip() for row in " ".join(ROWS.split()).split(", ")]
    assert [threat.threat for threat in THREATS] == wanted


def test_every_row_names_a_test_and_every_test_a_row() -> None:
    named = [test for threat in THREATS for test in threat.tests]
    assert len(named) == len(set(named)), "a test shows one row"
    assert set(named) == attack_tests()


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.threat)
def test_row_says_what_stops_it(threat: Threat) -> None:
    assert threat.tests
    assert threat.check
    assert threat.alarm
    assert all(isinstance(where, Where) for where in threat.stopped_by)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.threat)
def test_codes_and_reasons_of_a_row_are_defined(threat: Threat) -> None:
    for code, reason in re.findall(r"\b([1-6]\d\d) ([a-z]+(?:-[a-z]+)*)\b", threat.check):
        if reason in REASONS:
            assert REASONS[reason].code == int(code)
    defined = {*ANSWERS, *REASONS, "key-set-rollback", "configuration-rollback"}
    for reason in re.findall(r"\b[a-z]+(?:-[a-z]+)+\b", threat.check):
        assert reason in defined, reason


def test_every_refusal_of_an_attack_is_shown_by_a_row() -> None:
    """What is in nobody's row is a matter of form or of time, not of an attack."""
    told = " ".join(threat.check for threat in THREATS)
    shown = {
        reason
        for reason, kind in REASONS.items()
        if str(kind.code) in re.findall(r"\b[1-6]\d\d\b", told)
    }
    assert set(REASONS) - shown == {
        "version",
        "signer-time",
        "epoch-closed",
        "clock",
        "seq-form",
        "seq-limit",
        "content-format",
        "reading-time",
    }
