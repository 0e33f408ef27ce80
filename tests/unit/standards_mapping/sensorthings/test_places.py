"""Places as clients send them: geometries, and Features around one."""

from typing import Any

import pytest

from standards_mapping.sensorthings.places import check_place, geometry_in, point_inside

POINT = {"type": "Point", "coordinates": [-0.1, 51.5]}
SQUARE = {"type": "Polygon", "coordinates": [[[0, 50], [2, 50], [2, 52], [0, 52], [0, 50]]]}


@pytest.mark.parametrize("geometry", [POINT, SQUARE])
@pytest.mark.parametrize(
    "members",
    [
        {},
        {"properties": None},
        {"id": 7, "properties": {"geometry": None, "coordinates": [170, 80]}},
    ],
)
def test_a_feature_is_where_its_geometry_is(geometry: Any, members: Any) -> None:
    feature = {"type": "Feature", "geometry": geometry} | members
    for place in (geometry, feature):
        check_place(place)
        assert geometry_in(place) == geometry
        assert point_inside(place) == point_inside(geometry)


@pytest.mark.parametrize(
    "feature",
    [
        {},
        {"geometry": "x"},
        {"geometry": {}},
        {"geometry": POINT, "properties": "x"},
        {"geometry": POINT, "id": None},
        {"geometry": POINT, "id": True},
        {"geometry": {"type": "Feature", "geometry": POINT}},
        {"geometry": {"type": "FeatureCollection", "features": []}},
    ],
)
def test_what_is_no_feature_of_a_place_is_refused(feature: Any) -> None:
    with pytest.raises(ValueError, match="eature"):
        check_place({"type": "Feature"} | feature)
