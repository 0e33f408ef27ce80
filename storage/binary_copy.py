"""Payloads of PostgreSQL's binary COPY, each built whole. Pure.

The format is PostgreSQL's ("COPY", section "Binary Format"): a header, for each row the number
of its fields and each field behind its length, and a trailer. Many like rows are laid out with
NumPy; times are Unix microseconds throughout. What the rows mean is `storage.batches`.
"""

from collections.abc import Iterable
from struct import Struct
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

SignedRow: TypeAlias = tuple[
    bytes, int, bytes, int, bytes, int, bytes, int, int | None, int | None, int
]
"""The columns of `signed_batch` as copy_signed_batch.sql names them."""

ExtraRow: TypeAlias = tuple[int, int, int, str | None]
"""datastream_id, time, quality, and the result as JSON."""

_HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_POSTGRES_EPOCH: Final = 946_684_800_000_000  # 2000-01-01 in Unix microseconds
_HOUR: Final = 3_600_000_000
_JSONB_VERSION: Final = b"\x01"

_OBSERVATION: Final = np.dtype(
    [
        ("fields", ">i2"),
        ("id_bytes", ">i4"),
        ("id", ">i4"),
        ("time_bytes", ">i4"),
        ("time", ">i8"),
        ("value_bytes", ">i4"),
        ("value", ">f8"),
    ]
)
_VALUE_BYTES: Final = _OBSERVATION["value"].itemsize
_HOUR_OF_STREAM: Final = np.dtype(
    [
        ("fields", ">i2"),
        ("bucket_bytes", ">i4"),
        ("bucket", ">i8"),
        ("id_bytes", ">i4"),
        ("id", ">i4"),
    ]
)
_KEY: Final = np.dtype([("id", ">i4"), ("time", ">i8")])

_NULL: Final = Struct(">i").pack(-1)
_LENGTH: Final = Struct(">i")
_INT4: Final = Struct(">ii")
_INT8: Final = Struct(">iq")
_EXTRA: Final = Struct(">h ii iq ih")  # fields; datastream_id, time, quality behind their lengths
_ONE_FIELD: Final = Struct(">h").pack(1)
_SIGNED_FIELDS: Final = Struct(">h").pack(11)


def observations(
    datastream_ids: npt.NDArray[np.int32],
    times: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
) -> bytes:
    """Return rows of (datastream_id int, time timestamptz, value float8); NaN becomes null.

    The order stays, so that rows sorted by key reach the index sorted.
    """
    rows = np.empty(len(times), _OBSERVATION)
    rows["fields"] = 3
    rows["id_bytes"] = 4
    rows["id"] = datastream_ids
    rows["time_bytes"] = 8
    rows["time"] = times - _POSTGRES_EPOCH
    rows["value_bytes"] = _VALUE_BYTES
    rows["value"] = values
    null = np.isnan(values)
    if not null.any():
        return b"".join((_HEADER, rows.tobytes(), _TRAILER))
    rows["value_bytes"][null] = -1
    octets = rows.view(np.uint8).reshape(len(rows), _OBSERVATION.itemsize)
    sent = np.ones(octets.shape, np.bool_)
    sent[null, -_VALUE_BYTES:] = False
    return b"".join((_HEADER, octets[sent].tobytes(), _TRAILER))


def touched_hours(datastream_ids: npt.NDArray[np.int32], times: npt.NDArray[np.int64]) -> bytes:
    """Return rows of (bucket timestamptz, datastream_id int): every hour that has an observation.

    Each once. The columns are sorted by datastream, then time; hours are those of UTC.
    """
    hours = times // _HOUR
    first = np.ones(len(times), np.bool_)
    first[1:] = (np.diff(datastream_ids) != 0) | (np.diff(hours) != 0)
    rows = np.empty(int(np.count_nonzero(first)), _HOUR_OF_STREAM)
    rows["fields"] = 2
    rows["bucket_bytes"] = 8
    rows["bucket"] = hours[first] * _HOUR - _POSTGRES_EPOCH
    rows["id_bytes"] = 4
    rows["id"] = datastream_ids[first]
    return b"".join((_HEADER, rows.tobytes(), _TRAILER))


def unpublished_batch(datastream_ids: npt.NDArray[np.int32], times: npt.NDArray[np.int64]) -> bytes:
    """Return one row of (observations bytea) that holds the keys of observations, in order."""
    keys = np.empty(len(times), _KEY)
    keys["id"] = datastream_ids
    keys["time"] = times - _POSTGRES_EPOCH
    return b"".join((_HEADER, _ONE_FIELD, _bytes(keys.tobytes()), _TRAILER))


def keys_of(observations: bytes) -> list[tuple[int, int]]:
    """Return datastream and time of each observation that a row of `unpublished_batch` holds."""
    keys = np.frombuffer(observations, _KEY)
    times = keys["time"].astype(np.int64) + _POSTGRES_EPOCH
    return list(zip(keys["id"].tolist(), times.tolist(), strict=True))


def extras(rows: Iterable[ExtraRow]) -> bytes:
    """Return rows of (datastream_id int, time timestamptz, quality smallint, result jsonb)."""
    parts = [_HEADER]
    for datastream_id, time, quality, result in rows:
        parts.append(_EXTRA.pack(4, 4, datastream_id, 8, time - _POSTGRES_EPOCH, 2, quality))
        parts.append(_NULL if result is None else _bytes(_JSONB_VERSION + result.encode()))
    parts.append(_TRAILER)
    return b"".join(parts)


def signed_batches(rows: Iterable[SignedRow]) -> bytes:
    """Return rows of `signed_batch`."""
    parts = [_HEADER]
    for (
        epoch_id,
        seq,
        message_hash,
        gateway_id,
        signer_kid,
        content_format,
        signed,
        readings,
        first_time,
        last_time,
        received_at,
    ) in rows:
        parts += (
            _SIGNED_FIELDS,
            _bytes(epoch_id),
            _INT8.pack(8, seq),
            _bytes(message_hash),
            _INT4.pack(4, gateway_id),
            _bytes(signer_kid),
            _INT4.pack(4, content_format),
            _LENGTH.pack(len(signed)),
            signed,
            _INT4.pack(4, readings),
            _time(first_time),
            _time(last_time),
            _time(received_at),
        )
    parts.append(_TRAILER)
    return b"".join(parts)


def _bytes(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _time(microseconds: int | None) -> bytes:
    return _NULL if microseconds is None else _INT8.pack(8, microseconds - _POSTGRES_EPOCH)
