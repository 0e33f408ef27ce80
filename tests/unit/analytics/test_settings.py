from datetime import UTC, datetime
from pathlib import Path

import pytest

from analytics.settings import AnalyticsSettings
from runtime.settings import SettingsError, load


def test_a_connection_string_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "analytics.toml"
    file.write_text('dsn = "host=127.0.0.1 dbname=kerbstone"')
    settings = load(AnalyticsSettings, file)
    assert settings == AnalyticsSettings(dsn="host=127.0.0.1 dbname=kerbstone")
    assert settings.keep_days is None


def test_nothing_still_arriving_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "analytics.toml"
    file.write_text('dsn = "x"\nkeep_days = 7')  # messages may be a week late
    with pytest.raises(SettingsError, match="keep_days = 7"):
        load(AnalyticsSettings, file)


def test_classes_are_read(tmp_path: Path) -> None:
    file = tmp_path / "analytics.toml"
    file.write_text(
        'dsn = "x"\nkeep_days = 800\n'
        '[[retention]]\nname = "health"\nobserved_properties = ["battery_level"]\nkeep_days = 30\n'
        '[[retention]]\nname = "leeds"\ncouncils = ["leeds"]\nkeep_days = 365\n'
    )
    health, leeds = load(AnalyticsSettings, file).retention
    found = health.before(datetime(2026, 3, 31, 9, 30, tzinfo=UTC))
    assert found.floor == datetime(2026, 3, 1, tzinfo=UTC)
    assert (found.observed_properties, found.councils) == ({"battery_level"}, frozenset())
    assert (leeds.councils, leeds.observed_properties) == (("leeds",), ())


@pytest.mark.parametrize(
    ("table", "mistake"),
    [
        ('name = "all"\nkeep_days = 30', "means every datastream"),
        ('name = "a"\nobserved_properties = ["nose"]\nkeep_days = 30', "no such observed property"),
        ('name = "a"\ncouncils = ["leeds"]\nkeep_days = 7', "keep_days = 7"),
        ('name = "a"\ncouncils = ["leeds"]\nkeep_days = 800', "goes after keep_days = 800 already"),
        (
            (
                'name = "a"\ncouncils = ["leeds"]\nkeep_days = 30\n'
                '[[retention]]\nname = "a"\ncouncils = ["camden"]\nkeep_days = 30'
            ),
            "is the name of another class",
        ),
    ],
)
def test_a_class_that_says_nothing_is_refused(tmp_path: Path, table: str, mistake: str) -> None:
    file = tmp_path / "analytics.toml"
    file.write_text(f'dsn = "x"\nkeep_days = 800\n[[retention]]\n{table}\n')
    with pytest.raises(SettingsError, match=mistake):
        load(AnalyticsSettings, file)
