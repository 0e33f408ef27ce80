"""The span of time a site page shows: from the URL and back into it.

Pure: the caller supplies the clock. The addresses made here are all a chart's buttons need, so
that zooming works without JavaScript and every view can be sent to a colleague.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from api.pages.times import duration_text, floor_second, iso_text, parse_time

DEFAULT_SPAN: Final = timedelta(hours=24)
SHORTEST_SPAN: Final = timedelta(minutes=1)
LONGEST_SPAN: Final = timedelta(days=3660)

_PRESENT: Final = timedelta(minutes=5)
_PRESENT_SHARE: Final = 0.02  # a view that ends so near to now is about the present

SPANS: Final[Sequence[tuple[str, timedelta]]] = (
    ("90 days", timedelta(days=90)),
    ("30 days", timedelta(days=30)),
    ("7 days", timedelta(days=7)),
    ("24 hours", timedelta(hours=24)),
    ("6 hours", timedelta(hours=6)),
    ("1 hour", timedelta(hours=1)),
)


class ViewError(ValueError):
    """The URL asks for a span that cannot be shown; the message is for the reader."""


@dataclass(frozen=True, slots=True)
class ViewLink:
    """A view one step away; query "" follows the present. `current`: it is the one shown."""

    label: str
    query: str
    current: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """From `start` to `end`, both UTC and inclusive; `following`: the end is always now."""

    start: datetime
    end: datetime
    following: bool

    @property
    def span(self) -> timedelta:
        """How long the view is."""
        return self.end - self.start

    @property
    def span_text(self) -> str:
        """How long the view is, in words."""
        return duration_text(self.span.total_seconds())

    @property
    def query(self) -> str:
        """The query string that shows exactly this view."""
        return _query(self.start, self.end)

    def zooms(self, now: datetime) -> list[ViewLink]:
        """Return the choice of spans: up to now if the view reaches it, else around its middle."""
        return [
            ViewLink(label, self._zoom(span, now), current=span == self.span)
            for label, span in SPANS
        ]

    def steps(self, now: datetime) -> list[ViewLink]:
        """Return half a view earlier, half a view later (while that is past), and the present."""
        links = [ViewLink("Earlier", _query(self.start - self.span / 2, self.end - self.span / 2))]
        if not self.following:
            if self.end < floor_second(now):
                end = min(self.end + self.span / 2, floor_second(now))
                links.append(ViewLink("Later", _query(end - self.span, end)))
            links.append(ViewLink("Latest", ""))
        return links

    def _zoom(self, span: timedelta, now: datetime) -> str:
        if self.following and span == DEFAULT_SPAN:
            return ""
        reaches_now = now - self.end <= max(self.span * _PRESENT_SHARE, _PRESENT)
        end = self.end if reaches_now else self.start + self.span / 2 + span / 2
        end = min(floor_second(end), floor_second(now))
        return _query(end - span, end)


def read_view(start_text: str, end_text: str, now: datetime) -> View:
    """Return the view that the parameters `from` and `to` ask for; one alone means 24 hours.

    Raises:
        ViewError: no time, or the span is reversed, under a minute or over ten years.
    """
    start = _read_time("from", start_text)
    end = _read_time("to", end_text)
    if start is None:
        following = end is None
        end = end or floor_second(now) + timedelta(seconds=1)  # what came this second is shown
        start = end - DEFAULT_SPAN
    else:
        following = False
        end = end or start + DEFAULT_SPAN
    if end - start < SHORTEST_SPAN:
        raise ViewError(f"“To” must be at least {duration_text(60)} after “from”.")
    if end - start > LONGEST_SPAN:
        raise ViewError(f"At most {LONGEST_SPAN.days:,} days can be shown at once.")
    return View(start, end, following)


def _read_time(name: str, text: str) -> datetime | None:
    if not text.strip():
        return None
    try:
        return floor_second(parse_time(text))
    except (ValueError, OverflowError) as error:
        raise ViewError(
            f"“{name.capitalize()}” is not a time such as 2026-03-29T14:00Z."
        ) from error


def _query(start: datetime, end: datetime) -> str:
    return urlencode({"from": iso_text(floor_second(start)), "to": iso_text(floor_second(end))})
