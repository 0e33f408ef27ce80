"""Many observations at once, as arrays: what files are made of, those of closed days and open ones.

What else is known of some of them (texts, corrections) is the business of whoever makes a file.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from storage.database import Connection, query

_POSTGRES_EPOCH_MICROSECONDS: Final = 946_684_800_000_000
_SENT: Final = np.dtype([("time", ">i8"), ("value", ">f8"), ("quality", ">i2")])
"""How exported_observations.sql lays out one observation."""


@dataclass(frozen=True, slots=True)
class ObservationArrays:
    """Observations by datastream, then time.

    times: Unix microseconds. values: NaN where the result is no number. qualities: flags.
    """

    datastream_ids: npt.NDArray[np.int32]
    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    qualities: npt.NDArray[np.int16]

    def row(self, datastream: int, time: int) -> int | None:
        """Return the row of an observation, None if there is none of it."""
        first, end = np.searchsorted(self.datastream_ids, [datastream, datastream + 1])
        row = int(first + np.searchsorted(self.times[first:end], time))
        return row if row < end and self.times[row] == time else None


async def observation_arrays(
    conn: Connection, datastream_ids: Collection[int], start: datetime, end: datetime
) -> ObservationArrays:
    """Return the observations of some datastreams from `start` until before `end`."""
    bounds = {"datastream_ids": list(datastream_ids), "start": start, "end": end}
    cursor = await conn.execute(query("exported_observations"), bounds, prepare=False, binary=True)
    rows = await cursor.fetchall()
    sent = [np.frombuffer(octets, _SENT) for _, octets in rows]
    parts = [each[np.argsort(each["time"].astype(np.int64), kind="stable")] for each in sent]
    joined = np.concatenate(parts) if parts else np.empty(0, _SENT)
    return ObservationArrays(
        np.repeat(
            np.array([number for number, _ in rows], np.int32),
            np.array([len(each) for each in sent], np.int64),
        ),
        joined["time"].astype(np.int64) + _POSTGRES_EPOCH_MICROSECONDS,
        joined["value"].astype(np.float64),
        joined["quality"].astype(np.int16),
    )
