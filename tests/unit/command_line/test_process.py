import argparse
from dataclasses import dataclass
from pathlib import Path

import pytest

from command_line.process import USAGE_ERROR, run_process
from runtime.settings import setting


class BadKeyError(Exception):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySettings:
    key: str = setting("A key.")


async def refuse(settings: KeySettings) -> None:
    raise BadKeyError(f"{settings.key} opens nothing")


def words(tmp_path: Path, text: str) -> argparse.Namespace:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    return argparse.Namespace(config=file, log_level="INFO")


def test_a_wrong_file_that_the_settings_name_is_said_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words(tmp_path, 'key = "this one"')
    status = run_process("lock", KeySettings, refuse, arguments, misused=(BadKeyError,))
    assert status == USAGE_ERROR
    assert capsys.readouterr().err == "kerbstone lock: this one opens nothing\n"


def test_a_bug_is_not_taken_for_misuse(tmp_path: Path) -> None:
    with pytest.raises(BadKeyError):
        run_process("lock", KeySettings, refuse, words(tmp_path, 'key = "this one"'))


def test_wrong_settings_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_process("lock", KeySettings, refuse, words(tmp_path, "kee = 1")) == USAGE_ERROR
    assert "kee" in capsys.readouterr().err
