"""Geometries of expressions: what is read, what is refused, and what the functions give."""

import json
import math

import pytest

from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.expression import Literal, parse_filter
from standards_mapping.sensorthings.geometry import (
    RELATIONS,
    Geometry,
    Shapes,
    distance,
    length,
    parse_geojson,
    parse_wkt,
    relate,
    shapes_of,
)

EQUATOR_METRES = 6_378_137.0
ECCENTRICITY_SQUARED = 0.00669437999014
SQUARE = "POLYGON ((0 0, 2 0, 2 2, 0 2, 0 0))"


def shapes(*texts: str) -> Shapes:
    return shapes_of([parse_wkt(text) for text in texts])


@pytest.mark.parametrize(
    "text",
    [
        *("POINT (30 10)", "point(30 10)", "POINT Z (30 10 5)", "LINESTRING (0 0, 1 1)", SQUARE),
        "POLYGON ((0 0, 3 0, 3 3, 0 3, 0 0), (1 1, 1 2, 2 2, 2 1, 1 1))",
        *("MULTIPOINT ((0 0), (1 1))", "MULTILINESTRING ((0 0, 1 1), (2 2, 3 3))"),
        "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))",
        "GEOMETRYCOLLECTION (POINT (0 0), LINESTRING (0 0, 1 1))",
        *("SRID=4326;POINT (30 10)", "POINT EMPTY"),
    ],
)
def test_every_type_of_well_known_text_is_a_literal(text: str) -> None:
    for kind in ("geography", "geometry"):
        found = parse_filter(f"{kind}'{text}'")
        assert isinstance(found, Literal)
        assert isinstance(found.value, Geometry)
        assert found.value.text == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("POINT", "not a geometry"),
        ("POINT (1)", "not a geometry"),
        ("CIRCULARSTRING (0 0, 1 1, 2 0)", "not a geometry"),
        ("POLYGON ((0 0, 1 1, 1 0, 0 1, 0 0))", "Self-intersection"),
        ("POINT (0 91)", "outside the world"),
        ("SRID=27700;POINT (530000 180000)", "SRID=27700"),
    ],
)
def test_what_is_no_geometry_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(QueryError, match=reason):
        parse_wkt(text)


def test_geojson_is_read_as_geometry_or_feature_and_made_valid() -> None:
    point = {"type": "Point", "coordinates": [1, 2]}
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    feature = {"type": "Feature", "geometry": point, "properties": None}
    texts = [json.dumps(each) for each in (point, feature, bow_tie, {"a": 1}, "text", None)]
    one, other, mended, *rest = parse_geojson(texts)
    assert (one.wkt, other.wkt) == ("POINT (1 2)", "POINT (1 2)")
    assert mended.is_valid
    assert rest == [None, None, None]


def test_the_relations_are_those_of_simple_features() -> None:
    others = shapes(
        *("POINT (1 1)", "POINT (2 1)", "POINT (3 3)", "LINESTRING (1 1, 3 1)"),
        *("POLYGON ((1 1, 3 1, 3 3, 1 3, 1 1))", SQUARE),
    )
    inside, edge, outside, line, corner, same = range(6)
    expected = {
        "geo.intersects": {inside, edge, line, corner, same},
        "st_intersects": {inside, edge, line, corner, same},
        "st_disjoint": {outside},
        "st_equals": {same},
        "st_touches": {edge},
        "st_within": {inside, same},
        "st_contains": set(),
        "st_overlaps": {corner},
        "st_crosses": {line},
    }
    expected["st_contains"] = {same}
    assert set(expected) == set(RELATIONS)
    for name, holding in expected.items():
        found = relate(name, others, shapes(SQUARE))
        assert {at for at, holds in enumerate(found) if holds} == holding, name
    assert relate("st_relate", others, shapes(SQUARE), pattern="T*F**F***") == [
        *(True, False, False, False, False, True)
    ]


def test_a_missing_geometry_gives_null() -> None:
    missing = parse_geojson(["null"])
    origin = shapes("POINT (0 0)")
    assert relate("st_within", missing, origin) == [None]
    assert distance(missing, origin, metres=False) == [None]
    assert distance(missing, origin, metres=True) == [None]
    assert length(missing, metres=True) == [None]
    assert distance(shapes("POINT EMPTY"), origin, metres=True) == [None]


def test_distances_are_in_degrees_or_on_the_ellipsoid_in_metres() -> None:
    bloomsbury, kensington = shapes("POINT (-0.125889 51.52229)", "POINT (-0.213492 51.52105)")
    one, other = shapes_of([Geometry("", bloomsbury)]), shapes_of([Geometry("", kensington)])
    assert distance(one, other, metres=False) == [
        pytest.approx(math.hypot(0.213492 - 0.125889, 51.52229 - 51.52105))
    ]
    middle = math.radians((51.52229 + 51.52105) / 2)
    across, along = math.radians(0.213492 - 0.125889), math.radians(51.52229 - 51.52105)
    flat = 1 - ECCENTRICITY_SQUARED * math.sin(middle) ** 2
    prime = EQUATOR_METRES / math.sqrt(flat)  # the radii of curvature at that latitude
    meridian = EQUATOR_METRES * (1 - ECCENTRICITY_SQUARED) / flat**1.5
    expected = math.hypot(prime * math.cos(middle) * across, meridian * along)
    assert distance(one, other, metres=True) == [pytest.approx(expected, abs=0.01)]
    line = shapes("LINESTRING (0 51, 0 52)")
    (metres,) = distance(shapes("POINT (1 51.5)"), line, metres=True)
    assert metres == pytest.approx(69440, rel=2e-3)
    assert distance(shapes("POINT (0 51.5)"), line, metres=True) == [0.0]


def test_only_lines_have_a_length() -> None:
    found = shapes("LINESTRING (0 0, 0 1)", "MULTILINESTRING ((0 0, 0 1), (1 0, 1 1))", SQUARE)
    assert length(found, metres=False) == [1, 2, 0]
    metres = length(found, metres=True)
    assert metres == [pytest.approx(110_574.4, abs=0.1), pytest.approx(221_148.8, abs=0.2), 0]


@pytest.mark.parametrize("pattern", ["", "T*F**F**", "T*F**F***T", "X********"])
def test_a_pattern_has_nine_letters_of_its_own(pattern: str) -> None:
    with pytest.raises(QueryError, match="nine of"):
        relate("st_relate", shapes(SQUARE), shapes(SQUARE), pattern=pattern)
