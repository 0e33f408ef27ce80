"""The ports of one demo: drawn free at its first start, and the same ever after while they are.

Gateways remember where they enrolled, so a network that moved at each start would not be one.
"""

import contextlib
import json
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime.atomic_files import write_atomically


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """TCP ports on loopback. councils: their listeners, in the city's order.

    readers: where everybody may subscribe to open data.
    """

    dashboard: int
    enrolment: int
    service: int
    keeper: int
    readers: int
    councils: tuple[int, ...]


def choose(file: Path, *, dashboard: int, councils: int) -> Ports:
    """Return the ports that `file` holds where they are free, and free ones else; keep them there.

    dashboard: the one wished for; 0 for any.
    """
    held = _read(file)
    wanted = [
        dashboard,
        *(int(held.get(name, 0)) for name in ("enrolment", "service", "keeper", "readers")),
        *(*held.get("councils", ()), *(0,) * councils)[:councils],
    ]
    with contextlib.ExitStack() as stack:  # held together, so that none comes twice
        free = [_bound(stack, port) for port in wanted]
    ports = Ports(
        dashboard=free[0],
        enrolment=free[1],
        service=free[2],
        keeper=free[3],
        readers=free[4],
        councils=tuple(free[5:]),
    )
    write_atomically(file, json.dumps(asdict(ports)).encode(), 0o600)
    return ports


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_bytes()))
    except (OSError, ValueError):
        return {}


def _bound(stack: contextlib.ExitStack, wanted: int) -> int:
    for port in (wanted, 0):
        probe = stack.enter_context(socket.socket())
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")
