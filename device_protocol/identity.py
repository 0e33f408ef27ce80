"""Certificates: who may sign for a council, which device a certificate names, when to renew it.

Only the rules of the envelope and of X.509 that gateway and centre share are here (RFC 5280).
Issuing certificates is `enrolment`'s business, and TLS has its own checks.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID, ObjectIdentifier

from device_protocol import topics
from device_protocol.errors import SignerError, SignerTimeError, TopicError

KEY_SET_SIGNING_OID = ObjectIdentifier("2.25.327249791965813224736059505407802008450")
"""Extended key usage of a certificate that may sign recipient key sets (message R).

The arc 2.25 is that of UUIDs (ITU-T X.667): no registry needs to be asked.
"""
CONFIGURATION_SIGNING_OID = ObjectIdentifier("2.25.232223595061031492979211442036221709480")
"""Extended key usage of a certificate that may sign configurations (message C)."""

ENROLMENT_SERVER = "enrolment"
"""What the certificate service's own certificate has behind the network's name."""

MAX_CHAIN = 4
DAMAGED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for certificates that are none, some of it only when a part is read."""
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_UNDERSTOOD = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectAlternativeName,
)


def check_chain(
    chain: Sequence[x509.Certificate], anchor: x509.Certificate, now: int, eku: ObjectIdentifier
) -> None:
    """Return if `chain` (leaf first) leads to `anchor` and its leaf has the key usage `eku`.

    The anchor itself may end the chain or be left out. `now` is in Unix seconds.

    Raises:
        SignerError: a link is missing or forged, an issuer is no authority, the leaf has not
            that usage, or a critical extension is not understood.
        SignerTimeError: a certificate is not valid at `now`.
    """
    if not 1 <= len(chain) <= MAX_CHAIN:
        raise SignerError(f"chain of {len(chain)} certificates, limit {MAX_CHAIN}")
    path = [*chain] if chain[-1] == anchor else [*chain, anchor]
    if len(path) == 1:
        raise SignerError("the anchor itself does not sign messages")
    try:
        for below, (certificate, issuer) in reversed(list(enumerate(pairwise(path)))):
            _check_link(certificate, issuer, below)
        _check_leaf(path[0], eku)
        for certificate in path:
            _check_extensions(certificate)
            _check_time(certificate, now)
    except DAMAGED as error:
        raise SignerError(f"a damaged certificate: {error}") from error


def renewal_due(certificate: x509.Certificate, now: int) -> bool:
    """Tell whether two thirds of the certificate's life have passed at `now` (Unix seconds)."""
    begin = certificate.not_valid_before_utc.timestamp()
    end = certificate.not_valid_after_utc.timestamp()
    return now >= begin + (end - begin) * 2 / 3


def device_of(certificate: x509.Certificate) -> str:
    """Return the device a certificate was issued to: its common name.

    Raises:
        SignerError: it has not exactly one, or one that cannot be a device.
    """
    try:
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if len(names) != 1:
            raise SignerError(f"certificate with {len(names)} common names")
        return topics.checked("device", str(names[0].value))
    except (TopicError, *DAMAGED) as error:
        raise SignerError(f"certificate of no device: {error}") from error


def is_enrolment_server(certificate: x509.Certificate) -> bool:
    """Tell whether a server's certificate is the certificate service's, and no other server's.

    Under the same root stands the broker's, which may have the same host name: whoever runs the
    broker must not be told tokens.
    """
    try:
        [network] = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        [name] = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except DAMAGED:
        return False
    return str(name.value) == " ".join((str(network.value), ENROLMENT_SERVER))


def _check_link(certificate: x509.Certificate, issuer: x509.Certificate, below: int) -> None:
    """`below`: how many authorities stand between the leaf and `issuer`."""
    subject = issuer.subject.rfc4514_string()
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *DAMAGED) as error:
        raise SignerError(f"not issued by {subject!r}") from error
    constraints = _extension(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise SignerError(f"{subject!r} is no authority")
    if constraints.path_length is not None and below > constraints.path_length:
        raise SignerError(f"{subject!r} allows no further authority below it")
    usage = _extension(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise SignerError(f"{subject!r} may not sign certificates")


def _check_leaf(leaf: x509.Certificate, eku: ObjectIdentifier) -> None:
    usages = _extension(leaf, x509.ExtendedKeyUsage)
    if usages is None or eku not in usages:
        raise SignerError(f"certificate lacks the extended key usage {eku.dotted_string}")
    constraints = _extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise SignerError("an authority does not sign messages")
    usage = _extension(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise SignerError("certificate may not sign messages")


def _check_extensions(certificate: x509.Certificate) -> None:
    for extension in certificate.extensions:
        if extension.critical and not isinstance(extension.value, _UNDERSTOOD):
            raise SignerError(f"critical extension {extension.oid.dotted_string}")


def _check_time(certificate: x509.Certificate, now: int) -> None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin.timestamp() <= now <= end.timestamp():
        raise SignerTimeError(f"certificate valid from {begin} to {end}, now {now}")


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
