"""The columns of our open files, for CSV, GeoJSON and Parquet alike: names, order, meanings. Pure.

`time`, `datastream`, `value` and the like mean what they mean in the files of closed days
(`storage.archive.export_files`). The formats are the business of their own modules.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import isnan
from typing import Final

import numpy as np
import numpy.typing as npt

from device_protocol.reading import Quality
from standards_mapping.observation import Observation, Result
from standards_mapping.open_licence import licence_of
from standards_mapping.registry import Datastream

MEANINGS: Final = {
    "time": "phenomenon time, UTC; of a mean the end of its interval",
    "interval_start": "when the interval of the result began, UTC; equal to time for an instant",
    "datastream_id": "number of the datastream, as in SensorThings",
    "datastream": "URN of the sensor, a colon, and the short name in SenML",
    "council": "short name of the council",
    "gss": "code of the council's area, by the Office for National Statistics",
    "thing": "URN of the Thing (OGC 18-088) that the datastream belongs to",
    "site": "name of that Thing",
    "sensor": "URN of the sensor",
    "observed_property": "key of the observed property",
    "unit": "key of the unit that value is in",
    "value": "the result; empty where it is no number",
    "result": "the result as text where it is a text or a truth value; else empty",
    "quality": "sum of flags: 1 out of range, 2 clock unsynchronised, 4 replayed, 8 suspect, "
    "16 warming up, 32 time reconstructed, 64 corrected",
    "corrected_value": "what the newest correction says instead of value; empty if there is none",
    "corrected_result": "what the newest correction says instead of result; empty likewise",
    "longitude": "of the place where the Thing was as the interval began, degrees (CRS84)",
    "latitude": "of the place where the Thing was as the interval began, degrees (CRS84)",
    "licence": "under which the row may be used",
}
"""What each column holds, in the order of the columns."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRow:
    """One observation as a row of our open files; see `MEANINGS`."""

    time: datetime
    interval_start: datetime
    datastream_id: int
    datastream: str
    council: str
    gss: str
    thing: str
    site: str
    sensor: str
    observed_property: str
    unit: str
    value: float | None
    result: str | None
    quality: int
    corrected_value: float | None
    corrected_result: str | None
    longitude: float | None
    latitude: float | None
    licence: str


def constant_texts(datastream: Datastream) -> dict[str, str]:
    """Return the columns that every observation of a datastream has alike."""
    thing = datastream.thing
    return {
        "datastream": f"{datastream.sensor.urn}:{datastream.short_name}",
        "council": thing.council.tenant,
        "gss": thing.council.gss,
        "thing": thing.urn,
        "site": thing.name,
        "sensor": datastream.sensor.urn,
        "observed_property": datastream.observed_property.key,
        "unit": datastream.unit.key,
        "licence": licence_of(datastream),
    }


def open_rows(
    datastreams: Iterable[Datastream], observations: Iterable[Observation]
) -> Iterator[OpenRow]:
    """Yield a row for each observation, with the place where its Thing was as it began."""
    chosen = {each.id: each for each in datastreams}
    texts = {number: constant_texts(each) for number, each in chosen.items()}
    for seen in observations:
        place = chosen[seen.datastream].thing.place_at(seen.phenomenon_start)
        value, result = split_result(seen.result)
        corrected_value, corrected_result = split_result(seen.corrected)
        yield OpenRow(
            time=seen.time,
            interval_start=seen.phenomenon_start,
            datastream_id=seen.datastream,
            value=value,
            result=result,
            quality=int(seen.quality),
            corrected_value=corrected_value,
            corrected_result=corrected_result,
            longitude=None if place is None else place.longitude,
            latitude=None if place is None else place.latitude,
            **texts[seen.datastream],
        )


def split_result(result: Result | None) -> tuple[float | None, str | None]:
    """Return a result as number and as text, one of them or neither."""
    if result is None or isinstance(result, str):
        return None, result
    if isinstance(result, bool):
        return None, str(result).lower()
    return float(result), None


@dataclass(frozen=True, slots=True)
class Columns:
    """Many observations by columns, by datastream and time.

    times, starts: end and beginning of each interval, Unix microseconds. values: NaN where the
    result is no number. results: what it is then, as text, by row. corrections: what the newest
    correction says instead, by row; a truth value is text here, too.
    """

    datastream_ids: npt.NDArray[np.int32]
    times: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    qualities: npt.NDArray[np.int16]
    results: Mapping[int, str]
    corrections: Mapping[int, float | str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.times)

    def observations(self) -> Iterator[Observation]:
        """Yield them one by one, for formats that are written so."""
        columns = (self.datastream_ids, self.times, self.starts, self.values, self.qualities)
        cells = zip(*(column.tolist() for column in columns), strict=True)
        for row, (datastream, time, start, value, quality) in enumerate(cells):
            yield Observation(
                datastream=datastream,
                time=_EPOCH + timedelta(microseconds=time),
                averaging=timedelta(microseconds=time - start),
                result=self.results.get(row) if isnan(value) else value,
                quality=Quality(quality),
                corrected=self.corrections.get(row),
            )


def columns_of(observations: Iterable[Observation]) -> Columns:
    """Return observations as columns, in the order that columns have."""
    ordered = sorted(observations, key=lambda seen: (seen.datastream, seen.time))
    split = [split_result(seen.result) for seen in ordered]
    return Columns(
        np.array([seen.datastream for seen in ordered], np.int32),
        np.array([unix_microseconds(seen.time) for seen in ordered], np.int64),
        np.array([unix_microseconds(seen.phenomenon_start) for seen in ordered], np.int64),
        np.array([np.nan if value is None else value for value, _ in split], np.float64),
        np.array([int(seen.quality) for seen in ordered], np.int16),
        {row: text for row, (_, text) in enumerate(split) if text is not None},
        corrections_by_row(seen.corrected for seen in ordered),
    )


def corrections_by_row(corrected: Iterable[Result | None]) -> dict[int, float | str]:
    """Return what corrections say by row, as numbers and texts."""
    return {
        row: said
        for row, result in enumerate(corrected)
        for said in split_result(result)
        if said is not None
    }


def unix_microseconds(time: datetime) -> int:
    """Return a time as Unix microseconds, exactly."""
    return (time - _EPOCH) // _MICROSECOND
