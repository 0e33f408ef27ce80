"""A council's list of sites as CSV (RFC 4180), the way a spreadsheet saves it. Pure.

A row that cannot be used is named by line and reason and does not hold up the others. What is
done with the sites is `storage.invitations`.
"""

import csv
import io
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from standards_mapping.grid_reference import GridReferenceError
from standards_mapping.grid_reference import position as grid_position

COLUMNS: Final = ("site", "label", "place_name", "longitude", "latitude", "grid_reference")
MOST_ROWS: Final = 10_000
MOST_CHARACTERS: Final[Mapping[str, int]] = {"site": 64, "label": 120, "place_name": 200}
_MOST_DEGREES: Final[Mapping[str, float]] = {"longitude": 180.0, "latitude": 90.0}
_DELIMITERS: Final = (",", ";")


class SiteListError(ValueError):
    """The text is no list of sites at all; the message names what is there and what is wanted."""


class SiteError(ValueError):
    """What is said of one site cannot be; the message says what and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a gateway is, or will be.

    site: the council's own reference, e.g. an asset number; unique within the council. label: what
    people call the gateway. longitude, latitude: degrees, WGS 84; both or neither.

    Raises:
        SiteError: no reference, text that is too long or not printable, or no such coordinates.
    """

    site: str
    label: str = ""
    place_name: str = ""
    longitude: float | None = None
    latitude: float | None = None

    def __post_init__(self) -> None:
        if not self.site:
            raise SiteError("site is empty")
        for name, most in MOST_CHARACTERS.items():
            text: str = getattr(self, name)
            if len(text) > most:
                raise SiteError(f"{name} has {len(text)} characters, limit {most}")
            if text != text.strip() or not text.isprintable():
                raise SiteError(f"{name} {text!r} has spaces around it or unprintable characters")
        for name, degrees in _MOST_DEGREES.items():
            value: float | None = getattr(self, name)
            if value is not None and not abs(value) <= degrees:  # also refuses NaN
                raise SiteError(f"{name} {value} is not from -{degrees:.0f} to {degrees:.0f}")
        if (self.longitude is None) != (self.latitude is None):
            raise SiteError("longitude and latitude come together or not at all")


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """A row that was left out. line: of the text, from 1, where the row begins."""

    line: int
    site: str
    reason: str


def read_sites(text: str) -> tuple[list[Site], list[BadRow]]:
    """Return the sites of a CSV, and the rows that hold none, both in their order.

    The first line names the columns, in any order: site, and if wanted label, place_name, and
    longitude and latitude or, instead, an Ordnance Survey grid_reference. They are separated by
    commas, or all by semicolons; then numbers may have a decimal comma. Empty rows are passed
    over; a byte order mark is ignored.

    Raises:
        SiteListError: the first line names other columns, quotation marks do not match, or there
            are over 10,000 rows.
    """
    text = text.removeprefix("\ufeff")
    delimiter = _delimiter(text)
    numbered = _rows(text, delimiter)
    _, header = next(numbered, (1, []))
    columns = _columns(header)
    sites: dict[str, tuple[int, Site]] = {}
    bad: list[BadRow] = []
    for count, (line, cells) in enumerate(numbered, start=1):
        if count > MOST_ROWS:
            raise SiteListError(f"over {MOST_ROWS:,} rows: split the list into several files")
        found = dict(zip(columns, cells, strict=False))
        try:
            _refuse_surplus(cells, columns, delimiter)
            site = _site(found, decimal_comma=delimiter == ";")
        except SiteError as error:
            bad.append(BadRow(line=line, site=found.get("site", ""), reason=str(error)))
            continue
        first, _ = sites.setdefault(site.site, (line, site))
        if first != line:
            reason = f"the same site stands in line {first} already"
            bad.append(BadRow(line=line, site=site.site, reason=reason))
    return [site for _, site in sites.values()], bad


def _delimiter(text: str) -> str:
    """Return what separates the names of the columns, of which none holds either sign."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(_DELIMITERS, key=header.count)


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield every row that is not empty, with the line it begins on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begins = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise SiteListError(f"line {begins} cannot be read as CSV: {error}") from error
        trimmed = [unicodedata.normalize("NFC", cell).strip() for cell in cells]
        if any(trimmed):
            yield begins, trimmed
        begins = reader.line_num + 1


def _columns(header: Sequence[str]) -> list[str]:
    names = list(header)
    while names and not names[-1]:  # spreadsheets write empty columns at the right
        names.pop()
    columns = [name.lower() for name in names]
    named = ", ".join(repr(name) for name in names) or "nothing"
    wanted = f"wanted: {', '.join(COLUMNS)}, of which only site is obligatory"
    if strange := [name for name in names if name.lower() not in COLUMNS]:
        unknown = ", ".join(repr(name) for name in strange)
        raise SiteListError(f"the first line names {named}; unknown: {unknown}; {wanted}")
    if "site" not in columns:
        raise SiteListError(f"the first line names {named}, but no 'site'; {wanted}")
    if len(set(columns)) < len(columns):
        raise SiteListError(f"the first line names {named}: one of them twice; {wanted}")
    return columns


def _refuse_surplus(cells: Sequence[str], columns: Sequence[str], delimiter: str) -> None:
    if any(cells[len(columns) :]):
        raise SiteError(
            f"{len(cells)} cells, {len(columns)} columns: put text with {delimiter!r} in it"
            " between quotation marks"
        )


def _site(found: Mapping[str, str], *, decimal_comma: bool) -> Site:
    longitude, latitude = placed(
        found.get("grid_reference", ""),
        _degrees("longitude", found, decimal_comma=decimal_comma),
        _degrees("latitude", found, decimal_comma=decimal_comma),
    )
    return Site(
        site=found.get("site", ""),
        label=found.get("label", ""),
        place_name=found.get("place_name", ""),
        longitude=longitude,
        latitude=latitude,
    )


def placed(
    grid_reference: str, longitude: float | None, latitude: float | None
) -> tuple[float | None, float | None]:
    """Return longitude and latitude of a place that is given by either, or by neither.

    Raises:
        SiteError: it is given twice, or that is no grid reference.
    """
    if not grid_reference:
        return longitude, latitude
    if longitude is not None or latitude is not None:
        raise SiteError("grid_reference: give it, or longitude and latitude, not both")
    try:
        return grid_position(grid_reference)
    except GridReferenceError as error:
        raise SiteError(f"grid_reference {error}") from error


def _degrees(name: str, found: Mapping[str, str], *, decimal_comma: bool) -> float | None:
    written = found.get(name, "")
    if not written:
        return None
    try:
        return float(written.replace(",", ".") if decimal_comma else written)
    except ValueError:
        raise SiteError(f"{name} {written!r} is not a number of degrees") from None
