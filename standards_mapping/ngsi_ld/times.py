"""Times, days and times of day as NGSI-LD writes them (ETSI GS CIM 009, clause 4.6.3). Pure."""

import re
from datetime import UTC, date, datetime, time
from typing import Final

TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.,]\d{1,9})?(Z|[+-]\d\d:?\d\d)", re.ASCII
)
DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
CLOCK: Final = re.compile(r"\d\d:\d\d:\d\d([.,]\d{1,6})?Z?", re.ASCII)


def parse_time(text: str) -> datetime:
    """Return a time with its offset (clause 4.6.3) as UTC.

    Raises:
        ValueError: it is none, or has no offset.
    """
    match = TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time such as 2026-03-29T14:00:00Z")
    if match[1] and len(match[1]) > len(".123456"):
        text = text.replace(match[1], match[1][:7])
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is in no year from 1 to 9999") from error


def parse_date(text: str) -> date:
    """Return a day.

    Raises:
        ValueError: it is none.
    """
    if not DATE.fullmatch(text):
        raise ValueError(f"{text!r} is no date")
    return date.fromisoformat(text)


def parse_clock(text: str) -> time:
    """Return a time of day.

    Raises:
        ValueError: it is none.
    """
    if not CLOCK.fullmatch(text):
        raise ValueError(f"{text!r} is no time of day")
    return time.fromisoformat(text.removesuffix("Z"))
