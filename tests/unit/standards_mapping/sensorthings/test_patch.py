"""JSON Patch of an entity: what of it changes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards_mapping.sensorthings.errors import ConflictError, QueryError, SensorThingsError
from standards_mapping.sensorthings.model import ENTITY_TYPES
from standards_mapping.sensorthings.patch import MOST_OPERATIONS, patched

THING = ENTITY_TYPES["Thing"]
ENTITY = {"@iot.id": 1, "name": "Post", "description": "-", "properties": {"a": [1, 2]}}


def test_only_what_changed_is_told() -> None:
    steps = [
        {"op": "add", "path": "/properties/a/-", "value": 3},
        {"op": "replace", "path": "/name", "value": "Post"},
        {"op": "remove", "path": "/description"},
    ]
    assert patched(THING, ENTITY, steps) == {"properties": {"a": [1, 2, 3]}, "description": None}
    assert ENTITY["properties"] == {"a": [1, 2]}


def test_true_is_not_one() -> None:
    steps = [{"op": "replace", "path": "/properties/a/0", "value": True}]
    assert patched(THING, ENTITY, steps) == {"properties": {"a": [True, 2]}}


@pytest.mark.parametrize(
    ("patch", "error"),
    [
        ([{"op": "test", "path": "/name", "value": "x"}], ConflictError),
        ([{"op": "remove", "path": "/properties/b"}], ConflictError),
        ({"op": "add"}, QueryError),
        ([{"op": "add", "value": 1}], QueryError),
        ([{"op": "replace", "path": "name", "value": 1}], QueryError),
        ([{"op": "replace", "path": "", "value": []}], QueryError),
    ],
)
def test_a_patch_that_fails_is_refused(patch: Any, error: type[SensorThingsError]) -> None:
    with pytest.raises(error):
        patched(THING, ENTITY, patch)


def test_copies_of_copies_are_bounded() -> None:
    entity = ENTITY | {"properties": {"text": "x" * 1000}}
    steps = [
        {"op": "copy", "from": "/properties", "path": f"/properties/{number}"}
        for number in range(MOST_OPERATIONS)
    ]
    with pytest.raises(QueryError, match="copies more than 1,048,576 bytes"):
        patched(THING, entity, steps)
    found = patched(THING, entity, steps[:2])["properties"]
    assert found == {"text": "x" * 1000, "0": {"text": "x" * 1000}, "1": found["1"]}
    assert found["1"] == {"text": "x" * 1000, "0": {"text": "x" * 1000}}


POINTERS = st.sampled_from(["", "/", "/name", "/name/x", "/properties/a/-", "/properties/a/9", "x"])
STEPS = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "jump"]),
        "path": POINTERS | st.integers(),
        "from": POINTERS | st.none(),
        "value": st.none() | st.integers() | st.lists(st.integers(), max_size=2),
    },
)


@given(st.lists(STEPS, max_size=4))
def test_any_patch_is_applied_or_refused(patch: list[dict[str, Any]]) -> None:
    told: list[str] = []
    try:
        assert isinstance(patched(THING, ENTITY, patch), dict)
    except SensorThingsError as error:
        told.append(str(error))
    assert all(told)
