from datetime import UTC, datetime, timedelta, timezone

import pytest

from device_protocol.errors import PayloadError
from device_protocol.reading import UNFLAGGED, Quality, Reading, check_text

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def _reading(**changes: object) -> Reading:
    arguments: dict[str, object] = {
        "sensor": "urn:dev:k7q2m9xd4t:pm",
        "name": "pm25",
        "phenomenon_time": NOON,
        "result": 12.5,
        "unit": "ug/m3",
    }
    return Reading(**(arguments | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"result": -1},
        {"result": True},
        {"result": "open"},
        {"result": "Straße"},
        {"unit": ""},
        {"sensor": "a"},
        {"name": "0"},
        {"name": "_health"},
        {"phenomenon_time": NOON.astimezone(timezone(timedelta(hours=1)))},
    ],
)
def test_a_reading_is_what_a_device_may_report(changes: dict[str, object]) -> None:
    reading = _reading(**changes)
    assert all(getattr(reading, name) == value for name, value in changes.items())


@pytest.mark.parametrize(
    "changes",
    [
        {"sensor": ""},
        {"sensor": ":pm"},
        {"sensor": "urn:dev:k7 pm"},
        {"sensor": "urn:dev:ø"},
        {"name": ""},
        {"name": "pm:25"},
        {"name": "pm25\n"},
        {"name": "pm 25"},
        {"phenomenon_time": datetime(2026, 11, 20, 12)},  # noqa: DTZ001 - the fault
        {"result": float("nan")},
        {"result": float("inf")},
        {"result": -float("inf")},
        {"result": "a\0b"},
        {"result": "\ud83d"},
        {"unit": "\0"},
    ],
)
def test_anything_else_is_none(changes: dict[str, object]) -> None:
    with pytest.raises(PayloadError):
        _reading(**changes)


def test_text_that_every_store_can_carry_passes_unchanged() -> None:
    assert check_text("20 °C, \U0001f600\n") == "20 °C, \U0001f600\n"


@pytest.mark.parametrize(
    ("mask", "flags"),
    [
        (0, ()),
        (1, ("out-of-range",)),
        (6, ("clock-unsynchronised", "replayed")),
        (15, ("out-of-range", "clock-unsynchronised", "replayed", "suspect")),
        (48, ("warming-up", "time-reconstructed")),
    ],
)
def test_the_quality_mask_names_its_flags(mask: int, flags: tuple[str, ...]) -> None:
    assert Quality(mask).flags == flags


def test_a_reading_is_unflagged_until_something_is_known_against_it() -> None:
    assert _reading().quality is UNFLAGGED
    assert _reading(quality=Quality.SUSPECT).quality == 1 << 3
