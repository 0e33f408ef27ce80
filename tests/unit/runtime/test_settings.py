"""Every mistake in a settings file is named at once, with its line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from runtime.settings import Choice, Mistake, SettingsError, describe, load, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    host: str = setting("Where the broker listens.", pattern=r"[a-z.]+")
    port: int = setting("TCP port.", default=8883, minimum=1, maximum=65535)
    mqtt_version: Literal["5", "3.1.1"] = setting("Protocol.", default="5")
    password: str = setting("Shown to nobody.", default="", pattern=r"[a-z]*", secret=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    shape: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle(Shape):
    shape: Literal["circle"]
    radius: float = setting("Metres.", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Square(Shape):
    shape: Literal["square"]
    side: float = setting("Metres.", minimum=0)


SHAPES = {"circle": Circle, "square": Square}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    low: int = 0
    high: int = 10

    def contradictions(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        if self.low > self.high:
            yield ("low",), f"must not exceed high ({self.high})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    broker: Broker
    limits: Limits = Limits()
    key_files: tuple[Path, ...] = ()
    database: Path | None = None
    verbose: bool = False
    labels: Mapping[str, str] | None = None
    shape: tuple[Shape, ...] = setting(
        "Shapes.", default=(), choice=Choice("shape", lambda: tuple(SHAPES), SHAPES.__getitem__)
    )


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "process.toml"
    path.write_text(text)
    return path


def mistakes(tmp_path: Path, text: str) -> tuple[Mistake, ...]:
    with pytest.raises(SettingsError) as refusal:
        load(Settings, write(tmp_path, text))
    return refusal.value.mistakes


def test_a_full_file_becomes_frozen_values(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        key_files = ["a.pem", "/etc/b.pem"]
        database = "spool"
        verbose = true
        labels = { street = "Gower Street" }
        [broker]
        host = "broker.example"
        mqtt_version = "3.1.1"
        [[shape]]
        shape = "square"
        side = 3
        [[shape]]
        shape = "circle"
        radius = 1.5
        """,
    )
    settings = load(Settings, path)
    assert settings.broker == Broker(host="broker.example", mqtt_version="3.1.1")
    assert settings.key_files == (tmp_path / "a.pem", Path("/etc/b.pem"))
    assert settings.database == tmp_path / "spool"
    assert settings.labels == {"street": "Gower Street"}
    assert settings.shape == (
        Square(shape="square", side=3.0),
        Circle(shape="circle", radius=1.5),
    )
    assert isinstance(settings.shape[0], Square)
    assert isinstance(settings.shape[0].side, float)


def test_every_mistake_is_listed_with_line_key_value_and_what_is_allowed(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        """verbose = "yes"
key_files = [
  "a.pem",
  7,
]
colour = "red"
[broker]
prot = 1883
port = 70000
mqtt_version = "4"
[limits]
low = 11
[[shape]]
shape = "triangle"
[[shape]]
shape = "circle"
radius = -1
""",
    )
    assert [str(mistake).removeprefix(f"{tmp_path}/process.toml:") for mistake in found] == [
        '1: verbose = "yes": must be true or false',
        "4: key_files[2] = 7: must be the path of a file or directory",
        (
            '6: colour = "red": is not a setting; known here: broker, database, key_files, labels,'
            " limits, shape, verbose"
        ),
        "7: broker.host: is missing: text of the form [a-z.]+",
        "8: broker.prot = 1883: is not a setting; did you mean port?",
        "9: broker.port = 70000: must be a whole number from 1 to 65535",
        '10: broker.mqtt_version = "4": must be one of "5", "3.1.1"',
        "12: limits.low = 11: must not exceed high (10)",
        '14: shape[1].shape = "triangle": must be one of "circle", "square"',
        "17: shape[2].radius = -1: must be a number of at least 0",
    ]


def test_a_missing_table_names_each_key_it_must_hold(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, "verbose = true\n")
    assert (found.key, found.line) == ("broker.host", 1)


@pytest.mark.parametrize("port", ["true", "1.5", '"1883"'])
def test_a_whole_number_is_nothing_else(tmp_path: Path, port: str) -> None:
    (found,) = mistakes(tmp_path, f'[broker]\nhost = "a"\nport = {port}\n')
    assert found.key == "broker.port"


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, '[broker]\nhost = "a"\npassword = "HUNTER2"\n')
    assert "HUNTER2" not in str(found)


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_a_number_is_finite(tmp_path: Path, number: str) -> None:
    text = f'[broker]\nhost = "a"\n[[shape]]\nshape = "circle"\nradius = {number}\n'
    (found,) = mistakes(tmp_path, text)
    assert found.key == "shape[1].radius"


def test_a_choice_that_is_missing_is_named(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, '[broker]\nhost = "a"\n[[shape]]\nside = 1\n')
    assert str(found).endswith('shape[1].shape: is missing: must be one of "circle", "square"')


def test_what_is_not_toml_is_shown_by_line(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, "[broker]\nhost = \n")
    assert found.line == 2


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load(Settings, tmp_path / "absent.toml")


def test_description_names_every_setting_with_limits_and_default() -> None:
    rows = {row.key: row for row in describe(Settings)}
    assert rows["broker.port"].allowed == "a whole number from 1 to 65535"
    assert rows["broker.port"].default == "8883"
    assert rows["broker.port"].doc == "TCP port."
    assert rows["broker.mqtt_version"].allowed == 'one of "5", "3.1.1"'
    assert {"shape[].radius", "shape[].side", "limits.low"} <= rows.keys()
