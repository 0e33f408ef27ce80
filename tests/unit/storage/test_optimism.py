"""When a batch may go straight in, and what that can leave behind."""

from hypothesis import given
from hypothesis import strategies as st

from storage.optimism import STORED_PER_DEAD, Optimism


def test_it_starts_out_hopeful() -> None:
    assert Optimism().justified()


def test_a_failure_is_paid_for_by_rows_without_a_repetition() -> None:
    optimism = Optimism()
    optimism.failed(100)
    optimism.staged(100 * STORED_PER_DEAD - 1, repetitions=False)
    assert not optimism.justified()
    optimism.staged(1, repetitions=False)
    assert optimism.justified()


def test_a_repetition_on_the_staged_way_starts_the_count_anew() -> None:
    optimism = Optimism()
    optimism.failed(10)
    optimism.staged(10 * STORED_PER_DEAD - 1, repetitions=False)
    optimism.staged(5, repetitions=True)
    optimism.staged(10 * STORED_PER_DEAD - 1, repetitions=False)
    assert not optimism.justified()
    optimism.staged(1, repetitions=False)
    assert optimism.justified()


@given(st.lists(st.tuples(st.integers(1, 50_000), st.booleans()), max_size=200))
def test_dead_rows_are_few_whatever_is_delivered(deliveries: list[tuple[int, bool]]) -> None:
    """All but the newest failure have been paid for by sixteen rows each."""
    optimism = Optimism()
    failures: list[int] = []
    stored_after = 0
    for rows, repeats in deliveries:
        if not optimism.justified():
            optimism.staged(rows, repetitions=repeats)
            stored_after += rows
        elif repeats:
            assert not failures or stored_after >= failures[-1] * STORED_PER_DEAD
            failures.append(rows)
            stored_after = 0
            optimism.failed(rows)
            optimism.staged(rows, repetitions=True)


def test_the_way_of_the_last_batch_is_told() -> None:
    optimism = Optimism()
    optimism.succeeded()
    assert optimism.way == "straight"
    optimism.failed(10)
    optimism.staged(10, repetitions=True)
    assert optimism.way == "staged"
