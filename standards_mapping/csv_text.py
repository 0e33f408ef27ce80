"""CSV as text (RFC 4180), which a spreadsheet opens without running anything. Pure.

Which columns there are is said where they are written: `csvw` for open files,
`sensorthings.table` for pages of entities, `api.pages.exports` for charts.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def rfc4180(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as RFC 4180 text."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue()


def safe(text: str) -> str:
    """Return `text` so that a spreadsheet does not take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
