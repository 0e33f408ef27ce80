"""TLS of the enrolment service: what it trusts, and telling the application who has connected.

A client's certificate is asked for and not demanded: a gateway that enrols has none. One that is
shown must lead to a council's root, or the handshake fails; which council's it is, and whether
the registry knows it, the application asks again (`enrolment.peer`, `enrolment.certification`).
"""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from enrolment.authority import CredentialFiles
from enrolment.metrics import HANDSHAKES_REFUSED

log = logging.getLogger(__name__)

CLIENT_CERTIFICATE: Final = "client_certificate"
"""Where `scope["state"]` holds the client's certificate, DER; absent if it showed none."""

HANDSHAKE_SECONDS: Final = 10.0
"""For a handshake, of which little more is known than an address."""

MAX_CONNECTION_SECONDS: Final = 60.0
"""However slowly somebody speaks: no exchange of this service takes longer."""


class _Handshake(ssl.SSLObject):
    """Counts the clients whose certificate is refused before the application hears of them."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            HANDSHAKES_REFUSED.inc()
            log.warning("client certificate refused", extra={"reason": error.verify_message})
            raise


def server_context(credential: CredentialFiles) -> ssl.SSLContext:
    """Return a context for the service; add councils' roots with `trust`.

    TLS 1.2 is let in for the EST clients that there are, and may resume a session; the
    certificate that began it is then checked by the application like any other.

    Raises:
        OSError: a file cannot be read, or (ssl.SSLError) certificate and key do not match.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.sslobject_class = _Handshake
    context.load_cert_chain(credential.certificate, credential.key)
    return context


def trust(context: ssl.SSLContext, council_root: Path) -> None:
    """Accept one more council's gateways, from the next connection on.

    Raises:
        OSError: the file cannot be read.
    """
    context.load_verify_locations(cafile=council_root)


class EnrolmentProtocol(H11Protocol):
    """HTTP/1.1 that tells the application the client's certificate, and does not wait for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take up a connection whose handshake is done."""
        super().connection_made(transport)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls else None
        if certificate is not None:
            self.app_state = self.app_state | {CLIENT_CERTIFICATE: certificate}
        self._deadline = self.loop.call_later(MAX_CONNECTION_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a connection."""
        self._deadline.cancel()
        super().connection_lost(exc)
