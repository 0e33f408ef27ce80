"""What is for programs, and what is a page."""

import pytest

from api.machine_paths import is_machine_path


@pytest.mark.parametrize(
    "path",
    [
        "/sensorthings/v1.1",
        "/sensorthings/v1.1/Things(1)",
        "/ngsi-ld/v1/entities",
        "/catalogue",
        "/catalogue.ttl",
        "/catalogue/camden",
        "/data.json",
        "/data/camden/observations.csv",
        "/sites/7/values.csv",
        "/live",
        "/batches/0123456789abcdef/1",
        "/openapi.json",
    ],
)
def test_programs_are_let_in(path: str) -> None:
    assert is_machine_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/sites/7",
        "/sign-in",
        "/docs",
        "/live/gateways",
        "/datasets",
        "/catalogues",
        "/gateways",
    ],
)
def test_pages_are_pages(path: str) -> None:
    assert not is_machine_path(path)
