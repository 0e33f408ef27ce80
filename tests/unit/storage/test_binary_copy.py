"""Payloads hold what they were given, as PostgreSQL's description of the format says."""

import math
import struct
from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from storage import binary_copy

EPOCH = 946_684_800_000_000
HOUR = 3_600_000_000
TIMES = st.integers(-210_866_803_200_000_000, 9_223_371_331_200_000_000 - EPOCH)
IDS = st.integers(-(2**31), 2**31 - 1)


def fields_of(payload: bytes) -> Iterator[list[bytes | None]]:
    """Read a payload as the format is described; its end must be the end."""
    assert payload[:19] == b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
    position = 19
    while True:
        (count,) = struct.unpack_from(">h", payload, position)
        position += 2
        if count == -1:
            assert position == len(payload)
            return
        row: list[bytes | None] = []
        for _ in range(count):
            (length,) = struct.unpack_from(">i", payload, position)
            position += 4
            row.append(None if length == -1 else payload[position : position + length])
            position += max(length, 0)
        yield row


def number(form: str, field: bytes | None) -> float:
    assert field is not None
    return struct.unpack(form, field)[0]  # type: ignore[no-any-return]


def time_of(field: bytes | None) -> float:
    return number(">q", field) + EPOCH


@given(st.lists(st.tuples(IDS, TIMES, st.floats()), max_size=30))
def test_observations_keep_their_order_and_nan_is_null(rows: list[tuple[int, int, float]]) -> None:
    ids, times, values = ([row[i] for row in rows] for i in range(3))
    payload = binary_copy.observations(
        np.array(ids, np.int32), np.array(times, np.int64), np.array(values, np.float64)
    )
    found = [
        (number(">i", key), time_of(time), None if value is None else number(">d", value))
        for key, time, value in fields_of(payload)
    ]
    assert found == [(k, t, None if math.isnan(v) else v) for k, t, v in rows]


@given(st.sets(st.tuples(IDS, TIMES), max_size=30))
def test_every_touched_hour_is_logged_once(keys: set[tuple[int, int]]) -> None:
    ordered = sorted(keys)
    payload = binary_copy.touched_hours(
        np.array([key for key, _ in ordered], np.int32),
        np.array([time for _, time in ordered], np.int64),
    )
    found = [(time_of(bucket), number(">i", key)) for bucket, key in fields_of(payload)]
    assert len(found) == len(set(found))
    assert set(found) == {(time // HOUR * HOUR, key) for key, time in keys}


def test_an_instant_on_the_hour_is_of_the_hour_it_begins_also_before_1970() -> None:
    times = np.array([-1, 0, HOUR - 1, HOUR], np.int64)
    payload = binary_copy.touched_hours(np.full(4, 7, np.int32), times)
    assert [time_of(bucket) for bucket, _ in fields_of(payload)] == [-HOUR, 0, HOUR]


def test_an_extra_carries_its_flags_and_its_result_as_json() -> None:
    rows = [(1, EPOCH, 5, None), (2, EPOCH + 1, 0, '"b\u00fcsy"')]
    [flagged, text] = fields_of(binary_copy.extras(rows))
    assert flagged == [
        struct.pack(">i", 1), struct.pack(">q", 0), struct.pack(">h", 5), None,
    ]  # fmt: skip
    assert text[1:] == [
        struct.pack(">q", 1), struct.pack(">h", 0), b'\x01"b\xc3\xbcsy"',
    ]  # fmt: skip


def test_a_signed_batch_keeps_every_column_and_may_lack_times() -> None:
    rows = [
        (b"epoch-id", 2**40, b"hash", 3, b"", 112, b"signed" * 999, 100, EPOCH, EPOCH + 9, EPOCH),
        (b"epoch-id", 1, b"hash", 3, b"kid", 60, b"", 0, None, None, EPOCH - 1),
    ]
    [full, empty] = fields_of(binary_copy.signed_batches(rows))
    assert full == [
        b"epoch-id",
        struct.pack(">q", 2**40),
        b"hash",
        struct.pack(">i", 3),
        b"",
        struct.pack(">i", 112),
        b"signed" * 999,
        struct.pack(">i", 100),
        struct.pack(">q", 0),
        struct.pack(">q", 9),
        struct.pack(">q", 0),
    ]
    assert empty[6:] == [b"", struct.pack(">i", 0), None, None, struct.pack(">q", -1)]


def test_nothing_is_a_header_and_a_trailer() -> None:
    nothing = np.array([])
    for payload in (
        binary_copy.observations(nothing.astype(np.int32), nothing.astype(np.int64), nothing),
        binary_copy.touched_hours(nothing.astype(np.int32), nothing.astype(np.int64)),
        binary_copy.extras([]),
        binary_copy.signed_batches([]),
    ):
        assert list(fields_of(payload)) == []


@given(st.lists(st.tuples(IDS, TIMES), max_size=30))
def test_what_is_left_for_a_publisher_is_one_row_of_keys(rows: list[tuple[int, int]]) -> None:
    ids, times = ([row[i] for row in rows] for i in range(2))
    payload = binary_copy.unpublished_batch(np.array(ids, np.int32), np.array(times, np.int64))
    [[keys]] = fields_of(payload)
    assert keys is not None
    assert len(keys) == 12 * len(rows)
    sent = struct.iter_unpack(">iq", keys)
    assert [(key, time + EPOCH) for key, time in sent] == rows
    assert binary_copy.keys_of(keys) == rows
