"""How a message is bent: bits, bytes, lengths, CBOR heads and whole CBOR values. Pure.

Every change is drawn from the generator given. Some changes know CBOR (RFC 8949): they lie about
lengths, write longer heads than needed, reorder maps, or change one value deep inside, also inside
byte strings that hold CBOR themselves, and put all lengths around it right again.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, TypeAlias

from device_protocol import cbor
from device_protocol.errors import RejectionError

Change: TypeAlias = Callable[[Random, bytes, Sequence[bytes]], bytes]
"""(generator, message, other messages) to a changed message."""

MAX_BYTES: Final = 70_000
"""No message becomes longer: brokers carry none."""

_INTEGERS: Final = (
    0, 1, 2, 23, 24, 255, 256, 65_535, 65_536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32,
    (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -1, -24, -25, -256, -(1 << 63), -(1 << 64),
)  # fmt: skip
_FLOATS: Final = (0.0, -0.0, 1e308, -1e308, 5e-324, 0.1, 1e15)
_TEXTS: Final = ("", "\x00", "a" * 64, "é" * 40, "snaas/1/x", "\U0010ffff", "urn:dev:x", "../..")
_HEADS: Final = bytes(range(256))
_DEEPEST: Final = 64


def mutate(random: Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """Return the message after one change, or a few; sometimes with none at all."""
    changes = random.choices((0, 1, 2, 3, 6), (1, 60, 20, 12, 7))[0]
    for _ in range(changes):
        message = random.choice(CHANGES)(random, message, others)[:MAX_BYTES]
    return message


def mutate_text(random: Random, text: str, others: Sequence[str]) -> str:
    """Return a text after the same kinds of change; what is no UTF-8 then is replaced."""
    changed = mutate(random, text.encode(), [other.encode() for other in others])
    return changed.decode(errors=random.choice(("replace", "ignore")))


def mutate_value(random: Random, encoded: bytes) -> bytes:
    """Return CBOR with one value inside changed, and everything around it well-formed.

    What is no CBOR of ours is changed as bytes.
    """
    try:
        value = cbor.decode(encoded, floats=True)
    except RejectionError:
        return flip_bits(random, encoded, ())
    return _encode(random, _changed(random, value))


def flip_bits(random: Random, message: bytes, _: Sequence[bytes]) -> bytes:
    """Flip one to four bits."""
    bent = bytearray(message)
    for _bit in range(random.randint(1, 4)):
        if bent:
            bent[random.randrange(len(bent))] ^= 1 << random.randrange(8)
    return bytes(bent)


def set_byte(random: Random, message: bytes, _: Sequence[bytes]) -> bytes:
    """Set one byte, mostly to one that means something at the start of a CBOR item."""
    if not message:
        return bytes((random.choice(_HEADS),))
    at = random.randrange(len(message))
    return message[:at] + bytes((random.choice(_HEADS),)) + message[at + 1 :]


def truncate(random: Random, message: bytes, _: Sequence[bytes]) -> bytes:
    """Cut the end off."""
    return message[: random.randrange(len(message) + 1)]


def extend(random: Random, message: bytes, _: Sequence[bytes]) -> bytes:
    """Put bytes after the end."""
    return message + random.randbytes(random.choice((1, 1, 2, 8, 64, 1024)))


def cut_out(random: Random, message: bytes, _: Sequence[bytes]) -> bytes:
    """Leave a piece out."""
    start, end = _piece(random, message)
    return message[:start] + message[end:]


def repeat(random: Random, message: bytes, _: Sequence[bytes]) -> bytes:
    """Repeat a piece, sometimes many times."""
    start, end = _piece(random, message)
    return message[:start] + message[start:end] * random.choice((2, 2, 3, 50)) + message[end:]


def splice(random: Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """Go on with the end of another message."""
    if not others:
        return message
    other = random.choice(others)
    return message[: random.randrange(len(message) + 1)] + other[random.randrange(len(other) + 1) :]


def lie_about_a_length(random: Random, message: bytes, _: Sequence[bytes]) -> bytes:
    """Put another head where one seems to be: longer than needed, indefinite, huge, reserved."""
    if not message:
        return message
    at = random.randrange(len(message))
    major = message[at] & 0xE0
    argument = random.choice((0, 1, 23, 24, 255, 65_535, 65_536, 1 << 31, (1 << 64) - 1))
    additional, size = random.choice(((24, 1), (25, 2), (26, 4), (27, 8), (28, 0), (31, 0)))
    head = bytes((major | additional,)) + (argument % (1 << 8 * size)).to_bytes(size, "big")
    return message[:at] + head + message[at + random.choice((1, 1, 2, 3)) :]


def nest(random: Random, message: bytes, _: Sequence[bytes]) -> bytes:
    """Wrap an item into many arrays, maps, tags or byte strings."""
    at = random.randrange(len(message) + 1)
    head = random.choice((b"\x81", b"\xa1\x00", b"\xc1", b"\x41", b"\x9f", b"\xbf"))
    return message[:at] + head * random.choice((1, 7, 8, 9, _DEEPEST, 5000)) + message[at:]


def change_a_value(random: Random, message: bytes, _: Sequence[bytes]) -> bytes:
    """Change one value inside, wherever it stands."""
    return mutate_value(random, message)


def _piece(random: Random, message: bytes) -> tuple[int, int]:
    start = random.randrange(len(message) + 1)
    return start, min(len(message), start + random.choice((1, 2, 4, 8, 16, 64)))


CHANGES: Final[tuple[Change, ...]] = (
    flip_bits,
    flip_bits,
    set_byte,
    truncate,
    extend,
    cut_out,
    repeat,
    splice,
    lie_about_a_length,
    nest,
    change_a_value,
    change_a_value,
    change_a_value,
)


def _changed(random: Random, value: object) -> object:
    """Return a value with one change at a place of random depth."""
    if random.random() < 0.25:  # noqa: PLR2004 - a quarter of the changes at each level
        return _another(random, value)
    if isinstance(value, list) and value:
        items = list(value)
        at = random.randrange(len(items))
        items[at] = _changed(random, items[at])
        return items
    if isinstance(value, dict) and value:
        key = random.choice(list(value))
        return {**value, key: _changed(random, value[key])}
    if isinstance(value, cbor.Tag):
        return cbor.Tag(value.number, _changed(random, value.value))
    if isinstance(value, bytes) and value:
        return mutate_value(random, value)  # headers and payloads are CBOR in byte strings
    return _another(random, value)


def _another(random: Random, value: object) -> object:
    """Return another value in the place of this one: like it, or nothing like it."""
    if isinstance(value, list) and random.random() < 0.5:  # noqa: PLR2004 - half alike
        return _another_list(random, value)
    if isinstance(value, dict) and random.random() < 0.5:  # noqa: PLR2004 - half alike
        return _another_map(random, value)
    return random.choice(
        (
            random.choice(_INTEGERS),
            random.choice(_INTEGERS),
            random.choice(_FLOATS),
            random.choice(_TEXTS),
            random.randbytes(random.choice((0, 1, 8, 12, 32, 64))),
            None,
            True,
            [],
            {},
            [value, value],
            cbor.Tag(random.choice((0, 16, 17, 18, 96, 1 << 40)), value),
        )
    )


def _another_list(random: Random, items: list[object]) -> list[object]:
    kind = random.randrange(4)
    if kind == 0 and items:
        return items[:-1]
    if kind == 1:
        return [*items, *items[:1]]
    if kind == 2:  # noqa: PLR2004 - one of four kinds
        return items * random.choice((2, 100))
    return random.sample(items, len(items))


def _another_map(random: Random, entries: dict[object, object]) -> dict[object, object]:
    kind = random.randrange(3)
    if kind == 0 and entries:
        left_out = random.choice(list(entries))
        return {key: item for key, item in entries.items() if key != left_out}
    if kind == 1:
        return {**entries, random.choice((*_INTEGERS, "x", "bn")): random.choice(_INTEGERS)}
    return dict.fromkeys(entries, random.choice(list(entries.values()) or [None]))


def _encode(random: Random, value: object) -> bytes:
    """Encode deterministically, or with one map's keys out of their order."""
    encoded = cbor.encode(value)
    if not isinstance(value, dict) or len(value) < 2 or random.random() < 0.8:  # noqa: PLR2004
        return encoded
    pairs = [cbor.encode(key) + cbor.encode(item) for key, item in value.items()]
    random.shuffle(pairs)
    head = len(encoded) - sum(map(len, pairs))
    return encoded[:head] + b"".join(pairs)
