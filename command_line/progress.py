"""Progress: one line that redraws itself, or plain lines where there is no terminal."""

import sys
import time
from types import TracebackType
from typing import Final, Self, TextIO

BAR_CELLS: Final = 28
PLAIN_INTERVAL_SECONDS: Final = 5.0


class Progress:
    """A bar with a title, a count and an estimate of what is left; a context manager.

    estimated: whether what is left can be told from what is done; not where others are waited for.
    Off a terminal a plain line is written every few seconds instead, so that logs stay readable.
    """

    def __init__(
        self,
        title: str,
        total: int,
        *,
        unit: str,
        estimated: bool = True,
        stream: TextIO | None = None,
    ) -> None:
        self._title = title
        self._total = max(total, 1)
        self._unit = unit
        self._estimated = estimated
        self._stream = sys.stderr if stream is None else stream
        self._interactive = self._stream.isatty()
        self._started = time.monotonic()
        self._last_plain = self._started
        self._done = 0

    def __enter__(self) -> Self:
        self.update(0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._interactive:
            self._stream.write("\r\033[K")
        if error is None:
            seconds = time.monotonic() - self._started
            self._stream.write(f"  {self._title}: {self._done:,} {self._unit} in {seconds:.1f} s\n")
        self._stream.flush()

    def update(self, done: int, *, total: int | None = None) -> None:
        """Show that `done` of the total are done; `total` where it has become known better."""
        self._done = done
        if total is not None:
            self._total = max(total, 1)
        now = time.monotonic()
        if self._interactive:
            self._stream.write(f"\r\033[K  {self._line(now)}")
        elif now - self._last_plain >= PLAIN_INTERVAL_SECONDS:
            self._last_plain = now
            self._stream.write(f"  {self._line(now)}\n")
        self._stream.flush()

    def _line(self, now: float) -> str:
        share = min(self._done / self._total, 1.0)
        filled = round(share * BAR_CELLS)
        bar = "█" * filled + "·" * (BAR_CELLS - filled)
        line = f"{self._title} {bar} {share:4.0%}  {self._done:,} of {self._total:,} {self._unit}"
        elapsed = now - self._started
        if self._estimated and elapsed > 1 and 0 < share < 1:
            line += f", {elapsed / share - elapsed:.0f} s left"
        return line


def say(text: str) -> None:
    """One line of narration, on standard error: standard output is for results."""
    print(text, file=sys.stderr, flush=True)
