import pytest

from command_line.testing import _conclude
from command_line.testing.parts import PARTS, expand
from command_line.testing.provision import Missing


def test_nothing_named_means_everything_in_order() -> None:
    assert [part.name for part in expand([])] == list(PARTS)


def test_check_is_lint_and_unit_and_each_part_runs_once() -> None:
    assert [part.name for part in expand(["unit", "check"])] == ["lint", "unit"]


def test_an_unknown_part_is_named() -> None:
    with pytest.raises(KeyError, match="speed"):
        expand(["speed"])


@pytest.mark.parametrize(("ci", "status"), [("true", 1), ("", 0)])
def test_what_was_not_run_is_named_and_fails_only_in_ci(
    ci: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", ci)
    missing = Missing("no Chromium browser", "sudo apt install chromium")
    assert _conclude([], [(PARTS["browser"], missing)]) == status
    assert "NOT RUN  browser: no Chromium browser. To enable it: sudo apt install chromium" in (
        capsys.readouterr().out
    )


def test_a_failed_part_fails_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert _conclude(["unit"], []) == 1
    assert "FAILED   unit" in capsys.readouterr().out
