"""A frame tried on a table, at the command line."""

import json
from pathlib import Path

import pytest

from command_line.__main__ import main


def decode(*words: str) -> int:
    return main(["agent", "decode", *words])


def test_a_frame_is_shown_with_names_results_and_units(capsys: pytest.CaptureFixture[str]) -> None:
    assert decode("milesight-em500-swl", "85", "01756403770200") == 0
    assert capsys.readouterr().out == "battery_level  100.0 %EL\nwater_level    0.02 m\n"


def test_values_that_a_device_kept_are_shown_with_their_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert decode("milesight-em500-swl", "85", "20ce9e744663f401", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {
        "name": "water_level",
        "result": 5.0,
        "unit": "m",
        "time": "2022-10-12T08:02:38+00:00",
    }


def test_a_frame_that_the_table_does_not_explain_is_refused_with_its_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert decode("nwave-g4-nps-sm", "9", "95") == 1
    assert capsys.readouterr().err == "refused: unknown-port: port 9\n"


def test_a_bad_table_is_named_with_its_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "own.toml"
    table.write_text('maker = 7\nmodel = "E1"\n')
    assert decode(str(table), "1", "00") == 2
    assert f"{table}:1: maker = 7: must be text" in capsys.readouterr().err


def test_what_is_no_hex_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        decode("milesight-ws302", "85", "0x01")
    assert "not hex digits" in capsys.readouterr().err


def test_a_table_that_there_is_not_is_answered_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert decode("milesight-ws303", "85", "00") == 2
    assert "milesight-ws302" in capsys.readouterr().err
