"""Readings signed in a PKCS #11 token (SoftHSM here): the key is made there and stays there."""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from device_protocol.keys import SigningKey, VerifyingKey
from edge_agent.clock import Clock
from edge_agent.credentials.enrolment import enrol
from edge_agent.credentials.identity import SIGNING_CERTIFICATE
from edge_agent.credentials.keystore import Keystore, NoIdentityError
from edge_agent.credentials.renewal import renew
from edge_agent.credentials.signer import HardwareError, HardwareKey, HardwareToken
from edge_agent.settings import AgentSettings, SignerSettings
from enrolment.authority import Authority
from tests.integration.test_edge_renewal import settings_for
from tests.simulators.est_server import EstServer, est_server

pytestmark = pytest.mark.interoperability

DEVICE = "k7q2m9xd4t"
MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "2468"


@pytest.fixture(scope="module")
def _tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let SoftHSM keep its tokens in a directory of our own; it reads that once a process."""
    assert MODULE.exists(), "install softhsm2"
    directory = tmp_path_factory.mktemp("softhsm")
    (directory / "tokens").mkdir()
    configuration = directory / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {directory}/tokens\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(configuration))
        for label in ("street", "other"):
            subprocess.run(
                [
                    *("softhsm2-util", "--init-token", "--free", "--label", label),
                    *("--so-pin", "1357", "--pin", PIN),
                ],
                check=True,
                capture_output=True,
                env=dict(os.environ),
            )
        yield


@pytest.fixture
def signer(_tokens: None, tmp_path: Path) -> SignerSettings:
    (tmp_path / "pin").write_text(f"{PIN}\n")
    return SignerSettings(module=MODULE, label="street", pin_file=tmp_path / "pin")


@pytest.fixture
def token(signer: SignerSettings) -> Iterator[HardwareToken]:
    token = HardwareToken(signer, DEVICE)
    token.keep_only([])
    yield token
    token.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EstServer]:
    with est_server(Authority(tmp_path_factory.mktemp("authority"), "Test")) as running:
        yield running


def test_the_envelope_is_signed_by_a_key_in_the_token(token: HardwareToken) -> None:
    key = token.generate()
    signing = SigningKey.from_private(key)
    assert signing.algorithm == -9
    signature = signing.sign(b"readings")
    VerifyingKey.from_cose_key(signing.cose_key).verify(signature, b"readings")
    key.public_key().verify(
        key.sign(b"readings", ec.ECDSA(hashes.SHA256())), b"readings", ec.ECDSA(hashes.SHA256())
    )


@pytest.mark.parametrize(
    "misuse",
    [
        lambda key: key.private_numbers(),
        lambda key: key.private_bytes(None, None, None),
        lambda key: key.exchange(ec.ECDH(), key.public_key()),
        lambda key: key.sign(b"", ec.ECDSA(hashes.SHA512())),
    ],
)
def test_it_does_nothing_but_sign(
    token: HardwareToken, misuse: Callable[[HardwareKey], Any]
) -> None:
    with pytest.raises(HardwareError, match="signs with SHA-256 and does nothing else"):
        misuse(token.generate())


def test_keys_are_found_by_their_public_half_and_destroyed_when_replaced(
    token: HardwareToken, signer: SignerSettings
) -> None:
    first, second = token.generate().public_key(), token.generate().public_key()
    assert token.find(first).public_key() == first
    token.keep_only([second])
    assert token.find(second)
    with pytest.raises(HardwareError, match="not in the token"):
        token.find(first)
    token.close()
    other = HardwareToken(signer, "w3n8b5rc6h")
    other.keep_only([])
    other.close()
    again = HardwareToken(signer, DEVICE)
    assert again.find(second).public_key() == second  # nobody else's are touched
    again.close()


def test_what_makes_a_token_unusable_is_said(signer: SignerSettings, tmp_path: Path) -> None:
    with pytest.raises(HardwareError, match="token nowhere"):
        HardwareToken(replace(signer, label="nowhere"), DEVICE)
    (tmp_path / "wrong").write_text("1111")
    with pytest.raises(HardwareError, match="token street"):
        HardwareToken(replace(signer, pin_file=tmp_path / "wrong"), DEVICE)
    with pytest.raises(HardwareError, match="No such file"):
        HardwareToken(replace(signer, pin_file=tmp_path / "missing"), DEVICE)


@pytest.fixture
def settings(signer: SignerSettings, service: EstServer, tmp_path: Path) -> AgentSettings:
    return replace(settings_for(tmp_path / "identity", service.url), signer=signer)


@pytest.fixture
def keystore(settings: AgentSettings) -> Iterator[Keystore]:
    keystore = Keystore(settings, Clock(settings.state_directory / "clock"))
    yield keystore
    keystore.close()


def test_a_gateway_with_a_token_has_a_certificate_for_each_of_its_keys(
    service: EstServer, settings: AgentSettings, keystore: Keystore
) -> None:
    directory, token = settings.state_directory, keystore.token()
    enrolled = enrol(service.invite(DEVICE), directory, token=token)
    tls, signing = service.certificates[-2:]
    identity = keystore.load()
    assert identity.signer.kid == VerifyingKey.from_public(signing.public_key()).kid
    assert identity.signer.algorithm == -9
    held = enrolled.current.certificate_file.read_bytes()
    assert x509.load_pem_x509_certificate(held) == tls
    stored = [path.read_bytes() for path in directory.rglob("*.key")]
    assert len(stored) == 1  # TLS's; that of readings is nowhere on the disk

    renew(directory, service.url, kind="ed25519", clock=Clock(directory / "clock"), token=token)
    after = keystore.load()
    assert after.signer.kid != identity.signer.kid
    identity.signer.sign(b"by the old key, in the middle of a message")
    VerifyingKey.from_public(service.certificates[-1].public_key()).verify(
        after.signer.sign(b"reading"), b"reading"
    )
    renew(directory, service.url, kind="ed25519", clock=Clock(directory / "clock"), token=token)
    with pytest.raises(HardwareError):
        identity.signer.sign(b"the key is destroyed")


def test_a_copied_disk_without_its_token_signs_nothing(
    service: EstServer, settings: AgentSettings, keystore: Keystore, signer: SignerSettings
) -> None:
    directory = settings.state_directory
    enrol(service.invite(DEVICE), directory, token=keystore.token())
    elsewhere = replace(settings, signer=replace(signer, label="other"))
    thief = Keystore(elsewhere, Clock(directory / "clock"))
    with pytest.raises(NoIdentityError, match="not in the token"):
        thief.load()
    (directory / "current" / SIGNING_CERTIFICATE).unlink()
    with pytest.raises(NoIdentityError, match=SIGNING_CERTIFICATE):
        keystore.load()
    thief.close()
