"""Keys are read from files, and again when they have changed."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from device_protocol import keys
from device_protocol.keys import RecipientKey
from device_protocol.recipient_pem import encode_pem, generate
from ingest import recipient_keys
from ingest.recipient_keys import RecipientKeyError, RecipientKeys


def _put(path: Path, kind: str = keys.X25519) -> RecipientKey:
    key = generate(kind)
    path.write_bytes(encode_pem(key))
    return key


def test_files_and_a_directory_together_hold_keys_of_every_kind(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    directory.mkdir()
    held = [
        _put(tmp_path / "single.pem"),
        _put(directory / "a.key", keys.P256),
        _put(directory / "b.pem", keys.X_WING),
    ]
    _put(directory / "notes.txt")
    read = RecipientKeys([tmp_path / "single.pem"], directory).read()
    assert {kid: key.kind for kid, key in read.items()} == {key.kid: key.kind for key in held}


def test_what_is_no_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("nothing")
    with pytest.raises(RecipientKeyError, match=r"bad\.pem"):
        RecipientKeys([], tmp_path).read()
    (tmp_path / "bad.pem").unlink()
    with pytest.raises(RecipientKeyError, match="no recipient key"):
        RecipientKeys([], tmp_path).read()


async def test_keys_are_handed_over_when_asked_for_and_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recipient_keys, "_SECONDS_BETWEEN", 0.0)
    handed: asyncio.Queue[Mapping[bytes, RecipientKey]] = asyncio.Queue()
    first = _put(tmp_path / "first.key")
    held = RecipientKeys([], tmp_path)
    assert list(held.read()) == [first.kid]
    task = asyncio.create_task(held.follow(handed.put_nowait))
    held.ask()
    second = _put(tmp_path / "second.key")
    held.ask()
    assert set(await handed.get()) == {first.kid, second.kid}
    (tmp_path / "first.key").unlink()
    held.ask()
    assert set(await handed.get()) == {second.kid}
    (tmp_path / "third.key").write_text("damaged")
    held.ask()
    while "recipient keys not read" not in caplog.messages:  # noqa: ASYNC110  # a log
        await asyncio.sleep(0)
    third = _put(tmp_path / "third.key")
    held.ask()
    assert set(await handed.get()) == {second.kid, third.kid}
    held.ask()
    await asyncio.sleep(0)
    assert handed.empty()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
