"""What the strict policy forbids is not written in the first place."""

import re
from pathlib import Path

import pytest

from dashboard import BOUNDARIES, STATIC, TEMPLATES

OWN_FILES = [path for path in STATIC.iterdir() if path.is_file()]
PAGES = sorted(TEMPLATES.glob("*.html"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_template_has_no_inline_script_style_or_handler(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text)


@pytest.mark.parametrize("path", [*OWN_FILES, *PAGES], ids=lambda path: path.name)
def test_nothing_is_loaded_from_another_host(path: Path) -> None:
    text = path.read_text()
    loads = re.findall(
        r"(?:src|href)=\"(https?:[^\"]+)\"|url\(\"?(https?:[^)]+)\)|import[^;]*\"(https?:[^\"]+)\"",
        text,
    )
    links = {found for match in loads for found in match if found}
    assert links <= {"https://www.equalityadvisoryservice.com/"}  # a link that a person follows


def test_neither_the_crown_nor_its_typeface_is_used() -> None:
    for path in [*OWN_FILES, *PAGES]:
        text = path.read_text()
        assert "govukHeader(" not in text
        assert "govukFooter(" not in text
        assert "crest" not in text
    sheet = (STATIC / "kerbstone.css").read_text()
    assert re.search(r"\*,\s*::before,\s*::after \{\s*font-family: Arial", sheet)


def test_the_boundaries_say_where_they_come_from() -> None:
    source = (BOUNDARIES.parent / "SOURCE.txt").read_text()
    assert "Open Government Licence v3.0" in source
    assert "Contains OS data" in source
