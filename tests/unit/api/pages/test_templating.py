"""Templates: a misspelt value of ours is an error, a component's missing option is not."""

from dataclasses import dataclass

import pytest
from jinja2 import UndefinedError

from api.pages.templating import environment, static_url
from api.settings import OperatorSettings


@dataclass
class Row:
    value: str


PAGES = environment(OperatorSettings())


def test_a_misspelt_value_of_ours_is_an_error() -> None:
    template = PAGES.from_string("{{ row.valeu }}")
    with pytest.raises(UndefinedError, match="Row has no 'valeu'"):
        template.render(row=Row("x"))


def test_an_option_that_a_component_looks_for_may_be_missing() -> None:
    assert PAGES.from_string("{{ params.classes }}").render(params={}) == ""


def test_what_a_gateway_calls_itself_cannot_become_markup() -> None:
    template = PAGES.from_string("{{ row.value }}")
    assert template.render(row=Row("<script>")) == "&lt;script&gt;"


def test_a_static_file_that_is_not_there_is_an_error() -> None:
    assert static_url("kerbstone.css").endswith("/kerbstone.css")
    with pytest.raises(FileNotFoundError):
        static_url("kerbstone.scss")
