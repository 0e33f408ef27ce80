"""Observations as GeoJSON (RFC 7946): a point for each, in CRS84. Pure.

A Feature's properties are the columns of `standards_mapping.open_columns`, with what a map's
legend needs beside them; its place is where its Thing was as the interval began.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from standards_mapping.linked_data import Json, instant
from standards_mapping.observation import Observation
from standards_mapping.open_columns import MEANINGS, OpenRow, open_rows
from standards_mapping.registry import Datastream
from standards_mapping.sensorthings.model import ObservationId

MEDIA_TYPE: Final = "application/geo+json"

_PLACE: Final = ("longitude", "latitude")


def feature_collection(
    datastreams: Iterable[Datastream], observations: Iterable[Observation]
) -> Json:
    """Return a FeatureCollection with a Feature for each observation."""
    return {
        "type": "FeatureCollection",
        "features": list(features(list(datastreams), observations)),
    }


def features(
    datastreams: Iterable[Datastream], observations: Iterable[Observation]
) -> Iterator[Json]:
    """Yield a Feature for each observation; without a place its geometry is null."""
    chosen = {each.id: each for each in datastreams}
    for row in open_rows(chosen.values(), observations):
        yield _feature(row, chosen[row.datastream_id])


def _feature(row: OpenRow, datastream: Datastream) -> Json:
    point: Json | None = None
    if row.longitude is not None and row.latitude is not None:
        point = {"type": "Point", "coordinates": [row.longitude, row.latitude]}
    properties: Json = {name: getattr(row, name) for name in MEANINGS if name not in _PLACE}
    properties["time"] = instant(row.time)
    properties["interval_start"] = instant(row.interval_start)
    properties["property_name"] = datastream.observed_property.label
    properties["unit_name"] = datastream.unit.label
    properties["ucum"] = datastream.unit.ucum
    return {
        "type": "Feature",
        "id": str(ObservationId.of(row.datastream_id, row.time)),
        "geometry": point,
        "properties": properties,
    }
