"""The registry file: what it says is what is registered, and every mistake is named."""

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from command_line.map.registry_file import EXAMPLE, read_registry, registered
from runtime.settings import SettingsError

SINCE = datetime(2025, 7, 1, tzinfo=UTC)
TEXT = EXAMPLE.read_text(encoding="utf-8")


def mistakes(path: Path, text: str) -> list[str]:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        read_registry(path)
    return [str(mistake).removeprefix(f"{path}:") for mistake in caught.value.mistakes]


def test_a_registry_is_the_same_in_toml_and_json(tmp_path: Path) -> None:
    same = tmp_path / "registry.json"
    same.write_text(json.dumps(tomllib.loads(TEXT)), encoding="utf-8")
    assert read_registry(same) == read_registry(EXAMPLE)


def test_the_example_says_what_is_registered() -> None:
    (thing,), streams = registered(read_registry(EXAMPLE), SINCE)
    assert thing.council.gss == "E09000007"
    assert thing.properties == {"typeofLocation": "outdoor"}
    assert thing.place is not None
    assert thing.place.longitude == pytest.approx(-0.12878, abs=1e-5)
    assert thing.stays[0].since == SINCE
    assert [(each.id, each.short_name, each.unit.key, each.sensor.id) for each in streams] == [
        (1, "no2", "ug/m3", 1),
        (2, "temp", "Cel", 2),
        (3, "rh", "%RH", 2),
        (4, "wind_dir", "deg", 2),
    ]
    assert streams[0].averaging.total_seconds() == 3600
    assert (streams[0].valid_minimum, streams[0].valid_maximum) == (-10, 1000)


def test_a_thing_that_was_moved_has_its_places_in_order(tmp_path: Path) -> None:
    moved = '\n[[thing.location]]\nname = "Moved"\nlongitude = -0.1\nlatitude = 51.5\n'
    text = TEXT.replace("\n[[thing.sensor]]", moved + "\n[[thing.sensor]]", 1)
    file = tmp_path / "registry.toml"
    assert mistakes(file, text) == [
        "21: thing[1].location[2].since: is missing: since when is the thing there?"
    ]
    since = f'{moved}since = "2025-07-02T00:00:00+01:00"\n'
    file.write_text(text.replace(moved, since), encoding="utf-8")
    (thing,), _ = registered(read_registry(file), SINCE)
    assert [stay.since.isoformat() for stay in thing.stays] == [
        "2025-07-01T00:00:00+00:00",
        "2025-07-01T23:00:00+00:00",
    ]
    assert mistakes(file, text.replace(moved, since.replace("2025-07-02T00:00:00+01:00", "July")))
    twice = text.replace(moved, since + since)
    assert mistakes(file, twice)[0].endswith("must be later than the place before")


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (
            'observed_property = "no2"',
            'observed_property = "no22"',
            '28: thing[1].sensor[1].datastream[1].observed_property = "no22": no observed',
        ),
        (
            'name = "temp"',
            'name = "temp"\nunit = "Cell"',
            "40: thing[1].sensor[2].datastream[1].unit = \"Cell\": no unit 'Cell'; nearest: ",
        ),
        (
            'gss = "E09000007"',
            'gss = "Camden"',
            '4: council.gss = "Camden": must be text of the form ',
        ),
        (
            'grid = "TQ 2990 8267"',
            'grid = "ZZ 1"',
            "19: thing[1].location[1].grid = \"ZZ 1\": 'ZZ 1' is no grid reference",
        ),
        (
            'grid = "TQ 2990 8267"',
            "longitude = 1",
            "17: thing[1].location[1].grid: is missing: give grid, or longitude and latitude",
        ),
        (
            'grid = "TQ 2990 8267"',
            'grid = "TQ 2990 8267"\nlatitude = 51.5',
            '19: thing[1].location[1].grid = "TQ 2990 8267": give either grid, or ',
        ),
        ('name = "rh"', 'nam = "rh"', "42: thing[1].sensor[2].datastream[2].name: is missing"),
        (
            'name = "rh"',
            'name = "temp"',
            '43: thing[1].sensor[2].datastream[2].name = "temp": stands twice',
        ),
        (
            "0024befffe804ff2",
            "0024befffe804ff1",
            '35: thing[1].sensor[2].urn = "urn:dev:mac:0024befffe804ff1": stands twice',
        ),
        (
            "valid_minimum = -10",
            "valid_minimum = 1001",
            "31: thing[1].sensor[1].datastream[1].valid_minimum = 1001: must not be more than",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line_and_remedy(
    tmp_path: Path, before: str, after: str, named: str
) -> None:
    assert before in TEXT
    found = mistakes(tmp_path / "registry.toml", TEXT.replace(before, after, 1))
    assert any(each.startswith(named) for each in found), found


def test_the_nearest_names_are_given(tmp_path: Path) -> None:
    text = TEXT.replace('observed_property = "no2"', 'observed_property = "no22"')
    (found,) = mistakes(tmp_path / "registry.toml", text)
    assert found.endswith("no observed property 'no22'; nearest: no2, no, so2")


def test_mistakes_in_json_have_their_lines_too(tmp_path: Path) -> None:
    text = json.dumps(tomllib.loads(TEXT), indent=1).replace('"no2"', '"no22"')
    (found,) = mistakes(tmp_path / "registry.json", text)
    line = next(n for n, row in enumerate(text.splitlines(), 1) if "observed_property" in row)
    assert found.startswith(f"{line}: thing[1].sensor[1].datastream[1].observed_property")
    assert mistakes(tmp_path / "registry.json", '{"council":\n oops}')[0].startswith(
        "2: is not JSON"
    )


def test_what_is_missing_altogether_is_said(tmp_path: Path) -> None:
    assert len(mistakes(tmp_path / "registry.toml", "")) == 4
