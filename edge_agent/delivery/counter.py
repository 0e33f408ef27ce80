"""The epoch counter: rises with every epoch, and is on the disk before it is used.

Envelope, section 7, rule 2. Epoch keys are never kept here or anywhere else.
"""

import json
import logging
from pathlib import Path

from edge_agent.durable import write_durably

log = logging.getLogger(__name__)


class EpochCounter:
    """The counter of one device and group.

    value: of the last epoch begun, 0 before the first.
    previous: how the epoch before the next one ended, counter and last seq, where that is known.
    """

    def __init__(self, path: Path, *, now: int) -> None:
        self._path = path
        self.value = 0
        self.previous: tuple[int, int] | None = None
        try:
            stored = json.loads(path.read_text())
            self.value = int(stored["counter"])
            if stored["last_seq"] is not None:
                self.previous = (self.value, int(stored["last_seq"]))
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            # Unix seconds are above any count of epochs, so the next one is surely higher.
            self.value = now
            log.error("epoch counter damaged", extra={"continued_from": now})  # noqa: TRY400

    def advance(self, by: int = 1) -> int:
        """Return the next epoch's counter once it is on the disk.

        Raises:
            OSError: it could not be stored; the counter has not moved.
        """
        self._store(self.value + by, None)
        return self.value

    def close(self, last_seq: int) -> None:
        """Note that the present epoch ended after `last_seq`.

        Raises:
            OSError: it could not be stored.
        """
        self._store(self.value, last_seq)
        self.previous = (self.value, last_seq)

    def raise_to(self, value: int) -> None:
        """Continue after a higher counter that the centre has accepted (section 7, rule 9).

        Raises:
            OSError: it could not be stored.
        """
        if value > self.value:
            self._store(value, None)
            self.previous = None

    def _store(self, value: int, last_seq: int | None) -> None:
        content = json.dumps({"counter": value, "last_seq": last_seq})
        write_durably(self._path, content.encode())
        self.value = value
