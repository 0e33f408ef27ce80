from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID, ObjectIdentifier

from device_protocol.errors import SignerError, SignerTimeError
from device_protocol.identity import (
    CONFIGURATION_SIGNING_OID,
    KEY_SET_SIGNING_OID,
    check_chain,
    device_of,
    renewal_due,
)

NOW = 1_795_000_000
DAY = 86_400


def _check(chain: list[Any], anchor: Any, now: int = NOW) -> None:
    check_chain([each.certificate for each in chain], anchor.certificate, now, KEY_SET_SIGNING_OID)


def test_a_signer_directly_under_the_anchor(council: Any) -> None:
    signer = council.issue("key sets", eku=(KEY_SET_SIGNING_OID,))
    _check([signer], council)
    _check([signer, council], council)


def test_a_signer_under_an_intermediate_authority(council: Any) -> None:
    p256 = ec.generate_private_key(ec.SECP256R1())
    middle = council.issue("middle", key=p256, authority=True, path_length=0)
    signer = middle.issue("key sets", eku=(KEY_SET_SIGNING_OID,))
    _check([signer, middle], council)
    _check([signer, middle, council], council)
    with pytest.raises(SignerError, match="not issued by"):
        _check([signer], council)


def test_a_device_certificate_does_not_sign_for_the_council(council: Any) -> None:
    device = council.issue("k7q2m9xd4t", eku=(ExtendedKeyUsageOID.CLIENT_AUTH,))
    with pytest.raises(SignerError, match="extended key usage"):
        _check([device], council)
    with pytest.raises(SignerError, match="extended key usage"):
        _check([council.issue("k7q2m9xd4t")], council)
    other_purpose = council.issue("settings", eku=(CONFIGURATION_SIGNING_OID,))
    with pytest.raises(SignerError, match="extended key usage"):
        _check([other_purpose], council)


def test_a_device_is_no_authority(council: Any) -> None:
    device = council.issue("k7q2m9xd4t")
    with pytest.raises(SignerError, match="no authority"):
        _check([device.issue("key sets", eku=(KEY_SET_SIGNING_OID,)), device], council)


def test_another_councils_signer_is_refused(council: Any) -> None:
    other = council.issue("Bath IoT root", authority=True)
    impostor = type(council)(
        certificate=other.issue("Bristol IoT root", authority=True).certificate, key=other.key
    )
    signer = impostor.issue("key sets", eku=(KEY_SET_SIGNING_OID,))
    with pytest.raises(SignerError, match="not issued by"):
        _check([signer], council)


def test_path_length_is_kept(council: Any) -> None:
    middle = council.issue("middle", authority=True, path_length=0)
    lower = middle.issue("lower", authority=True)
    signer = lower.issue("key sets", eku=(KEY_SET_SIGNING_OID,))
    with pytest.raises(SignerError, match="no further authority"):
        _check([signer, lower, middle], council)


@pytest.mark.parametrize("length", [0, 5])
def test_length_of_the_chain_is_limited(council: Any, length: int) -> None:
    signer = council.issue("key sets", eku=(KEY_SET_SIGNING_OID,))
    with pytest.raises(SignerError, match="limit"):
        _check(length * [signer], council)


def test_the_anchor_itself_signs_nothing(council: Any) -> None:
    with pytest.raises(SignerError, match="itself"):
        _check([council], council)


def test_an_authority_does_not_sign_messages(council: Any) -> None:
    authority = council.issue("key sets", authority=True, eku=(KEY_SET_SIGNING_OID,))
    with pytest.raises(SignerError, match="authority does not sign"):
        _check([authority], council)


def test_key_usage_must_allow_what_the_key_did(council: Any) -> None:
    middle = council.issue("middle", authority=True, usage={"crl_sign": True})
    signer = middle.issue("key sets", eku=(KEY_SET_SIGNING_OID,))
    with pytest.raises(SignerError, match="may not sign certificates"):
        _check([signer, middle], council)
    silent = council.issue("key sets", eku=(KEY_SET_SIGNING_OID,), usage={"key_agreement": True})
    with pytest.raises(SignerError, match="may not sign messages"):
        _check([silent], council)


def test_an_extension_that_cannot_be_read_is_refused(council: Any) -> None:
    unreadable = x509.UnrecognizedExtension(ExtensionOID.NAME_CONSTRAINTS, b"\5\0")
    signer = council.issue(
        "key sets", eku=(KEY_SET_SIGNING_OID,), extensions=((unreadable, False),)
    )
    with pytest.raises(SignerError, match="damaged"):
        _check([signer], council)


@pytest.mark.parametrize(
    ("days", "now"), [((-2, -1), NOW), ((1, 2), NOW), ((-1, 6), NOW + 7 * DAY)]
)
def test_every_certificate_must_be_valid_now(council: Any, days: Any, now: int) -> None:
    signer = council.issue("key sets", eku=(KEY_SET_SIGNING_OID,), days=days)
    with pytest.raises(SignerTimeError):
        _check([signer], council, now)
    middle = council.issue("middle", authority=True, days=days)
    below = middle.issue("key sets", eku=(KEY_SET_SIGNING_OID,), days=(-9, 9))
    with pytest.raises(SignerTimeError):
        _check([below, middle], council, now)


def test_a_critical_extension_nobody_understands_is_refused(council: Any) -> None:
    unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\5\0")
    for critical in (True, False):
        signer = council.issue(
            "key sets", eku=(KEY_SET_SIGNING_OID,), extensions=((unknown, critical),)
        )
        if critical:
            with pytest.raises(SignerError, match="critical"):
                _check([signer], council)
        else:
            _check([signer], council)


def test_renewal_is_due_at_two_thirds_of_the_life(council: Any) -> None:
    certificate = council.issue("k7q2m9xd4t", days=(-2, 4)).certificate
    assert not renewal_due(certificate, NOW + 2 * DAY - 1)
    assert renewal_due(certificate, NOW + 2 * DAY)


def test_a_certificate_names_its_device(council: Any) -> None:
    assert device_of(council.issue("k7q2m9xd4t").certificate) == "k7q2m9xd4t"
    for name in ("K7Q2", "bristol/k7q2m9xd4t", "+", "Bristol IoT root"):
        with pytest.raises(SignerError):
            device_of(council.issue(name).certificate)


def test_a_certificate_of_two_names_names_no_device() -> None:
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in ("a", "b")])
    now = datetime.fromtimestamp(NOW, UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now)
        .sign(key, None)
    )
    with pytest.raises(SignerError, match="2 common names"):
        device_of(certificate)


def test_the_two_purposes_differ() -> None:
    assert KEY_SET_SIGNING_OID != CONFIGURATION_SIGNING_OID
