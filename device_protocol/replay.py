"""Which messages of one epoch were taken already (envelope, section 8).

A window over the last 1 024 sequence numbers; behind it nothing is taken any more. Keeping it
durable is the caller's business, in the transaction that stores the readings.
"""

from collections.abc import Iterable
from typing import Self

from device_protocol.errors import DuplicateError, SeqConflictError, TooOldError

WINDOW = 1024


class ReplayWindow:
    """Replay state of one (tenant, device, group, epoch).

    highest: highest sequence number taken, 0 before the first.
    contiguous: highest such that all from 1 to it were taken; what an acknowledgement may say.
    """

    __slots__ = ("_digests", "_size", "contiguous", "highest")

    def __init__(self, *, size: int = WINDOW) -> None:
        self.highest = 0
        self.contiguous = 0
        self._size = size
        self._digests: dict[int, bytes] = {}

    @classmethod
    def restore(
        cls,
        highest: int,
        contiguous: int,
        recent: Iterable[tuple[int, bytes]],
        *,
        size: int = WINDOW,
    ) -> Self:
        """Continue from stored state; `recent` may hold more than the window does."""
        window = cls(size=size)
        window.highest = highest
        window.contiguous = contiguous
        window._digests = {seq: digest for seq, digest in recent if seq > highest - size}
        return window

    def copy(self) -> Self:
        """Return a window that can be advanced, and dropped if the transaction fails."""
        return self.restore(self.highest, self.contiguous, self._digests.items(), size=self._size)

    def recent(self) -> Iterable[tuple[int, bytes]]:
        """Return sequence number and digest of what the window holds, for `restore`."""
        return self._digests.items()

    def check(self, seq: int, digest: bytes) -> None:
        """Return if message `seq` with this digest (8 bytes) is new; nothing changes.

        Raises:
            TooOldError: behind the window.
            DuplicateError: taken before.
            SeqConflictError: another message was taken with that number.
        """
        if seq <= self.highest - self._size:
            raise TooOldError(f"seq {seq}, window of {self._size} ends at {self.highest}")
        taken = self._digests.get(seq)
        if taken is None:
            return
        if taken == digest:
            raise DuplicateError(f"seq {seq} was taken before")
        raise SeqConflictError(f"seq {seq} was taken before with other bytes")

    def add(self, seq: int, digest: bytes) -> None:
        """Take a message that `check` has passed."""
        self._digests[seq] = digest
        if seq > self.highest:
            self._forget(range(self.highest - self._size + 1, seq - self._size + 1))
            self.highest = seq
        while self.contiguous + 1 in self._digests:
            self.contiguous += 1

    def _forget(self, behind: range) -> None:
        if len(behind) > len(self._digests):
            self._digests = {
                seq: digest for seq, digest in self._digests.items() if seq >= behind.stop
            }
            return
        for seq in behind:
            self._digests.pop(seq, None)
