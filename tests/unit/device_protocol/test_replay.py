import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_protocol.errors import DuplicateError, SeqConflictError, TooOldError
from device_protocol.replay import ReplayWindow


def _digest(seq: int) -> bytes:
    return seq.to_bytes(8, "big")


def _taken(window: ReplayWindow, *seqs: int) -> ReplayWindow:
    for seq in seqs:
        window.check(seq, _digest(seq))
        window.add(seq, _digest(seq))
    return window


def test_the_window_reaches_back_1024_messages() -> None:
    window = _taken(ReplayWindow(), 3000)
    window.check(1977, b"new")
    with pytest.raises(TooOldError):
        window.check(1976, b"new")
    _taken(window, 1977)
    with pytest.raises(DuplicateError):
        window.check(1977, _digest(1977))
    with pytest.raises(SeqConflictError):
        window.check(1977, b"other")


def test_a_number_behind_the_window_is_too_old_even_if_it_was_taken() -> None:
    window = _taken(ReplayWindow(), 1, 2000)
    with pytest.raises(TooOldError):
        window.check(1, _digest(1))


def test_checking_changes_nothing() -> None:
    window = _taken(ReplayWindow(), 1, 2)
    before = (window.highest, window.contiguous, dict(window.recent()))
    window.check(500, b"new")
    with pytest.raises(DuplicateError):
        window.check(2, _digest(2))
    assert (window.highest, window.contiguous, dict(window.recent())) == before


def test_contiguous_stops_at_the_first_gap_and_goes_on_when_it_is_filled() -> None:
    window = _taken(ReplayWindow(), 1, 2, 4, 5)
    assert (window.highest, window.contiguous) == (5, 2)
    _taken(window, 3)
    assert window.contiguous == 5


def test_a_gap_that_can_no_longer_be_filled_is_never_acknowledged() -> None:
    window = _taken(ReplayWindow(size=4), 1, 3, 4, 5, 6, 7, 8)
    assert (window.highest, window.contiguous) == (8, 1)


def test_copy_is_independent() -> None:
    window = _taken(ReplayWindow(), 1)
    copy = _taken(window.copy(), 2)
    assert (window.highest, copy.highest) == (1, 2)
    window.check(2, b"new")


def test_restoring_drops_what_lies_behind_the_window() -> None:
    window = ReplayWindow.restore(10, 10, ((seq, _digest(seq)) for seq in range(1, 11)), size=4)
    assert sorted(seq for seq, _ in window.recent()) == [7, 8, 9, 10]


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(1, 16), st.data())
def test_a_window_takes_each_number_once_wherever_it_is_interrupted(
    seqs: list[int], size: int, data: st.DataObject
) -> None:
    window = ReplayWindow(size=size)
    taken: set[int] = set()
    stop = data.draw(st.integers(0, len(seqs)))
    for position, seq in enumerate(seqs):
        if position == stop:
            window = ReplayWindow.restore(
                window.highest, window.contiguous, list(window.recent()), size=size
            )
        if seq <= max(taken, default=0) - size:
            with pytest.raises(TooOldError):
                window.check(seq, _digest(seq))
        elif seq in taken:
            with pytest.raises(DuplicateError):
                window.check(seq, _digest(seq))
        else:
            _taken(window, seq)
            taken.add(seq)
    assert window.highest == max(taken, default=0)
    assert window.contiguous == next(seq for seq in range(62) if seq + 1 not in taken)
    assert len(list(window.recent())) <= size
