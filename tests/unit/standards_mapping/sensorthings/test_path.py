from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards_mapping.sensorthings.errors import (
    QueryError,
    SensorThingsError,
    UnknownTargetError,
)
from standards_mapping.sensorthings.model import ENTITY_SETS, ENTITY_TYPES, ObservationId
from standards_mapping.sensorthings.path import parse_path


@pytest.mark.parametrize("name", ENTITY_SETS)
def test_every_entity_set_is_addressed(name: str) -> None:
    path = parse_path(name)
    assert path.target.many
    assert path.target.entity_type.set_name == name


def test_an_entity_of_a_set_is_addressed() -> None:
    path = parse_path("Things(7)")
    assert not path.target.many
    assert path.target.key == 7


def test_an_observation_is_addressed_by_datastream_and_time() -> None:
    path = parse_path("Observations('12-1753113600000000')")
    assert path.target.key == ObservationId(12, 1753113600000000)


def test_a_path_leads_on_as_far_as_the_model_does() -> None:
    path = parse_path("Datastreams(1)/Thing/Datastreams(2)/Observations")
    assert [step.entity_type.name for step in path.steps] == [
        "Datastream",
        "Thing",
        "Datastream",
        "Observation",
    ]
    assert path.target.many
    assert not path.steps[1].many


@pytest.mark.parametrize(
    ("text", "names", "raw"),
    [
        ("Things(1)/name", ("name",), False),
        ("Things(1)/name/$value", ("name",), True),
        ("Datastreams(1)/unitOfMeasurement/name", ("unitOfMeasurement", "name"), False),
        ("Datastreams(1)/Thing/properties/a/0/$value", ("properties", "a", "0"), True),
    ],
)
def test_properties_and_their_members_are_addressed(
    text: str, names: tuple[str, ...], *, raw: bool
) -> None:
    path = parse_path(text)
    assert (path.names, path.raw) == (names, raw)


@pytest.mark.parametrize("text", ["Things/$ref", "Things(1)/Datastreams/$ref", "Things(1)/$ref"])
def test_references_are_addressed(text: str) -> None:
    assert parse_path(text).references


@pytest.mark.parametrize(
    "text",
    [
        "Nothings",
        "things",
        "Things(1)/nothing",
        "Things(1)/Thing",
        "Things/name",
        "Things/Datastreams",
        "Things(1)/Datastreams/name",
        "Things(1)/$value",
        "Things(99999999999)",
        "Things(0)",
        "Things(-1)",
        "Things('1')",
        "Observations(1)",
        "Observations('1')",
        "Observations('1-99999999999999999999')",
        "Observations('99999999999-1')",
        "Observations('1-999999999999999999')",
        "Things(1)/name/$value/more/$ref",
        "Things(1)/$ref/name",
        "Things(1)/properties/$ref",
    ],
)
def test_what_does_not_exist_is_not_found(text: str) -> None:
    with pytest.raises(UnknownTargetError):
        parse_path(text)


@pytest.mark.parametrize(
    "text", ["", "Things(a)", "Things()", "Things(1", "Things(1)//name", "Datastreams(1)/Thing(1)"]
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(QueryError):
        parse_path(text)


@given(st.text(alphabet="ThingsDatrem()/'$ref12-", max_size=40))
def test_no_path_does_anything_but_parse_or_be_refused(text: str) -> None:
    with suppress(SensorThingsError):
        parse_path(text)


@given(st.integers(1, 2**31 - 1), st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_every_observation_id_survives_being_written(datastream: int, microseconds: int) -> None:
    written = ObservationId(datastream, microseconds)
    assert ObservationId.parse(str(written)) == written
    assert ObservationId.of(datastream, written.time) == written


def test_every_link_has_a_way_back() -> None:
    for entity_type in ENTITY_TYPES.values():
        for link in entity_type.navigations.values():
            backs = {back.target for back in ENTITY_TYPES[link.target].navigations.values()}
            assert entity_type.name in backs
