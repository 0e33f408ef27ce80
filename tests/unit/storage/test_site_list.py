"""A list of sites is read whatever spreadsheet wrote it; what cannot be is named, not guessed."""

import csv
import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards_mapping.grid_reference import position
from storage.site_list import MOST_ROWS, BadRow, Site, SiteError, SiteListError, read_sites

HEADER = "site,label,place_name,longitude,latitude\n"


def read(text: str) -> list[Site]:
    sites, bad = read_sites(text)
    assert bad == []
    return sites


def refused(row: str) -> str:
    """Return why a row between two good ones is left out."""
    sites, [bad] = read_sites(f"{HEADER}A,,,,\n{row}\nB,,,,\n")
    assert [site.site for site in sites] == ["A", "B"]
    assert bad.line == 3
    return bad.reason


FULL = Site(
    site="LC-0417",
    label="Holborn north",
    place_name="High Holborn, outside no. 90",
    longitude=-0.1187,
    latitude=51.5176,
)


def test_a_full_row_is_a_site() -> None:
    row = 'LC-0417,Holborn north,"High Holborn, outside no. 90",-0.1187,51.5176\n'
    assert read(HEADER + row) == [FULL]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_any_line_ending_a_byte_order_mark_and_empty_rows_are_taken(newline: str) -> None:
    text = newline.join(["\ufeffsite,label", "", "A,one", ",", "B,two", "", ""])
    assert read(text) == [Site(site="A", label="one"), Site(site="B", label="two")]


def test_semicolons_go_with_decimal_commas_or_points() -> None:
    text = "Latitude; Longitude;SITE\n51,5176;-0,1187;A\n51.5;0.25;B\n"
    assert read(text) == [
        Site(site="A", longitude=-0.1187, latitude=51.5176),
        Site(site="B", longitude=0.25, latitude=51.5),
    ]


def test_only_site_is_obligatory() -> None:
    assert read("site\nA\nB") == [Site(site="A"), Site(site="B")]
    assert read(HEADER) == []


def test_a_short_row_and_empty_columns_at_the_right_are_what_spreadsheets_write() -> None:
    assert read("site,label,longitude,latitude,,\nA\nB,two,,,,\n") == [
        Site(site="A"),
        Site(site="B", label="two"),
    ]


def test_text_is_trimmed_and_composed() -> None:
    assert read("site,label\n  A ,Cafe\u0301  \n") == [Site(site="A", label="Caf\u00e9")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",Holborn,,,", "site is empty"),
        ("A" * 65 + ",,,,", "site has 65 characters, limit 64"),
        ("C," + "x" * 121 + ",,,", "label has 121 characters, limit 120"),
        ("C,bell\x07,,,", "label 'bell\\x07' has spaces around it or unprintable characters"),
        ("C,,,east,51.5", "longitude 'east' is not a number of degrees"),
        ("C,,,nan,51.5", "longitude nan is not from -180 to 180"),
        ("C,,,inf,51.5", "longitude inf is not from -180 to 180"),
        ("C,,,181,51.5", "longitude 181.0 is not from -180 to 180"),
        ("C,,,0.1,-90.5", "latitude -90.5 is not from -90 to 90"),
        ("C,,,0.1,", "longitude and latitude come together or not at all"),
        ("C,,,,51.5", "longitude and latitude come together or not at all"),
        ("A,again,,,", "the same site stands in line 2 already"),
        (
            "C,label,High Holborn, north,0.1,51.5",
            "6 cells, 5 columns: put text with ',' in it between quotation marks",
        ),
    ],
)
def test_a_bad_row_is_named_and_holds_up_no_other(row: str, reason: str) -> None:
    assert refused(row) == reason


def test_a_line_is_where_its_row_begins_also_after_text_of_several_lines() -> None:
    _, bad = read_sites('site,label\nA,"two\nlines"\nB,ok\nC,"un\nprint\nable"\n,none\n')
    assert [(row.line, row.site) for row in bad] == [(2, "A"), (5, "C"), (8, "")]


def test_a_bad_row_does_not_take_the_place_of_a_good_one() -> None:
    sites, bad = read_sites("site,longitude,latitude\nA,1000,0\nA,1,2\n")
    assert sites == [Site(site="A", longitude=1.0, latitude=2.0)]
    assert [row.line for row in bad] == [2]
    assert bad[0] == BadRow(line=2, site="A", reason="longitude 1000.0 is not from -180 to 180")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("label,Longitude", "the first line names 'label', 'Longitude', but no 'site'"),
        ("site,longtitude", "unknown: 'longtitude'; wanted: site, label, place_name, longitude"),
        ("site,label,site", "one of them twice"),
        ("site|label", "unknown: 'site|label'"),
        ("site,,label", "unknown: ''"),
    ],
)
def test_another_kind_of_file_is_refused_by_what_it_has_and_lacks(header: str, said: str) -> None:
    with pytest.raises(SiteListError) as refusal:
        read_sites(f"{header}\nA,B,C\n")
    assert said in str(refusal.value)
    assert "of which only site is obligatory" in str(refusal.value)


@pytest.mark.parametrize("text", ["", "\n\r\n", "\ufeff", " , ,\n"])
def test_an_empty_file_names_nothing(text: str) -> None:
    with pytest.raises(SiteListError, match="names nothing, but no 'site'"):
        read_sites(text)


def test_quotation_marks_that_do_not_match_are_named_by_line() -> None:
    with pytest.raises(SiteListError, match=r"^line 3 cannot be read as CSV"):
        read_sites('site,label\nA,one\nB,"two\nC,three\n')
    with pytest.raises(SiteListError, match=r"^line 2 cannot be read as CSV"):
        read_sites('site,label\nA,"one" two\n')


def test_a_longer_list_than_the_limit_is_refused() -> None:
    rows = [f"S{number}" for number in range(MOST_ROWS)]
    assert len(read("\n".join(["site", *rows]))) == MOST_ROWS
    with pytest.raises(SiteListError, match=r"over 10,000 rows"):
        read_sites("\n".join(["site", *rows, "one more"]))


@pytest.mark.parametrize(
    "wrong",
    [{"site": ""}, {"site": " A"}, {"site": "A\n"}, {"site": "A", "latitude": 1.0}],
)
def test_a_site_is_valid_from_birth(wrong: dict[str, object]) -> None:
    with pytest.raises(SiteError):
        Site(**wrong)  # type: ignore[arg-type]
    with pytest.raises(SiteError):
        Site(site="A", longitude=math.nan, latitude=0.0)


WORDS = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1, max_size=20)
DEGREES = st.floats(-90, 90, allow_nan=False)


@given(
    rows=st.lists(st.tuples(WORDS, WORDS, DEGREES, DEGREES), unique_by=lambda row: row[0]),
    delimiter=st.sampled_from([",", ";"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_whatever_a_csv_writer_writes_is_read_back(
    rows: list[tuple[str, str, float, float]], delimiter: str, quoting: int
) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow(["site", "label", "longitude", "latitude"])
    writer.writerows(rows)
    assert read(written.getvalue()) == [
        Site(site=site, label=label, longitude=longitude, latitude=latitude)
        for site, label, longitude, latitude in rows
    ]


@given(text=st.text(st.sampled_from('site,;"\n\r label0.\x00'), max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        sites, bad = read_sites(text)
    except SiteListError:
        return
    assert len({site.site for site in sites}) == len(sites)
    assert all(row.reason for row in bad)


def test_a_place_may_be_given_by_a_grid_reference() -> None:
    [site] = read("site,grid_reference\nLC-1,TQ 30 78\n")
    assert (site.longitude, site.latitude) == position("TQ 30 78")


NO_REFERENCE = (
    "grid_reference 'Gower Street' is no grid reference: write it like TQ 3003 8012 or "
    "530037, 180123"
)


def test_a_place_is_given_once_and_by_what_is_a_reference() -> None:
    header = "site,longitude,latitude,grid_reference\n"
    _, bad = read_sites(f"{header}A,-0.1,51.5,TQ 30 78\nB,,,Gower Street\n")
    assert [row.reason for row in bad] == [
        "grid_reference: give it, or longitude and latitude, not both",
        NO_REFERENCE,
    ]
