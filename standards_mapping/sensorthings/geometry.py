"""Geometries of SensorThings expressions: literals, and the geospatial functions over them.

OGC 18-088, Table 23: the functions geo.* of OData and st_* of Simple Features (ISO 19125-1).
Positions are longitude and latitude in WGS 84, as in GeoJSON. Relations are those of the plane of
longitude and latitude: an edge is straight on it, and none crosses the meridian of 180°. Where the
geometries of a database come from lives in `storage`.

Distances and lengths are in degrees, the unit of that reference system, as the standard's
reference to OData has it and as other services answer; in metres on the ellipsoid with a further
argument, 'm', which is an extension.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import shapely
from pyproj import Geod

from standards_mapping.sensorthings.errors import QueryError

Shapes: TypeAlias = Any
"""A one-dimensional array of geometries of shapely; None where there is none."""

Values: TypeAlias = list[float | bool | None]

RELATIONS: Final[Mapping[str, Callable[[Shapes, Shapes], Any]]] = {
    "geo.intersects": shapely.intersects,
    "st_equals": shapely.equals,
    "st_disjoint": shapely.disjoint,
    "st_touches": shapely.touches,
    "st_within": shapely.within,
    "st_overlaps": shapely.overlaps,
    "st_crosses": shapely.crosses,
    "st_intersects": shapely.intersects,
    "st_contains": shapely.contains,
}
"""Those of two geometries that hold or do not."""

DISTANCE: Final = "geo.distance"
LENGTH: Final = "geo.length"
RELATE: Final = "st_relate"

GEOSPATIAL: Final = {  # name: fewest and most arguments
    DISTANCE: (2, 3),
    LENGTH: (1, 2),
    RELATE: (3, 3),
    **dict.fromkeys(RELATIONS, (2, 2)),
}

_SRID: Final = re.compile(r"\s*SRID\s*=\s*(\d+)\s*;", re.IGNORECASE)
_OUR_SRID: Final = 4326
_PATTERN: Final = re.compile(r"[TF*012]{9}")
_ELLIPSOID: Final = Geod(ellps="WGS84")


@dataclass(frozen=True, slots=True)
class Geometry:
    """A geometry written out in an expression: its text, and what that means."""

    text: str
    shape: Any


@dataclass(frozen=True, slots=True)
class Geometries:
    """Geometries that are kept: an id each, and its shape."""

    ids: Sequence[int] = ()
    shapes: Shapes = field(default_factory=lambda: np.empty(0, dtype=object))


def parse_wkt(text: str) -> Geometry:
    """Return the geometry of a literal: well-known text, SRID=4326; before it or not.

    Raises:
        QueryError: not well-known text, not valid, outside the world, or in another system.
    """
    srid = _SRID.match(text)
    if srid is not None and int(srid[1]) != _OUR_SRID:
        raise QueryError(
            f"SRID={srid[1]} is not supported: write longitude and latitude in WGS 84, which is"
            f" SRID={_OUR_SRID} and may be left out"
        )
    written = text[srid.end() :] if srid is not None else text
    try:
        shape = shapely.from_wkt(written)
    except (shapely.errors.ShapelyError, NotImplementedError) as error:
        raise QueryError(f"{written[:60]!r} is not a geometry: {_reason(error)}") from error
    if not shapely.is_valid(shape):
        raise QueryError(f"{written[:60]!r} is not valid: {shapely.is_valid_reason(shape)}")
    west, south, east, north = shapely.bounds(shape)
    if west < -180 or east > 180 or south < -90 or north > 90:  # noqa: PLR2004 - the world
        raise QueryError(f"{written[:60]!r} is outside the world: longitude stands first")
    return Geometry(text, shape)


def parse_geojson(texts: Sequence[str]) -> Shapes:
    """Return the geometries of GeoJSON texts: geometries or features; None where it is neither.

    One that is not valid, such as a polygon that crosses itself, is made so.
    """
    shapes = shapely.from_geojson(np.array(texts, dtype=object), on_invalid="ignore")
    invalid = ~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)
    if invalid.any():
        shapes[invalid] = shapely.make_valid(shapes[invalid])
    return shapes


def shapes_of(geometries: Sequence[Geometry]) -> Shapes:
    """Return literals as an array."""
    found = np.empty(len(geometries), dtype=object)
    found[:] = [geometry.shape for geometry in geometries]
    return found


def relate(function: str, left: Shapes, right: Shapes, *, pattern: str | None = None) -> Values:
    """Return for each pair whether the relation holds; None where either geometry is missing.

    left, right: as many as one another, or one for all of the other. pattern: of st_relate, the
    nine letters of a DE-9IM matrix.

    Raises:
        QueryError: the pattern cannot be read, or the geometries cannot be related.
    """
    if pattern is not None and not _PATTERN.fullmatch(pattern):
        raise QueryError(f"{pattern[:20]!r} is not nine of T, F, *, 0, 1 and 2")
    for shape in (left, right):
        shapely.prepare(shape)
    try:
        if pattern is not None:
            holds = shapely.relate_pattern(left, right, pattern)
        else:
            holds = RELATIONS[function](left, right)
    except shapely.errors.GEOSException as error:
        raise QueryError(f"{function} of these geometries: {_reason(error)}") from error
    missing = shapely.is_missing(left) | shapely.is_missing(right)
    return [None if gone else bool(held) for held, gone in zip(holds, missing, strict=True)]


def distance(left: Shapes, right: Shapes, *, metres: bool) -> Values:
    """Return for each pair how far apart its nearest points are; None where there are none.

    left, right: as many as one another, or one for all of the other. In degrees. In metres on the
    ellipsoid: between points exactly; of lines and areas the nearest points are found on a plane
    true to scale at the latitude of the one, which is good to a few parts in a thousand within
    some hundred kilometres.
    """
    if not metres:
        return _numbers(shapely.distance(left, right))
    scale = _scale(left if len(left) == 1 else right)
    nearest = shapely.shortest_line(_stretched(left, scale), _stretched(right, scale))
    found = np.full(len(nearest), np.nan)
    known = ~(shapely.is_missing(nearest) | shapely.is_empty(nearest))
    ends = shapely.get_coordinates(nearest[known]).reshape(-1, 2, 2) / (scale, 1)
    _, _, found[known] = _ELLIPSOID.inv(ends[:, 0, 0], ends[:, 0, 1], ends[:, 1, 0], ends[:, 1, 1])
    return _numbers(found)


def length(shapes: Shapes, *, metres: bool) -> Values:
    """Return the length of each line; nought for points and, as in OData, for areas.

    In degrees, or in metres along geodesics of the ellipsoid.
    """
    lines = np.isin(shapely.get_type_id(shapes), [1, 2, 5])  # LineString, LinearRing, Multi-
    found = np.where(shapely.is_missing(shapes), np.nan, 0.0)
    if metres:
        found[lines] = [_ELLIPSOID.geometry_length(shape) for shape in shapes[lines]]
    else:
        found[lines] = shapely.length(shapes[lines])
    return _numbers(found)


def _scale(shapes: Shapes) -> float:
    """Return how long a degree of longitude is there, in degrees of latitude."""
    bounds = shapely.bounds(shapes)[0]
    return float(np.cos(np.radians((bounds[1] + bounds[3]) / 2))) if np.isfinite(bounds[1]) else 1.0


def _stretched(shapes: Shapes, scale: float) -> Shapes:
    flat: Shapes = shapely.force_2d(shapes)
    return shapely.transform(flat, lambda positions: positions * (scale, 1))


def _numbers(found: Any) -> Values:
    return [None if np.isnan(value) else float(value) for value in found]


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0].strip()
