"""Why a SensorThings request is not answered. How that becomes HTTP is decided elsewhere.

SensorThingsError
├── QueryError          the request cannot be understood or makes no sense   (400)
├── UnknownTargetError  its address names nothing there is                   (404)
├── UnknownWriterError  a write by nobody that is known                      (401)
├── ForbiddenError      a write by somebody who may not                      (403)
├── MethodError         a method that is never possible there                (405)
├── ConflictError       possible, but not with the entity as it is           (409)
├── PreconditionError   only if something holds that does not              (412)
├── TooLargeError       a body, or a number of things in it, above a limit   (413)
├── MediaTypeError      a body of a kind that is not read                    (415)
└── UnsupportedError    understood, but not built                            (501)
"""


class SensorThingsError(Exception):
    """The message is for whoever wrote the request."""


class QueryError(SensorThingsError):
    """A malformed path or query option, or an expression that compares what cannot be compared."""


class UnknownTargetError(SensorThingsError):
    """No such entity set, entity, property or relation."""


class UnsupportedError(SensorThingsError):
    """Part of the standard, or of OData, that this service does not have."""


class UnknownWriterError(SensorThingsError):
    """A write without a key or a session that counts."""


class ForbiddenError(SensorThingsError):
    """A write for a council that the writer may not write for."""


class MethodError(SensorThingsError):
    """A method that the resource never takes, such as DELETE of a whole set.

    allowed: the methods that it takes.
    """

    def __init__(self, message: str, *allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed or ("GET", "HEAD")


class ConflictError(SensorThingsError):
    """A write that what is stored forbids; the message says what to do instead."""


class PreconditionError(SensorThingsError):
    """A write only for the case that something holds, and it does not (RFC 9110, section 13)."""


class TooLargeError(SensorThingsError):
    """A body above a limit."""


class MediaTypeError(SensorThingsError):
    """A body that is neither JSON nor anything else that is read there."""
