"""Where the enrolment service finds the passphrase of the authority's keys."""

from pathlib import Path

import pytest

from enrolment.files import CredentialError
from enrolment.service import read_passphrase
from enrolment.settings import PASSPHRASE_CREDENTIAL


@pytest.mark.parametrize(("mode", "alarms"), [(0o600, 0), (0o640, 0), (0o644, 1)])
def test_a_passphrase_that_everybody_can_read_is_an_alarm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, alarms: int
) -> None:
    file = tmp_path / "passphrase"
    file.write_text("correct horse battery\n")
    file.chmod(mode)
    assert read_passphrase(file) == b"correct horse battery"
    assert len(caplog.records) == alarms
    assert "horse" not in caplog.text


def test_without_a_file_it_is_the_systemd_credential_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert read_passphrase(None) is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_passphrase(None) is None
    (tmp_path / PASSPHRASE_CREDENTIAL).write_text("correct horse battery\n")
    assert read_passphrase(None) == b"correct horse battery"
    empty = tmp_path / "empty"
    empty.write_text("\n")
    with pytest.raises(CredentialError, match="holds no passphrase"):
        read_passphrase(empty)
