"""What a request for open data says: spans with their defaults and bounds, and the form asked."""

from datetime import UTC, datetime, timedelta

import pytest
from fastapi import Request
from starlette.datastructures import QueryParams

from api.open_data.parameters import check_names, linked_form, read_id, read_limit, read_span
from api.pages.view import ViewError
from standards_mapping.linked_data import JSON_LD, TURTLE

NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def span(query: str) -> tuple[datetime, datetime, bool]:
    found = read_span(QueryParams(query), NOW, 31 * DAY)
    return found.start, found.end, found.stated


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", (NOW - DAY, NOW, False)),
        ("from=2026-03-20", (datetime(2026, 3, 20, tzinfo=UTC), NOW, True)),
        (
            "to=2026-03-20T06:00Z",
            (datetime(2026, 3, 19, 6, tzinfo=UTC), datetime(2026, 3, 20, 6, tzinfo=UTC), True),
        ),
        (
            "from=2026-03-01T00:00:00+01:00&to=2026-03-02",  # the + of the offset reads as a space
            (datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC), True),
        ),
    ],
)
def test_a_span_is_the_last_day_unless_told_otherwise(
    query: str, expected: tuple[datetime, datetime, bool]
) -> None:
    assert span(query) == expected


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("from=tomorrow", "“from” is “tomorrow”"),
        ("from=2026-03-30", "“to” (2026-03-29T12:00:00Z) is not after “from”"),
        ("from=2026-03-02&to=2026-03-02", "“to”"),
        ("from=2026-01-01", "more than 31 days apart"),
        ("to=0001-01-01T00:00Z", "too far from now"),
    ],
)
def test_a_wrong_span_is_refused_by_name(query: str, named: str) -> None:
    with pytest.raises(ViewError) as refusal:
        span(query)
    assert named in str(refusal.value)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", "", "99999999999", "٣", "2147483648"])
def test_a_number_is_a_positive_integer(text: str) -> None:
    with pytest.raises(ViewError, match="“thing”"):
        read_id(QueryParams({"thing": text}), "thing")


def test_numbers_and_limits_have_their_defaults_and_bounds() -> None:
    assert read_id(QueryParams("thing=12"), "thing") == 12
    assert read_id(QueryParams(""), "thing") is None
    assert read_limit(QueryParams(""), 100, 1000) == 100
    assert read_limit(QueryParams("limit=1000"), 100, 1000) == 1000
    with pytest.raises(ViewError, match="from 1 to 1000"):
        read_limit(QueryParams("limit=1001"), 100, 1000)


def test_unknown_and_repeated_parameters_are_named() -> None:
    check_names(QueryParams("from=1"), ("from", "to"))
    with pytest.raises(ViewError, match="“until” is no parameter here: there are from, to"):
        check_names(QueryParams("until=1"), ("from", "to"))
    with pytest.raises(ViewError, match="“from” is given more than once"):
        check_names(QueryParams("from=1&from=2"), ("from", "to"))


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", JSON_LD),
        ("*/*", JSON_LD),
        ("text/html,application/xhtml+xml", JSON_LD),
        ("text/turtle", TURTLE),
        ("application/ld+json, text/turtle;q=0.5", JSON_LD),
        ("text/turtle;q=0.9, application/ld+json;q=0.1", TURTLE),
        ("text/turtle, application/ld+json", JSON_LD),
        ("text/turtle;q=much", JSON_LD),
    ],
)
def test_linked_data_comes_in_the_form_preferred(accept: str, form: str) -> None:
    request = Request({"type": "http", "headers": [(b"accept", accept.encode())]})
    assert linked_form(request) == form
    assert linked_form(request, "ttl") == TURTLE
    assert linked_form(request, "jsonld") == JSON_LD
