from ingest.workers.supervision import Restarts, ends_all


def test_first_end_after_a_long_life_is_answered_at_once() -> None:
    assert Restarts().ended(3600.0) == 0.0


def test_short_lives_are_answered_later_and_later_up_to_a_limit() -> None:
    restarts = Restarts()
    waits = [restarts.ended(0.1) for _ in range(10)]
    assert waits[:4] == [0.0, 0.5, 1.0, 2.0]
    assert waits[-2:] == [30.0, 30.0]


def test_a_long_life_is_forgiven() -> None:
    restarts = Restarts()
    for _ in range(10):
        restarts.ended(0.1)
    assert restarts.ended(61.0) == 0.0
    assert restarts.ended(0.1) == 0.5


def test_only_misuse_ends_all() -> None:
    assert ends_all(2)
    assert not any(ends_all(code) for code in (0, 1, -9, -15, 130))
