"""TLS on a machine that may not know what time it is.

OpenSSL compares certificates with the machine's own clock and cannot be given another through
Python's `ssl`. So where that clock is only known not to be *later* than the truth (no hardware
clock, nobody has set it: see `edge_agent.clock`), OpenSSL is told to leave the times alone
(X509_V_FLAG_NO_CHECK_TIME), and after the handshake, before a byte is sent, the server's
certificate is judged here: one that ended before the floor is refused; one that begins after it
is not, for the floor only says "at least", and its beginning becomes the new floor, because
our own root signed it. Of the authorities above it only signatures are checked then: they live
for years. Where a satellite has told the time, which OpenSSL does not hear of, both ends of the
certificate are judged by it. Where the machine's clock is known to be right, OpenSSL's own check
stands and this is idle.

Which files are loaded, when, and what is said over the connection is not decided here.
"""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from device_protocol.identity import is_enrolment_server
from edge_agent.clock import Clock, ClockQuality
from runtime.tls import client_context

_NO_CHECK_TIME: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h
_TOLERANCE_SECONDS: Final = 300.0


class PeerCertificateError(OSError):
    """The server's certificate cannot be of now, or is another server's."""


def unverified_context() -> ssl.SSLContext:
    """Return a context that believes anybody: only to fetch what is checked by its digest."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def server_context(ca_file: Path, clock: Clock) -> ssl.SSLContext:
    """Return a context that trusts `ca_file` alone and shows no certificate of its own.

    Raises:
        OSError: the file cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cafile=ca_file)
    return _with_floor(context, clock)


def mutual_context(
    *, ca_file: Path, certificate_file: Path, key_file: Path, clock: Clock
) -> ssl.SSLContext:
    """Return a context that also shows this gateway's certificate.

    Raises:
        OSError: a file cannot be read, or certificate and key do not match.
    """
    context = client_context(ca_file=ca_file, certificate_file=certificate_file, key_file=key_file)
    return _with_floor(context, clock)


def check_peer(peer: ssl.SSLSocket | ssl.SSLObject, clock: Clock) -> None:
    """Return if the certificate shown over a verified connection may be of now.

    Raises:
        PeerCertificateError: it ended before the clock's floor, or begins later than a time that
            is known.
    """
    if not peer.context.verify_flags & _NO_CHECK_TIME:
        return
    shown = peer.getpeercert(binary_form=True)
    if shown is None:
        raise PeerCertificateError("the server has shown no certificate")
    certificate = x509.load_der_x509_certificate(shown)
    ended = certificate.not_valid_after_utc
    if ended.timestamp() < clock.unix():
        now = datetime.fromtimestamp(clock.unix(), UTC)
        raise PeerCertificateError(
            f"the server's certificate ended {ended:%Y-%m-%d %H:%M} UTC, "
            f"it is at least {now:%Y-%m-%d %H:%M} UTC"
        )
    began = certificate.not_valid_before_utc
    if clock.quality() is not ClockQuality.NONE:  # known, but not to the machine: by a satellite
        if began.timestamp() > clock.unix() + _TOLERANCE_SECONDS:
            raise PeerCertificateError(
                f"the server's certificate begins {began:%Y-%m-%d %H:%M} UTC"
            )
        return
    clock.raise_floor(began.timestamp())


def check_enrolment_server(peer: ssl.SSLSocket) -> None:
    """Return if a verified connection leads to the certificate service.

    Raises:
        PeerCertificateError: it leads to another server of the network.
    """
    shown = peer.getpeercert(binary_form=True)
    if shown is None or not is_enrolment_server(x509.load_der_x509_certificate(shown)):
        raise PeerCertificateError("it has the certificate of another server of the network")


def _with_floor(context: ssl.SSLContext, clock: Clock) -> ssl.SSLContext:
    if clock.is_floor_only():
        # No member of ssl.VerifyFlags, but the underlying setter takes any of OpenSSL's flags.
        context.verify_flags |= _NO_CHECK_TIME
    return context
