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
