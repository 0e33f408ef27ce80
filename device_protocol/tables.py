"""The tables of data/ as rows of text. What the rows mean is said by the modules that read them.

Gateways read them too, so this does without the modules `csv` and `importlib.resources`, which
would cost each of them a megabyte for as long as it runs.
"""

import re
from pathlib import Path
from typing import Final, TypeAlias

Row: TypeAlias = dict[str, str]

_DIRECTORY: Final = Path(__file__).with_name("data")
_CELL: Final = re.compile(r'(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))')


def read_table(name: str) -> list[Row]:
    """Return the rows of data/`name`.csv in their order, column name to text."""
    lines = (_DIRECTORY / f"{name}.csv").read_text(encoding="utf-8").splitlines()
    header, *rows = (_cells(line) for line in lines)
    return [dict(zip(header, row, strict=True)) for row in rows]


def _cells(line: str) -> list[str]:
    """Return the cells of a line of CSV (RFC 4180) that ends where its row does."""
    return [quoted.replace('""', '"') or plain for quoted, plain in _CELL.findall(line)]
