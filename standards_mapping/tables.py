"""The tables of data/ as rows of text. What the rows mean is said by the modules that read them."""

import csv
from importlib.resources import files
from typing import TypeAlias

Row: TypeAlias = dict[str, str]


def read_table(name: str) -> list[Row]:
    """Return the rows of data/`name`.csv in their order, column name to text."""
    text = files("standards_mapping").joinpath("data", f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), strict=True))
