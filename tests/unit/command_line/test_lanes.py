from pathlib import Path

import pytest

from command_line.testing.lanes import run_parts
from command_line.testing.parts import Part, Step


def part(name: str, *programs: str, beside: bool = True) -> Part:
    steps = tuple(Step(f"step {n}", ("-c", text)) for n, text in enumerate(programs))
    return Part(name, steps, beside=beside)


def meet(own: Path, other: Path) -> str:
    """A program that ends only once another, which must run at the same time, has begun."""
    return (
        "import pathlib, time\n"
        f"pathlib.Path({str(own)!r}).touch()\n"
        "ends = time.monotonic() + 20\n"
        f"while not pathlib.Path({str(other)!r}).exists():\n"
        "    assert time.monotonic() < ends\n"
        "    time.sleep(0.01)\n"
    )


def test_parts_that_may_run_beside_each_other_do(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert run_parts([part("a", meet(one, two)), part("b", meet(two, one))], []) == []


def test_all_others_run_alone_and_in_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    write = f"open({str(log)!r}, 'a').write"
    parts = [part(name, f"{write}('{name}')", beside=False) for name in "abc"]
    assert run_parts(parts, []) == []
    assert log.read_text() == "abc"


@pytest.mark.parametrize("beside", [True, False])
def test_a_part_fails_with_any_of_its_steps_and_the_others_still_run(
    *, beside: bool, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    broken = part("broken", "raise SystemExit(1)", "pass", beside=beside)
    other = part("other", f"open({str(done)!r}, 'w')", beside=beside)
    assert run_parts([broken, other], []) == ["broken"]
    assert done.exists()


def test_what_ran_beside_another_is_shown_whole(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    parts = [part("a", "print('first of a')", "print('second of a')"), part("b", "print('b')")]
    assert run_parts(parts, []) == []
    said = capfdbinary.readouterr().out
    assert b"first of a\nsecond of a\n" in said
    assert b"b\n" in said
