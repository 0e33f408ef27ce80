"""The classes are the table of section 8, and nothing is named twice."""

import inspect

import pytest

from device_protocol import errors
from device_protocol.errors import QUARANTINED, RejectionError

SECTION_8 = {
    100: "size",
    101: "encoding",
    102: "structure",
    103: "version",
    104: "topic",
    105: "retained",
    200: "unknown-device",
    201: "revoked",
    203: "signer",
    204: "signer-time",
    300: "unknown-epoch",
    301: "epoch-rollback",
    302: "epoch-conflict",
    303: "epoch-closed",
    304: "clock",
    305: "not-recipient",
    306: "unwrap",
    400: "algorithm",
    401: "aead",
    402: "signature",
    403: "seq-form",
    500: "duplicate",
    501: "too-old",
    502: "seq-conflict",
    503: "seq-limit",
    600: "content-format",
    601: "payload",
    602: "reading-time",
}


REFUSALS = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind)
    and issubclass(kind, RejectionError)
    and "reason" in vars(kind)
    and kind is not RejectionError
]


def test_codes_and_reasons_are_those_of_section_8() -> None:
    coded = {kind.code: kind.reason for kind in REFUSALS if kind.code}
    assert coded == SECTION_8


def test_every_reason_stands_for_one_refusal() -> None:
    reasons = [kind.reason for kind in REFUSALS]
    assert len(reasons) == len(set(reasons))
    assert RejectionError.reason not in reasons


def test_quarantine_is_for_what_section_8_says_and_for_single_readings() -> None:
    by_table = {SECTION_8[code] for code in (201, 204, 303, 600, 601, 602)}
    by_reading = {"unknown-datastream", "unit-mismatch", "out-of-range", "conflicting-result"}
    assert by_table | by_reading == QUARANTINED


@pytest.mark.parametrize("kind", REFUSALS, ids=lambda kind: kind.__name__)
def test_the_tree_at_the_top_shows_every_refusal(kind: type[RejectionError]) -> None:
    tree = inspect.getdoc(errors)
    assert tree is not None
    (line,) = (line for line in tree.splitlines() if kind.__name__ in line.split())
    if kind.code:
        assert line.split()[-1] == str(kind.code)
