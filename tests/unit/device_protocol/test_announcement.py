from dataclasses import replace

import pytest

from device_protocol import announcement
from device_protocol.announcement import AnnouncementBody
from device_protocol.errors import StructureError

BODY = AnnouncementBody(
    counter=1,
    epoch_id=bytes(8),
    issued_at=1000,
    expires_at=1001,
    clock=0,
    key_set_version=0,
    previous=None,
    wrapped=(b"",),
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"expires_at": 1000 + 86_400},
        {"clock": 3},
        {"previous": (0, 0)},
        {"wrapped": 8 * (b"",)},
        {"counter": 2**64 - 1},
    ],
)
def test_the_limits_of_every_field_are_within(changes: dict[str, object]) -> None:
    body = replace(BODY, **changes)  # type: ignore[arg-type]
    assert announcement.decode(body.encode()) == body


@pytest.mark.parametrize(
    "changes",
    [
        {"counter": 0},
        {"expires_at": 1000},
        {"expires_at": 1000 + 86_401},
        {"clock": 4},
        {"wrapped": ()},
        {"wrapped": 9 * (b"",)},
    ],
)
def test_beyond_them_there_is_no_announcement(changes: dict[str, object]) -> None:
    with pytest.raises(StructureError):
        replace(BODY, **changes)  # type: ignore[arg-type]
