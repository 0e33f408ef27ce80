"""The certificate service over HTTP: EST (RFC 7030) for each council, and what a gateway must know.

    GET  /.well-known/est/<council>/cacerts           the roots, for anybody
    GET  /.well-known/est/<council>/csrattrs          which keys are taken
    POST /.well-known/est/<council>/simpleenroll      HTTP Basic: device and one-time token
    POST /.well-known/est/<council>/simplereenroll    mutual TLS: the gateway's certificate
    GET  /enrolment/<council>/network.json            where the broker is, for anybody
    GET  /enrolment/<council>/site.json               mutual TLS: where the gateway stands

The first four also answer under /<council>/.well-known/est/. Who may have a certificate is
decided in `enrolment.certification`, what it says in `enrolment.policy`. Server, TLS and
everything opened are `enrolment.service`'s.
"""

import base64
import binascii
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final, TypeAlias

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from device_protocol import topics
from device_protocol.errors import TopicError
from device_protocol.first_boot import TokenError, token_sha256
from device_protocol.identity import DAMAGED
from enrolment import certification
from enrolment.authority import Authority, Clock
from enrolment.certification import Certified
from enrolment.csr import MAX_REQUEST_BYTES
from enrolment.files import read_certificates
from enrolment.guessing import AttemptLimit, source_of
from enrolment.metrics import CERTIFICATES, REFUSALS, REQUEST_SECONDS
from enrolment.network_file import NetworkFile
from enrolment.peer import gateway_of
from enrolment.refusal import RefusedError
from enrolment.settings import GuessLimits
from enrolment.tls import CLIENT_CERTIFICATE
from storage.database import OUTAGES, Pool
from storage.network_view import gateway_facts

log = logging.getLogger(__name__)

Answer: TypeAlias = Callable[["Service", Request], Awaitable[Response]]

RENEWALS_IN_A_LIFE: Final = 20
"""How often a gateway may renew within one certificate's life; twice is usual."""

GUESSES: Final[tuple[str, ...]] = ("token-unknown", "token-wrong-council", "token-wrong-device")
"""Refusals that count as a guess; a token that merely came too late does not."""

_OUTAGE_RETRY_SECONDS: Final = 30
_LOGGED_CHARACTERS: Final = 80  # of what anybody may write
_CHALLENGE: Final = 'Basic realm="Kerbstone enrolment", charset="UTF-8"'
_CSR_ATTRIBUTES: Final = bytes.fromhex(
    # SEQUENCE: Ed25519; id-ecPublicKey with P-256; ecdsa-with-SHA256 (RFC 7030, section 4.5.2)
    "3026"
    "06032b6570"
    "3015" "06072a8648ce3d0201" "310a" "06082a8648ce3d030107"
    "06082a8648ce3d040302"
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the routes share."""

    authority: Authority
    pool: Pool
    network: NetworkFile
    guesses: AttemptLimit
    renewals: AttemptLimit
    clock: Clock
    monotonic: Callable[[], float] = field(default=time.monotonic)


def create_app(
    authority: Authority,
    pool: Pool,
    network: NetworkFile,
    *,
    guesses: GuessLimits,
    gateway_lifetime: timedelta,
    clock: Clock = lambda: datetime.now(UTC),
) -> Starlette:
    """Return the application. It must be served by `enrolment.tls.EnrolmentProtocol`."""
    service = Service(
        authority=authority,
        pool=pool,
        network=network,
        guesses=AttemptLimit(
            per_source=guesses.per_address,
            overall=guesses.overall,
            window_seconds=guesses.window_seconds,
        ),
        renewals=AttemptLimit(
            per_source=RENEWALS_IN_A_LIFE,
            overall=None,
            window_seconds=gateway_lifetime.total_seconds(),
        ),
        clock=clock,
    )
    return Starlette(
        routes=[
            Route(f"{path}/{name}", _answering(service, answer, name), methods=[method])
            for path, method, name, answer in (
                *((est, *operation) for est in _EST for operation in _EST_OPERATIONS),
                ("/enrolment/{tenant}", "GET", "network.json", network_json),
                ("/enrolment/{tenant}", "GET", "site.json", site_json),
            )
        ]
    )


async def cacerts(service: Service, request: Request) -> Response:
    """Hand out the council's root, the service root and the region root (section 4.1)."""
    authority = service.authority
    above = read_certificates(authority.service_root())
    return _certificates([authority.council_certificate(_tenant(request)), *above])


async def csrattrs(service: Service, request: Request) -> Response:
    """Say which keys are taken; everything else in a request is left aside (section 4.5)."""
    del service, request
    return _base64(_CSR_ATTRIBUTES, "application/csrattrs")


async def simpleenroll(service: Service, request: Request) -> Response:
    """Certify the key of a gateway that shows its one-time token (section 4.2.1)."""
    source = source_of(request.client.host if request.client else "")
    wait = service.guesses.wait(source, service.monotonic())
    if wait:
        raise RefusedError("guessing", retry_after_seconds=wait)
    try:
        device, token = _credentials(request)
        body = await _body(request)
        async with service.pool.connection() as conn:  # one transaction
            certified = await certification.enrol(
                conn,
                service.authority,
                tenant=_tenant(request),
                device=device,
                token_sha256=token,
                request=body,
                now=service.clock(),
            )
    except RefusedError as error:
        if error.reason in GUESSES:
            service.guesses.note(source, service.monotonic())
        raise
    return _certified("simpleenroll", request, device, certified)


async def simplereenroll(service: Service, request: Request) -> Response:
    """Certify the next key of a gateway that shows its present certificate (section 4.2.2)."""
    held, device = _peer(service, request)
    wait = service.renewals.wait(device, service.monotonic())
    if wait:
        raise RefusedError("renewing-too-often", retry_after_seconds=wait)
    body = await _body(request)
    async with service.pool.connection() as conn:  # one transaction
        certified = await certification.renew(
            conn,
            service.authority,
            tenant=_tenant(request),
            device=device,
            held=held,
            request=body,
            now=service.clock(),
        )
    if not certified.repeated:
        service.renewals.note(device, service.monotonic())
    return _certified("simplereenroll", request, device, certified)


async def network_json(service: Service, request: Request) -> Response:
    """Say where a council's gateways find the broker."""
    found = service.network.council(_tenant(request))
    if found is None:
        raise RefusedError("council-unknown")
    return _json(
        {
            "network": found.network,
            "tenant": found.tenant,
            "name": found.name,
            "group": "main",
            "broker": {
                "host": found.host,
                "port": found.port,
                "mqtt_version": found.mqtt_version,
            },
        }
    )


async def site_json(service: Service, request: Request) -> Response:
    """Tell a gateway where it stands, as its council wrote it down."""
    held, device = _peer(service, request)
    async with service.pool.connection() as conn:  # one transaction
        await certification.recognise(conn, tenant=_tenant(request), device=device, held=held)
        [facts] = await gateway_facts(conn, device=device)
    return _json(
        {
            "device": facts.device,
            "site": facts.site,
            "label": facts.label,
            "place_name": facts.place_name,
            "longitude": facts.longitude,
            "latitude": facts.latitude,
        }
    )


_EST: Final = (
    "/.well-known/est/{tenant}",
    "/{tenant}/.well-known/est",  # strongSwan knows no labels and puts a path in front
)
_EST_OPERATIONS: Final[tuple[tuple[str, str, Answer], ...]] = (
    ("GET", "cacerts", cacerts),
    ("GET", "csrattrs", csrattrs),
    ("POST", "simpleenroll", simpleenroll),
    ("POST", "simplereenroll", simplereenroll),
)


def _answering(
    service: Service, answer: Answer, operation: str
) -> Callable[[Request], Awaitable[Response]]:
    """Wrap a route: for known councils only; refusals and outages answered, counted, logged."""

    async def respond(request: Request) -> Response:
        began = service.monotonic()
        try:
            _check_council(service, request)
            return await answer(service, request)
        except RefusedError as error:
            return _refused(operation, request, error)
        except OUTAGES as error:
            outage = RefusedError(
                "outage", str(error).strip(), retry_after_seconds=_OUTAGE_RETRY_SECONDS
            )
            return _refused(operation, request, outage)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody is there to read it
        finally:
            REQUEST_SECONDS.labels(operation).observe(service.monotonic() - began)

    return respond


def _refused(operation: str, request: Request, error: RefusedError) -> Response:
    REFUSALS.labels(operation, error.reason).inc()
    log.warning(
        "enrolment refused",
        extra={
            "operation": operation,
            "reason": error.reason,
            "detail": error.detail,
            "tenant": _tenant(request)[:_LOGGED_CHARACTERS],
            "address": request.client.host if request.client else "",
        },
    )
    status, sentence = error.answer
    headers = {"Cache-Control": "no-store"}
    if error.reason in {"credentials-missing", "token-unknown"}:
        headers["WWW-Authenticate"] = _CHALLENGE
    if error.retry_after_seconds:
        headers["Retry-After"] = str(error.retry_after_seconds)
    return Response(f"{sentence}\n", status, headers, "text/plain; charset=utf-8")


def _certified(operation: str, request: Request, device: str, certified: Certified) -> Response:
    outcome = "repeated" if certified.repeated else "issued"
    CERTIFICATES.labels(operation, outcome).inc()
    log.info(
        "certificate handed out",
        extra={
            "operation": operation,
            "outcome": outcome,
            "tenant": _tenant(request),
            "device": device,
            "serial": f"{certified.certificate.serial_number:x}",
            "not_after": certified.certificate.not_valid_after_utc.isoformat(),
        },
    )
    return _certificates([certified.certificate])


def _check_council(service: Service, request: Request) -> None:
    if not service.authority.holds_council(_tenant(request)):
        raise RefusedError("council-unknown")


def _tenant(request: Request) -> str:
    return str(request.path_params["tenant"])


def _credentials(request: Request) -> tuple[str, bytes]:
    """Return device and token hash (RFC 7617); what cannot be either counts as a guess."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        raise RefusedError("credentials-missing")
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8")
        device, _, token = text.partition(":")
        return topics.checked("device", device), token_sha256(token)
    except (binascii.Error, UnicodeDecodeError, TopicError, TokenError) as error:
        raise RefusedError("token-unknown", "not the form of a device and a token") from error


def _peer(service: Service, request: Request) -> tuple[x509.Certificate, str]:
    """Return the client's certificate and the device of this council it was issued to."""
    der: bytes | None = getattr(request.state, CLIENT_CERTIFICATE, None)
    if der is None:
        raise RefusedError("certificate-missing")
    try:
        held = x509.load_der_x509_certificate(der)
    except DAMAGED as error:
        raise RefusedError("certificate-foreign", "a damaged certificate") from error
    tenant = _tenant(request)
    root = service.authority.council_certificate(tenant)
    return held, gateway_of(held, root, tenant, service.clock())


async def _body(request: Request) -> bytes:
    """Return the body of an enrolment, never holding more than is allowed."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/pkcs10":
        raise RefusedError("content-type", kind[:_LOGGED_CHARACTERS])
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            raise RefusedError("request-too-large", f"limit {MAX_REQUEST_BYTES} bytes")
    return bytes(body)


def _certificates(certificates: list[x509.Certificate]) -> Response:
    """Answer with certificates alone, no signature (RFC 5272, section 4.1)."""
    bag = pkcs7.serialize_certificates(certificates, Encoding.DER)
    return _base64(bag, "application/pkcs7-mime; smime-type=certs-only")


def _base64(content: bytes, media_type: str) -> Response:
    """Answer in base64 without line breaks: strongSwan reads none."""
    headers = {"Content-Transfer-Encoding": "base64", "Cache-Control": "no-store"}
    return Response(base64.b64encode(content), 200, headers, media_type)


def _json(content: dict[str, object]) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(orjson.dumps(content), 200, headers, "application/json")
