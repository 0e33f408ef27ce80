"""Files of other projects are exactly those that VENDOR.toml names, with their licences."""

import hashlib
import tomllib

import pytest

from dashboard import STATIC

VENDOR = STATIC / "vendor"
LIBRARIES = tomllib.loads((VENDOR / "VENDOR.toml").read_text())["library"]


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: str(library["name"]))
def test_every_file_is_as_it_was_published(library: dict[str, object]) -> None:
    hashes = library["sha256"]
    assert isinstance(hashes, dict)
    for path, expected in hashes.items():
        assert hashlib.sha256((VENDOR / path).read_bytes()).hexdigest() == expected, path
    assert library["licence_file"] in hashes
    assert {"name", "version", "licence", "from"} <= library.keys()


def test_nothing_lies_there_that_is_not_named() -> None:
    named = {path for library in LIBRARIES for path in library["sha256"]} | {"VENDOR.toml"}
    present = {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()}
    assert present == named


def test_the_styles_and_the_templates_are_of_one_release() -> None:
    [frontend] = [library for library in LIBRARIES if library["name"] == "govuk-frontend"]
    sheet = (VENDOR / "govuk-frontend" / "govuk-frontend.min.css").read_text()
    assert f'--govuk-frontend-version:"{frontend["version"]}"' in sheet
