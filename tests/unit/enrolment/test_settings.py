from pathlib import Path

import pytest

from enrolment.settings import EnrolmentSettings
from runtime.settings import SettingsError, load

LEAST = """
dsn = "dbname=kerbstone"
public_url = "https://enrol.example.org:8445"
authority_directory = "."
network_file = "network.toml"
"""


def write(directory: Path, text: str) -> Path:
    (directory / "network.toml").touch()
    (directory / "enrolment.toml").write_text(text)
    return directory / "enrolment.toml"


def test_little_needs_to_be_said(tmp_path: Path) -> None:
    settings = load(EnrolmentSettings, write(tmp_path, LEAST))
    assert settings.port == 8445
    assert settings.gateway_lifetime_seconds == 7 * 24 * 3600
    assert settings.broker is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LEAST.replace("https:", "http:"), "public_url"),
        (LEAST.replace(":8445", ":8445/est"), "public_url"),
        (LEAST + "gateway_lifetime_seconds = 5", "at least 30"),
        (LEAST + "passphrase_file = 'none'", "nothing is at"),
    ],
)
def test_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(EnrolmentSettings, write(tmp_path, text))
