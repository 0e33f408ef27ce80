"""Every refusal there is, one class each.

    RejectionError
    ├── MalformedError          1xx   not a message of this protocol
    │   ├── SizeError           100
    │   ├── EncodingError       101
    │   ├── StructureError      102
    │   ├── VersionError        103
    │   ├── TopicError          104
    │   └── RetainedError       105
    ├── IdentityError           2xx   not from a device that may speak here
    │   ├── UnknownDeviceError  200
    │   ├── RevokedError        201
    │   ├── SignerError         203
    │   └── SignerTimeError     204
    ├── EpochError              3xx   its epoch is not, or no longer, usable
    │   ├── UnknownEpochError   300
    │   ├── EpochRollbackError  301
    │   ├── EpochConflictError  302
    │   ├── EpochClosedError    303
    │   ├── ClockError          304
    │   ├── NotRecipientError   305
    │   └── UnwrapError         306
    ├── CryptographyError       4xx   the mathematics disagrees
    │   ├── AlgorithmError      400
    │   ├── AeadError           401
    │   ├── SignatureError      402
    │   └── SeqFormError        403
    ├── ReplayError             5xx   seen before, or out of sequence
    │   ├── DuplicateError      500
    │   ├── TooOldError         501
    │   ├── SeqConflictError    502
    │   └── SeqLimitError       503
    ├── ContentError            6xx   genuine, but its content cannot be used
    │   ├── ContentFormatError  600
    │   ├── PayloadError        601
    │   └── ReadingTimeError    602
    ├── ReadingError                  one reading in an accepted message cannot be stored
    │   ├── UnknownDatastreamError
    │   ├── UnitMismatchError
    │   ├── OutOfRangeError
    │   └── ConflictingResultError
    ├── KeySetError                   a recipient key set no gateway may follow
    │   ├── KeySetRollbackError
    │   └── KeySetExpiredError
    └── ConfigurationError            a configuration no gateway may follow
        ├── ConfigurationRollbackError
        ├── ConfigurationExpiredError
        └── ConfigurationSettingsError

`reason` is the stable slug: metric label, quarantine column, row of the documentation. `code` is
that of section 8 of the envelope, 0 where it has none. A refusal is final: it is never retried.
What to do about each one (drop, park, alarm) is the receiver's business and lives elsewhere;
only what goes to quarantine is told here, because every process names it alike.
"""

from typing import ClassVar


class RejectionError(Exception):
    """Something was refused. The message gives value and limit, never a key or plaintext."""

    code: ClassVar[int] = 0
    reason: ClassVar[str] = "rejected"


class MalformedError(RejectionError):
    """1xx: not a message of this protocol."""


class SizeError(MalformedError):
    """Over the size limit of its kind (section 3, rule 4)."""

    code = 100
    reason = "size"


class EncodingError(MalformedError):
    """Not well-formed, or not deterministic, CBOR (section 3, rule 2)."""

    code = 101
    reason = "encoding"


class StructureError(MalformedError):
    """Wrong tag, arity, header or field (section 6)."""

    code = 102
    reason = "structure"


class VersionError(MalformedError):
    """A topic or announcement of a version this code does not know."""

    code = 103
    reason = "version"


class TopicError(MalformedError):
    """A topic not of the form in section 2."""

    code = 104
    reason = "topic"


class RetainedError(MalformedError):
    """A data message that came with the retain flag."""

    code = 105
    reason = "retained"


class IdentityError(RejectionError):
    """2xx: not from a device that may speak here."""


class UnknownDeviceError(IdentityError):
    """The topic's tenant and device are not in the registry."""

    code = 200
    reason = "unknown-device"


class RevokedError(IdentityError):
    """The device is revoked or suspended."""

    code = 201
    reason = "revoked"


class SignerError(IdentityError):
    """The signer is not one registered for this device, or has no right to sign this."""

    code = 203
    reason = "signer"


class SignerTimeError(IdentityError):
    """The signing key is outside its window."""

    code = 204
    reason = "signer-time"


class EpochError(RejectionError):
    """3xx: the epoch is not, or no longer, usable."""


class UnknownEpochError(EpochError):
    """No key for this epoch (yet): the announcement may still come."""

    code = 300
    reason = "unknown-epoch"


class EpochRollbackError(EpochError):
    """An announcement's counter is below the highest accepted."""

    code = 301
    reason = "epoch-rollback"


class EpochConflictError(EpochError):
    """Counter or epoch id of another announcement: two devices share one key."""

    code = 302
    reason = "epoch-conflict"


class EpochClosedError(EpochError):
    """The message came later than expiry and the longest delay allow."""

    code = 303
    reason = "epoch-closed"


class ClockError(EpochError):
    """Issued in the future, or longer ago than the longest delay."""

    code = 304
    reason = "clock"


class NotRecipientError(EpochError):
    """Nothing in the announcement is wrapped for this receiver."""

    code = 305
    reason = "not-recipient"


class UnwrapError(EpochError):
    """The epoch key wrapped for this receiver cannot be opened."""

    code = 306
    reason = "unwrap"


class CryptographyError(RejectionError):
    """4xx: the mathematics disagrees."""


class AlgorithmError(CryptographyError):
    """An algorithm that is not allowed, or not the registered one."""

    code = 400
    reason = "algorithm"


class AeadError(CryptographyError):
    """The authentication tag of a ciphertext, or of an acknowledgement, is wrong."""

    code = 401
    reason = "aead"


class SignatureError(CryptographyError):
    """The signature does not verify."""

    code = 402
    reason = "signature"


class SeqFormError(CryptographyError):
    """A sequence number that is zero, padded, empty or over five bytes."""

    code = 403
    reason = "seq-form"


class ReplayError(RejectionError):
    """5xx: seen before, or out of sequence."""


class DuplicateError(ReplayError):
    """The same bytes again: normal under QoS 1."""

    code = 500
    reason = "duplicate"


class TooOldError(ReplayError):
    """Behind the replay window."""

    code = 501
    reason = "too-old"


class SeqConflictError(ReplayError):
    """A sequence number seen with other bytes, both genuine: a nonce was used twice."""

    code = 502
    reason = "seq-conflict"


class SeqLimitError(ReplayError):
    """A sequence number over 2^20: the epoch should have ended."""

    code = 503
    reason = "seq-limit"


class ContentError(RejectionError):
    """6xx: genuine, but its content cannot be used."""


class ContentFormatError(ContentError):
    """A CoAP Content-Format the tenant does not allow."""

    code = 600
    reason = "content-format"


class PayloadError(ContentError):
    """A payload that does not parse or fails its schema."""

    code = 601
    reason = "payload"


class ReadingTimeError(ContentError):
    """A reading's time is relative to now, or outside the allowed range."""

    code = 602
    reason = "reading-time"


class ReadingError(RejectionError):
    """One reading in an accepted message cannot be stored; its neighbours may be."""


class UnknownDatastreamError(ReadingError):
    """No datastream of this gateway has that SenML name."""

    reason = "unknown-datastream"


class UnitMismatchError(ReadingError):
    """The reading's unit measures something else than its datastream's."""

    reason = "unit-mismatch"


class OutOfRangeError(ReadingError):
    """Outside what the datastream's sensor can measure."""

    reason = "out-of-range"


class ConflictingResultError(ReadingError):
    """Another result is already stored for that datastream and time."""

    reason = "conflicting-result"


class KeySetError(RejectionError):
    """A recipient key set no gateway may follow (section 7, rule 8)."""


class KeySetRollbackError(KeySetError):
    """Its version is not above the one already held."""

    reason = "key-set-rollback"


class KeySetExpiredError(KeySetError):
    """Past its hard expiry."""

    reason = "key-set-expired"


class ConfigurationError(RejectionError):
    """A configuration no gateway may follow (section 7, rule 8)."""


class ConfigurationRollbackError(ConfigurationError):
    """Its version is not above the highest ever seen."""

    reason = "configuration-rollback"


class ConfigurationExpiredError(ConfigurationError):
    """Past its expiry."""

    reason = "configuration-expired"


class ConfigurationSettingsError(ConfigurationError):
    """A setting that may not be changed from afar, or not to this value."""

    reason = "configuration-settings"


QUARANTINED: frozenset[str] = frozenset(
    kind.reason
    for kind in (
        RevokedError,
        SignerTimeError,
        EpochClosedError,
        ContentFormatError,
        PayloadError,
        ReadingTimeError,
        UnknownDatastreamError,
        UnitMismatchError,
        OutOfRangeError,
        ConflictingResultError,
    )
)
"""Reasons whose messages or readings are kept for a person to look at; all others are dropped."""
