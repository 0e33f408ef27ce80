"""What is asked over SensorThings becomes SQL in which nothing the asker wrote stands."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.expression import parse_filter, parse_orderby
from standards_mapping.sensorthings.geometry import Geometries, shapes_of
from standards_mapping.sensorthings.model import ENTITY_TYPES, EntityType, ObservationId
from standards_mapping.sensorthings.skiptoken import Place
from storage.sensorthings.compiled import compiled, parameters
from storage.sensorthings.operand import Bound
from storage.sensorthings.page import count_statement, page_statement, places_of
from storage.sensorthings.select import Wanted
from tests.simulators.sensorthings_expressions import MARK, TEXTS, conditions, quoted

OBSERVATION = ENTITY_TYPES["Observation"]
TYPES = st.sampled_from(list(ENTITY_TYPES.values()))
NOWHERE = {kind: Geometries([], shapes_of([])) for kind in ("location", "feature", "area")}
"""A database without geometries, as statements with geospatial functions are given them."""
FAR = "geo.distance(feature,geography'POINT (0 0)')"


def written(wanted: Wanted) -> list[tuple[str, Bound]]:
    """Return the statements for a page and for a count, with their parameters."""
    statements = []
    for build in (page_statement, count_statement):
        bound = Bound(NOWHERE)
        statements.append((build(wanted, bound).as_string(), bound))
    return statements


@given(TYPES, conditions())
@example(ENTITY_TYPES["FeatureOfInterest"], f"{FAR} lt 1 and name eq {quoted(MARK)}")
def test_no_filter_puts_a_word_of_its_own_into_a_statement(
    entity_type: EntityType, text: str
) -> None:
    with suppress(QueryError):
        wanted = Wanted(entity_type=entity_type, filter=parse_filter(text), limit=10)
        for statement, _ in written(wanted):
            assert MARK not in statement


@given(TYPES, conditions())
@example(ENTITY_TYPES["FeatureOfInterest"], FAR)
def test_no_order_puts_a_word_of_its_own_into_a_statement(
    entity_type: EntityType, text: str
) -> None:
    with suppress(QueryError):
        wanted = Wanted(entity_type=entity_type, orderby=parse_orderby(text), limit=10)
        for statement, _ in written(wanted):
            assert MARK not in statement


@given(TEXTS)
def test_a_text_is_bound_as_it_is(text: str) -> None:
    condition = parse_filter(f"name eq {quoted(MARK + text)}")
    wanted = Wanted(entity_type=ENTITY_TYPES["Thing"], filter=condition)
    for statement, bound in written(wanted):
        assert MARK not in statement
        assert MARK + text in bound.values.values()


@pytest.mark.parametrize(
    ("name", "orderby", "values"),
    [
        ("Thing", "", 0),
        ("Thing", "name", 1),
        ("Thing", "id desc", 1),
        ("Observation", "", 0),
        ("Observation", "phenomenonTime desc", 0),
        ("Observation", "id", 0),
        ("Observation", "result", 2),
        ("Observation", "resultTime,Datastream/name", 1),
        ("Datastream", "phenomenonTime", 2),
        ("Datastream", "validTime", None),
    ],
)
def test_what_the_id_of_an_observation_tells_is_not_said_again(
    name: str, orderby: str, values: int | None
) -> None:
    wanted = Wanted(
        entity_type=ENTITY_TYPES[name], orderby=parse_orderby(orderby) if orderby else ()
    )
    if values is None:
        with pytest.raises(QueryError):
            places_of(wanted, Bound())
    else:
        assert places_of(wanted, Bound()) == values


def test_a_place_of_another_order_is_refused() -> None:
    wanted = Wanted(entity_type=ENTITY_TYPES["Thing"], orderby=parse_orderby("name, description"))
    with pytest.raises(QueryError):
        written(replace(wanted, after=Place(("a",), 7)))


@pytest.mark.parametrize("one", ["result eq 1", "result eq 1 and resultTime gt now()"])
def test_statements_of_one_shape_are_composed_once(one: str) -> None:
    wanted = Wanted(entity_type=OBSERVATION, parent=("Datastream", "Observations"), limit=10)
    wanted = replace(wanted, filter=parse_filter(one), owner=1)
    first = compiled(wanted)
    again = replace(wanted, owner=2, filter=parse_filter(one))
    assert compiled(again) is first
    assert parameters(first, again)["parent"] == 2
    later = replace(wanted, after=Place((), ObservationId(1, 5)))
    assert compiled(later) is not first
    moved = replace(wanted, after=Place((), ObservationId(1, 6)))
    assert compiled(moved) is compiled(later)
    assert parameters(compiled(moved), moved)["after_time"] == ObservationId(1, 6).time


def test_what_python_takes_for_equal_is_another_statement() -> None:
    texts = ("result eq 1", "result eq 1.0", "result eq true")
    found = [
        compiled(Wanted(entity_type=OBSERVATION, filter=parse_filter(text), limit=1))
        for text in texts
    ]
    assert len({id(one) for one in found}) == len(texts)


def test_a_condition_on_the_datastream_is_decided_before_its_observations_are_read() -> None:
    text = "Datastream/name eq 'a' and result gt 1"
    (page, _), _ = written(Wanted(entity_type=OBSERVATION, filter=parse_filter(text), limit=10))
    walk, _, streams = page.partition(" LIMIT 10) AS c WHERE ")
    assert '"s".name' in streams
    assert '"s".name' not in walk
    assert '"e".value' in walk.partition("ORDER BY")[0]


def test_conditions_that_share_a_link_to_many_stay_together() -> None:
    place = "Datastream/Thing/Locations"
    text = f"{place}/name eq 'a' and ({place}/id eq 1 or id eq 'x')"
    (page, _), _ = written(Wanted(entity_type=OBSERVATION, filter=parse_filter(text), limit=10))
    assert page.count("EXISTS (SELECT FROM (SELECT) AS always") == 1


def test_an_observation_is_looked_up_by_its_whole_key() -> None:
    key = ObservationId(12, 1_753_113_600_000_000)
    (page, bound), _ = written(Wanted(entity_type=OBSERVATION, keys=(key,)))
    assert {12, key.time} <= set(bound.values.values())
    assert '"s".id = ' in page
    assert '"e".time = ' in page
