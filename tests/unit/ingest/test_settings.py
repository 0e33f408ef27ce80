from pathlib import Path

import pytest

from ingest.settings import IngestSettings
from runtime.settings import SettingsError, load

FILES = ("service.key", "recipient.pem", "root.pem", "ingest.pem", "ingest.key", "dsn")
LEAST = """
dsn = "postgresql://kerbstone@localhost/kerbstone"
service_key_file = "service.key"
recipient_key_files = ["recipient.pem"]

[[broker]]
name = "city"
host = "localhost"
port = 8883
client_id = "ingest"
ca_file = "root.pem"
certificate_file = "ingest.pem"
key_file = "ingest.key"
"""


def read(directory: Path, text: str) -> IngestSettings:
    for name in FILES:
        (directory / name).write_text("postgresql://from-file\n", encoding="ascii")
    path = directory / "ingest.toml"
    path.write_text(text, encoding="utf-8")
    return load(IngestSettings, path)


def test_least_file_is_enough(tmp_path: Path) -> None:
    settings = read(tmp_path, LEAST)
    assert settings.database == "postgresql://kerbstone@localhost/kerbstone"
    [broker] = settings.broker
    assert (broker.tenant, broker.mqtt_version) == ("+", "5")
    assert broker.ca_file == tmp_path / "root.pem"
    assert settings.batch_max_messages == 1000


def test_database_may_be_named_in_a_file(tmp_path: Path) -> None:
    dsn = 'dsn = "postgresql://kerbstone@localhost/kerbstone"'
    settings = read(tmp_path, LEAST.replace(dsn, 'dsn_file = "dsn"'))
    assert settings.database == "postgresql://from-file"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text + 'dsn_file = "dsn"', "dsn_file"),
        (lambda text: 'dsn_file = "dsn"\n' + text, "either dsn or dsn_file"),
        (lambda text: text.replace('["recipient.pem"]', "[]"), "at least one key"),
        (lambda text: text.replace("8883", "0"), "broker[1].port"),
        (lambda text: text + text[text.index("[[broker]]") :], "must be unique"),
        (lambda text: text.replace("service.key", "absent.key"), "nothing is at"),
        (lambda text: text + "keepalive_seconds = 300", "240"),
    ],
)
def test_mistake_is_named(tmp_path: Path, change: object, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, change(LEAST))  # type: ignore[operator]
    assert words in str(caught.value)


NORTH = """
[[share]]
name = "north"
tenants = ["leeds"]
dsn = "postgresql://north"
workers = 2
"""
SOUTH = NORTH.replace("north", "south").replace("leeds", "camden")
SHARED = LEAST.replace('dsn = "postgresql://kerbstone@localhost/kerbstone"', "")


def test_shares_have_databases_of_their_own(tmp_path: Path) -> None:
    north, south = read(tmp_path, SHARED + NORTH + SOUTH).share
    assert (north.database, north.workers) == ("postgresql://north", 2)
    assert south.tenants == ("camden",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LEAST + NORTH, "each [[share]] has its own"),
        ("workers = 2" + SHARED + NORTH, "each [[share]] has its own"),
        ("workers = 0" + LEAST, "must be"),
        (SHARED + NORTH + NORTH, "must be unique"),
        (SHARED + NORTH + NORTH.replace("leeds", "york"), "is another share's, too"),
        (SHARED + NORTH + SOUTH.replace("camden", "leeds"), "is in another share, too"),
        (SHARED + NORTH.replace('["leeds"]', "[]"), "name at least one council"),
        (SHARED + 'tenant = "camden"' + NORTH, "is in no share"),
    ],
)
def test_mistake_about_shares_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read(tmp_path, text)
    assert words in str(raised.value)
