"""Logs: standard `logging`, one JSON object a line on standard error.

The message is a fixed phrase; facts go in `extra`. A phrase that repeats is passed a bounded
number of times a minute, so that a fault which lasts cannot fill a gateway's disk. Where the
lines go from standard error is the supervisor's business.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from runtime.printable import printable

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PER_MINUTE: Final = 60
_MOST_OF_FACT: Final = 2_000  # characters; a stranger may have chosen them


def configure(process: str, level: str = "INFO") -> None:
    """Send every log record of this process, named `process`, to standard error as JSON."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(JsonFormatter(process))
    stream.addFilter(RateLimit())
    logging.basicConfig(level=level, handlers=[stream], force=True)
    logging.captureWarnings(capture=True)


def facts_of(record: logging.LogRecord) -> dict[str, object]:
    """Return what was given as `extra` with a record."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object: time, level, process, logger, message, then facts.

    A fact that is a long text is cut.
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return `record` as one line of JSON; what JSON cannot hold appears as its text."""
        time_of_record = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": time_of_record.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: _bounded(fact) for name, fact in facts_of(record).items()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return printable(json.dumps(line, default=str, ensure_ascii=False))


def _bounded(fact: object) -> object:
    if isinstance(fact, str) and len(fact) > _MOST_OF_FACT:
        return f"{fact[:_MOST_OF_FACT]}..."
    return fact


class RateLimit(logging.Filter):
    """Passes at most `per_minute` records of one logger and message in any minute.

    The first record after a minute in which some were held back says how many (`suppressed`).
    """

    def __init__(
        self, per_minute: int = _PER_MINUTE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._per_minute = per_minute
        self._clock = clock
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether `record` may be written now."""
        key = (record.name, str(record.msg))
        now = self._clock()
        since, count = self._passed.get(key, (now, 0))
        if now - since >= 60:  # noqa: PLR2004  # the minute of the name
            if count > self._per_minute:
                record.suppressed = count - self._per_minute
            since, count = now, 0
        self._passed[key] = (since, count + 1)
        return count < self._per_minute
