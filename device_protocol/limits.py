"""The limits both ends of the envelope keep (envelope, sections 3 and 7)."""

from device_protocol.errors import SizeError

MAX_DATA_BYTES = 65_536
"""Of a message D."""
MAX_OTHER_BYTES = 16_384
"""Of a message K, A, R or C."""
MAX_SEQ = 1 << 20
"""Messages D in one epoch."""


def check_size(message: bytes, limit: int) -> None:
    """Return if `message` has at most `limit` bytes; before parsing, its sender is not trusted.

    Raises:
        SizeError: it has more.
    """
    if len(message) > limit:
        raise SizeError(f"{len(message)} bytes, limit {limit}")
