"""Certificates and revocation lists as signed objects: building them, and recognising one. Pure.

What they say is `enrolment.policy`; whose keys sign and where they lie is `enrolment.authority`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from enrolment import policy
from enrolment.files import PrivateKey

PublicKey: TypeAlias = Ed25519PublicKey | ec.EllipticCurvePublicKey


def build_certificate(
    profile: policy.Profile,
    public_key: PublicKey,
    issuer_key: PrivateKey,
    issuer: x509.Certificate | None,
    now: datetime,
) -> x509.Certificate:
    """Sign what `profile` says about `public_key`; `issuer` None makes it self-signed.

    Raises:
        PolicyError: the issuer has ended, or the key is neither Ed25519 nor P-256.
    """
    _check_key(public_key)
    validity = profile.validity(now, issuer_ends=issuer.not_valid_after_utc if issuer else None)
    subject = profile.subject()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.begins)
        .not_valid_after(validity.ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    for extension, critical in profile.extensions():
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer_key, _digest(issuer_key))


def build_revocation_list(
    issuer: x509.Certificate,
    issuer_key: PrivateKey,
    *,
    number: int,
    revoked: Iterable[policy.RevokedEntry],
    now: datetime,
) -> bytes:
    """Return the DER of a signed revocation list, in force from `now` (RFC 5280, section 5).

    number: rises from list to list. Begins a little earlier than `now`, for a broker whose clock
    is behind.
    """
    issued = now.astimezone(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(issued - policy.BACKDATED)
        .next_update(issued + policy.REVOCATION_LIST_LIFETIME)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    for entry in sorted(revoked, key=lambda entry: entry.serial):
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(entry.serial)
            .revocation_date(entry.since.astimezone(UTC).replace(microsecond=0))
            .add_extension(x509.CRLReason(entry.reason()), critical=False)
            .build()
        )
    signed = builder.sign(issuer_key, _digest(issuer_key))
    return signed.public_bytes(serialization.Encoding.DER)


def belongs(key: PrivateKey, certificate: x509.Certificate) -> bool:
    """Tell whether `certificate` is about the public half of `key`."""
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)


def signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether `issuer` names and signed this certificate; time and usages aside."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def is_as(certificate: x509.Certificate, profile: policy.Profile) -> bool:
    """Tell whether a certificate says what `profile` does."""
    return certificate.subject == profile.subject() and all(
        _says(certificate, extension) for extension, _ in profile.extensions()
    )


def _says(certificate: x509.Certificate, extension: x509.ExtensionType) -> bool:
    try:
        held = certificate.extensions.get_extension_for_oid(extension.oid)
    except x509.ExtensionNotFound:
        return False
    return held.value == extension


def _check_key(public_key: PublicKey) -> None:
    if isinstance(public_key, Ed25519PublicKey):
        return
    if not isinstance(public_key.curve, ec.SECP256R1):
        raise policy.PolicyError(
            f"key on curve {public_key.curve.name}; Ed25519 or P-256 is needed"
        )


def _digest(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256()
