import numpy as np

from ingest.admission.readings import Columns, Contradiction, Origin
from ingest.admission.snapshot import Gateway
from ingest.latest import NewestObservations
from storage.batches import Extra, Latest, Observations

ORIGIN = Origin("camden", "k7q2m9xd4t", "topic", 0, Gateway(1, 1))


def columns(*rows: tuple[int, int, float], extras: tuple[Extra, ...] = ()) -> Columns:
    ids, times, values = zip(*sorted(rows), strict=True)
    observations = Observations(
        np.array(ids, np.int32), np.array(times, np.int64), np.array(values, np.float64)
    )
    by_key = {(extra.datastream_id, extra.time): extra for extra in extras}
    return Columns(observations, np.zeros(len(rows), np.int32), (ORIGIN,), by_key)


def test_newest_of_each_datastream_is_kept_across_batches() -> None:
    newest = NewestObservations()
    newest.note(columns((1, 10, 1.0), (1, 20, 2.0), (2, 5, 9.0)), [])
    newest.note(columns((1, 15, 7.0), (2, 6, 8.0)), [])
    assert newest.take() == {1: Latest(20, 2.0, None, 0), 2: Latest(6, 8.0, None, 0)}
    assert newest.take() == {}


def test_contradiction_is_not_the_newest() -> None:
    newest = NewestObservations()
    taken = [Contradiction(ORIGIN, 1, time, 0.0, 1.0) for time in (20, 30)]
    newest.note(columns((1, 10, 1.0), (1, 20, 2.0), (1, 30, 3.0)), taken)
    newest.note(columns((2, 20, 2.0)), [Contradiction(ORIGIN, 2, 20, 0.0, 1.0)])
    assert newest.take() == {1: Latest(10, 1.0, None, 0)}


def test_result_and_quality_come_along() -> None:
    newest = NewestObservations()
    extra = Extra(1, 10, 2, "idle")
    newest.note(columns((1, 10, float("nan")), extras=(extra,)), [])
    assert newest.take() == {1: Latest(10, None, "idle", 2)}


def test_what_could_not_be_written_gives_way_to_what_is_newer() -> None:
    newest = NewestObservations()
    newest.note(columns((1, 10, 1.0), (2, 10, 1.0)), [])
    unwritten = newest.take()
    newest.note(columns((1, 20, 2.0)), [])
    newest.give_back(unwritten)
    assert newest.take() == {1: Latest(20, 2.0, None, 0), 2: Latest(10, 1.0, None, 0)}
