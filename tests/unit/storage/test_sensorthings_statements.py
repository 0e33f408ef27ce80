"""What is asked over SensorThings becomes SQL in which nothing the asker wrote stands."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.expression import parse_filter, parse_orderby
from standards_mapping.sensorthings.model import ENTITY_TYPES, EntityType, ObservationId
from storage.sensorthings.operand import Bound
from storage.sensorthings.page import count_statement, has_stable_order, page_statement
from storage.sensorthings.select import Wanted
from tests.simulators.sensorthings_expressions import MARK, TEXTS, conditions, quoted

OBSERVATION = ENTITY_TYPES["Observation"]
TYPES = st.sampled_from(list(ENTITY_TYPES.values()))


def written(wanted: Wanted) -> list[tuple[str, Bound]]:
    """Return the statements for a page and for a count, with their parameters."""
    statements = []
    for build in (page_statement, count_statement):
        bound = Bound()
        statements.append((build(wanted, bound).as_string(), bound))
    return statements


@given(TYPES, conditions())
def test_no_filter_puts_a_word_of_its_own_into_a_statement(
    entity_type: EntityType, text: str
) -> None:
    with suppress(QueryError):
        wanted = Wanted(entity_type=entity_type, filter=parse_filter(text), limit=10)
        for statement, _ in written(wanted):
            assert MARK not in statement


@given(TYPES, conditions())
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
    ("name", "orderby", "stable"),
    [
        ("Thing", "", True),
        ("Thing", "name", False),
        ("Observation", "", True),
        ("Observation", "phenomenonTime", True),
        ("Observation", "phenomenonTime desc", True),
        ("Observation", "resultTime desc", True),
        ("Observation", "result", False),
        ("Observation", "resultTime,result", False),
        ("Observation", "hour(resultTime)", False),
        ("Datastream", "phenomenonTime", False),
    ],
)
def test_only_an_order_by_key_or_time_can_be_gone_on_with(
    name: str, orderby: str, *, stable: bool
) -> None:
    orders = parse_orderby(orderby) if orderby else ()
    assert has_stable_order(ENTITY_TYPES[name], orders) is stable


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
