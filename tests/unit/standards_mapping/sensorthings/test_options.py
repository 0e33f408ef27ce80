from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards_mapping.sensorthings.errors import (
    QueryError,
    SensorThingsError,
    UnsupportedError,
)
from standards_mapping.sensorthings.model import ENTITY_TYPES
from standards_mapping.sensorthings.options import Options, ResultFormat, parse_options, split

THING = ENTITY_TYPES["Thing"]
DATASTREAM = ENTITY_TYPES["Datastream"]


def parse(**options: str) -> Options:
    return parse_options([(f"${name}", text) for name, text in options.items()], DATASTREAM)


def test_nothing_asked_is_everything_on_the_first_page() -> None:
    options = parse_options([], THING)
    assert options == Options()
    assert options.selects("name")
    assert options.selects("id")


def test_the_options_of_a_collection_are_read() -> None:
    options = parse(top="5", skip="10", count="true", select="id, name,Observations")
    assert (options.top, options.skip, options.count) == (5, 10, True)
    assert options.select == ("id", "name", "Observations")
    assert not options.selects("description")


def test_a_far_too_large_top_is_cut_not_refused() -> None:
    assert parse(top="9" * 40).top == 2**31 - 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("top", "-1"),
        ("top", "x"),
        ("top", ""),
        ("top", "1.5"),
        ("top", "٣"),
        ("skip", "-1"),
        ("count", "x"),
        ("count", "TRUE"),
        ("count", ""),
        ("select", "nothing"),
        ("select", ""),
        ("expand", "Observation"),
        ("expand", ""),
        ("expand", "Thing("),
        ("expand", "Thing)"),
        ("expand", "Thing($select=nothing)"),
        ("expand", "Thing($top=1)"),
        ("expand", "Observations(top=1)"),
        ("expand", "Observations($top=1)x"),
        ("expand", "Observations($top=1;$top=2)"),
        ("expand", "Observations($top=1),Observations($top=2)"),
        ("filter", ""),
        ("orderby", ""),
        ("fitler", "name eq 'a'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(name: str, text: str) -> None:
    with pytest.raises(QueryError):
        parse(**{name: text})


@pytest.mark.parametrize("name", ["apply", "search", "format"])
def test_an_option_of_odata_that_is_not_built_is_unsupported(name: str) -> None:
    with pytest.raises(UnsupportedError):
        parse(**{name: "x"})


@pytest.mark.parametrize("name", ["$resultFormat", "resultFormat"])
def test_a_form_is_known_by_either_name_in_any_case(name: str) -> None:
    for text, form in (("csv", ResultFormat.CSV), ("geojson", ResultFormat.GEOJSON)):
        assert parse_options([(name, text)], THING).result_format is form
    observations = ENTITY_TYPES["Observation"]
    found = parse_options([(name, "dataArray")], observations)
    assert found.result_format is ResultFormat.DATA_ARRAY
    for text in ("dataArray", "xml", ""):
        with pytest.raises(QueryError, match="resultFormat"):
            parse_options([(name, text)], THING)
    with pytest.raises(QueryError, match="collection"):
        parse_options([(name, "CSV")], THING, many=False)
    with pytest.raises(QueryError, match="twice"):
        parse_options([("$resultFormat", "CSV"), ("resultFormat", "CSV")], THING)


def test_the_same_option_twice_is_refused() -> None:
    with pytest.raises(QueryError, match="twice"):
        parse_options([("$top", "1"), ("$top", "2")], THING)


@pytest.mark.parametrize("name", ["$top", "$skip", "$count", "$filter", "$orderby"])
def test_options_of_collections_are_refused_for_one_entity(name: str) -> None:
    with pytest.raises(QueryError, match="collection"):
        parse_options([(name, "1")], THING, many=False)


def test_options_that_are_none_of_ours_are_only_kept() -> None:
    options = parse_options([("token", "x"), ("$top", "1")], THING)
    assert options.written == (("token", "x"), ("$top", "1"))


def test_expansions_nest_by_slash_and_by_parentheses() -> None:
    slashed = parse(expand="Thing/Locations,Observations($top=1;$orderby=phenomenonTime desc)")
    thing, observations = slashed.expand
    assert thing.navigation.name == "Thing"
    assert [inner.navigation.name for inner in thing.options.expand] == ["Locations"]
    assert observations.options.top == 1
    assert observations.options.written == (("$top", "1"), ("$orderby", "phenomenonTime desc"))
    nested = parse(expand="Thing($expand=Locations)")
    assert nested.expand[0].options.expand == thing.options.expand


def test_separators_inside_quotes_and_parentheses_separate_nothing() -> None:
    options = parse(
        expand="Observations($filter=result eq 'a;b),(' and (result gt 1);$top=2),Thing"
    )
    observations, thing = options.expand
    assert observations.options.written[0] == ("$filter", "result eq 'a;b),(' and (result gt 1)")
    assert observations.options.top == 2
    assert thing.navigation.name == "Thing"


def test_two_ways_on_from_one_link_are_one_expansion() -> None:
    options = parse_options(
        [("$expand", "Datastreams/Sensor,Datastreams/Thing/Locations,Datastreams/Thing")], THING
    )
    (datastreams,) = options.expand
    assert [inner.navigation.name for inner in datastreams.options.expand] == ["Sensor", "Thing"]
    (written,) = datastreams.options.written
    assert written == ("$expand", "Sensor,Thing/Locations,Thing")


def test_a_request_cannot_expand_without_end() -> None:
    wide = ",".join(["Thing/Datastreams" + "/Thing/Datastreams" * depth for depth in range(20)])
    assert parse(expand=wide)  # merges into one chain
    long = "Thing/Datastreams" + "/Thing/Datastreams" * 40
    with pytest.raises(QueryError, match="more than 64"):
        parse(expand=long)


@given(st.text(max_size=40))
def test_splitting_loses_nothing(text: str) -> None:
    try:
        assert ",".join(split(text, ",")) == text
    except QueryError:
        assert "'" in text or "(" in text or ")" in text


@given(
    st.sampled_from(["$filter", "$orderby", "$expand", "$select", "$top", "$count", "$skiptoken"]),
    st.text(alphabet="Thing/Obsrvatin()$;=,' top1", max_size=30),
)
def test_no_option_does_anything_but_parse_or_be_refused(name: str, text: str) -> None:
    with suppress(SensorThingsError):
        parse_options([(name, text)], DATASTREAM)
