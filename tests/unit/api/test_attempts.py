"""The limit on wrong passes: of one client, of all, and only for a while."""

from api import attempts
from api.attempts import Attempts


def test_a_client_waits_once_it_has_failed_too_often_and_only_that_one() -> None:
    limit = Attempts(each=3, together=100, seconds=60)
    for second in range(3):
        assert limit.wait_seconds("a", second) == 0
        limit.note_failure("a", second)
    assert limit.wait_seconds("a", 3) == 57
    assert limit.wait_seconds("b", 3) == 0
    assert limit.wait_seconds("a", 60) == 0
    limit.note_failure("a", 60)
    assert limit.wait_seconds("a", 60) == 1


def test_whoever_failed_once_waits_when_all_together_have_failed_too_often() -> None:
    limit = Attempts(each=3, together=5, seconds=60)
    limit.note_failure("client 0", 5)
    assert limit.wait_seconds("client 0", 6) == 0
    for number in range(1, 6):
        limit.note_failure(f"client {number}", 10)
    assert limit.wait_seconds("client 0", 20) == 50
    assert limit.wait_seconds("client 0", 66) == 0, "its own failure is forgotten"
    assert limit.wait_seconds("client 1", 70) == 0
    assert limit.wait_seconds("somebody with a pass", 20) == 0


def test_what_is_remembered_is_bounded() -> None:
    limit = Attempts(each=2, together=5, seconds=60)
    for number in range(attempts.MOST_CLIENTS + 10):
        limit.note_failure(str(number), 0)
    assert len(limit._by_client) == attempts.MOST_CLIENTS
    assert len(limit._of_all) == 5
    for _ in range(50):
        limit.note_failure("one", 0)
    assert len(limit._by_client["one"]) == 2
