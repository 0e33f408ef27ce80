import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrolment.guessing import AttemptLimit, source_of


def limit(per_source: int = 3, overall: int | None = 10, most: int = 5) -> AttemptLimit:
    return AttemptLimit(per_source=per_source, overall=overall, window_seconds=60, max_sources=most)


def test_source_waits_until_its_oldest_attempt_is_out_of_the_window() -> None:
    held = limit()
    for second in (0, 10, 20):
        assert held.wait("a", second) == 0
        held.note("a", second)
    assert held.wait("a", 21) == 39
    assert held.wait("b", 21) == 0
    assert held.wait("a", 60) == 0
    held.note("a", 60)
    assert held.wait("a", 61) == 9


def test_whoever_was_wrong_once_waits_when_there_are_too_many_and_nobody_else() -> None:
    held = limit(overall=4)
    held.note("source 0", 0)
    assert held.wait("source 0", 0) == 0
    for number in range(1, 5):
        held.note(f"source {number}", number)
    assert held.wait("source 0", 5) == 56
    assert held.wait("source 4", 5) == 56
    assert held.wait("source 0", 60) == 0, "its own attempt is forgotten"
    assert held.wait("a gateway with its token", 5) == 0


def test_without_an_overall_limit_only_the_source_waits() -> None:
    held = limit(overall=None, most=100)
    for number in range(50):
        held.note(f"source {number}", 0)
    assert held.wait("another", 0) == 0


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=200))
def test_memory_is_bounded_whoever_comes(attempts: list[tuple[int, int]]) -> None:
    held, now = limit(), 0
    for source, later in attempts:
        now += later
        held.note(str(source), now)
    assert len(held) <= 5
    assert len(held._all) <= 10
    assert all(len(made) <= 3 for made in held._sources.values())


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", "unknown"),
    ],
)
def test_ipv6_neighbours_are_one_source(address: str, source: str) -> None:
    assert source_of(address) == source
