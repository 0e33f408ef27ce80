"""The files of an export: Parquet by council and day, and a manifest of what they hold.

    council=camden/datastreams.parquet
    council=camden/day=2026-06-01/observations.parquet
    manifest.json

Names are as Hive has them, so that DuckDB, Spark and Trino read council and day from the path.
Every file is whole or not there. What is in the database is `storage.archive.export`'s business.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from runtime.atomic_files import write_atomically
from standards_mapping.units import find_unit
from storage.archive.export import ClosedDay, DayPart, ExportedDatastream, ExportError

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
COMPRESSION_LEVEL: Final = 3

_COUNCIL: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_HASHED_BYTES: Final = 1 << 20
_MODE: Final = 0o640
_TEXTS: Final = ("datastream", "thing", "sensor", "observed_property", "unit")
_MEANINGS: Final = {
    "time": "phenomenon time, UTC; of a mean the end of its interval",
    "datastream_id": "id in the database the export was made from; see datastreams.parquet",
    "datastream": "URN of the sensor, a colon, and the short name in SenML",
    "thing": "URN of the Thing (OGC 18-088) that the datastream belongs to",
    "sensor": "URN of the sensor",
    "observed_property": "key of the observed property; its definition is in the file's metadata",
    "unit": "key of the unit that value is in; its UCUM code is in the file's metadata",
    "value": "the result; null where it is no number",
    "result": "the result as text where it is a text or a truth value; else null",
    "quality": "sum of flags: 1 out of range, 2 clock unsynchronised, 4 replayed, 8 suspect, "
    "16 warming up, 32 time reconstructed, 64 corrected",
    "corrected_value": "what the newest correction says instead of value; null if there is none",
    "corrected_result": "what the newest correction says instead of result; null likewise",
}
_TYPES: Final = {
    "time": pa.timestamp("us", tz="UTC"),
    "datastream_id": pa.int32(),
    **dict.fromkeys(_TEXTS, pa.dictionary(pa.int32(), pa.string())),
    "value": pa.float64(),
    "result": pa.string(),
    "quality": pa.int16(),
    "corrected_value": pa.float64(),
    "corrected_result": pa.string(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedDay:
    """A file of observations. version, changed_at: of the day when it was read.

    file: below the directory. sha256: in hexadecimal. thinned: read after some were dropped.
    """

    council: str
    day: date
    version: int
    changed_at: datetime
    thinned: bool
    file: str
    rows: int
    bytes: int
    sha256: str


class Export:
    """A directory of exported days; a context manager that keeps a second export out.

    days: what the manifest says, by council and day.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.days: dict[tuple[str, date], ExportedDay] = {}

    def read_manifest(self) -> None:
        """Take up what is there.

        Raises:
            ExportError: the manifest is not one of ours.
        """
        path = self.directory / MANIFEST
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["format"] != FORMAT:
                raise ExportError(f"{path} has form {document['format']}, known here: {FORMAT}")
            days = [_day_from_json(row) for row in document["days"]]
        except FileNotFoundError:
            return
        except (KeyError, ValueError, TypeError) as error:
            raise ExportError(f"{path} is no manifest of an export: {error!r}") from error
        self.days = {(each.council, each.day): each for each in days}

    def write_manifest(self) -> None:
        """Write what there is now."""
        days = [_day_to_json(self.days[key]) for key in sorted(self.days)]
        document = {"format": FORMAT, "days": days}
        text = json.dumps(document, indent=1) + "\n"
        write_atomically(self.directory / MANIFEST, text.encode(), _MODE)

    def is_current(self, day: ClosedDay) -> bool:
        """Return whether the file of a day holds all that was stored of it."""
        found = self.days.get((day.council, day.day))
        return found is not None and (found.version, found.changed_at) == (
            day.version,
            day.changed_at,
        )

    @contextmanager
    def day_file(
        self, day: ClosedDay, datastreams: Sequence[ExportedDatastream]
    ) -> Iterator["DayFile"]:
        """Write a day's file for the length of the block; then it is in `days`."""
        name = _file_name(day.council, day.day)
        file = DayFile(self.directory / name, day, datastreams)
        with _atomic(self.directory / name) as partial:
            file.open(partial)
            try:
                yield file
            finally:
                file.close()
            written = ExportedDay(
                council=day.council,
                day=day.day,
                version=day.version,
                changed_at=day.changed_at,
                thinned=day.thinned,
                file=name,
                rows=file.rows,
                bytes=partial.stat().st_size,
                sha256=sha256_of(partial),
            )
        self.days[day.council, day.day] = written

    def write_datastreams(self, council: str, rows: Sequence[ExportedDatastream]) -> None:
        """Write what the datastreams of a council are."""
        columns = {
            field.name if field.name != "id" else "datastream_id": [
                getattr(row, field.name) for row in rows
            ]
            for field in fields(ExportedDatastream)
        }
        with _atomic(self.directory / f"council={council}" / "datastreams.parquet") as partial:
            pq.write_table(pa.table(columns, schema=_DATASTREAMS), partial, compression="zstd")


_DATASTREAMS: Final = pa.schema(
    [
        ("datastream_id", pa.int32()),
        *(
            (name, pa.string())
            for name in (
                "datastream",
                "name",
                "description",
                "thing",
                "thing_name",
                "sensor",
                "sensor_name",
                "observed_property",
                "observed_property_name",
                "definition",
                "unit",
                "observation_type",
            )
        ),
        ("period_seconds", pa.int32()),
        ("averaging_seconds", pa.int32()),
        *(
            (name, pa.float64())
            for name in (
                "valid_minimum",
                "valid_maximum",
                "longitude",
                "latitude",
            )
        ),
    ]
)


class DayFile:
    """A file of one council's day while it is written. rows: so far."""

    def __init__(
        self, path: Path, day: ClosedDay, datastreams: Sequence[ExportedDatastream]
    ) -> None:
        self._path = path
        self._day = day
        self._datastreams = datastreams
        self._ids = np.array([each.id for each in datastreams], np.int32)
        self._writer: Any = None
        self.rows = 0

    def open(self, partial: Path) -> None:
        """Begin the file under a name of no consequence."""
        schema = _schema(self._day, self._datastreams)
        self._writer = pq.ParquetWriter(
            partial,
            schema,
            compression="zstd",
            compression_level=COMPRESSION_LEVEL,
            use_dictionary=[*_TEXTS, "value", "quality"],
            column_encoding={"time": "DELTA_BINARY_PACKED", "datastream_id": "DELTA_BINARY_PACKED"},
        )

    def write(self, part: DayPart) -> None:
        """Write some of the day as a row group."""
        places = np.searchsorted(self._ids, part.datastream_ids).astype(np.int32)
        columns = {
            "time": pa.array(part.times, _TYPES["time"]),
            "datastream_id": pa.array(part.datastream_ids),
            **{name: self._texts(name, places) for name in _TEXTS},
            "value": pa.array(part.values, mask=np.isnan(part.values)),
            "result": _sparse(part.results, len(part), pa.string()),
            "quality": pa.array(part.qualities),
            "corrected_value": _sparse(part.corrected_values, len(part), pa.float64()),
            "corrected_result": _sparse(part.corrected_results, len(part), pa.string()),
        }
        batch = pa.record_batch(list(columns.values()), schema=self._writer.schema)
        self._writer.write_batch(batch, row_group_size=len(part))
        self.rows += len(part)

    def _texts(self, name: str, places: Any) -> Any:
        """Return a column of texts, each kept once."""
        texts = [getattr(each, name) for each in self._datastreams]
        known = {text: index for index, text in enumerate(dict.fromkeys(texts))}
        indices = np.array([known[text] for text in texts], np.int32)
        return pa.DictionaryArray.from_arrays(indices[places], pa.array(known, pa.string()))

    def close(self) -> None:
        """End the file."""
        self._writer.close()


def _sparse(cells: Mapping[int, float] | Mapping[int, str], length: int, kind: Any) -> Any:
    """Return a column that has these cells by row, and else nothing."""
    found: list[float | str | None] = [None] * length
    for row, cell in cells.items():
        found[row] = cell
    return pa.array(found, kind)


def _schema(day: ClosedDay, datastreams: Sequence[ExportedDatastream]) -> Any:
    """Return the columns, with what they mean."""
    units = sorted({each.unit for each in datastreams})
    facts = {
        "council": day.council,
        "day": day.day.isoformat(),
        "observed_properties": {
            each.observed_property: {
                "name": each.observed_property_name,
                "definition": each.definition,
            }
            for each in datastreams
        },
        "units": {unit: _unit(unit) for unit in units},
    }
    columns = [
        pa.field(name, kind, metadata={"description": _MEANINGS[name]})
        for name, kind in _TYPES.items()
    ]
    return pa.schema(columns, metadata={"kerbstone": json.dumps(facts)})


def _unit(key: str) -> Mapping[str, str]:
    unit = find_unit(key)
    return {"ucum": unit.ucum, "name": unit.label}


@contextmanager
def _atomic(path: Path) -> Iterator[Path]:
    """Give a name to write by; in the end the file is at `path`, whole and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield partial
        partial.chmod(_MODE)
        for place in (partial, path.parent):
            descriptor = os.open(place, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASHED_BYTES):
            found.update(block)
    return found.hexdigest()


def differences(export: Export, day: ExportedDay) -> str | None:
    """Return how a file differs from what the manifest says; None where it does not."""
    path = export.directory / day.file
    try:
        size = path.stat().st_size
        if size != day.bytes:
            return f"{day.file}: {size} bytes, {day.bytes} were written"
        if sha256_of(path) != day.sha256:
            return f"{day.file}: its SHA-256 is another one"
        rows = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowInvalid) as error:
        return f"{day.file}: cannot be read: {error}"
    return None if rows == day.rows else f"{day.file}: {rows} rows, {day.rows} were written"


def strays(export: Export) -> list[str]:
    """Return files of observations that the manifest does not name."""
    named = {day.file for day in export.days.values()}
    found = (
        path.relative_to(export.directory).as_posix()
        for path in export.directory.glob("council=*/day=*/*.parquet")
    )
    return sorted(set(found) - named)


def _day_to_json(day: ExportedDay) -> dict[str, Any]:
    return asdict(day) | {"day": day.day.isoformat(), "changed_at": day.changed_at.isoformat()}


def _file_name(council: str, day: date) -> str:
    return f"council={council}/day={day}/observations.parquet"


def _day_from_json(row: dict[str, Any]) -> ExportedDay:
    """Return a day of the manifest; it names the file that we would, and none elsewhere."""
    day = replace(
        ExportedDay(**row),
        day=date.fromisoformat(row["day"]),
        changed_at=datetime.fromisoformat(row["changed_at"]),
    )
    if not _COUNCIL.fullmatch(day.council) or day.file != _file_name(day.council, day.day):
        raise ValueError(f"{day.file!r} is no file of council {day.council!r} and day {day.day}")
    if type(day.rows) is not int or type(day.bytes) is not int:
        raise TypeError(f"{day.file}: rows and bytes are numbers")
    return day
