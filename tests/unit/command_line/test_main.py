import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from command_line.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    assert COMMANDS[name].help.split(";", maxsplit=1)[0] in " ".join(
        capsys.readouterr().out.split()
    )


def test_an_unknown_command_is_named_and_gives_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fly"])
    assert stopped.value.code == 2
    assert "'fly'" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_configured_and_run(name: str) -> None:
    module = importlib.import_module(COMMANDS[name].module)
    assert callable(module.configure)
    assert callable(module.run)


def test_asking_for_help_loads_no_command() -> None:
    seen = "import sys; print(sorted(m for m in sys.modules if m.startswith('command_line.')))"
    program = (
        f"from command_line.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: {seen}"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout.splitlines()[-1] == "['command_line.__main__', 'command_line.output']"


@pytest.mark.parametrize("suite", [1, 2])
def test_verify_accepts_the_published_vectors(
    suite: int, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ROOT / f"tests/data/cose/envelope-v1-suite{suite}-dev.json"
    assert main(["verify", "vectors", str(file)]) == 0
    assert "0 different" in capsys.readouterr().out


def test_verify_shows_a_difference_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads((ROOT / "tests/data/cose/envelope-v1-suite1-dev.json").read_bytes())
    document["cases"][0]["expect"] = 0
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(document))
    assert main(["verify", "vectors", str(changed), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["failed"] == 1
    assert told["cases"][0]["expected"] == 0
    assert told["cases"][0]["actual"] == 300


@pytest.mark.parametrize("content", ["", "[]", '{"cases": 3}', "{}"])
def test_verify_names_a_file_that_holds_no_vectors(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.json"
    file.write_text(content)
    assert main(["verify", "vectors", str(file)]) == 2
    assert str(file) in capsys.readouterr().err


def test_check_config_lists_every_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('tenant = "Camden"\ndevice = "gw1"\ncolour = "red"\n')
    assert main(["agent", "check-config", str(file), "--json"]) == 1
    mistakes = json.loads(capsys.readouterr().out)["mistakes"]
    told = {mistake["key"]: mistake for mistake in mistakes}
    assert {"tenant", "colour", "state_directory"} <= told.keys()
    assert told["tenant"]["file"] == str(file)
    assert (told["tenant"]["line"], told["tenant"]["value"]) == (1, '"Camden"')
    assert "[a-z0-9]" in told["tenant"]["allowed"]


def test_wrong_settings_stop_a_process_with_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "serve.toml"
    file.write_text("port = 99999999\n")
    assert main(["serve", "--config", str(file)]) == 2
    assert f"{file}:1: port" in capsys.readouterr().err


LONG = """
import asyncio, pathlib, sys
from command_line import __main__
from command_line.network.commands import terminal

async def carry_out(arguments, directory):
    lines = [f"line {number}" for number in range(100_000)]
    await asyncio.to_thread(terminal.show, arguments, {}, lines)
    return 0

class Long:
    @staticmethod
    def configure(parser):
        parser.set_defaults(json=False, carry_out=carry_out, directory=pathlib.Path())

    run = staticmethod(terminal.guarded)

sys.modules["long"] = Long
__main__.COMMANDS["long"] = __main__.Command("long", "prints much")
sys.exit(__main__.main(["long"]))
"""
"""A command that prints more than a pipe holds, in a thread, where an OSError means an outage."""


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "command_line", "--help"),
        ("-m", "command_line", "network", "init", "--help"),
        ("-m", "command_line", "agent", "check-config", "{empty}"),
        ("-c", LONG),
    ],
    ids=["help", "help of one", "little", "much"],
)
def test_a_reader_that_has_seen_enough_is_no_error(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text("")
    unread, stdout = os.pipe()
    os.close(unread)
    try:
        ended = subprocess.run(
            [sys.executable, "-P", *(word.replace("{empty}", "agent.toml") for word in words)],
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=False,
        )
    finally:
        os.close(stdout)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_what_is_printed_before_is_whole() -> None:
    words = [sys.executable, "-P", "-m", "command_line", "--help"]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, check=True)
    assert told.stdout.endswith(b"tells more of each.\n")


def test_want_of_room_for_what_is_printed_is_said_in_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        words = [sys.executable, "-P", "-m", "command_line", "--help"]
        ended = subprocess.run(words, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False)
    said = b"kerbstone: standard output: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (1, said)
