"""A certificate service that can be misused: loses answers, lies, refuses, and has no database.

Speaks EST as `credentials.est` does, over real TLS, with a real authority behind it. The real
service is tried in tests of `enrolment`; this one shows what a gateway makes of a bad day.
"""

import base64
import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs7

from device_protocol.first_boot import FirstBoot, draw_token, token_sha256
from device_protocol.identity import device_of
from enrolment.authority import Authority, CredentialFiles

TENANT = "camden"


@dataclass
class Answer:
    """What is sent back instead of the right answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class EstServer:
    """One council's certificate service.

    asked: every operation that was asked for, in order, e.g. "simpleenroll". certificates: all
    that were issued. lost: operations that are carried out, but whose answer never arrives.
    instead: what to answer to an operation without carrying it out.
    spoil: changes what an operation would answer.
    """

    def __init__(self, authority: Authority, port: int, site: dict[str, Any]) -> None:
        self.authority = authority
        self.asked: list[str] = []
        self.certificates: list[x509.Certificate] = []
        self.lost: set[str] = set()
        self.instead: dict[str, Answer] = {}
        self.spoil: dict[str, Callable[[bytes], bytes]] = {}
        self.url = f"https://localhost:{port}/.well-known/est/{TENANT}"
        self.network = {
            "network": "Test",
            "tenant": TENANT,
            "name": "Camden",
            "group": "main",
            "broker": {"host": "localhost", "port": 8883, "mqtt_version": "5"},
        }
        self.site = site
        self._tokens: dict[bytes, str] = {}
        self._spent: dict[bytes, tuple[bytes, x509.Certificate]] = {}

    def invite(self, device: str) -> FirstBoot:
        """Return a new invitation."""
        token = draw_token()
        self._tokens[token_sha256(token)] = device
        root = x509.load_pem_x509_certificate(self.authority.region_root().read_bytes())
        return FirstBoot(
            url=self.url,
            tenant=TENANT,
            device=device,
            token=token,
            region_root_sha256=root.fingerprint(hashes.SHA256()),
        )

    def answer(self, operation: str, body: bytes, basic: str, peer: bytes | None) -> Answer | None:
        """Carry out one request; None loses the answer."""
        self.asked.append(operation)
        if operation in self.instead:
            return self.instead[operation]
        content = self._content(operation, body, basic, peer)
        if isinstance(content, Answer):
            return content
        if operation in self.lost:
            return None
        return Answer(body=self.spoil.get(operation, bytes)(content))

    def _content(
        self, operation: str, body: bytes, basic: str, peer: bytes | None
    ) -> bytes | Answer:
        authority = self.authority
        device = device_of(x509.load_der_x509_certificate(peer)) if peer else ""
        match operation:
            case "cacerts":
                bundle = authority.service_root().read_bytes()
                council = authority.council_root(TENANT).read_bytes()
                return certs_only(x509.load_pem_x509_certificates(council + bundle))
            case "network.json":
                return json.dumps(self.network).encode()
            case "simpleenroll":
                return self._redeem(_public_key(body), basic)
            case "site.json" if device:
                return json.dumps({"device": device, **self.site}).encode()
            case "simplereenroll" if device:
                return certs_only([self._issue(device, _public_key(body))])
        return Answer(403, b"no certificate, or no such operation")

    def _redeem(self, public_key: Any, basic: str) -> bytes | Answer:
        device, _, token = base64.b64decode(basic).decode().partition(":")
        digest = token_sha256(token)
        if self._tokens.get(digest) != device:
            return Answer(401, b"Device or token is wrong.")
        encoded = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if digest in self._spent:
            key, certificate = self._spent[digest]
            if key != encoded:
                return Answer(403, b"The token was used with another key.")
        else:
            certificate = self._issue(device, public_key)
            self._spent[digest] = (encoded, certificate)
        return certs_only([certificate])

    def _issue(self, device: str, public_key: Any) -> x509.Certificate:
        certificate = self.authority.issue_gateway(TENANT, device, public_key)
        self.certificates.append(certificate)
        return certificate


@contextmanager
def est_server(
    authority: Authority,
    site: dict[str, Any] | None = None,
    credential: CredentialFiles | None = None,
) -> Iterator[EstServer]:
    """Run a service on a free port of this machine; credential: another than is right."""
    server = _Server(_tls(authority, credential or authority.enrolment_server()))
    simulator = EstServer(authority, server.server_port, site or {"site": "Lamp 1"})
    server.simulator = simulator
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield simulator
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def certs_only(certificates: list[x509.Certificate]) -> bytes:
    """Return a PKCS #7 of certificates, as EST sends it."""
    return base64.b64encode(pkcs7.serialize_certificates(certificates, Encoding.DER))


def _public_key(body: bytes) -> Any:
    request = x509.load_der_x509_csr(base64.b64decode(body))
    assert request.is_signature_valid
    return request.public_key()


def _tls(authority: Authority, credential: CredentialFiles) -> ssl.SSLContext:
    roots = Path(authority.council_root(TENANT))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credential.certificate, credential.key)
    context.load_verify_locations(roots)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= 0x200000  # X509_V_FLAG_NO_CHECK_TIME: the authority's clock may be off
    return context


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    simulator: EstServer

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self._context = context

    def get_request(self) -> tuple[ssl.SSLSocket, Any]:
        connection, address = super().get_request()
        wrapped = self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )
        return wrapped, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up, or are refused by TLS, are what tests are about."""


class _Request(http.server.BaseHTTPRequestHandler):
    request: ssl.SSLSocket
    server: _Server

    def setup(self) -> None:
        self.request.do_handshake()
        super().setup()

    def do_GET(self) -> None:
        self._respond(b"")

    def do_POST(self) -> None:
        self._respond(self.rfile.read(int(self.headers["Content-Length"])))

    def _respond(self, body: bytes) -> None:
        basic = self.headers.get("Authorization", "").removeprefix("Basic ")
        operation = self.path.rpartition("/")[2]
        peer = self.request.getpeercert(binary_form=True)
        answer = self.server.simulator.answer(operation, body, basic, peer)
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name there
        """Say nothing."""
