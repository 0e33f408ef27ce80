"""Why an NGSI-LD request is refused: the error types of ETSI GS CIM 009, with their HTTP status.

    NgsiLdError
    ├── BadRequestDataError          400  the request's parameters or body make no sense
    ├── InvalidRequestError          400  a parameter or an option is not known
    ├── ResourceNotFoundError        404  no such entity, type, attribute or context
    ├── NonexistentTenantError       404  NGSILD-Tenant names no council
    ├── TooComplexQueryError         403  it would take too long or read too much
    ├── TooManyResultsError          403  more were asked for than one page holds
    ├── OperationNotSupportedError   422  of the standard, but not of this service
    └── LdContextNotAvailableError   503  a foreign @context, which is never fetched

How they are written (RFC 7807) is said by `problem`.
"""

from typing import Any, ClassVar, Final

TYPES: Final = "https://uri.etsi.org/ngsi-ld/errors/"


class NgsiLdError(Exception):
    """A refusal; its text names the bad value and the remedy.

    name: the error type of clause 5.5.2. status: its HTTP status (clause 6.3.2). title: the type
    in words.
    """

    name: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]


class BadRequestDataError(NgsiLdError):
    """The request's parameters or body make no sense."""

    name = "BadRequestData"
    status = 400
    title = "The request does not make sense"


class InvalidRequestError(NgsiLdError):
    """A parameter, an option or a format is not known."""

    name = "InvalidRequest"
    status = 400
    title = "The request is not one of NGSI-LD"


class ResourceNotFoundError(NgsiLdError):
    """There is no such entity, type, attribute or context."""

    name = "ResourceNotFound"
    status = 404
    title = "There is no such resource"


class NonexistentTenantError(NgsiLdError):
    """NGSILD-Tenant names no council of the network."""

    name = "NonexistentTenant"
    status = 404
    title = "There is no such tenant"


class TooComplexQueryError(NgsiLdError):
    """Answering would take too long or read too much."""

    name = "TooComplexQuery"
    status = 403
    title = "The query is too complex"


class TooManyResultsError(NgsiLdError):
    """More was asked for at once than is given at once."""

    name = "TooManyResults"
    status = 403
    title = "Too many results"


class OperationNotSupportedError(NgsiLdError):
    """Part of the standard, but not of this service."""

    name = "OperationNotSupported"
    status = 422
    title = "This is not supported here"


class LdContextNotAvailableError(NgsiLdError):
    """The request needs an @context that is not kept here; none is ever fetched."""

    name = "LdContextNotAvailable"
    status = 503
    title = "The @context is not available"


def problem(error: NgsiLdError, *, status: int | None = None) -> dict[str, Any]:
    """Return a refusal as ProblemDetails; status: where HTTP has a better one, e.g. 405."""
    return {
        "type": TYPES + error.name,
        "title": error.title,
        "detail": str(error),
        "status": status or error.status,
    }
