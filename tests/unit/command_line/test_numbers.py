"""Numbers that make no sense are named, with what would, before anything starts."""

import argparse
from collections.abc import Callable

import pytest

from command_line import bench, testing
from command_line.numbers import count, more_than_zero, zero_or_more


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (count(), "1", 1),
        (count(0), "0", 0),
        (count(), "20_000_000", 20_000_000),
        (more_than_zero, "0.25", 0.25),
        (zero_or_more, "0", 0.0),
    ],
)
def test_good_ones_are_read(read: Callable[[str], float], text: str, value: float) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (count(), "0"),
        (count(0), "-1"),
        (count(), "1.5"),
        (count(), "many"),
        (more_than_zero, "0"),
        (more_than_zero, "nan"),
        (more_than_zero, "inf"),
        (zero_or_more, "-0.1"),
        (zero_or_more, "soon"),
    ],
)
def test_bad_ones_are_named(read: Callable[[str], float], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"^'{text}' must be "):
        read(text)


@pytest.mark.parametrize(
    "words",
    [
        "ingest --rows -5",
        "ingest --workers 0",
        "ingest --grow -1",
        "store --rows 0",
        "query --rows 0",
        "query --streams 0",
        "live --clients 0",
        "edge --seconds 0",
        "edge --backlog -1",
        "edge --rate 0",
        "storm --agents 0",
        "offline --hours 0",
        "enrol --gateways 0",
        "all --rows -1",
    ],
)
def test_no_measurement_begins_with_a_bad_one(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(bench.configure, words, capsys)


@pytest.mark.parametrize(
    "words", ["chaos --minutes 0", "chaos --minutes -1", "chaos --workers 0", "chaos --seed -1"]
)
def test_nor_does_chaos(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused(testing.configure, words, capsys)


def refused(
    configure: Callable[[argparse.ArgumentParser], None],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The value and its option are named, and the exit status is 2."""
    parser = argparse.ArgumentParser()
    configure(parser)
    option, value = words.split()[-2:]
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(words.split())
    assert ended.value.code == 2
    assert f"argument {option}: '{value}' must be " in capsys.readouterr().err
