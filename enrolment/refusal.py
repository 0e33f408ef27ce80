"""Why a request is refused: for each reason its HTTP status and what the requester reads.

A reason is a stable slug, metric label and log field. Nothing here, and nothing that is raised,
ever holds a token. Who holds a real token learns why it is refused; who guesses learns nothing.
"""

from http import HTTPStatus
from typing import Final, Literal

Reason = Literal[
    "council-unknown",
    "credentials-missing",
    "token-unknown",
    "token-wrong-council",
    "token-wrong-device",
    "token-withdrawn",
    "token-expired",
    "token-spent",
    "guessing",
    "gateway-suspended",
    "gateway-revoked",
    "certificate-missing",
    "certificate-foreign",
    "certificate-time",
    "certificate-unknown",
    "renewing-too-often",
    "content-type",
    "request-too-large",
    "request-encoding",
    "request-malformed",
    "request-key",
    "request-signature",
    "key-not-fresh",
    "key-taken",
    "outage",
]

ANSWERS: Final[dict[Reason, tuple[HTTPStatus, str]]] = {
    "council-unknown": (HTTPStatus.NOT_FOUND, "No such council here."),
    "credentials-missing": (
        HTTPStatus.UNAUTHORIZED,
        "Send the device's name and its one-time token by HTTP Basic.",
    ),
    "token-unknown": (HTTPStatus.UNAUTHORIZED, "Device or token is wrong."),
    "token-wrong-council": (HTTPStatus.FORBIDDEN, "The token is of another council."),
    "token-wrong-device": (HTTPStatus.FORBIDDEN, "The token is of another device."),
    "token-withdrawn": (HTTPStatus.FORBIDDEN, "A newer token took the place of this one."),
    "token-expired": (
        HTTPStatus.FORBIDDEN,
        "The token has expired; ask the council for a new invitation.",
    ),
    "token-spent": (
        HTTPStatus.FORBIDDEN,
        "The token was used with another key; if that was not you, tell the council.",
    ),
    "guessing": (HTTPStatus.TOO_MANY_REQUESTS, "Too many wrong tokens; wait."),
    "gateway-suspended": (HTTPStatus.FORBIDDEN, "The gateway is suspended."),
    "gateway-revoked": (HTTPStatus.FORBIDDEN, "The gateway was revoked."),
    "certificate-missing": (
        HTTPStatus.FORBIDDEN,
        "Connect with the gateway's current certificate.",
    ),
    "certificate-foreign": (
        HTTPStatus.FORBIDDEN,
        "The certificate is not one of this council's gateways.",
    ),
    "certificate-time": (HTTPStatus.FORBIDDEN, "The certificate is not valid now."),
    "certificate-unknown": (HTTPStatus.FORBIDDEN, "The certificate is not in the registry."),
    "renewing-too-often": (HTTPStatus.TOO_MANY_REQUESTS, "Renewed too often; wait."),
    "content-type": (
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "Send a PKCS #10 request as application/pkcs10.",
    ),
    "request-too-large": (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is too large."),
    "request-encoding": (HTTPStatus.BAD_REQUEST, "The request must be DER in base64."),
    "request-malformed": (HTTPStatus.BAD_REQUEST, "The body is no PKCS #10 request."),
    "request-key": (HTTPStatus.BAD_REQUEST, "The key must be Ed25519 or P-256."),
    "request-signature": (
        HTTPStatus.BAD_REQUEST,
        "The request's signature does not prove that you hold the key.",
    ),
    "key-not-fresh": (HTTPStatus.BAD_REQUEST, "A renewal needs a new key."),
    "key-taken": (HTTPStatus.FORBIDDEN, "The key is registered already; make a new one."),
    "outage": (HTTPStatus.SERVICE_UNAVAILABLE, "The registry is away; try again."),
}


class RefusedError(Exception):
    """A request that gets no certificate. The text is for the log; `answer` for the requester.

    retry_after_seconds: when to try again; 0 if that is of no use.
    """

    def __init__(self, reason: Reason, detail: str = "", *, retry_after_seconds: int = 0) -> None:
        super().__init__(detail or reason)
        self.reason: Final[Reason] = reason
        self.detail: Final = detail
        self.retry_after_seconds: Final = retry_after_seconds

    @property
    def answer(self) -> tuple[HTTPStatus, str]:
        """The HTTP status, and one sentence that says what is wrong."""
        return ANSWERS[self.reason]
