"""Remedies at the command line are those of the reference, word for word."""

import re
from pathlib import Path

from api.pages.remedies import REMEDIES
from device_protocol.errors import QUARANTINED

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "reasons.md"


def test_every_reason_that_is_kept_has_the_remedy_of_the_reference() -> None:
    written = {
        reason: remedy
        for reasons, remedy in re.findall(
            r"^\| (`[^|]*`) \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE
        )
        for reason in re.findall(r"`([a-z-]+)`", reasons)
    }
    assert set(REMEDIES) == QUARANTINED
    assert {reason: written[reason] for reason in REMEDIES} == REMEDIES
