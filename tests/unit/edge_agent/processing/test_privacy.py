import json
import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_protocol.reading import Reading
from edge_agent.processing.privacy import Filter, Salt, properties, version
from edge_agent.processing.settings import PrivacySettings
from tests.unit.edge_agent.processing.streams import (
    LATITUDE,
    NO2,
    PEOPLE,
    STREAMS,
    TAG,
    reading,
)

HOUR = 3600.0
HASH = re.compile(r"[0-9a-f]{16}")


def new(salt: bytes = b"s" * 32, sensor: str = "urn:dev:a", **settings: object) -> Filter:
    made = Filter(
        sensor,
        PrivacySettings(**settings),  # type: ignore[arg-type]
        {stream.name: stream for stream in STREAMS},
        lambda: salt,
    )
    made.prepare()
    return made


def hashed(text: str, salt: bytes, sensor: str = "urn:dev:a") -> object:
    found = new(salt, sensor, hash=("tag",)).pass_on(reading(text, name="tag"))
    assert found is not None
    return found.result


def test_what_is_dropped_does_not_pass() -> None:
    assert new(drop=("tag",)).pass_on(reading("A1", name="tag")) is None
    assert new(drop=("tag",)).pass_on(reading(1.0)) == reading(1.0)


def test_an_identifier_passes_as_a_hash_only() -> None:
    found = new(hash=("tag",)).pass_on(reading("AB12 CDE", name="tag"))
    assert found is not None
    assert HASH.fullmatch(str(found.result))
    assert replace(found, result="AB12 CDE") == reading("AB12 CDE", name="tag", unit="")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
def test_a_hash_is_the_same_under_one_salt_and_unlike_any_under_another(text: str) -> None:
    salts = [bytes([number]) * 32 for number in range(8)]
    assert hashed(text, salts[0]) == hashed(text, salts[0])
    assert len({hashed(text, salt) for salt in salts}) == len(salts)


def test_sensors_of_one_gateway_cannot_be_linked_by_hashes() -> None:
    assert hashed("A1", b"s" * 32) != hashed("A1", b"s" * 32, sensor="urn:dev:b")


def test_a_number_that_identifies_is_hashed_as_its_text() -> None:
    found = new(hash=("tag",)).pass_on(reading(17.0, name="tag", unit="/"))
    assert found is not None
    assert (isinstance(found.result, str), found.unit) == (True, "")


@pytest.mark.parametrize(
    ("decimals", "latitude"), [(None, 51.52345678), (3, 51.523), (2, 51.52), (0, 52.0)]
)
def test_positions_are_rounded_and_nothing_else_is(decimals: int | None, latitude: float) -> None:
    coarse = new(position_decimals=decimals)
    assert coarse.pass_on(reading(51.52345678, name="lat")) == reading(latitude, name="lat")
    assert coarse.pass_on(reading(51.52345678)) == reading(51.52345678)
    assert coarse.pass_on(reading(51.52345678, name="wind")) == reading(51.52345678, name="wind")


@pytest.mark.parametrize(
    ("told", "few"),
    [
        (reading(0.0, name="people"), False),
        (reading(1.0, name="people"), True),
        (reading(4.0, name="people"), True),
        (reading(5.0, name="people"), False),
        (reading(4.0), False),
    ],
)
def test_small_counts_are_few_but_none_is_not(told: Reading, few: bool) -> None:  # noqa: FBT001
    assert new(minimum_count=5).is_few(told) is few
    assert not new().is_few(told)


@pytest.mark.parametrize(
    ("suffix", "name", "result", "n", "few"),
    [
        ("sum", "people", 4.0, 60, True),
        ("sum", "people", 9.0, 3, False),
        ("n", "people", 3.0, 3, False),
        ("mean", "no2", 30.0, 4, True),
        ("n", "no2", 4.0, 4, True),
        ("mean", "no2", 30.0, 5, False),
        ("n", "no2", 0.0, 0, False),
    ],
)
def test_aggregates_about_few_are_told_from_those_of_few_readings_about_many(
    suffix: str,
    name: str,
    result: float,
    n: int,
    few: bool,  # noqa: FBT001
) -> None:
    told = reading(result, name=f"{name}.{suffix}", unit="")
    assert new(minimum_count=5).is_few_aggregated(told, name, n) is few


def test_the_version_changes_with_every_setting() -> None:
    several = [
        PrivacySettings(),
        PrivacySettings(drop=("a",)),
        PrivacySettings(hash=("a",)),
        PrivacySettings(salt_hours=1),
        PrivacySettings(position_decimals=3),
        PrivacySettings(minimum_count=5),
    ]
    versions = {version(settings) for settings in several}
    assert len(versions) == len(several)
    assert all(re.fullmatch(r"1-[0-9a-f]{12}", found) for found in versions)
    assert version(PrivacySettings(drop=("a",))) == version(PrivacySettings(drop=("a",)))


def test_each_datastream_says_what_was_done_to_it() -> None:
    settings = PrivacySettings(hash=("tag",), position_decimals=3, minimum_count=5)
    said = {stream.name: properties(settings, stream) for stream in (TAG, LATITUDE, PEOPLE)}
    assert {each["privacy_filter"] for each in said.values()} == {version(settings)}
    assert "thrown away every 24 h" in said["tag"]["privacy"]
    assert "3 decimals" in said["lat"]["privacy"]
    assert "fewer than 5" in said["people"]["privacy"]
    assert properties(PrivacySettings(), NO2) == {"privacy_filter": version(PrivacySettings())}


class Time:
    """Unix time that a test moves."""

    def __init__(self) -> None:
        self.unix = 1_000_000 * HOUR

    def __call__(self) -> float:
        """Return it."""
        return self.unix


def test_a_salt_lasts_its_period_and_a_restart_and_no_longer(tmp_path: Path) -> None:
    time, file = Time(), tmp_path / "salt.json"
    salt = Salt(file, 10, time)
    first = salt()
    time.unix += 9.99 * HOUR
    assert salt() == first
    assert Salt(file, 10, time)() == first, "a restart"
    time.unix += 0.02 * HOUR
    second = salt()
    assert second != first
    assert first.hex() not in file.read_text()
    assert Salt(file, 10, time)() == second


def test_only_its_owner_may_read_the_salt(tmp_path: Path) -> None:
    Salt(tmp_path / "salt.json", 1, Time())()
    assert stat.S_IMODE((tmp_path / "salt.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"salt": "ab", "seconds": 3600}'])
def test_a_damaged_salt_is_replaced(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "salt.json"
    file.write_bytes(content)
    assert len(Salt(file, 1, Time())()) == 32
    assert json.loads(file.read_bytes())["seconds"] == 3600


def test_other_hours_begin_another_salt(tmp_path: Path) -> None:
    first = Salt(tmp_path / "salt.json", 1, Time())()
    assert Salt(tmp_path / "salt.json", 2, Time())() != first
