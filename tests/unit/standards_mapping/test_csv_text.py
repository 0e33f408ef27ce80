import csv
import io

import pytest

from standards_mapping.csv_text import rfc4180, safe


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_a_text_that_looks_like_a_formula_is_defused(start: str) -> None:
    assert safe(f"{start}HYPERLINK(...)") == f"'{start}HYPERLINK(...)"


def test_other_texts_stay_as_they_are() -> None:
    assert safe("Gower Street = A501") == "Gower Street = A501"
    assert safe("") == ""


def test_what_is_written_is_read_back() -> None:
    rows = [["a", 'He said "no"', "two\r\nlines"], ["", "é,;", "'"]]
    text = rfc4180(rows)
    assert text.endswith("\r\n")
    assert list(csv.reader(io.StringIO(text, newline=""))) == rows
