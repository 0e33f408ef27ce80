from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_protocol import cbor
from device_protocol.description import (
    Datastream,
    GatewayDescription,
    Sensor,
    Thing,
    decode_description,
    encode_description,
)
from device_protocol.errors import PayloadError

DATASTREAM = Datastream(
    name="no2",
    title="Nitrogen dioxide",
    description="Hourly mean at the kerb",
    observed_property="no2",
    unit="ug/m3",
    period_seconds=3600,
    averaging_seconds=3600,
    valid_minimum=0.0,
    valid_maximum=2000.0,
    properties={"licence": "OGL v3.0"},
)
SENSOR = Sensor(
    urn="urn:dev:k7q2m9xd4t:gas",
    name="Gas analyser",
    description="Chemiluminescence",
    metadata="https://example.org/model",
    datastreams=(DATASTREAM,),
)
THING = Thing(
    urn="urn:dev:k7q2m9xd4t",
    name="Marylebone Road",
    description="Kerbside cabinet",
    longitude=-0.154,
    latitude=51.522,
    place_name="Marylebone Road, London",
    properties={"site": "MY1"},
    sensors=(SENSOR,),
)
DESCRIPTION = GatewayDescription((THING,))

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
NAMES = st.from_regex(r"[a-z][a-z0-9_./-]{0,7}", fullmatch=True)
PROPERTIES = st.dictionaries(TEXTS, TEXTS, max_size=2)
DATASTREAMS = st.builds(
    Datastream,
    name=NAMES,
    title=TEXTS,
    description=TEXTS,
    observed_property=NAMES,
    unit=NAMES,
    period_seconds=st.none() | st.integers(1, 86_400),
    averaging_seconds=st.integers(0, 86_400),
    valid_minimum=st.none() | st.floats(-1e9, 0),
    valid_maximum=st.none() | st.floats(1, 1e9),
    properties=PROPERTIES,
)


@st.composite
def _descriptions(draw: st.DrawFn) -> GatewayDescription:
    urns = draw(st.lists(NAMES, max_size=4, unique=True))
    things = []
    for urn in urns:
        datastreams = draw(
            st.lists(DATASTREAMS, max_size=2, unique_by=lambda datastream: datastream.name)
        )
        sensor = Sensor(
            urn=urn,
            name=draw(TEXTS),
            description=draw(TEXTS),
            metadata=draw(TEXTS),
            datastreams=tuple(datastreams),
        )
        thing = Thing(
            urn=urn,
            name=draw(TEXTS),
            description=draw(TEXTS),
            longitude=draw(st.floats(-180, 180)),
            latitude=draw(st.floats(-90, 90)),
            place_name=draw(TEXTS),
            properties=draw(PROPERTIES),
            sensors=draw(st.sampled_from([(), (sensor,)])),
        )
        things.append(thing)
    return GatewayDescription(tuple(things))


@given(_descriptions())
def test_what_is_encoded_is_what_is_decoded(description: GatewayDescription) -> None:
    assert decode_description(encode_description(description)) == description


def test_everything_a_gateway_says_arrives() -> None:
    assert decode_description(encode_description(DESCRIPTION)) == DESCRIPTION
    assert decode_description(encode_description(GatewayDescription(()))).things == ()


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        (DATASTREAM, {"name": "no:2"}),
        (DATASTREAM, {"name": ""}),
        (DATASTREAM, {"observed_property": ""}),
        (DATASTREAM, {"unit": ""}),
        (DATASTREAM, {"period_seconds": 0}),
        (DATASTREAM, {"averaging_seconds": -1}),
        (DATASTREAM, {"valid_minimum": float("nan")}),
        (DATASTREAM, {"valid_maximum": float("inf")}),
        (DATASTREAM, {"valid_minimum": 2000.0}),
        (SENSOR, {"urn": ""}),
        (SENSOR, {"urn": "a b"}),
        (SENSOR, {"datastreams": (DATASTREAM, DATASTREAM)}),
        (THING, {"urn": "urn:dév"}),
        (THING, {"longitude": 180.1}),
        (THING, {"latitude": -90.1}),
        (THING, {"latitude": float("nan")}),
        (DESCRIPTION, {"things": (THING, THING)}),
        (DESCRIPTION, {"things": (THING, replace(THING, urn="other"))}),
    ],
)
def test_nothing_is_described_that_cannot_be(part: Any, changes: dict[str, object]) -> None:
    with pytest.raises(PayloadError):
        replace(part, **changes)


def _changed(*path: int, value: object) -> bytes:
    """Return the description with one item of its encoding replaced."""
    item: Any = cbor.decode(encode_description(DESCRIPTION), floats=True)
    inner = item
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return cbor.encode(item)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x80",
        b"\xa0",
        encode_description(DESCRIPTION) + b"\0",
        _changed(0, value=2),
        _changed(2, value=0),
        _changed(1, value={}),
        _changed(1, 0, 4, value="east"),
        _changed(1, 0, 4, value=None),
        _changed(1, 0, 5, value=91),
        _changed(1, 0, 7, value={1: "a"}),
        _changed(1, 0, 7, value={"a": 1}),
        _changed(1, 0, 9, value=0),
        _changed(1, 0, 2, value="a\0b"),
        _changed(1, 0, 8, 0, 5, 0, 6, value=-1),
        _changed(1, 0, 8, 0, 5, 0, 8, value=True),
        _changed(1, 0, 8, 0, 5, 0, 10, value=None),
    ],
)
def test_anything_else_is_refused(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        decode_description(payload)


def test_whole_numbers_serve_as_places_and_bounds() -> None:
    thing = decode_description(_changed(1, 0, 4, value=0)).things[0]
    assert (thing.longitude, type(thing.longitude)) == (0.0, float)


@given(st.binary(max_size=60))
def test_random_bytes_raise_nothing_but_a_refusal(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        decode_description(payload)
