"""Whom a gateway believes and what it signs with."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from device_protocol.keys import RecipientKey, SigningKey
from edge_agent.clock import Clock
from edge_agent.credentials.keystore import Keystore, NoIdentityError
from edge_agent.delivery.key_sets import KeySets, NoRecipientsError
from edge_agent.settings import AgentSettings
from enrolment.authority import Authority, GatewayFiles, KeyKind, enrol_locally
from tests.simulators.centre import key_set_of
from tests.unit.edge_agent.conftest import FakeTime

DEVICE = "k7q2m9xd4t"
SIGNER = SigningKey.from_private(Ed25519PrivateKey.generate())
P256_SIGNER = SigningKey.from_private(ec.generate_private_key(ec.SECP256R1()))
RECIPIENT = RecipientKey.from_private(X25519PrivateKey.generate())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "Test")


@pytest.fixture
def issued_at(fake_time: FakeTime) -> int:
    """The authority's certificates are of today, so the clock stands today too."""
    fake_time.wall = time.time()
    return int(fake_time.wall)


@pytest.fixture
def open_key_sets(authority: Authority, tmp_path: Path, clock: Clock) -> Callable[[], KeySets]:
    return lambda: KeySets(
        tmp_path,
        tenant="camden",
        council_root_file=authority.council_root("camden"),
        clock=clock,
    )


@pytest.fixture
def message(authority: Authority, issued_at: int) -> Callable[..., bytes]:
    def message(version: int, group: str = "main", **changes: object) -> bytes:
        recipients = {group: changes.pop("recipient", RECIPIENT)}
        return key_set_of(
            authority,
            "camden",
            recipients,  # type: ignore[arg-type]
            version=version,
            issued_at=issued_at,
            **changes,  # type: ignore[arg-type]
        )

    return message


def test_a_newer_key_set_is_followed_an_older_is_not_also_after_a_restart(
    open_key_sets: Callable[[], KeySets], message: Callable[..., bytes]
) -> None:
    key_sets = open_key_sets()
    first, second = message(1), message(2)
    assert key_sets.offer(second)
    assert not key_sets.offer(first)
    assert not key_sets.offer(second)
    key_sets = open_key_sets()
    assert key_sets.current is not None
    assert key_sets.current.version == 2
    assert not key_sets.offer(first)
    assert not key_sets.offer(message(2, "other"))
    assert key_sets.offer(message(3))


def test_a_lost_key_set_comes_back_but_never_an_older_one(
    open_key_sets: Callable[[], KeySets], message: Callable[..., bytes], tmp_path: Path
) -> None:
    first, second = message(1), message(2)
    open_key_sets().offer(second)
    (tmp_path / "key_set.cbor").write_bytes(b"damaged")
    key_sets = open_key_sets()
    assert key_sets.current is None
    assert not key_sets.offer(first)
    assert key_sets.offer(second)


def test_what_the_council_did_not_sign_is_not_followed(
    open_key_sets: Callable[[], KeySets], message: Callable[..., bytes]
) -> None:
    key_sets = open_key_sets()
    forged = bytearray(message(1))
    forged[-1] ^= 1
    assert not key_sets.offer(bytes(forged))
    assert not key_sets.offer(message(1, signed_by="leeds"))
    assert not key_sets.offer(b"")
    assert key_sets.current is None


def test_past_its_soft_expiry_a_key_set_is_used_and_past_its_hard_one_not(
    open_key_sets: Callable[[], KeySets], message: Callable[..., bytes], fake_time: FakeTime
) -> None:
    key_sets = open_key_sets()
    key_sets.offer(message(1))
    assert not key_sets.is_stale()
    fake_time.advance(43_201)
    assert key_sets.is_stale()
    assert key_sets.recipients("main", SIGNER) == (RECIPIENT.public(),)
    fake_time.advance(43_200)
    with pytest.raises(NoRecipientsError, match="hard expiry"):
        key_sets.recipients("main", SIGNER)
    assert open_key_sets().current is None


def test_recipients_are_those_of_the_group_and_the_suite(
    open_key_sets: Callable[[], KeySets], message: Callable[..., bytes]
) -> None:
    key_sets = open_key_sets()
    with pytest.raises(NoRecipientsError, match="no key set"):
        key_sets.recipients("main", SIGNER)
    key_sets.offer(message(1))
    with pytest.raises(NoRecipientsError, match="0 recipients for group council"):
        key_sets.recipients("council", SIGNER)
    with pytest.raises(NoRecipientsError, match="in suite 2"):
        key_sets.recipients("main", P256_SIGNER)
    p256 = RecipientKey.from_private(ec.generate_private_key(ec.SECP256R1()))
    key_sets.offer(message(2, recipient=p256))
    assert key_sets.recipients("main", P256_SIGNER) == (p256.public(),)


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> GatewayFiles:
    return enrol_locally(authority, "camden", DEVICE, tmp_path / "gateway")


@pytest.fixture
def keystore(settings: AgentSettings, clock: Clock) -> Callable[..., Keystore]:
    def keystore(files: GatewayFiles, device: str = DEVICE) -> Keystore:
        broker = replace(
            settings.broker,
            ca_file=files.service_root,
            certificate_file=files.credential.certificate,
            key_file=files.credential.key,
        )
        return Keystore(replace(settings, device=device, broker=broker), clock)

    return keystore


def test_the_signing_key_is_the_certificates(
    files: GatewayFiles, keystore: Callable[..., Keystore]
) -> None:
    identity = keystore(files).load()
    assert identity.signer.algorithm == -19
    assert identity.not_before < identity.not_after


def test_what_is_missing_or_somebody_elses_is_no_identity(
    files: GatewayFiles,
    authority: Authority,
    tmp_path: Path,
    keystore: Callable[..., Keystore],
) -> None:
    other = enrol_locally(authority, "camden", "other", tmp_path / "other", kind=KeyKind.P256)
    with pytest.raises(NoIdentityError, match="this is other"):
        keystore(files, "other").load()
    files.credential.key.write_bytes(other.credential.key.read_bytes())
    with pytest.raises(NoIdentityError, match="not the certificate's"):
        keystore(files).load()
    files.credential.key.write_bytes(b"nothing")
    with pytest.raises(NoIdentityError):
        keystore(files).load()
    files.credential.certificate.unlink()
    with pytest.raises(NoIdentityError, match="No such file"):
        keystore(files).load()


def test_a_renewal_is_noticed(
    files: GatewayFiles,
    authority: Authority,
    tmp_path: Path,
    keystore: Callable[..., Keystore],
) -> None:
    before = keystore(files).stamp()
    assert keystore(files).stamp() == before
    enrol_locally(authority, "camden", DEVICE, tmp_path / "gateway")
    assert keystore(files).stamp() != before
    files.credential.key.unlink()
    assert keystore(files).stamp()[1] == 0
