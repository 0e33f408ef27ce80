import io

import pytest

from command_line.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_one_line_redrawn() -> None:
    terminal = Terminal()
    with Progress("Counting", 4, unit="sheep", stream=terminal) as progress:
        progress.update(1)
        progress.update(4)
    drawn = terminal.getvalue()
    assert drawn.count("\n") == 1
    assert " 25%  1 of 4 sheep" in drawn
    assert "100%  4 of 4 sheep" in drawn
    assert drawn.splitlines()[-1].endswith("Counting: 4 sheep in 0.0 s")


def test_a_log_sees_no_control_characters() -> None:
    log = io.StringIO()
    with Progress("Counting", 2, unit="sheep", stream=log) as progress:
        progress.update(1, total=8)
        progress.update(8)
    assert log.getvalue() == "  Counting: 8 sheep in 0.0 s\n"


def test_what_is_waited_for_is_not_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    for estimated in (True, False):
        terminal = Terminal()
        progress = Progress("Waiting", 4, unit="sheep", estimated=estimated, stream=terminal)
        now[0] += 2
        progress.update(1)
        assert ("6 s left" in terminal.getvalue()) is estimated


def test_a_failed_run_claims_nothing() -> None:
    log = io.StringIO()
    progress = Progress("Counting", 2, unit="sheep", stream=log)
    with pytest.raises(ZeroDivisionError), progress:
        progress.update(1 // 0)
    assert not log.getvalue()
