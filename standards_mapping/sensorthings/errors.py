"""Why a SensorThings request is not answered. How that becomes HTTP is decided elsewhere.

SensorThingsError
├── QueryError          the request cannot be understood or makes no sense   (400)
├── UnknownTargetError  its address names nothing there is                   (404)
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
