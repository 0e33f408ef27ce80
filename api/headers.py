"""Headers as ASGI carries them, read and set without an object around them.

Every answer passes a handful of layers that look at one header or add one, and what Starlette makes
for that takes a program's page longer than its SQL. Names are in lower case, as ASGI has them.
"""

from collections.abc import Iterable
from typing import TypeAlias

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]


def header(headers: Headers, name: bytes) -> str:
    """Return the value of a header, the first where there are several, "" if there is none."""
    for given, value in headers:
        if given == name:
            return value.decode("latin-1")
    return ""


def put(headers: list[tuple[bytes, bytes]], name: bytes, value: str) -> None:
    """Set a header, whatever it was before."""
    remove(headers, name)
    headers.append((name, value.encode("latin-1")))


def remove(headers: list[tuple[bytes, bytes]], name: bytes) -> None:
    """Take a header away where there is one."""
    for given, _ in headers:
        if given == name:
            headers[:] = [one for one in headers if one[0] != name]
            return
