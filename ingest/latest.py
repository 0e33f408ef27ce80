"""The newest observation of each datastream, held until it is written. Pure.

Batches are merged here; writing happens at most once a second, because an upsert with every batch
would cost a third of the store's speed.
"""

from collections.abc import Iterable, Mapping
from math import isnan

import numpy as np

from ingest.admission.readings import Columns, Contradiction
from storage.batches import Latest


class NewestObservations:
    """By datastream id, what `latest` still has to learn."""

    def __init__(self) -> None:
        self._newest: dict[int, Latest] = {}

    def note(self, columns: Columns, contradictions: Iterable[Contradiction]) -> None:
        """Take in a stored batch, without the readings that contradicted what was there."""
        found = columns.observations
        ids, times, values = found.datastream_ids, found.times, found.values
        left_out = {(found.datastream_id, found.time) for found in contradictions}
        if left_out:
            keys = zip(ids.tolist(), times.tolist(), strict=True)
            kept = np.array([key not in left_out for key in keys], np.bool_)
            ids, times, values = ids[kept], times[kept], values[kept]
        if not len(ids):
            return
        last = np.flatnonzero(np.append(ids[1:] != ids[:-1], True))
        keys = zip(ids[last].tolist(), times[last].tolist(), strict=True)
        for key, value in zip(keys, values[last].tolist(), strict=True):
            self._merge(key, value, columns)

    def _merge(self, key: tuple[int, int], value: float, columns: Columns) -> None:
        datastream_id, time = key
        before = self._newest.get(datastream_id)
        if before is not None and before.time >= time:
            return
        extra = columns.extras.get(key)
        self._newest[datastream_id] = Latest(
            time,
            None if isnan(value) else value,
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
