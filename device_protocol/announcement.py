"""The body of message K: how a gateway announces an epoch (envelope, section 6).

Only its form is known here. Whether to believe it is `receiver`'s business, and making one is
`epoch`'s.
"""

from dataclasses import dataclass

from device_protocol import cbor, delivery
from device_protocol.errors import StructureError, VersionError

VERSION = 1
MAX_LIFETIME_SECONDS = 86_400
MAX_RECIPIENTS = 8
CLOCK_NONE, CLOCK_SERVER, CLOCK_NTP, CLOCK_GNSS = range(4)
"""Where a device has its time from; from CLOCK_SERVER on it can be believed."""

_VERSION, _COUNTER, _EPOCH_ID, _ISSUED_AT, _EXPIRES_AT = 1, 2, 3, 4, 5
_CLOCK, _KEY_SET_VERSION, _PREVIOUS, _WRAPPED = 6, 7, 8, 9
_FIELDS = tuple(range(1, 10))


@dataclass(frozen=True, slots=True)
class AnnouncementBody:
    """The fields of an announcement.

    counter: rises with every epoch of this device and group.
    issued_at, expires_at: Unix seconds by the device's clock.
    clock: 0 none, 1 authenticated server, 2 NTP or NTS, 3 GNSS or RTC.
    previous: counter and last seq of the epoch before, if the device remembers one.
    wrapped: one encoded `delivery.Wrapped` for each recipient.

    Raises:
        StructureError: a field out of its range.
    """

    counter: int
    epoch_id: bytes
    issued_at: int
    expires_at: int
    clock: int
    key_set_version: int
    previous: tuple[int, int] | None
    wrapped: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not self.counter:
            raise StructureError("counter 0")
        lifetime = self.expires_at - self.issued_at
        if not 0 < lifetime <= MAX_LIFETIME_SECONDS:
            raise StructureError(f"lifetime of {lifetime} s, limit {MAX_LIFETIME_SECONDS}")
        if self.clock > CLOCK_GNSS:
            raise StructureError(f"clock quality {self.clock}, highest {CLOCK_GNSS}")
        if not 1 <= len(self.wrapped) <= MAX_RECIPIENTS:
            raise StructureError(f"{len(self.wrapped)} recipients, limit {MAX_RECIPIENTS}")

    def encode(self) -> bytes:
        """Encode as section 6 says."""
        return cbor.encode(
            {
                _VERSION: VERSION,
                _COUNTER: self.counter,
                _EPOCH_ID: self.epoch_id,
                _ISSUED_AT: self.issued_at,
                _EXPIRES_AT: self.expires_at,
                _CLOCK: self.clock,
                _KEY_SET_VERSION: self.key_set_version,
                _PREVIOUS: self.previous,
                _WRAPPED: self.wrapped,
            }
        )


def decode(encoded: bytes) -> AnnouncementBody:
    """Read an announcement; its boxes are checked by `delivery.parse`.

    Raises:
        EncodingError: not deterministic CBOR.
        VersionError: of a version this code does not know.
        StructureError: not of section 6's form.
    """
    item = cbor.decode(encoded)
    if type(item) is not dict or _VERSION not in item:
        raise StructureError("not an announcement")
    if cbor.unsigned(item[_VERSION]) != VERSION:
        raise VersionError(f"announcement version {item[_VERSION]}, known: {VERSION}")
    found = cbor.fields(item, _FIELDS)
    return AnnouncementBody(
        counter=cbor.unsigned(found[_COUNTER]),
        epoch_id=cbor.octets(found[_EPOCH_ID], delivery.EPOCH_ID_BYTES),
        issued_at=cbor.unsigned(found[_ISSUED_AT]),
        expires_at=cbor.unsigned(found[_EXPIRES_AT]),
        clock=cbor.unsigned(found[_CLOCK]),
        key_set_version=cbor.unsigned(found[_KEY_SET_VERSION]),
        previous=_previous(found[_PREVIOUS]),
        wrapped=tuple(cbor.octets(box) for box in cbor.array(found[_WRAPPED])),
    )


def _previous(item: object) -> tuple[int, int] | None:
    if item is None:
        return None
    counter, last_seq = cbor.array(item, 2)
    return cbor.unsigned(counter), cbor.unsigned(last_seq)
