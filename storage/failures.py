"""Why the database failed a statement, in the few words that an operator acts on. Pure.

What counts as an outage, to be waited out, is `storage.database.OUTAGES`.
"""

from typing import Final, Literal

from psycopg import Error, errors

Failure = Literal["away", "disk_full", "read_only", "lock", "other"]

FAILURES: Final[tuple[Failure, ...]] = ("away", "disk_full", "read_only", "lock", "other")
"""away: not reached, lost, starting or stopping. disk_full: it has no room to write. read_only: it
became a replica, or was told to refuse changes. lock: something of ours was locked for too long,
or two waited for each other. other: its log says."""

_LOCKS: Final = (errors.LockNotAvailable, errors.DeadlockDetected, errors.QueryCanceled)
_GONE: Final = ("08", "57P")  # classes of SQLSTATE: connection, operator intervention


def failure_of(error: BaseException) -> Failure:
    """Return why an attempt failed; an error without SQLSTATE never came from a server."""
    if isinstance(error, errors.DiskFull):
        return "disk_full"
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return "read_only"
    if isinstance(error, _LOCKS):
        return "lock"
    state = error.sqlstate if isinstance(error, Error) else None
    return "away" if state is None or state.startswith(_GONE) else "other"
