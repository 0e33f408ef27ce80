"""The newest observation of each datastream, held until it is written. Pure.

Batches are merged here; writing happens at most once a second, because an upsert with every batch
would cost a third of the store's speed.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from ingest.readings import Columns, Contradiction
from storage.batches import Latest


class NewestObservations:
    """By datastream id, what `latest` still has to learn."""

    def __init__(self) -> None:
        self._newest: dict[int, Latest] = {}

    def note(self, columns: Columns, contradictions: Iterable[Contradiction]) -> None:
        """Take in a stored batch, without the readings that contradicted what was there."""
        ids = columns.observations.datastream_ids
        if not len(ids):
            return
        left_out = {(found.datastream_id, found.time) for found in contradictions}
        last = np.flatnonzero(np.append(ids[1:] != ids[:-1], True))
        times, values = columns.observations.times, columns.observations.values
        for row in last.tolist():
            datastream_id = int(ids[row])
            while row >= 0 and ids[row] == datastream_id:
                key = (datastream_id, int(times[row]))
                if key not in left_out:
                    self._merge(key, float(values[row]), columns)
                    break
                row -= 1  # noqa: PLW2901 - to the next newest

    def _merge(self, key: tuple[int, int], value: float, columns: Columns) -> None:
        datastream_id, time = key
        before = self._newest.get(datastream_id)
        if before is not None and before.time >= time:
            return
        extra = columns.extras.get(key)
        self._newest[datastream_id] = Latest(
            time,
            None if np.isnan(value) else value,
            extra.result if extra else None,
            extra.quality if extra else 0,
        )

    def take(self) -> dict[int, Latest]:
        """Return what has gathered, and forget it."""
        taken, self._newest = self._newest, {}
        return taken

    def give_back(self, unwritten: Mapping[int, Latest]) -> None:
        """Take back what could not be written."""
        for datastream_id, latest in unwritten.items():
            before = self._newest.get(datastream_id)
            if before is None or before.time < latest.time:
                self._newest[datastream_id] = latest
