"""Waits grow, are capped, and are drawn from the whole interval."""

from runtime.backoff import FullJitter


def test_bound_doubles_up_to_the_cap_and_starts_again_after_reset() -> None:
    backoff = FullJitter(1, 5, random=lambda: 1.0)
    assert [backoff.next() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next() == 1


def test_a_wait_is_the_drawn_share_of_the_bound() -> None:
    draws = iter([0.0, 0.25, 0.5])
    backoff = FullJitter(2, 100, random=lambda: next(draws))
    assert [backoff.next() for _ in range(3)] == [0.0, 1.0, 4.0]


def test_many_tries_do_not_overflow() -> None:
    backoff = FullJitter(1, 60, random=lambda: 1.0)
    assert [backoff.next() for _ in range(5000)][-1] == 60


def test_a_wider_bound_doubles_on_from_there_within_the_cap() -> None:
    backoff = FullJitter(1, 50, random=lambda: 1.0)
    backoff.widen(30)
    assert [backoff.next() for _ in range(3)] == [30, 50, 50]
    backoff.widen(30)
    assert backoff.next() == 50
    backoff.reset()
    assert backoff.next() == 1
    backoff.widen(3600)
    assert backoff.next() == 50
