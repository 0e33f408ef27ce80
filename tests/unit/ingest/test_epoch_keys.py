import secrets
from pathlib import Path

import pytest

from ingest.epoch_keys import EpochKeys, ServiceKeyError

KEY, IV, EPOCH = bytes(range(32)), bytes(range(12)), b"epoch-id"


def test_what_was_sealed_is_opened() -> None:
    keys = EpochKeys(secrets.token_bytes(32))
    sealed = keys.seal(7, EPOCH, key=KEY, base_iv=IV, clock=2)
    assert keys.open(7, EPOCH, sealed) == (KEY, IV, 2)
    assert KEY not in sealed
    assert keys.seal(7, EPOCH, key=KEY, base_iv=IV, clock=2) != sealed


@pytest.mark.parametrize(("gateway_id", "epoch_id"), [(8, EPOCH), (7, b"epoch-ie")])
def test_sealed_key_belongs_to_its_own_epoch(gateway_id: int, epoch_id: bytes) -> None:
    keys = EpochKeys(secrets.token_bytes(32))
    sealed = keys.seal(7, EPOCH, key=KEY, base_iv=IV, clock=0)
    with pytest.raises(ServiceKeyError):
        keys.open(gateway_id, epoch_id, sealed)


def test_another_service_key_opens_nothing() -> None:
    sealed = EpochKeys(bytes(32)).seal(7, EPOCH, key=KEY, base_iv=IV, clock=0)
    with pytest.raises(ServiceKeyError, match="another service key"):
        EpochKeys(bytes([1] * 32)).open(7, EPOCH, sealed)


@pytest.mark.parametrize("text", ["", "00" * 31, "zz" * 32, "\u00e9"])
def test_service_key_file_must_hold_a_key(tmp_path: Path, text: str) -> None:
    path = tmp_path / "service.key"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ServiceKeyError, match="32 bytes"):
        EpochKeys.from_file(path)
    path.write_text("00" * 32 + "\n", encoding="utf-8")
    assert EpochKeys.from_file(path).open(
        1, EPOCH, EpochKeys(bytes(32)).seal(1, EPOCH, key=KEY, base_iv=IV, clock=3)
    ) == (KEY, IV, 3)
