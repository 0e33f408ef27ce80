from typing import Any
from xml.etree import ElementTree as ET

from bench.picture import draw

SVG = "{http://www.w3.org/2000/svg}"


def result(**edition: Any) -> dict[str, Any]:
    messages = {"rows_per_s": 150_000, "ratio": 0.5}
    stages = {"decrypt_and_parse": 50.0, "verify_signature": 100.0}
    return {
        "machine": {"processor": "A & B", "cores": 2},
        "editions": {
            "plain": {
                "raw_copy_rows_per_s": 300_000,
                "messages_of_100": messages,
                "messages_of_10": {"rows_per_s": 60_000, "ratio": 0.2},
                **edition,
            }
        },
        "stages_of_ingest": [
            {"readings_per_message": 100, "us_per_message": stages},
            {"readings_per_message": 10, "us_per_message": stages},
        ],
    }


def words(picture: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(picture).iter(f"{SVG}text")]  # noqa: S314 - our own


def lengths(picture: str) -> list[float]:
    bars = list(ET.fromstring(picture).iter(f"{SVG}rect"))[1:]  # noqa: S314 - our own
    return [float(bar.attrib["width"]) for bar in bars]


def test_a_bar_is_as_long_as_its_share_of_the_longest() -> None:
    raw, of_100, of_10, *_ = lengths(draw(result()))
    assert abs(of_100 / raw - 0.5) < 0.01
    assert abs(of_10 / raw - 0.2) < 0.01


def test_figures_and_ratios_stand_behind_the_bars() -> None:
    said = words(draw(result()))
    assert {"300,000", "150,000 (0.50)", "60,000 (0.20)"} <= set(said)
    assert "A & B, 2 cores, everything on it" in said


def test_what_was_not_measured_has_no_panel() -> None:
    assert "Milliseconds to the acknowledgement" not in words(draw(result()))
    latency = {"at_50%": {"p50_ms": 100.0, "p99_ms": 400.0}}
    assert "Milliseconds to the acknowledgement" in words(draw(result(latency=latency)))
    growth = [{"rows_before": 5_000_000, "rows_per_s": 140_000}]
    assert "PostgreSQL, 5 million" in words(draw(result(growth=growth)))
