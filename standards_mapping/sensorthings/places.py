"""GeoJSON by which clients say where something is: a geometry, or a Feature around one (RFC 7946).

A Feature is kept as it is given; wherever a geometry is needed it is the one in it. How large it
may be, and that it is JSON at all, is checked in `drafted_values`.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from shapely.errors import GEOSException
from shapely.geometry import shape

_GEOMETRIES: Final = (
    "Point",
    "MultiPoint",
    "LineString",
    "MultiLineString",
    "Polygon",
    "MultiPolygon",
)


def check_place(value: Mapping[str, Any]) -> None:
    """Return if a JSON object is a geometry, or a Feature with one, in WGS 84 degrees.

    Raises:
        ValueError: it is something else; the message says what to send instead.
    """
    if value.get("type") == "Feature":
        _check_feature(value)
    _check_geometry(geometry_in(value))


def geometry_in(kept: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the geometry of a place: itself, or that of the Feature that it is."""
    found: Mapping[str, Any] = kept["geometry"] if kept.get("type") == "Feature" else kept
    return found


def point_inside(kept: Mapping[str, Any]) -> tuple[float, float]:
    """Return the longitude and latitude of a point inside a place that was checked."""
    point = shape(geometry_in(kept)).representative_point()
    return point.x, point.y


def _check_feature(feature: Mapping[str, Any]) -> None:
    key = feature.get("id", "")
    wrong = None
    if not isinstance(feature.get("geometry"), dict):
        wrong = "a Feature without a geometry is nowhere: give it one as its member geometry"
    elif not isinstance(feature.get("properties"), dict | None):
        wrong = "the properties of a Feature are a JSON object or null (RFC 7946)"
    elif isinstance(key, bool) or not isinstance(key, str | int | float):
        wrong = "the id of a Feature is a text or a number (RFC 7946)"
    if wrong is not None:
        raise ValueError(wrong)


def _check_geometry(value: Mapping[str, Any]) -> None:
    kind = value.get("type")
    if kind == "FeatureCollection":
        raise ValueError(
            "a FeatureCollection is several places: send one Feature or geometry, each of them as"
            " an entity of its own"
        )
    if kind not in _GEOMETRIES:
        raise ValueError(
            f"type {repr(kind)[:80]} is not one of {', '.join(_GEOMETRIES)}, nor a Feature of one"
        )
    try:
        geometry = shape(value)
        bounds = geometry.bounds
    except (GEOSException, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError("its coordinates cannot be read") from error
    if geometry.is_empty or not all(map(math.isfinite, bounds)):
        raise ValueError("has no coordinates")
    west, south, east, north = bounds
    if west < -180 or east > 180 or south < -90 or north > 90:  # noqa: PLR2004  # degrees
        raise ValueError("its coordinates are not longitude and latitude in degrees (WGS 84)")
    if not geometry.is_valid:
        raise ValueError("is not a valid geometry: lines of it cross")
