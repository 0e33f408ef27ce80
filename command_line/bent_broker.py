"""A broker bent by whoever operates it: one user of its own may read and write every topic.

This is what a dishonest operator, or a thief of the broker's machine, can always do: change the
access list and have the broker read it again. The demo's attack and the attack tests do it to
their own brokers, to show that the protection of readings does not rest on the broker.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from broker_config.broker_log import BrokerLog
from broker_config.files import BrokerKind
from broker_config.keeper import hang_up
from broker_config.network import service_user

RELOAD_SECONDS: Final = 10.0

_FILES: Final = {BrokerKind.MOSQUITTO: "access.acl", BrokerKind.NATS: "nats.conf"}
_ACCOUNT: Final = re.compile(r"(council-(\S+): \{.*?users: \[\n)", re.DOTALL)


@contextlib.contextmanager
def bent(kind: BrokerKind, directory: Path, user: str) -> Iterator[None]:
    """Let the service `user` do everything on a running broker, until the block ends.

    directory: of a `broker_config.embedded` broker. user: the name in its certificate of the
    service root; the broker's description must not name it.

    Raises:
        BrokerError: the broker does not run, or did not reload.
    """
    path = directory / "configuration" / _FILES[kind]
    honest = path.read_text(encoding="utf-8")
    crooked = _with_user(kind, honest, user)
    _replace(kind, directory, path, crooked)
    try:
        yield
    finally:
        if path.read_text(encoding="utf-8") == crooked:  # else it was put right by its keeper
            _replace(kind, directory, path, honest)


def _with_user(kind: BrokerKind, text: str, user: str) -> str:
    if kind is BrokerKind.MOSQUITTO:
        return f"{text}\nuser {user}\ntopic readwrite #\n"
    return _ACCOUNT.sub(
        lambda found: (
            f'{found[1]}      {{ user: "{service_user(user, found[2])}", '
            'allowed_connection_types: ["MQTT"] }\n'
        ),
        text,
    )


def _replace(kind: BrokerKind, directory: Path, path: Path, text: str) -> None:
    log = BrokerLog(kind, directory / "broker.log")
    mark = log.mark()
    path.write_text(text, encoding="utf-8")
    reload = hang_up(kind, directory / "broker.pid")
    reload()
    log.wait_until_reloaded(mark, RELOAD_SECONDS, reload)
