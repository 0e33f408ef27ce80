"""SenML packs: how readings travel (RFC 8428, with the secondary units of RFC 9100).

Both forms, CBOR (content format 112) and JSON, are read into the same entries, dicts from CBOR
label to value, and resolved by the same rules. A pack is taken or refused as a whole. Packs of
any maker are understood, not only ours; a secondary unit is taken even where the pack forgot to
announce it, for no symbol stands for two units.

Refused beyond what RFC 8428 says: times relative to now, because a message may wait for days.
The update time is checked and dropped: nothing here uses it. What names and units stand for is
the registry's business.

One label is our own: "kq", the sum of the flags known against a result (`reading.Quality`), an
integer, left out where it is 0. RFC 8428, section 4.4, lets a pack have further fields, which
whoever does not know them ignores; a name without "_" at its end asks for nothing more.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from math import inf, isfinite
from typing import NamedTuple, NoReturn

from device_protocol import cbor
from device_protocol.errors import PayloadError, ReadingTimeError
from device_protocol.reading import SET_AT_CENTRE, UNFLAGGED, Reading, check_text
from device_protocol.senml_cbor import Entry, Value, decode_entries

CONTENT_FORMAT_SENML_CBOR = 112

VERSION = 10
VERSION_WITH_SECONDARY_UNITS = VERSION + (1 << 4)  # RFC 9100, section 4: feature 4
VERSIONS = frozenset((*range(1, VERSION + 1), VERSION_WITH_SECONDARY_UNITS))

SECONDARY_UNITS = frozenset(
    "ms min h MHz kW kVA kvar Ah Wh kWh varh kvarh kVAh Wh/km KiB GB Mbit/s B/s MB/s mV mA dBm "  # noqa: SIM905 - a list to read
    "ug/m3 mm/h m/h ppm /100 /1000 hPa mm cm km km/h ppb ppt VAh mg/l ug/l g/l".split()
)
"""Unit symbols that need RFC 9100's feature (RFC 8798, section 3, and later registrations)."""

_BVER, _BN, _BT, _BU, _BV, _BS = -1, -2, -3, -4, -5, -6
_N, _U, _V, _VS, _VB, _S, _T, _UT, _VD = range(9)
_LABELS = {
    "bver": _BVER, "bn": _BN, "bt": _BT, "bu": _BU, "bv": _BV, "bs": _BS,
    "n": _N, "u": _U, "v": _V, "vs": _VS, "vb": _VB, "s": _S, "t": _T, "ut": _UT, "vd": _VD,
}  # fmt: skip
_JSON_LABELS: dict[int | str, str] = {label: name for name, label in _LABELS.items()}
_QUALITY = "kq"
_COMMON: frozenset[int | str] = frozenset((_N, _U, _V, _T, _QUALITY))
_KNOWN: frozenset[int | str] = frozenset((*_LABELS.values(), _QUALITY))
_FLAGS = int(~UNFLAGGED & ~SET_AT_CENTRE)
_MOST_FLAGS = 1 << 15  # of what later versions may flag: the mask is stored in 16 bits
_BASE = frozenset((_BVER, _BN, _BT, _BU, _BV, _BS))
_OTHER_VALUES = ((_VS, str), (_VB, bool), (_VD, bytes))
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*")

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000
EARLIEST_MICROSECONDS = (1 << 28) * _SECOND
"""RFC 8428, section 4.5.3: smaller times are relative to now, and refused here."""
LATEST_MICROSECONDS = 253_402_300_800 * _SECOND
"""The year 10000, which no time reaches."""
_EXACT = 1 << 53  # whole numbers up to here are the same as integer and as float


class Record(NamedTuple):
    """One resolved record (RFC 8428, section 4.6).

    A tuple, so that a pack's columns are `zip(*records)`.

    time_microseconds: since 1970, UTC.
    value: None only if there is a sum.
    quality: sum of the flags of `Quality` that are known here; 0 where nothing is flagged.
    """

    name: str
    unit: str
    time_microseconds: int
    value: float | bool | str | bytes | None
    sum: float | None
    quality: int = 0


def encode_cbor(readings: Sequence[Reading]) -> bytes:
    """Return a pack in CBOR, records in the order given."""
    return cbor.encode(_entries(readings))


def encode_json(readings: Sequence[Reading]) -> bytes:
    """Return a pack in JSON, records in the order given."""
    named = [
        {_JSON_LABELS.get(label, label): value for label, value in entry.items()}
        for entry in _entries(readings)
    ]
    return json.dumps(named, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def decode_cbor(payload: bytes) -> list[Record]:
    """Return the resolved records of a pack in CBOR.

    Raises:
        PayloadError: not a SenML pack of a version known here.
        ReadingTimeError: a time relative to now, or after the year 9999.
    """
    return _resolve(decode_entries(payload))


def decode_json(payload: bytes) -> list[Record]:
    """Return the resolved records of a pack in JSON.

    Raises:
        PayloadError: not a SenML pack of a version known here.
        ReadingTimeError: a time relative to now, or after the year 9999.
    """
    try:
        entries = json.loads(
            payload, object_pairs_hook=_json_entry, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise PayloadError("the pack is not JSON") from error
    if type(entries) is not list or not all(type(entry) is dict for entry in entries):
        raise PayloadError("the pack is not an array of objects")
    return _resolve(entries)


def _entries(readings: Sequence[Reading]) -> list[Entry]:
    """Turn readings into entries, each thing they share said once."""
    entries: list[Entry] = []
    sensor = None
    base_unit = _shared_unit(readings)
    begin = 0
    for reading in readings:
        entry: Entry = {}
        time = (reading.phenomenon_time - _EPOCH) // _MICROSECOND
        if not entries:
            begin = time - time % _SECOND
            entry |= _first(readings, base_unit, begin)
        if reading.sensor != sensor:
            sensor = reading.sensor
            entry[_BN] = f"{sensor}:"
        entry[_N] = reading.name
        if reading.unit != base_unit:
            entry[_U] = reading.unit
        if time != begin:
            entry[_T] = _number((time - begin) / _SECOND)
        if isinstance(reading.result, bool):
            entry[_VB] = reading.result
        elif isinstance(reading.result, str):
            entry[_VS] = reading.result
        else:
            entry[_V] = _number(reading.result)
        if reading.quality:
            entry[_QUALITY] = int(reading.quality)
        entries.append(entry)
    return entries


def _first(readings: Iterable[Reading], base_unit: str, begin: int) -> Entry:
    """Return the base fields that hold for the whole pack."""
    entry: Entry = {_BT: begin // _SECOND}
    if base_unit:
        entry[_BU] = base_unit
    if any(reading.unit in SECONDARY_UNITS for reading in readings):
        entry[_BVER] = VERSION_WITH_SECONDARY_UNITS
    return entry


def _shared_unit(readings: Sequence[Reading]) -> str:
    """Return the commonest unit; none if a reading has no unit, for it would inherit it."""
    units = [reading.unit for reading in readings]
    return max(units, key=units.count) if units and all(units) else ""


def _number(value: float) -> float:
    """Return a whole number as the integer it is, which CBOR writes in fewer bytes."""
    return int(value) if abs(value) < _EXACT and value == int(value) else float(value)


def _json_entry(pairs: Sequence[tuple[str, object]]) -> dict[int | str, object]:
    entry: dict[int | str, object] = {}
    for name, value in pairs:
        label = _LABELS.get(name, name)
        if label in entry:
            raise PayloadError(f"label {name!r} occurs twice in one record")
        if isinstance(value, dict | list):
            raise PayloadError(f"label {name!r} has a value that is not flat")
        entry[label] = _data_value(value) if label == _VD else value
    return entry


def _data_value(value: object) -> bytes:
    """Read base64url without padding (RFC 8428, section 5)."""
    if type(value) is not str or not _BASE64URL.fullmatch(value):
        raise PayloadError("a data value is not base64url")
    try:
        return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except binascii.Error as error:
        raise PayloadError("a data value is not base64url") from error


def _refuse_constant(name: str) -> NoReturn:
    raise PayloadError(f"{name} is not a number")


class _Base:
    """The base fields in force (RFC 8428, section 4.1); time in microseconds."""

    def __init__(self) -> None:
        self.version = VERSION
        self.name = ""
        self.time = 0
        self.unit = ""
        self.value = 0.0
        self.sum = 0.0

    def update(self, entry: Entry, *, first: bool) -> None:
        """Take over the base fields of an entry that has any."""
        self.name = _text(entry.get(_BN, self.name), "bn")
        self.unit = _text(entry.get(_BU, self.unit), "bu")
        if _BT in entry:
            self.time = _microseconds(entry[_BT], "bt")
        if _BV in entry:
            self.value = _finite(entry[_BV], "bv")
        if _BS in entry:
            self.sum = _finite(entry[_BS], "bs")
        version = entry.get(_BVER, VERSION if first else self.version)
        if type(version) is not int or version not in VERSIONS:
            raise PayloadError(f"SenML version {version!r}, known: {sorted(VERSIONS)}")
        if version != self.version and not first:
            raise PayloadError(f"SenML version {version} in a pack of version {self.version}")
        self.version = version


def _resolve(entries: Sequence[Entry]) -> list[Record]:
    """Resolve entries in order (RFC 8428, section 4.6)."""
    base = _Base()
    names: dict[Value, str] = {}  # full ones by `n`, for as long as the base name holds
    records: list[Record] = []
    for entry in entries:
        total = None
        if not entry.keys() <= _COMMON:
            _check_labels(entry)
            base.update(entry, first=entry is entries[0])
            names.clear()
            if entry.keys() <= _BASE:
                continue
            total = _sum(entry, base)
        name = names.get(entry.get(_N, ""))
        if name is None:
            name = names[entry.get(_N, "")] = _full_name(base.name, entry.get(_N, ""))
        time = entry.get(_T, 0)
        time = base.time + (time * _SECOND if type(time) is int else _microseconds(time, "t"))
        if not EARLIEST_MICROSECONDS <= time < LATEST_MICROSECONDS:
            raise ReadingTimeError("a time relative to now, or after the year 9999")
        value = entry.get(_V)
        if type(value) is not float or base.value or not isfinite(value):
            value = _value(entry, base, total)
        unit = entry.get(_U, base.unit)
        if unit is not base.unit:
            unit = _text(unit, "u")
        quality = _flags(entry[_QUALITY]) if _QUALITY in entry else 0
        records.append(Record(name, unit, time, value, total, quality))
    return records


def _check_labels(entry: Entry) -> None:
    """Refuse what must not be ignored; other unknown labels are (RFC 8428, section 4.4)."""
    for label in entry.keys() - _KNOWN:
        if type(label) is str and (label.endswith("_") or label in _LABELS):
            raise PayloadError(f"label {label!r} must be understood, and is not here")
    values = sum(label in entry for label in (_V, _VS, _VB, _VD))
    if values > 1:
        raise PayloadError(f"a record with {values} values")
    if _UT in entry:
        _finite(entry[_UT], "ut")


def _full_name(base: str, short: object) -> str:
    name = base + _text(short, "n")
    if not _NAME.fullmatch(name):
        raise PayloadError(f"name {name!r} is not of the form of RFC 8428, section 4.5.1")
    return name


def _sum(entry: Entry, base: _Base) -> float | None:
    return _finite(_finite(entry[_S], "s") + base.sum, "s") if _S in entry else None


def _value(entry: Entry, base: _Base, total: float | None) -> float | bool | str | bytes | None:
    """Return the value of an entry, which may be missing only if it has a sum."""
    if _V in entry:
        return _finite(_finite(entry[_V], "v") + base.value, "v")
    for label, kind in _OTHER_VALUES:
        if label in entry:
            value = entry[label]
            if type(value) is not kind:
                raise PayloadError(f"{_JSON_LABELS[label]} is {type(value).__name__}")
            return check_text(value) if type(value) is str else value
    if total is None:
        raise PayloadError("a record with neither value nor sum")
    return None


def _flags(value: object) -> int:
    """Return those of the flags that are known here, and that a gateway may set."""
    if type(value) is not int or not 0 <= value < _MOST_FLAGS:
        raise PayloadError(f"{_QUALITY} is {value!r}, no sum of flags")
    return value & _FLAGS


def _text(value: object, label: str) -> str:
    if type(value) is not str:
        raise PayloadError(f"{label} is no text but {type(value).__name__}")
    return check_text(value)


def _finite(value: object, label: str) -> float:
    if type(value) is not float and type(value) is not int:
        raise PayloadError(f"{label} is no number but {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = inf
    if not isfinite(number):
        raise PayloadError(f"{label} is {number}")
    return number


def _microseconds(seconds: object, label: str) -> int:
    if type(seconds) is int:
        return seconds * _SECOND
    scaled = _finite(seconds, label) * _SECOND
    if not -LATEST_MICROSECONDS < scaled < LATEST_MICROSECONDS:
        raise ReadingTimeError(f"{label} is {scaled / _SECOND} s")
    return round(scaled)
