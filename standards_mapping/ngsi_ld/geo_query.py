"""Geo-queries (ETSI GS CIM 009, clause 4.10): where an entity is, against a reference geometry.

Pure. Geometries are GeoJSON, CRS84. Distances are metres on the WGS 84 ellipsoid, between the
nearest points of the two geometries; the other relations are those of the simple features, on the
plane of longitude and latitude.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import shapely
from pyproj import Geod
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry
from shapely.ops import nearest_points

from standards_mapping.ngsi_ld.errors import BadRequestDataError, TooComplexQueryError
from standards_mapping.ngsi_ld.expanded import Entity

GEOMETRIES: Final[Mapping[str, int]] = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}
"""How deep a position is in the coordinates of each kind of geometry."""

MOST_POSITIONS: Final = 10_000

_LENGTHS: Final = (2, 3)  # of a position; the height is not looked at
_FAR_EAST: Final = 180.0
_FAR_NORTH: Final = 90.0
_EARTH: Final = Geod(ellps="WGS84")
_NEAR: Final = re.compile(r"near;(maxDistance|minDistance)==(\d+(?:\.\d+)?)")
_RELATIONS: Final[Mapping[str, Callable[[BaseGeometry, BaseGeometry], bool]]] = {
    "within": lambda one, other: bool(one.within(other)),
    "contains": lambda one, other: bool(one.contains(other)),
    "intersects": lambda one, other: bool(one.intersects(other)),
    "equals": lambda one, other: bool(one.equals(other)),
    "disjoint": lambda one, other: bool(one.disjoint(other)),
    "overlaps": lambda one, other: bool(one.overlaps(other)),
}


@dataclass(frozen=True)
class GeoQuery:
    """A relation, seen from the entity, to a reference geometry.

    relation: a key of the relations, maxDistance or minDistance. metres: of the last two.
    geoproperty: IRIs that the attribute compared may have.
    """

    relation: str
    metres: float
    reference: BaseGeometry
    geoproperty: tuple[str, ...]

    def holds(self, entity: Entity) -> bool:
        """Return whether one of the entity's geometries stands in the relation; none: no."""
        return any(
            self._related(one.value)
            for iri in self.geoproperty
            for one in entity.attributes.get(iri, ())
            if one.kind == "GeoProperty"
        )

    def _related(self, geometry: Mapping[str, Any]) -> bool:
        place = shape(geometry)
        if place.is_empty:
            return False
        compare = _RELATIONS.get(self.relation)
        if compare is not None:
            return compare(place, self.reference)
        distance = _metres(place, self.reference)
        if self.relation == "maxDistance":
            return distance <= self.metres
        return distance >= self.metres


def parse_geo_query(
    georel: str, geometry: str, coordinates: Any, geoproperty: tuple[str, ...]
) -> GeoQuery:
    """Return a geo-query; coordinates: as JSON, or its text. geoproperty: IRIs.

    Raises:
        BadRequestDataError: a part is missing, unknown or no geometry.
        TooComplexQueryError: the geometry has more positions than are looked at.
    """
    if not (georel and geometry and coordinates not in ("", None)):
        raise BadRequestDataError("a geo-query has georel, geometry and coordinates")
    relation, metres = _relation(georel)
    if geometry not in GEOMETRIES:
        raise BadRequestDataError(
            f"{geometry!r} is no geometry that is understood: {', '.join(GEOMETRIES)}"
        )
    if isinstance(coordinates, str):
        try:
            coordinates = json.loads(coordinates)
        except (ValueError, RecursionError) as error:
            raise BadRequestDataError("coordinates are no JSON array") from error
    if _positions(coordinates, GEOMETRIES[geometry]) > MOST_POSITIONS:
        raise TooComplexQueryError(f"coordinates have more than {MOST_POSITIONS} positions")
    return GeoQuery(relation, metres, _reference(geometry, coordinates), geoproperty)


def _relation(georel: str) -> tuple[str, float]:
    near = _NEAR.fullmatch(georel)
    if near is not None:
        return near[1], float(near[2])
    if georel in _RELATIONS:
        return georel, 0.0
    raise BadRequestDataError(
        f"georel is {georel!r}: give near;maxDistance==METRES, near;minDistance==METRES or one of"
        f" {', '.join(_RELATIONS)}"
    )


def _positions(coordinates: Any, depth: int) -> int:
    """Return how many positions there are; refuses whatever is not made of numbers."""
    if not isinstance(coordinates, list) or not coordinates:
        raise BadRequestDataError("coordinates are no GeoJSON coordinates of this geometry")
    if depth:
        return sum(_positions(part, depth - 1) for part in coordinates)
    if len(coordinates) not in _LENGTHS or not all(
        isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one)
        for one in coordinates
    ):
        raise BadRequestDataError(f"{coordinates} is no position: give [longitude, latitude]")
    if abs(coordinates[0]) > _FAR_EAST or abs(coordinates[1]) > _FAR_NORTH:
        raise BadRequestDataError(
            f"{coordinates} is no position on Earth: give [longitude, latitude] in degrees"
        )
    return 1


def _reference(geometry: str, coordinates: Any) -> BaseGeometry:
    try:
        found = shape({"type": geometry, "coordinates": coordinates})
    except (ValueError, TypeError, IndexError, shapely.errors.ShapelyError) as error:
        raise BadRequestDataError(f"coordinates are not those of a {geometry}") from error
    if not found.is_valid:
        raise BadRequestDataError(f"the {geometry} is not valid: {shapely.is_valid_reason(found)}")
    return found


def _metres(one: BaseGeometry, other: BaseGeometry) -> float:
    here, there = nearest_points(one, other)
    _, _, distance = _EARTH.inv(here.x, here.y, there.x, there.y)
    return float(distance)
