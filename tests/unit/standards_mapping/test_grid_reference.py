import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards_mapping.grid_reference import GridReferenceError, position


@pytest.mark.parametrize(
    ("reference", "longitude", "latitude"),
    [  # ETRS89 positions of OS's own OSTN15 test points, to 1e-6 degrees
        ("91492.146, 11318.804", -6.29977752, 49.92226394),
        ("170370.718, 11572.405", -5.20304610, 49.96006138),
        ("599445.590, 225722.826", 0.89724327, 51.89436637),
    ],
)
def test_positions_agree_with_the_published_test_points(
    reference: str, longitude: float, latitude: float
) -> None:
    assert position(reference) == pytest.approx((longitude, latitude), abs=1e-6)


def test_a_reference_may_be_written_as_people_do() -> None:
    assert position("TQ 30625 78388") == position("tq3062578388") == position("530625, 178388")
    assert position("TQ 30 78") == position("530000 178000"), "the square's south-west corner"


@pytest.mark.parametrize(
    "bad",
    ["", "TQ", "TQ 306 78", "XX 300 800", "51.5, -0.1", "TI 300 800", "300 800 1", "900000, 1"],
)
def test_what_is_no_reference_is_refused_and_named(bad: str) -> None:
    with pytest.raises(GridReferenceError, match=r"(?i)grid"):
        position(bad)


def test_outside_the_grid_is_said() -> None:
    with pytest.raises(GridReferenceError, match="outside"):
        position("100000, 1400000")


@given(st.integers(100_000, 600_000), st.integers(50_000, 900_000))
def test_a_metre_further_east_is_a_metre_further_east(east: int, north: int) -> None:
    here, there = position(f"{east}, {north}"), position(f"{east + 1000}, {north}")
    assert 0.008 < there[0] - here[0] < 0.025
