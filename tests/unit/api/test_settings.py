"""The web process's settings file."""

from pathlib import Path

import pytest

from api.settings import ApiSettings
from runtime.settings import SettingsError, describe, load


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "serve.toml"
    path.write_text(text)
    return path


def test_the_database_may_be_named_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text("host=db dbname=kerbstone\n")
    settings = load(ApiSettings, write(tmp_path, 'dsn_file = "dsn"\nport = 0'))
    assert settings.database == "host=db dbname=kerbstone"
    assert settings.host == "127.0.0.1"


@pytest.mark.parametrize(
    "text",
    ["", 'dsn = "a"\nbase_url = "https://x/"', 'dsn = "a"\nport = 70000', 'dsn = "a"\ncolour = 1'],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError):
        load(ApiSettings, write(tmp_path, text))


@pytest.mark.parametrize("host", ["::", "192.0.2.7", "air.example.org"])
def test_links_never_begin_with_what_a_stranger_says(tmp_path: Path, host: str) -> None:
    text = f'dsn = "a"\nhost = "{host}"\n'
    with pytest.raises(SettingsError, match="base_url = "):
        load(ApiSettings, write(tmp_path, text))
    named = load(ApiSettings, write(tmp_path, text + 'base_url = "https://air.example.org"'))
    assert named.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_loopback_no_name_is_needed(tmp_path: Path, host: str) -> None:
    assert load(ApiSettings, write(tmp_path, f'dsn = "a"\nhost = "{host}"\n')).base_url == ""


def test_every_setting_says_what_it_means() -> None:
    assert all(row.doc for row in describe(ApiSettings))
