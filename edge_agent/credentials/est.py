"""Enrolment over Secure Transport as a client speaks it (RFC 7030): requests out, certificates in.

Base 64 bodies, certs-only PKCS #7 answers (section 4.1.3), HTTP Basic for a token, mutual TLS
for a renewal. What is asked for, when, and where the answer is kept is decided by
`edge_agent.credentials.enrolment` and `edge_agent.credentials.renewal`.
"""

import base64
import binascii
import http.client
import json
import ssl
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from device_protocol.first_boot import check_url
from edge_agent.clock import Clock
from edge_agent.credentials.identity import PrivateKey
from edge_agent.credentials.tls import PeerCertificateError, check_enrolment_server, check_peer

_TIMEOUT_SECONDS: Final = 30.0
_MOST_ANSWER_BYTES: Final = 65_536
_MOST_CERTIFICATES: Final = 16
_MOST_WAIT_SECONDS: Final = 86_400.0
_PROBLEM_CHARACTERS: Final = 200
_OK, _ACCEPTED, _MULTIPLE = 200, 202, 300
_TOO_MANY_REQUESTS, _FIRST_SERVER_ERROR = 429, 500


class EnrolmentError(Exception):
    """No certificate came; the message says why and what to do.

    EnrolmentError
    ├── UnreachableError   nobody answers, or not now: try again later
    ├── UntrustedError     whoever answers is not the service of the invitation
    ├── RefusedError       the service says no
    └── UnusableError      the answer makes no sense, or is somebody else's certificate
    """


class UnreachableError(EnrolmentError):
    """Nobody answers, or not now.

    wait_seconds: how long the service asks to be left alone (Retry-After), 0 if it does not say.
    """

    def __init__(self, message: str, wait_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class UntrustedError(EnrolmentError):
    """Whoever answers is not the service that the invitation speaks of."""


class RefusedError(EnrolmentError):
    """The service says no; `status` is its HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class UnusableError(EnrolmentError):
    """The answer makes no sense, or is not for this gateway."""


class EstClient:
    """Speaks to one council's certificate service; a connection for each request.

    url: https://<host>[:<port>]/.well-known/est/<tenant>.
    context: whom it believes, and which certificate it shows.
    """

    def __init__(self, url: str, context: ssl.SSLContext, clock: Clock) -> None:
        self._service = check_url(url)
        self._path = f"/.well-known/est/{self._service.tenant}"
        self._context = context
        self._clock = clock

    def ca_certificates(self) -> list[x509.Certificate]:
        """Return the roots (section 4.1.2).

        Raises:
            EnrolmentError: see there.
        """
        return read_certificates(self._ask("GET", f"{self._path}/cacerts"))

    def enrol(self, request: bytes, *, device: str, token: str) -> x509.Certificate:
        """Return the certificate for a request in DER that a token pays for (section 4.2.1).

        Raises:
            EnrolmentError: see there.
        """
        credentials = base64.b64encode(f"{device}:{token}".encode()).decode()
        try:
            return self._request("simpleenroll", request, {"Authorization": f"Basic {credentials}"})
        except RefusedError as refusal:
            raise RefusedError(
                f"{refusal} Check device and token, or ask the council for a new invitation.",
                refusal.status,
            ) from None

    def renew(self, request: bytes) -> x509.Certificate:
        """Return the certificate for another key of whom the context names (section 4.2.2).

        Raises:
            EnrolmentError: see there.
        """
        return self._request("simplereenroll", request, {})

    def document(self, name: str) -> bytes:
        """Return what the service says about the network, or to this gateway about its site.

        Raises:
            EnrolmentError: see there; also when it is no JSON object.
        """
        content = self._ask("GET", f"/enrolment/{self._service.tenant}/{name}")
        try:
            if not isinstance(json.loads(content), dict):
                raise UnusableError(f"the service's {name} is no JSON object")
        except ValueError as error:
            raise UnusableError(f"the service's {name} is not JSON: {error}") from error
        return content

    def _request(self, operation: str, request: bytes, headers: dict[str, str]) -> x509.Certificate:
        headers |= {"Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64"}
        answer = self._ask("POST", f"{self._path}/{operation}", base64.b64encode(request), headers)
        found = read_certificates(answer)
        if len(found) != 1:
            raise UnusableError(f"the service has sent {len(found)} certificates instead of one")
        return found[0]

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        service = self._service
        connection = http.client.HTTPSConnection(
            service.host, service.port, timeout=_TIMEOUT_SECONDS, context=self._context
        )
        place = f"{service.host}:{service.port}"
        try:
            connection.connect()
            check_peer(connection.sock, self._clock)
            if self._context.verify_mode is ssl.CERT_REQUIRED:  # else it proves itself by a digest
                check_enrolment_server(connection.sock)
            connection.request(method, path, body=body, headers=headers or {})
            with connection.getresponse() as response:
                content = response.read(_MOST_ANSWER_BYTES + 1)
        except (ssl.SSLCertVerificationError, PeerCertificateError) as error:
            raise UntrustedError(
                f"{place} is not believed: {_reason(error)}; check the address, this computer's "
                "clock, and whether the invitation is of this network"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"{place} {_silence(error)}, then try again") from error
        finally:
            connection.close()
        if len(content) > _MOST_ANSWER_BYTES:
            raise UnusableError(f"{place} answers with over {_MOST_ANSWER_BYTES} bytes")
        _check_status(response, content)
        return content


def certificate_request(key: PrivateKey, device: str) -> bytes:
    """Return a PKCS #10 request in DER. Only its key counts: the service decides the rest."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    digest = None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, digest)
    return request.public_bytes(Encoding.DER)


def read_certificates(answer: bytes) -> list[x509.Certificate]:
    """Read a certs-only PKCS #7 (section 4.1.3) in base 64, with or without line breaks.

    Raises:
        UnusableError: it is none, or holds too many.
    """
    # Here, not above: only needed once in days.
    from cryptography.hazmat.primitives.serialization import pkcs7  # noqa: PLC0415

    try:
        der = base64.b64decode(b"".join(answer.split()), validate=True)
        found = pkcs7.load_der_pkcs7_certificates(der)
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as error:
        raise UnusableError(f"the service's answer is no PKCS #7: {error}") from error
    if len(found) > _MOST_CERTIFICATES:
        raise UnusableError(f"the service has sent {len(found)} certificates")
    return found


def _check_status(response: http.client.HTTPResponse, content: bytes) -> None:
    status = response.status
    if _OK <= status < _MULTIPLE and status != _ACCEPTED:
        return
    problem = _sentence(_problem(content) or response.reason)
    if status in (_ACCEPTED, _TOO_MANY_REQUESTS) or status >= _FIRST_SERVER_ERROR:
        wait = _wait_seconds(response.getheader("Retry-After"))
        until = f" Try again in {wait:.0f} seconds." if wait else ""
        raise UnreachableError(f"the service asks to wait ({status}): {problem}{until}", wait)
    raise RefusedError(f"the service refuses ({status}): {problem}", status)


def _problem(content: bytes) -> str:
    """Return what the service says, printable and short."""
    text = content.decode(errors="replace")
    try:
        said = json.loads(text)
    except ValueError:
        said = text
    if isinstance(said, dict):
        said = said.get("detail") or said.get("error") or said.get("message") or ""
    words = " ".join(str(said).split())
    return "".join(each for each in words if each.isprintable())[:_PROBLEM_CHARACTERS]


def _sentence(words: str) -> str:
    return words if words.endswith((".", "!", "?")) else f"{words}."


def _wait_seconds(header: str | None) -> float:
    """Read Retry-After as seconds; a date there is answered with 0, no wait of its own."""
    try:
        return min(max(float(header or 0), 0.0), _MOST_WAIT_SECONDS)
    except ValueError:
        return 0.0


def _silence(error: Exception) -> str:
    """Say whether nobody is there, or somebody who speaks something else."""
    hung_up = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionError)
    if isinstance(error, ssl.SSLError | http.client.HTTPException) and not hung_up:
        return (
            f"does not answer as an enrolment service ({_reason(error)}); check address and port, "
            "and whether a proxy is in between"
        )
    return f"does not answer: {_reason(error)}; check the network"


def _reason(error: Exception) -> str:
    said = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error)
    return str(said) or type(error).__name__
