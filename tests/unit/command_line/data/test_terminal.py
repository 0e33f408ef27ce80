import argparse

import pytest

from command_line.__main__ import main
from command_line.data.terminal import guarded, size
from storage.archive.backup_file import BackupError
from storage.archive.restore import TargetError


@pytest.mark.parametrize(
    ("octets", "shown"),
    [(0, "0 B"), (999, "999 B"), (40_365_860, "40.4 MB"), (3_000_000_000_000, "3 TB")],
)
def test_sizes_are_for_people(octets: int, shown: str) -> None:
    assert size(octets) == shown


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TargetError("not empty"), 2),
        (FileExistsError("there already"), 2),
        (BackupError("damaged"), 1),
        (OSError("disk full"), 1),
    ],
)
def test_errors_are_said_and_come_to_a_status(
    error: Exception, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail() -> int:
        raise error

    assert guarded(fail()) == status
    assert capsys.readouterr().err == f"kerbstone data: {error}\n"


@pytest.mark.parametrize(
    "words", [["verify"], ["verify", "postgresql://x", "--export", "y"], ["restore", "x"]]
)
def test_words_that_do_not_fit_are_misuse(words: list[str]) -> None:
    try:
        status: object = main(["data", *words])
    except SystemExit as ended:
        status = ended.code
    assert status == 2


def test_days_are_dates() -> None:
    with pytest.raises((SystemExit, argparse.ArgumentError)):
        main(["data", "export", "postgresql://x", "y", "--from", "yesterday"])
