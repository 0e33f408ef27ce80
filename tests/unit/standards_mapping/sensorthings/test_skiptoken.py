"""A place in an order travels in a link and back, and no other text is taken for one."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.model import ENTITY_TYPES, ObservationId
from standards_mapping.sensorthings.skiptoken import LONGEST, Place, read_place, write_place

THING, OBSERVATION = ENTITY_TYPES["Thing"], ENTITY_TYPES["Observation"]
VALUES = st.lists(st.none() | st.text(max_size=40), max_size=4).map(tuple)
KEY = ObservationId.of(12, datetime(2026, 3, 1, 0, 0, 0, 1, tzinfo=UTC))


@given(VALUES, st.integers(1, 2**31 - 1), st.text(max_size=20))
def test_a_place_of_an_entity_is_read_as_it_was_written(
    values: tuple[str | None, ...], key: int, order: str
) -> None:
    place = Place(values, key)
    token = write_place(place, THING, order)
    assert token is not None
    assert read_place(token, THING, order) == place
    assert token.replace("-", "").replace("_", "").isalnum()


@given(VALUES)
def test_a_place_of_an_observation_is_read_as_it_was_written(
    values: tuple[str | None, ...],
) -> None:
    token = write_place(Place(values, KEY), OBSERVATION, "x")
    assert token is not None
    assert read_place(token, OBSERVATION, "x") == Place(values, KEY)


@given(st.data())
def test_a_token_with_any_character_changed_is_refused(data: st.DataObject) -> None:
    token = write_place(Place(("Marylebone", None), 7), THING, "name,description")
    assert token is not None
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(max_codepoint=0x2FF).filter(lambda c: c != token[at]))
    with pytest.raises(QueryError, match="skiptoken"):
        read_place(token[:at] + other + token[at + 1 :], THING, "name,description")


@pytest.mark.parametrize("text", ["", "1", "12-1753113600000000", "%", "é", "A" * (LONGEST + 1)])
def test_what_we_never_gave_is_refused(text: str) -> None:
    with pytest.raises(QueryError):
        read_place(text, THING, "")


def test_a_token_is_of_its_order_and_its_type() -> None:
    token = write_place(Place(("a",), 7), THING, "name")
    assert token is not None
    for entity_type, order in ((THING, "description"), (ENTITY_TYPES["Sensor"], "name")):
        with pytest.raises(QueryError):
            read_place(token, entity_type, order)


def test_no_token_is_too_long_for_a_link() -> None:
    assert write_place(Place(("x" * LONGEST,), 7), THING, "name") is None


def test_a_token_says_the_place_and_nothing_more() -> None:
    token = write_place(Place(("a", None), KEY), OBSERVATION, "result")
    assert token is not None
    held = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[6:]
    assert json.loads(held) == ["12-1772323200000001", "a", None]
