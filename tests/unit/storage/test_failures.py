"""Each way in which a database fails has its word."""

import psycopg
import pytest
from psycopg import errors

from storage.failures import FAILURES, Failure, failure_of


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ConnectionRefusedError(), "away"),
        (psycopg.OperationalError("server closed the connection"), "away"),
        (errors.AdminShutdown(), "away"),
        (errors.CannotConnectNow(), "away"),
        (errors.ConnectionFailure(), "away"),
        (errors.DiskFull(), "disk_full"),
        (errors.ReadOnlySqlTransaction(), "read_only"),
        (errors.LockNotAvailable(), "lock"),
        (errors.DeadlockDetected(), "lock"),
        (errors.OutOfMemory(), "other"),
    ],
)
def test_failures_have_words(error: BaseException, word: Failure) -> None:
    assert failure_of(error) == word
    assert word in FAILURES
