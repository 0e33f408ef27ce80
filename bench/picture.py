"""The main results of `bench ingest` as one picture, SVG. Pure: a result in, the picture out.

Four panels, each of bars that begin at zero: rows a second beside the raw limit, the same as the
table grows, the wait for an acknowledgement, and where ingest's own time goes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

_WIDTH: Final = 960
_PANEL: Final = 450
_LABEL: Final = 150  # room for the words before a bar
_BAR: Final = 16
_GAP: Final = 8
_NUMBER: Final = 84  # room for the figure behind a bar
_RAW: Final = "#b1b4b6"
_OURS: Final = "#1d70b8"
_OURS_TOO: Final = "#5694ca"
_NAMES: Final = {"plain": "PostgreSQL", "timescaledb": "TimescaleDB"}


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its words, its length in the panel's unit, and the figure behind it."""

    label: str
    value: float
    figure: str
    colour: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Some bars under a heading; all of one unit."""

    title: str
    bars: Sequence[Bar]

    @property
    def height(self) -> int:
        """How much room it takes, in pixels."""
        return 40 + len(self.bars) * (_BAR + _GAP)


def draw(result: Mapping[str, Any]) -> str:
    """Return the picture of what `bench.ingest.measure` returned."""
    editions = result["editions"]
    panels = [
        Panel("Rows a second, stored", list(_rates(editions))),
        Panel("Milliseconds to the acknowledgement", list(_waits(editions))),
        Panel("Rows a second as the table grows", list(_growth(editions))),
        Panel("Microseconds of ingest for a message", list(_stages(result["stages_of_ingest"]))),
    ]
    shown = [panel for panel in panels if panel.bars]
    rows = [shown[n : n + 2] for n in range(0, len(shown), 2)]
    height = sum(max(panel.height for panel in row) for row in rows) + 40
    body: list[str] = []
    top = 20
    for row in rows:
        for column, panel in enumerate(row):
            body += _panel(panel, 20 + column * (_PANEL + 20), top)
        top += max(panel.height for panel in row)
    machine = result["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores, everything on it"
    body.append(_text(20, height - 12, where, size=12, colour="#505a5f"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        'font-family="Helvetica, Arial, sans-serif">\n'
        "<title>What ingest was measured to do</title>\n"
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _rates(editions: Mapping[str, Any]) -> Iterator[Bar]:
    for edition, found in editions.items():
        name = _NAMES[edition]
        raw = found["raw_copy_rows_per_s"]
        yield Bar(f"{name}, raw COPY", raw, f"{raw:,}", _RAW)
        for readings, colour in ((100, _OURS), (10, _OURS_TOO)):
            one = found[f"messages_of_{readings}"]
            rate = one["rows_per_s"]
            yield Bar(f"{readings} a message", rate, f"{rate:,} ({one['ratio']:.2f})", colour)


def _waits(editions: Mapping[str, Any]) -> Iterator[Bar]:
    for edition, found in editions.items():
        for share, one in found.get("latency", {}).items():
            label = f"{_NAMES[edition]}, {share.removeprefix('at_')} load"
            median, worst = one["p50_ms"], one["p99_ms"]
            yield Bar(label, median, f"{median:,.0f} median", _OURS_TOO)
            yield Bar("", worst, f"{worst:,.0f} at 99 %", _OURS)


def _growth(editions: Mapping[str, Any]) -> Iterator[Bar]:
    for edition, found in editions.items():
        for point in found.get("growth", ()):
            rate = point["rows_per_s"]
            label = f"{_NAMES[edition]}, {point['rows_before'] / 1e6:.0f} million"
            yield Bar(label, rate, f"{rate:,}", _OURS)


def _stages(stages: Sequence[Mapping[str, Any]]) -> Iterator[Bar]:
    for name in stages[0]["us_per_message"]:
        label = name.replace("_", " ")
        for one, colour in zip(stages, (_OURS, _OURS_TOO), strict=False):
            spent = one["us_per_message"][name]
            yield Bar(label, spent, f"{spent:,.0f} for {one['readings_per_message']}", colour)
            label = ""


def _panel(panel: Panel, left: int, top: int) -> Iterator[str]:
    yield _text(left, top + 16, panel.title, size=16, weight="bold")
    room = _PANEL - _LABEL - _NUMBER
    longest = max(bar.value for bar in panel.bars) or 1
    for number, bar in enumerate(panel.bars):
        at = top + 30 + number * (_BAR + _GAP)
        length = max(1.0, bar.value / longest * room)
        yield _text(left + _LABEL - 8, at + 12, bar.label, size=12, anchor="end")
        yield (
            f'<rect x="{left + _LABEL}" y="{at}" width="{length:.1f}" height="{_BAR}" '
            f'fill="{bar.colour}"/>\n'
        )
        yield _text(left + _LABEL + length + 6, at + 12, bar.figure, size=12)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int,
    anchor: str = "start",
    weight: str = "normal",
    colour: str = "#0b0c0c",
) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>\n'
    )
