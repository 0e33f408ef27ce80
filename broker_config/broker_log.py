"""What a broker says of itself: that it serves, that it has reloaded, that it could not.

Only for brokers whose log is a file that can be read here.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path

from broker_config.errors import BrokerError, BrokerRefusedError
from broker_config.files import BrokerKind

_POLL_SECONDS = 0.01
_PATIENCE_SECONDS = 1.0

_SERVES = {
    BrokerKind.MOSQUITTO: re.compile(r"mosquitto version \S+ running"),
    BrokerKind.NATS: re.compile(r"Server is ready"),
}
_RELOADED = {
    BrokerKind.MOSQUITTO: re.compile(r"Reloading config\."),
    BrokerKind.NATS: re.compile(r"Reloaded server configuration"),
}
_REFUSED = {
    # That it opens no listeners now is no refusal: it has taken everything else.
    BrokerKind.MOSQUITTO: re.compile(
        r": Error: (?!It is not currently possible to add/remove listeners)"
        r"|: Error when reloading "
    ),
    BrokerKind.NATS: re.compile(r"Failed to reload"),
}


class BrokerLog:
    """A broker's log file, read from wherever it stood."""

    def __init__(self, kind: BrokerKind, path: Path) -> None:
        self.kind = kind
        self.path = path

    def mark(self) -> int:
        """Return the place to read on from later; 0 while there is no file."""
        return self.path.stat().st_size if self.path.exists() else 0

    def said(self, mark: int) -> str:
        """Return what was said since `mark`; a file made anew since is read whole."""
        with self.path.open("rb") as log:
            if log.seek(0, 2) >= mark:
                log.seek(mark)
            else:
                log.seek(0)
            return log.read().decode(errors="replace")

    def serves(self, mark: int) -> bool:
        """Tell whether it has said since `mark` that it serves."""
        return _SERVES[self.kind].search(self.said(mark)) is not None

    def wait_until_reloaded(self, mark: int, seconds: float, ask: Callable[[], None]) -> None:
        """Return once the broker has taken the reload asked for after `mark`.

        ask: asks once more, for Mosquitto forgets a request that comes while it does another.

        Raises:
            BrokerRefusedError: it says that it did not; with its words.
            BrokerError: it said nothing in time.
        """
        begun = time.monotonic()
        ends, asks = begun + seconds, begun + _PATIENCE_SECONDS
        while True:
            said = self.said(mark)
            if _REFUSED[self.kind].search(said):
                raise BrokerRefusedError(f"{self.kind} refused its new configuration:\n{said}")
            if _RELOADED[self.kind].search(said):
                return
            if time.monotonic() > ends:
                raise BrokerError(
                    f"{self.kind} did not say within {seconds:.0f} s that it reloaded"
                )
            if time.monotonic() > asks:
                ask()
                asks += _PATIENCE_SECONDS
            time.sleep(_POLL_SECONDS)
