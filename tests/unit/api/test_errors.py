"""Programs get JSON, people get a page."""

import pytest

from api.errors import wants_html


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("*/*", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_html_is_for_those_who_ask_for_it(accept: str, html: bool) -> None:  # noqa: FBT001
    assert wants_html(accept) is html
