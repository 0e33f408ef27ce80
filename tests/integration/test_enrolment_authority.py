"""The certificate authority over a real directory: what it keeps, renews and refuses to replace."""

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from device_protocol.identity import device_of
from enrolment import files
from enrolment.authority import Authority, CredentialFiles, KeyKind, enrol_locally
from enrolment.files import CredentialError, read_certificate, read_key, write_atomically

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def authority(directory: Path, *, days_later: float = 0) -> Authority:
    return Authority(directory, "London", clock=lambda: NOW + timedelta(days=days_later))


def everything(held: Authority) -> list[CredentialFiles]:
    held.council_root("camden")
    return [
        held.broker_server(["broker.example.org"]),
        held.service_client("ingest"),
        held.service_client("ingest", "camden"),
        held.key_set_signer("camden"),
    ]


def contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_second_run_keeps_everything(tmp_path: Path) -> None:
    everything(authority(tmp_path))
    before = contents(tmp_path)
    everything(authority(tmp_path, days_later=30))
    assert contents(tmp_path) == before


def test_what_is_due_is_made_anew_with_a_new_key_and_roots_stay(tmp_path: Path) -> None:
    everything(authority(tmp_path))
    before = contents(tmp_path)
    everything(authority(tmp_path, days_later=61))  # two thirds of 90 days
    changed = {path.name for path, content in contents(tmp_path).items() if content != before[path]}
    assert changed == {
        f"{stem}.{kind}"
        for stem in ("server", "ingest", "ingest.camden", "key-set-signer")
        for kind in ("pem", "key")
    }


def test_new_host_makes_a_new_server_certificate(tmp_path: Path) -> None:
    held = authority(tmp_path)
    first = read_certificate(held.broker_server(["one.example.org"]).certificate)
    second = read_certificate(held.broker_server(["two.example.org"]).certificate)
    assert first.serial_number != second.serial_number


@pytest.mark.parametrize("lost", ["key", "pem"])
def test_half_a_credential_is_made_whole(tmp_path: Path, lost: str) -> None:
    credential = authority(tmp_path).service_client("ingest")
    (credential.key if lost == "key" else credential.certificate).unlink()
    again = authority(tmp_path).service_client("ingest")
    certificate = read_certificate(again.certificate)
    assert read_key(again.key).public_key() == certificate.public_key()


def test_crash_between_key_and_certificate_is_mended(tmp_path: Path) -> None:
    credential = authority(tmp_path).service_client("ingest")
    files.write_key(credential.key, KeyKind.P256.generate())  # the new key came, its partner not
    again = authority(tmp_path).service_client("ingest")
    certificate = read_certificate(again.certificate)
    assert read_key(again.key).public_key() == certificate.public_key()


def test_credential_of_a_replaced_root_is_not_kept(tmp_path: Path) -> None:
    credential = authority(tmp_path).service_client("ingest")
    for path in tmp_path.glob("service-root.*"):
        path.unlink()
    authority(tmp_path).service_client("ingest")
    root = read_certificate(tmp_path / "service-root.pem")
    read_certificate(credential.certificate).verify_directly_issued_by(root)


def test_lost_root_key_is_reported_and_never_replaced(tmp_path: Path) -> None:
    root = authority(tmp_path).council_root("camden")
    before = root.read_bytes()
    (tmp_path / "councils/camden/root.key").unlink()
    with pytest.raises(CredentialError, match=r"root\.key holds no usable private key"):
        authority(tmp_path).council_root("camden")
    assert root.read_bytes() == before


def test_root_with_another_key_is_reported(tmp_path: Path) -> None:
    authority(tmp_path).council_root("camden")
    files.write_key(tmp_path / "councils/camden/root.key", KeyKind.P256.generate())
    with pytest.raises(CredentialError, match="is not the key of"):
        authority(tmp_path).council_root("camden")


def test_root_that_could_speak_for_another_council_is_refused(tmp_path: Path) -> None:
    authority(tmp_path).council_root("leeds")
    (tmp_path / "councils/leeds").rename(tmp_path / "councils/camden")
    with pytest.raises(CredentialError, match="not what policy wants"):
        authority(tmp_path).council_root("camden")


def test_private_keys_are_their_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        everything(authority(tmp_path))
        enrol_locally(authority(tmp_path), "camden", "k7q2m9xd4t", tmp_path / "gateway")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*.key")}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*.pem")} == {0o644}


@pytest.mark.parametrize(
    ("kind", "made"),
    [(KeyKind.ED25519, Ed25519PrivateKey), (KeyKind.P256, EllipticCurvePrivateKey)],
)
def test_gateway_gets_all_it_needs_and_the_authority_keeps_no_key_of_it(
    tmp_path: Path, kind: KeyKind, made: type
) -> None:
    held = authority(tmp_path / "authority")
    gateway = enrol_locally(held, "camden", "k7q2m9xd4t", tmp_path / "gateway", kind=kind)
    key, certificate = (
        read_key(gateway.credential.key),
        read_certificate(gateway.credential.certificate),
    )
    assert isinstance(key, made)
    assert key.public_key() == certificate.public_key()
    assert device_of(certificate) == "k7q2m9xd4t"
    certificate.verify_directly_issued_by(read_certificate(gateway.council_root))
    assert gateway.service_root.read_bytes() == held.service_root().read_bytes()
    pem = gateway.credential.key.read_bytes()
    assert all(pem not in content for content in contents(tmp_path / "authority").values())


def test_enrolling_again_renews_with_a_new_key(tmp_path: Path) -> None:
    held = authority(tmp_path / "authority")
    first = read_key(enrol_locally(held, "camden", "k7", tmp_path / "gateway").credential.key)
    second = read_key(enrol_locally(held, "camden", "k7", tmp_path / "gateway").credential.key)
    assert first.public_key() != second.public_key()


def test_broker_is_given_every_councils_root(tmp_path: Path) -> None:
    given = authority(tmp_path).broker_certificates(["camden", "leeds"])
    assert set(given.council_roots) == {"camden", "leeds"}
    for path in (given.service_root, given.server_certificate, *given.council_roots.values()):
        read_certificate(path)
    read_key(given.server_key)


def test_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old", 0o600)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new", 0o600)
    assert contents(tmp_path) == {path: b"old"}


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(CredentialError, match="damaged holds no usable private key"):
        read_key(path)
    with pytest.raises(CredentialError, match="damaged holds no certificate"):
        read_certificate(path)
