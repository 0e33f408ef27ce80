"""The map: what is near, and a still drawing of it."""

from dataclasses import replace
from itertools import combinations

from api.pages.boundaries import HEIGHT, WIDTH, all_boundaries, nearby, still_map
from api.pages.presentation import SiteRow
from storage.overview import Site

CAMDEN, WESTMINSTER, CORNWALL = "E09000007", "E09000033", "E06000052"


def site(name: str, longitude: float | None, latitude: float | None) -> SiteRow:
    made = Site(
        id=1, urn="urn:x", name=name, description="", properties={}, tenant="camden",
        council="Camden", gss=CAMDEN, gateway_id=1, device="d", place=None,
        longitude=longitude, latitude=latitude,
    )  # fmt: skip
    return SiteRow(site=made, values=[], replay="")


BLOOMSBURY = site("Bloomsbury", -0.1259, 51.5223)


def test_every_district_of_the_kingdom_has_a_boundary() -> None:
    boundaries = all_boundaries()
    assert len(boundaries) == 361
    assert len({boundary.gss for boundary in boundaries}) == 361


def test_the_map_holds_the_network_and_its_neighbours_and_nothing_far_away() -> None:
    areas = {
        area["properties"]["gss"]: area["properties"]["member"]
        for area in nearby({CAMDEN})["features"]
    }
    assert areas[CAMDEN]
    assert areas[WESTMINSTER] is False
    assert CORNWALL not in areas
    assert len(areas) < 40
    assert "Open Government Licence" in nearby({CAMDEN})["attribution"]
    assert nearby(set())["features"] == []


def test_sites_and_the_councils_shown_lie_in_the_drawing() -> None:
    drawn = still_map([BLOOMSBURY], {CAMDEN, WESTMINSTER}, {CAMDEN})
    [mark] = drawn.marks
    assert 0 < mark.x < WIDTH
    assert 0 < mark.y < HEIGHT
    members = {shape.name for shape in drawn.shapes if shape.member}
    assert members == {"Camden", "Westminster"}
    camden = next(shape for shape in drawn.shapes if shape.name == "Camden")
    numbers = camden.path.replace("M", " ").replace("L", " ").replace("Z", " ").split()
    assert all(0 <= float(x) <= WIDTH for x in numbers[::2])
    assert all(0 <= float(y) <= HEIGHT for y in numbers[1::2])


def test_north_is_up_and_east_is_right() -> None:
    north_east = site("NE", -0.10, 51.55)
    first, second = still_map([BLOOMSBURY, north_east], {CAMDEN}, {CAMDEN}).marks
    assert second.x > first.x
    assert second.y < first.y


def test_names_of_near_sites_do_not_cover_each_other() -> None:
    near = [BLOOMSBURY, site("Gordon Square", -0.1279, 51.5224), site("Euston", -0.128, 51.5262)]
    marks = still_map(near, {CAMDEN}, {CAMDEN}).marks
    for one, other in combinations(marks, 2):
        assert (one.name_x, one.name_y) != (other.name_x, other.name_y)
        assert one.anchor != other.anchor or abs(one.name_y - other.name_y) > 10


def test_a_site_without_a_place_is_only_in_the_table() -> None:
    homeless = site("Van", None, None)
    assert still_map([homeless], {CAMDEN}, set()).shapes == []
    [mark] = still_map([homeless, BLOOMSBURY], set(), set()).marks
    assert mark.sites == [BLOOMSBURY]
    assert replace(homeless.site, name="x").longitude is None


def test_sites_at_one_point_have_one_mark_that_names_them_all() -> None:
    same = site("Roof", -0.1259, 51.5223)
    apart = site("Kerb", -0.1259, 51.5224)
    roof, kerb = still_map([BLOOMSBURY, same, apart], {CAMDEN}, {CAMDEN}).marks
    assert roof.sites == [BLOOMSBURY, same]
    assert roof.name == "2 sites: Bloomsbury, Roof"
    assert kerb.name == "Kerb"
