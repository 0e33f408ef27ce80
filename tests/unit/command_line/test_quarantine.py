"""The words of `kerbstone quarantine`, and what it refuses to guess."""

import argparse
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from command_line.quarantine import _since, configure, entry_line, run, shown, summary_lines
from storage.quarantine_review import Entry, ReasonCount

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
READING = Entry(
    id=7,
    received_at=NOON,
    tenant="camden",
    device="k7q2m9xd4t",
    reason="out-of-range",
    first_reason=None,
    detail="80 ug/m3, valid 0 to 50",
    topic="snaas/1/camden/k7q2m9xd4t/d/main",
    senml_name="urn:dev:air:no2",
    phenomenon_time=NOON,
    result=80.0,
    unit="ug/m3",
    quality=0,
    state="held",
    asked_at=None,
    tries=0,
    tried_at=None,
    message_bytes=None,
)
MESSAGE = replace(
    READING, senml_name=None, phenomenon_time=None, result=None, message_bytes=3210, tries=2
)
PART = replace(READING, phenomenon_time=None, result=None)


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    configure(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (READING, "urn:dev:air:no2 = 80.0 ug/m3 at 2026-06-01T12:00:00Z"),
        (MESSAGE, "(held, tried 2x)  whole message, 3,210 bytes"),
        (PART, "part of a description: urn:dev:air:no2"),
    ],
)
def test_a_line_says_what_a_row_holds(entry: Entry, said: str) -> None:
    assert entry_line(entry).endswith(said)


def test_a_part_of_a_description_is_not_tried_by_itself() -> None:
    assert [entry.readmissible for entry in (READING, MESSAGE, PART)] == [True, True, False]
    assert "not by itself" in shown(PART)[-1]


def test_what_is_shown_explains_the_reason_and_the_remedy() -> None:
    text = "\n".join(shown(READING))
    assert "A reading lay outside what its sensor can measure." in text
    assert "`valid_minimum` and `valid_maximum`" in text
    assert "first reason" not in text
    assert "first reason  payload" in "\n".join(shown(replace(READING, first_reason="payload")))


def test_a_summary_counts_messages_and_readings() -> None:
    count = ReasonCount(
        reason="payload", state="held", n=3, devices=1, messages=1, first_at=NOON, last_at=NOON
    )
    [line] = summary_lines([count])
    assert "1 whole message and 2 readings, 1 gateway," in line
    assert summary_lines([]) == ["nothing is kept aside"]


@pytest.mark.parametrize(
    ("text", "time"),
    [("2026-06-01", NOON.replace(hour=0)), ("2026-06-01T14:00+02:00", NOON)],
)
def test_times_are_utc_unless_they_say_otherwise(text: str, time: datetime) -> None:
    assert _since(text) == time


def test_spans_reach_back_from_now() -> None:
    assert abs(_since("90m") - (datetime.now(UTC) - timedelta(minutes=90))) < timedelta(seconds=5)
    with pytest.raises(argparse.ArgumentTypeError, match="no time"):
        _since("yesterday")


def test_discarding_takes_a_reason() -> None:
    with pytest.raises(SystemExit) as exit_status:
        parse("discard", "postgresql://x/y", "--all")
    assert exit_status.value.code == 2


def test_an_unreachable_database_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parse("list", "postgresql://127.0.0.1:1/none")) == 1
    assert "kerbstone quarantine:" in capsys.readouterr().err
