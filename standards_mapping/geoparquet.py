"""Observations as Parquet with points (GeoParquet 1.1.0), written by columns. Pure: to any file.

Columns and their meanings are those of `standards_mapping.open_columns`, with `geometry` in place
of longitude and latitude alone; units and definitions stand in the metadata of the fields.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from standards_mapping.linked_data import Json, property_iri
from standards_mapping.open_columns import MEANINGS, Columns, constant_texts, unix_microseconds
from standards_mapping.open_licence import attribution_of, licences_of
from standards_mapping.registry import Datastream

MEDIA_TYPE: Final = "application/vnd.apache.parquet"
GEOMETRY: Final = "geometry"

_COMPRESSION_LEVEL: Final = 3
_TEXTS: Final = tuple(
    name
    for name in MEANINGS
    if name
    not in (
        "time",
        "interval_start",
        "datastream_id",
        "value",
        "result",
        "quality",
        "corrected_value",
        "corrected_result",
        "longitude",
        "latitude",
    )
)
_TIME: Final = pa.timestamp("us", tz="UTC")
_TYPES: Final[Mapping[str, Any]] = {
    "time": _TIME,
    "interval_start": _TIME,
    "datastream_id": pa.int32(),
    **dict.fromkeys(_TEXTS, pa.dictionary(pa.int32(), pa.string())),
    "value": pa.float64(),
    "result": pa.string(),
    "quality": pa.int16(),
    "corrected_value": pa.float64(),
    "corrected_result": pa.string(),
    "longitude": pa.float64(),
    "latitude": pa.float64(),
    GEOMETRY: pa.binary(),
}
_GEO: Final = {
    "version": "1.1.0",
    "primary_column": GEOMETRY,
    "columns": {GEOMETRY: {"encoding": "WKB", "geometry_types": ["Point"]}},
}
"""Without `crs`, which means OGC:CRS84."""

_POINT: Final = struct.Struct("<BIdd")  # ISO WKB: little-endian, type 1


class ParquetFile:
    """A Parquet file while it is written; a context manager that ends it.

    file: seekable or not, open for writing bytes. root: of the service, for IRIs of properties.
    """

    def __init__(self, file: IO[bytes], datastreams: Sequence[Datastream], root: str) -> None:
        self._schema = schema(datastreams, root)
        self._rows_of = _Constants(datastreams)
        self._writer = pq.ParquetWriter(
            file,
            self._schema,
            compression="zstd",
            compression_level=_COMPRESSION_LEVEL,
            use_dictionary=[
                *_TEXTS,
                "value",
                "quality",
                "longitude",
                "latitude",
                GEOMETRY,
            ],
            column_encoding={
                "time": "DELTA_BINARY_PACKED",
                "interval_start": "DELTA_BINARY_PACKED",
                "datastream_id": "DELTA_BINARY_PACKED",
            },
        )
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, columns: Columns) -> None:
        """Write some observations as a row group."""
        if not len(columns):
            return
        batch = pa.record_batch(list(self._arrays(columns).values()), schema=self._schema)
        self._writer.write_batch(batch, row_group_size=len(columns))
        self.rows += len(columns)

    def _arrays(self, columns: Columns) -> Mapping[str, Any]:
        streams = self._rows_of.streams(columns.datastream_ids)
        places = self._rows_of.places(streams, columns.starts)
        said = columns.corrections.items()
        numbers = {row: number for row, number in said if not isinstance(number, str)}
        texts = {row: text for row, text in said if isinstance(text, str)}
        found = {
            "time": pa.array(columns.times, _TIME),
            "interval_start": pa.array(columns.starts, _TIME),
            "datastream_id": pa.array(columns.datastream_ids),
            **{name: self._rows_of.texts(name, streams) for name in _TEXTS},
            "value": pa.array(columns.values, mask=np.isnan(columns.values)),
            "result": _sparse(columns.results, len(columns), pa.string()),
            "quality": pa.array(columns.qualities),
            "corrected_value": _sparse(numbers, len(columns), pa.float64()),
            "corrected_result": _sparse(texts, len(columns), pa.string()),
            **self._rows_of.geometries(places),
        }
        return {name: found[name] for name in _TYPES}


def _sparse(cells: Mapping[int, float | str], length: int, kind: Any) -> Any:
    """Return a column that has these cells by row, and else nothing."""
    if not cells:
        return pa.nulls(length, kind)
    found: list[float | str | None] = [None] * length
    for row, cell in cells.items():
        found[row] = cell
    return pa.array(found, kind)


class _Constants:
    """What is the same in many rows, to be taken by index."""

    def __init__(self, datastreams: Sequence[Datastream]) -> None:
        ordered = sorted(datastreams, key=lambda each: each.id)
        self._ids = np.array([each.id for each in ordered], np.int32)
        self._texts = [constant_texts(each) for each in ordered]
        self._since: list[npt.NDArray[np.int64]] = []
        self._first_stay: list[int] = []
        points: list[tuple[float, float] | None] = [None]  # index 0: it has no place
        for each in ordered:
            stays = each.thing.stays
            self._first_stay.append(len(points) if stays else 0)
            self._since.append(np.array([unix_microseconds(s.since) for s in stays[1:]], np.int64))
            points += [(stay.place.longitude, stay.place.latitude) for stay in stays]
        self._longitudes = pa.array([point and point[0] for point in points], pa.float64())
        self._latitudes = pa.array([point and point[1] for point in points], pa.float64())
        self._points = pa.array([point and _POINT.pack(1, 1, *point) for point in points])

    def streams(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Return which datastream each row is of, by its index."""
        return np.searchsorted(self._ids, ids).astype(np.int32)

    def places(
        self, streams: npt.NDArray[np.int32], starts: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Return which place each row is of: where the Thing was as its interval began."""
        found = np.zeros(len(streams), np.int64)
        for stream in np.unique(streams):
            if first := self._first_stay[stream]:
                rows = np.flatnonzero(streams == stream)
                found[rows] = first + np.searchsorted(self._since[stream], starts[rows], "right")
        return found

    def texts(self, name: str, streams: npt.NDArray[np.int32]) -> Any:
        """Return a column of texts, each kept once."""
        texts = [each[name] for each in self._texts]
        known = {text: index for index, text in enumerate(dict.fromkeys(texts))}
        indices = np.array([known[text] for text in texts], np.int32)
        return pa.DictionaryArray.from_arrays(indices[streams], pa.array(known, pa.string()))

    def geometries(self, places: npt.NDArray[np.int64]) -> Mapping[str, Any]:
        """Return the columns that say where."""
        indices = pa.array(places)
        return {
            "longitude": self._longitudes.take(indices),
            "latitude": self._latitudes.take(indices),
            GEOMETRY: self._points.take(indices).cast(pa.binary()),
        }


def schema(datastreams: Sequence[Datastream], root: str) -> Any:
    """Return the columns with what they mean: as metadata of the fields, and of the file."""
    return pa.schema(
        [
            pa.field(name, kind, metadata=_field_metadata(name, datastreams, root))
            for name, kind in _TYPES.items()
        ],
        metadata={"geo": json.dumps(_GEO), "kerbstone": json.dumps(_facts(datastreams, root))},
    )


def _field_metadata(name: str, datastreams: Sequence[Datastream], root: str) -> Mapping[str, str]:
    if name == GEOMETRY:
        return {"description": "the place as a point, in CRS84: WKB"}
    found = {"description": MEANINGS[name]}
    units = {each.unit.key: each.unit for each in datastreams}
    properties = {each.observed_property.key: each.observed_property for each in datastreams}
    if name == "value" and len(units) == len(properties) == 1:
        (unit,), (observed,) = units.values(), properties.values()
        found |= {
            "unit": unit.key,
            "unit_name": unit.label,
            "ucum": unit.ucum,
            "qudt": unit.qudt,
            "observed_property": observed.key,
            "observed_property_iri": property_iri(observed.key, root),
            "definition": observed.definition,
            "quantity_kind": observed.quantity_kind,
        }
    return found


def _facts(datastreams: Sequence[Datastream], root: str) -> Json:
    """Return what the file holds, in the form that files of closed days have."""
    return {
        "council": sorted({each.thing.council.tenant for each in datastreams}),
        "observed_properties": {
            each.observed_property.key: {
                "name": each.observed_property.label,
                "definition": each.observed_property.definition,
                "iri": property_iri(each.observed_property.key, root),
            }
            for each in datastreams
        },
        "units": {
            each.unit.key: {
                "ucum": each.unit.ucum,
                "name": each.unit.label,
                "qudt": each.unit.qudt,
            }
            for each in datastreams
        },
        "licences": licences_of(datastreams),
        "attributions": sorted({attribution_of(each) for each in datastreams}),
    }
