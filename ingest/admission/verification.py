"""Signatures of many messages, checked on two processors: this thread's and a helper's.

OpenSSL works without Python's global lock, so two threads check P-256 signatures in 0.6 of the
time of one. The calling thread takes part: left alone with the lock, as it would be while others
verify, it would let each of them wait up to `sys.getswitchinterval()` after every signature. What
comes before and after a signature needs the lock, and stays with the caller.
"""

from collections.abc import Sequence
from itertools import count
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Final, Self

from device_protocol.errors import SignatureError
from device_protocol.receiver import UnverifiedMessage

_WORTH_HELP: Final = 4  # fewer are checked sooner than a thread is woken


class Verifier:
    """A context: checks signatures, with a thread of its own while it is open."""

    def __init__(self) -> None:
        self._rounds: SimpleQueue[_Round | None] = SimpleQueue()
        self._helper = Thread(target=self._help, name="verify", daemon=True)

    def __enter__(self) -> Self:
        self._helper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._rounds.put(None)
        self._helper.join()

    def holds(self, messages: Sequence[UnverifiedMessage]) -> list[bool]:
        """Return for each message whether its signature holds."""
        work = _Round(messages)
        if len(messages) >= _WORTH_HELP and self._helper.is_alive():
            self._rounds.put(work)
        return work.finished()

    def _help(self) -> None:
        while (work := self._rounds.get()) is not None:
            work.help()


class _Round:
    """Messages whose signatures are checked together; each is taken by whoever is free."""

    def __init__(self, messages: Sequence[UnverifiedMessage]) -> None:
        self._messages = messages
        self._holds = [False] * len(messages)
        self._next = count()  # drawing from it is atomic
        self._helping = Lock()

    def help(self) -> None:
        """Check what nobody has taken; on the helper's thread."""
        with self._helping:
            self._check()

    def finished(self) -> list[bool]:
        """Check what nobody has taken, wait for what the helper has, and return all verdicts."""
        self._check()
        with self._helping:
            return self._holds

    def _check(self) -> None:
        for index in self._next:
            if index >= len(self._messages):
                return
            try:
                self._messages[index].verify()
            except SignatureError:
                continue
            self._holds[index] = True
