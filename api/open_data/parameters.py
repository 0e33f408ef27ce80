"""What a request for open data says beside its path, and which form of the answer it accepts.

Pure. Every refusal is a `ViewError` (400) that names the parameter and what it may be.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fastapi import Request
from starlette.datastructures import QueryParams

from api.pages.times import duration_text, iso_text, parse_time
from api.pages.view import ViewError
from standards_mapping.linked_data import JSON_LD, TURTLE

DEFAULT_SPAN: Final = timedelta(days=1)
"""What is given where a request does not say of when: up to now."""

_LARGEST_ID: Final = 2**31 - 1
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """A time asked for: from `start` until before `end`. stated: whether the request named it."""

    start: datetime
    end: datetime
    stated: bool


def check_names(given: QueryParams, known: Collection[str]) -> None:
    """Refuse parameters that there are not, and those given twice.

    Raises:
        ViewError: it is named.
    """
    for name in given:
        if name not in known:
            raise ViewError(f"“{name}” is no parameter here: there are {', '.join(known)}.")
        if len(given.getlist(name)) > 1:
            raise ViewError(f"“{name}” is given more than once.")


def read_span(given: QueryParams, now: datetime, longest: timedelta) -> Span:
    """Return the time that `from` and `to` name: `from` alone is until now, `to` alone a day.

    Raises:
        ViewError: one is no time, or they are the wrong way round, or further apart than `longest`.
    """
    start, end = _time(given, "from"), _time(given, "to")
    stated = start is not None or end is not None
    try:
        end = now if end is None else end
        start = end - DEFAULT_SPAN if start is None else start
    except OverflowError as error:
        raise ViewError("“from” or “to” is too far from now.") from error
    if end <= start:
        raise ViewError(f"“to” ({iso_text(end)}) is not after “from” ({iso_text(start)}).")
    if end - start > longest:
        raise ViewError(
            f"“from” and “to” are more than {duration_text(longest.total_seconds())} apart: ask "
            "for a shorter time, or several times."
        )
    return Span(start, end, stated)


def read_id(given: QueryParams, name: str) -> int | None:
    """Return the number that a parameter names; None where it is not given.

    Raises:
        ViewError: it is no number.
    """
    text = given.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text) or int(text) > _LARGEST_ID:
        raise ViewError(f"“{name}” is “{text[:40]}”: a number such as 12 is needed.")
    return int(text)


def read_limit(given: QueryParams, usual: int, most: int) -> int:
    """Return how many are asked for with `limit`.

    Raises:
        ViewError: it is no number from 1 to `most`.
    """
    text = given.get("limit")
    if text is None:
        return usual
    if not _NUMBER.fullmatch(text) or int(text) > most:
        raise ViewError(f"“limit” is “{text[:40]}”: a number from 1 to {most} is needed.")
    return int(text)


def read_time(given: QueryParams, name: str) -> datetime | None:
    """Return the time that a parameter names; None where it is not given.

    Raises:
        ViewError: it is no time.
    """
    return _time(given, name)


def _time(given: QueryParams, name: str) -> datetime | None:
    text = given.get(name)
    if text is None:
        return None
    try:
        return parse_time(text.replace(" ", "+"))  # a + that was not percent-encoded
    except (ValueError, OverflowError) as error:
        raise ViewError(
            f"“{name}” is “{text[:40]}”: a time such as 2026-03-29T14:00:00Z is needed."
        ) from error


def linked_form(request: Request, ending: str = "") -> str:
    """Return the media type to answer linked data in; JSON-LD where nothing else is preferred.

    ending: what the path ends with, which wins over the Accept header.
    """
    if ending:
        return TURTLE if ending == "ttl" else JSON_LD
    best, quality = JSON_LD, 0.0
    for part in request.headers.get("accept", "").split(","):
        name, *options = (word.strip() for word in part.split(";"))
        weight = 1.0
        for option in options:
            if option.startswith("q="):
                weight = _weight(option[2:])
        if name in (TURTLE, "application/x-turtle") and weight > quality:
            best, quality = TURTLE, weight
        elif name in (JSON_LD, "application/json") and weight >= quality:
            best, quality = JSON_LD, weight
    return best


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
