"""Council boundaries for the map: which are near, and a still map for browsers without JavaScript.

Pure but for reading the file once. Too coarse to decide in which council a place lies; see
dashboard/data/SOURCE.txt for where they come from.
"""

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from api.pages.presentation import SiteRow
from api.pages.times import Freshness
from dashboard import BOUNDARIES

ATTRIBUTION: Final = (
    "Boundaries: Office for National Statistics, licensed under the Open Government Licence v3.0. "
    "Contains OS data © Crown copyright and database right 2023."
)

WIDTH: Final = 600
HEIGHT: Final = 520

_MARGIN: Final = 0.08  # of the larger side, around what must be seen
_NEIGHBOURHOOD: Final = 1.0  # of each side, around the network: what the map can be moved to
_SMALLEST_DEGREES: Final = 0.02

_MARK_SIZE: Final = 10.0
_LETTER_WIDTH: Final = 9.0
_SAME_DECIMALS: Final = 5  # of a degree: about a metre, as in map.js

Ring = Sequence[Sequence[float]]
Box = tuple[float, float, float, float]  # west, south, east, north


@dataclass(frozen=True, slots=True)
class Boundary:
    """One council's area. rings: outer and inner rings of its polygons, longitude and latitude."""

    gss: str
    name: str
    rings: Sequence[Ring]
    box: Box
    geometry: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """A boundary as SVG path data; `member`: the council is part of the network."""

    name: str
    path: str
    member: bool
    label: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """A place on the still map, and where its name begins, ends or has its middle.

    sites: those at the place; they have one mark.
    """

    sites: Sequence[SiteRow]
    x: float
    y: float
    name_x: float
    name_y: float
    anchor: str

    @property
    def name(self) -> str:
        """What stands beside the mark."""
        return _name_of(self.sites)

    @property
    def status(self) -> Freshness:
        """Fresh if all are, stale if none is better; late for anything between."""
        kinds = {site.status for site in self.sites}
        return kinds.pop() if len(kinds) == 1 else Freshness.LATE


@dataclass(frozen=True, slots=True)
class StillMap:
    """A map in a box of WIDTH by HEIGHT."""

    shapes: Sequence[Shape]
    marks: Sequence[Mark]


@cache
def all_boundaries() -> tuple[Boundary, ...]:
    """Return the boundary of every local authority district of the United Kingdom."""
    document = json.loads(BOUNDARIES.read_bytes())
    return tuple(_boundary(feature) for feature in document["features"])


def _boundary(feature: Mapping[str, Any]) -> Boundary:
    geometry = feature["geometry"]
    polygons = geometry["coordinates"]
    if geometry["type"] == "Polygon":
        polygons = [polygons]
    rings = [ring for polygon in polygons for ring in polygon]
    properties = feature["properties"]
    return Boundary(properties["gss"], properties["name"], rings, _box(rings), geometry)


def _box(rings: Iterable[Ring]) -> Box:
    places = [place for ring in rings for place in ring]
    longitudes = [place[0] for place in places]
    latitudes = [place[1] for place in places]
    return min(longitudes), min(latitudes), max(longitudes), max(latitudes)


def _join(boxes: Collection[Box]) -> Box | None:
    if not boxes:
        return None
    wests, souths, easts, norths = zip(*boxes, strict=True)
    return min(wests), min(souths), max(easts), max(norths)


def _grow(box: Box, share: float) -> Box:
    west, south, east, north = box
    across = max(east - west, _SMALLEST_DEGREES) * share
    up = max(north - south, _SMALLEST_DEGREES) * share
    return west - across, south - up, east + across, north + up


def _touch(one: Box, other: Box) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def nearby(members: Collection[str]) -> dict[str, Any]:
    """Return GeoJSON of the network's councils, by GSS code, and those around them."""
    own = [boundary.box for boundary in all_boundaries() if boundary.gss in members]
    area = _join(own)
    near = _grow(area, _NEIGHBOURHOOD) if area else None
    return {
        "type": "FeatureCollection",
        "attribution": ATTRIBUTION,
        "features": [
            {
                "type": "Feature",
                "properties": {
                    "gss": boundary.gss,
                    "name": boundary.name,
                    "member": boundary.gss in members,
                },
                "geometry": boundary.geometry,
            }
            for boundary in all_boundaries()
            if near and _touch(boundary.box, near)
        ],
    }


def still_map(
    sites: Sequence[SiteRow], members: Collection[str], shown: Collection[str]
) -> StillMap:
    """Draw the sites and the councils `shown`, with what lies around; all by GSS code."""
    boxes = [boundary.box for boundary in all_boundaries() if boundary.gss in shown]
    placed = [
        (site, site.site.longitude, site.site.latitude)
        for site in sites
        if site.site.longitude is not None and site.site.latitude is not None
    ]
    boxes += [(east, north, east, north) for _, east, north in placed]
    area = _join(boxes)
    if area is None:
        return StillMap([], [])
    projection = _Projection(_grow(area, _MARGIN))
    shapes = [
        projection.shape(boundary, member=boundary.gss in members)
        for boundary in all_boundaries()
        if _touch(boundary.box, projection.seen)
    ]
    together: dict[tuple[float, float], list[SiteRow]] = {}
    for site, east, north in placed:
        point = round(east, _SAME_DECIMALS), round(north, _SAME_DECIMALS)
        together.setdefault(point, []).append(site)
    marks = [(here, *projection.place(*point)) for point, here in together.items()]
    return StillMap(sorted(shapes, key=lambda shape: shape.member), _place_names(marks))


def _name_of(sites: Sequence[SiteRow]) -> str:
    names = ", ".join(each.site.name for each in sites)
    return names if len(sites) == 1 else f"{len(sites)} sites: {names}"


def _place_names(marks: Sequence[tuple[Sequence[SiteRow], float, float]]) -> list[Mark]:
    """Put each name on the first side of its mark where it covers no mark and no other name."""
    taken: list[Box] = [
        (x - _MARK_SIZE, y - _MARK_SIZE, x + _MARK_SIZE, y + _MARK_SIZE) for _, x, y in marks
    ]
    named = []
    for sites, x, y in marks:
        width = _LETTER_WIDTH * len(_name_of(sites))
        sides = [
            (x + 14, y + 5, "start", x + 13),
            (x - 14, y + 5, "end", x - 13 - width),
            (x, y - 15, "middle", x - width / 2),
            (x, y + 25, "middle", x - width / 2),
        ]
        boxes = [(left, at - 12, left + width, at + 3) for _, at, _, left in sides]
        free = (i for i, box in enumerate(boxes) if not any(_touch(box, other) for other in taken))
        chosen = next(free, 0)
        taken.append(boxes[chosen])
        name_x, name_y, anchor, _ = sides[chosen]
        named.append(Mark(sites, x, y, name_x, name_y, anchor))
    return named


class _Projection:
    """Plate carrée at the middle latitude: true enough over one region."""

    def __init__(self, box: Box) -> None:
        west, south, east, north = box
        self._narrow = math.cos(math.radians((south + north) / 2))
        across, up = (east - west) * self._narrow, north - south
        self._scale = min(WIDTH / across, HEIGHT / up)
        self._west = west - (WIDTH / self._scale - across) / 2 / self._narrow
        self._north = north + (HEIGHT / self._scale - up) / 2
        self.seen = (
            self._west,
            self._north - HEIGHT / self._scale,
            self._west + WIDTH / self._scale / self._narrow,
            self._north,
        )

    def place(self, longitude: float, latitude: float) -> tuple[float, float]:
        x = (longitude - self._west) * self._narrow * self._scale
        y = (self._north - latitude) * self._scale
        return round(x, 1), round(y, 1)

    def shape(self, boundary: Boundary, *, member: bool) -> Shape:
        path = "".join(
            "M" + "L".join("{:g} {:g}".format(*self.place(*place[:2])) for place in ring) + "Z"
            for ring in boundary.rings
        )
        west, south, east, north = boundary.box
        return Shape(
            boundary.name, path, member, self.place((west + east) / 2, (south + north) / 2)
        )
