"""Standard output that ends the command once nobody reads it any more, as `… | head` leaves it.

Everything that a command prints goes through it, whichever command it is; what a broken pipe means
elsewhere (a broker, a database) stays an outage for whoever talks to it.
"""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

UNREAD: Final = 141
"""The exit status then: that of a program which SIGPIPE has ended, 128 + 13."""


class _Output(io.FileIO):
    """A file descriptor whose reader may go away: the command ends, and what is left is dropped."""

    is_read = True

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write as `FileIO` does.

        Raises:
            SystemExit: nobody reads it, or there is no room. No OSError, which commands take for
                an outage.
        """
        if self.is_read:
            try:
                return super().write(data)
            except BrokenPipeError:
                self.is_read = False
                raise SystemExit(UNREAD) from None
            except OSError as error:
                self.is_read = False
                raise SystemExit(f"kerbstone: standard output: {error.strerror}") from None
        return memoryview(data).nbytes


@contextmanager
def ending_with_its_reader() -> Iterator[None]:
    """Let what is printed in here end the command, with status `UNREAD`, once nobody reads it."""
    before = sys.__stdout__
    if before is None or sys.stdout is not before:  # there is none, or it is somebody's own
        yield
        return
    before.flush()
    output = _Output(before.fileno(), "wb", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(output),
        encoding=before.encoding,
        errors=before.errors,
        line_buffering=before.line_buffering,
    )
    try:
        yield
    finally:
        with sys.stdout:  # flushed here, where a broken pipe is no surprise
            sys.stdout = before
