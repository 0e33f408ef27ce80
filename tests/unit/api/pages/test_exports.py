"""CSV rows: exact numbers, UTC, units and licence in every one."""

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from api.pages.exports import COLUMNS, export_rows
from standards_mapping.csv_text import rfc4180
from storage.charts import Point, Series
from tests.unit.api.pages.test_presentation import NO2, SITE

START = datetime(2026, 6, 1, tzinfo=UTC)
LICENSED = replace(NO2, properties={"licence": "OGL", "source": "UK-AIR"})


def read(series: Series) -> list[dict[str, str]]:
    text = rfc4180([COLUMNS, *export_rows(SITE, LICENSED, series)])
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_single_reading_is_exact_and_says_what_it_is() -> None:
    [row] = read(Series(0, [Point(START, None, 0.1 + 0.2, None, None, 1, 4)]))
    assert float(row["value"]) == 0.1 + 0.2
    assert row["time_utc"] == "2026-06-01T00:00:00Z"
    assert (row["until_utc"], row["minimum"], row["maximum"]) == ("", "", "")
    assert (row["unit"], row["what"], row["quality"]) == ("ug/m3", "Mean over 1 hour", "Replayed")
    assert (row["licence"], row["source"], row["access"]) == ("OGL", "UK-AIR", "open")
    assert (row["council"], row["site"], row["observed_property"]) == (
        "Camden",
        "Gower Street",
        "no2",
    )


def test_a_bin_has_its_end_its_extremes_and_its_number_of_readings() -> None:
    point = Point(START, START + timedelta(hours=3), 5.0, -1.0, 9.5, 36, 0)
    [row] = read(Series(10_800, [point]))
    assert row["until_utc"] == "2026-06-01T03:00:00Z"
    assert (row["minimum"], row["maximum"], row["readings"]) == ("-1.0", "9.5", "36")
    assert row["what"] == "Mean over 1 hour; summed up over 3 hours"
