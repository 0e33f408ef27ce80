"""Values and times found in JSON: what is tolerated, what is refused, and never a guess."""

import json
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.adapter import table_contradictions
from edge_agent.clock import Clock, ClockQuality
from edge_agent.inputs.faults import Faults
from edge_agent.inputs.fields import (
    FUTURE_SECONDS,
    FieldError,
    FieldSettings,
    find,
    future_allowed,
    number,
    path_mistake,
    read_json,
    readings,
    time_of,
)
from tests.unit.edge_agent.conftest import FakeTime

RECEIVED = datetime(2030, 3, 17, 20, 0, tzinfo=UTC)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def field(path: str = "value", **changes: Any) -> FieldSettings:
    values = {
        "name": "temperature",
        "title": "Temperature",
        "description": "Of the air.",
        "observed_property": "air_temperature",
        "unit": "Cel",
        "path": path,
    }
    return FieldSettings(**(values | changes))


@given(DOCUMENTS)
def test_any_json_is_read_back_as_it_was(document: object) -> None:
    assert read_json(json.dumps(document)) == document
    assert read_json(b"\xef\xbb\xbf" + json.dumps(document).encode()) == document


@given(st.binary(max_size=64) | st.text(max_size=64))
def test_rubbish_is_refused_and_never_breaks_the_reader(body: bytes | str) -> None:
    with suppress(FieldError):
        read_json(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff", "not UTF-8"),
        (b"", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": NaN}', "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"mic": 1, "mic": 2}', '"mic" stands twice'),
        (b'{"a": 1, "a": true}', "stands twice"),
        (b'[{"a": {"b": 1}, "a": {"b": 2}}]', "stands twice"),
        (b"1" * 5000, "not JSON"),
    ],
)
def test_what_is_no_json_or_says_two_things_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(FieldError, match=reason):
        read_json(body)


def test_a_key_that_stands_twice_with_one_value_is_one_key() -> None:
    assert read_json(b'{"mic": "ab", "n": {"x": [1]}, "mic": "ab", "n": {"x": [1]}}') == {
        "mic": "ab",
        "n": {"x": [1]},
    }


STATION = {
    "a": {"b": [{"c": 1.5}, {"c": None}]},
    "a.b": 7,
    "empty": "",
    "zero": 0,
    "false": False,
    "values": [
        {"value_type": "SDS_P1", "value": "0.40"},
        {"value_type": "P2", "value": "0.20"},
        {"value_type": 7, "value": "seven"},
        {"value_type": "same", "value": 1},
        {"value_type": "same", "value": 1},
        {"value_type": "two", "value": 1},
        {"value_type": "two", "value": 2},
    ],
    "hourly": [[10, 11], [20, 21]],
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.b[0].c", 1.5),
        ("a.b[1].c", None),
        ("a.b[2].c", None),
        ("a.b.c", None),
        ("a.c", None),
        ('"a.b"', 7),
        ("empty", None),
        ("zero", 0),
        ("false", False),
        ("values[value_type=SDS_P1].value", "0.40"),
        ("values[value_type=P1].value|values[value_type=SDS_P1].value", "0.40"),
        ("values[value_type=7].value", "seven"),
        ("values[value_type=same].value", 1),
        ("hourly[1][0]", 20),
        ("nothing | empty | zero", 0),
        ("a[value_type=SDS_P1]", None),
        ("hourly[value_type=SDS_P1]", None),
    ],
)
def test_a_path_leads_to_the_value_or_to_nothing(path: str, found: object) -> None:
    assert find(STATION, path) == found


def test_a_document_may_itself_be_the_value() -> None:
    assert find(21.5, "$") == 21.5


def test_an_element_that_stands_twice_with_two_values_is_refused() -> None:
    with pytest.raises(FieldError, match="different values"):
        find(STATION, "values[value_type=two].value")


@pytest.mark.parametrize(
    "path", ["", "a.", ".a", "a..b", "a[", "a[-1]", "a[b]", "a|", "|a", "a b", "a[b=]", "a]"]
)
def test_what_is_no_path_is_refused_when_settings_are_checked(path: str) -> None:
    assert path_mistake(path)
    assert [at for at, _ in field(path).contradictions()] == [("path",)]


@given(st.text(max_size=20), DOCUMENTS)
def test_no_path_breaks_the_finder(path: str, document: object) -> None:
    if path_mistake(path) is None:
        find(document, path)
    else:
        with pytest.raises(FieldError):
            find(document, path)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_that_needs_no_conversion_is_not_touched(value: float) -> None:
    assert number(value, field()) == value
    assert number(f" {value!r} ", field()) == value


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (None, None),
        ("", None),
        ("  ", None),
        ("98920.61", 98920.61),
        ("+1.5", 1.5),
        (".5", 0.5),
        ("-2", -2.0),
        ("1e3", 1000.0),
        (7, 7.0),
    ],
)
def test_numbers_in_texts_are_numbers_and_null_is_nothing(
    value: object, result: float | None
) -> None:
    assert number(value, field()) == result


@pytest.mark.parametrize(
    "value",
    ["12,3", "12.3 C", "nan", "inf", "0x10", "1_000", "unavailable", "\u0661", True, [], {}, [1.0]],
)
def test_what_is_no_number_is_named_with_its_path(value: object) -> None:
    with pytest.raises(FieldError, match=r"^value is .*, not a number") as caught:
        number(value, field())
    assert caught.value.place == "value"


@pytest.mark.parametrize("value", [1e308, "1e999", 10**400])
def test_a_result_that_is_too_large_is_refused(value: object) -> None:
    with pytest.raises(FieldError, match="too large"):
        number(value, field(scale=10.0))


def test_words_count_as_the_settings_say() -> None:
    state = field(values={"ON": 1.0, "OFF": 0.0, "true": 1.0, "false": 0.0})
    found = [number(value, state) for value in ("ON", "OFF", True, False, "3")]
    assert found == [1.0, 0.0, 1.0, 0.0, 3.0]
    with pytest.raises(FieldError, match="known words: ON, OFF, true, false"):
        number("on", state)


def test_a_source_that_speaks_another_unit_is_converted() -> None:
    assert number("68", field(from_unit="degF")) == 20.0
    assert number(10, field(unit="m/s", from_unit="mi/h")) == 4.4704
    assert number("98920.61", field(unit="hPa", from_unit="Pa")) == 989.2061
    assert number(4001, field(scale=0.1, offset=-40.0)) == 360.1


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"from_unit": "degf"}, "from_unit", "did you mean degF?"),
        ({"from_unit": "mi/h"}, "from_unit", "does not become Cel"),
        ({"scale": 0.0}, "scale", "must not be 0"),
    ],
)
def test_wrong_conversions_are_found_when_settings_are_checked(
    changes: Mapping[str, Any], key: str, words: str
) -> None:
    [(at, reason)] = field(**changes).contradictions()
    assert at == (key,)
    assert words in reason


def test_fields_must_be_there_and_bear_different_names() -> None:
    assert list(table_contradictions("fields", {})) == [
        (("fields",), "must name at least one field")
    ]
    twice = {"a": field("a"), "b": field("b")}
    assert [at for at, _ in table_contradictions("fields", twice)] == [("fields", "b", "name")]


def test_fields_that_say_nothing_make_no_reading_and_a_bad_one_spoils_no_other() -> None:
    fields = [
        field("a", name="a"),
        field("null", name="null"),
        field("missing", name="missing"),
        field("bad", name="bad"),
        field("b", name="b"),
    ]
    document = {"a": "1.5", "null": None, "bad": "wet", "b": 2}
    faults = Faults("value unusable", sensor="urn:dev:example:x")
    for _ in range(2):
        made = readings(
            document,
            sensor="urn:dev:example:x",
            fields=fields,
            time=RECEIVED,
            on_fault=faults.note,
        )
        assert [(each.name, each.result) for each in made] == [("a", 1.5), ("b", 2.0)]
        assert {each.phenomenon_time for each in made} == {RECEIVED}
    assert faults.counts == {"bad": 2}
    with pytest.raises(FieldError, match="bad is"):
        readings(document, sensor="urn:dev:example:x", fields=fields, time=RECEIVED)


@pytest.mark.parametrize(
    ("value", "form", "time"),
    [
        ("2030-03-17T19:59:00Z", "iso8601", RECEIVED - timedelta(minutes=1)),
        ("2030-03-17T20:59:00+01:00", "iso8601", RECEIVED - timedelta(minutes=1)),
        ("2030-03-17 19:59:00.123456789Z", "iso8601", None),
        ("2030-03-17T19:59:00", "iso8601_utc", RECEIVED - timedelta(minutes=1)),
        (RECEIVED.timestamp() - 60, "unix", RECEIVED - timedelta(minutes=1)),
        (str(int(RECEIVED.timestamp()) - 60), "unix", RECEIVED - timedelta(minutes=1)),
        (RECEIVED.timestamp() * 1000, "unix_milliseconds", RECEIVED),
        ("69", "seconds_ago", RECEIVED - timedelta(seconds=69)),
    ],
)
def test_times_are_read_in_the_form_the_settings_say(
    value: object, form: Any, time: datetime | None
) -> None:
    expected = time or RECEIVED - timedelta(seconds=59, microseconds=876544)
    assert time_of({"t": value}, "t", form, RECEIVED) == expected


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("-3", "iso8601"),
        (-3, "iso8601"),
        ("2030-03-17T19:59:00", "iso8601"),
        ("2030-03-17", "iso8601"),
        ("2030-03-17", "iso8601_utc"),
        ("20:00", "iso8601"),
        ("yesterday", "iso8601"),
        ("1970-01-01T00:01:00Z", "iso8601"),
        (60, "unix"),
        ("-3", "unix"),
        (True, "unix"),
        ("now", "unix"),
        (1e300, "unix"),
        (RECEIVED.timestamp() * 1000, "unix"),
        (RECEIVED.timestamp() + FUTURE_SECONDS + 1, "unix"),
        ("-3", "seconds_ago"),
        ([], "unix"),
    ],
)
def test_a_time_that_cannot_be_placed_is_refused_not_replaced(value: object, form: Any) -> None:
    with pytest.raises(FieldError, match=r"^t is "):
        time_of({"t": value}, "t", form, RECEIVED)


@pytest.mark.parametrize("document", [{}, {"t": None}, {"t": ""}])
def test_without_a_time_the_moment_of_receipt_counts(document: object) -> None:
    assert time_of(document, "t", "iso8601", RECEIVED) is RECEIVED
    assert time_of(document, "", "iso8601", RECEIVED) is RECEIVED


def test_while_our_own_clock_is_unsure_a_sensor_may_be_ahead(
    clock: Clock, fake_time: FakeTime
) -> None:
    fake_time.quality = ClockQuality.NONE
    assert future_allowed(clock) == math.inf
    fake_time.quality = ClockQuality.NETWORK
    assert future_allowed(clock) == FUTURE_SECONDS
    later = RECEIVED + timedelta(days=400)
    assert time_of({"t": later.isoformat()}, "t", "iso8601", RECEIVED, future_seconds=math.inf) == (
        later
    )


def test_a_long_text_is_no_number_and_found_to_be_none_at_once() -> None:
    """The time for it must not grow with the square of its length."""
    started = time.thread_time()
    for text in ("1" * 250_000 + "x", "1" * 250_000, "1." + "1" * 250_000, "1e" + "1" * 250_000):
        with pytest.raises(FieldError, match="not a number"):
            number(text, field())
        with pytest.raises(FieldError, match="not a Unix time"):
            time_of({"at": text}, "at", "unix", RECEIVED)
    assert time.thread_time() - started < 1.0


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_a_document_is_nested_no_deeper_than_what_looks_at_it_can_bear(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    deepest = opening * 64 + "1" + closing * 64
    document = read_json(f'{{"t": {deepest[len(opening) : -1]}}}')
    with pytest.raises(FieldError, match="not a number"):
        number(find(document, "t"), field("t"))
    for depth in (65, 300, *range(900, 1000), 100_000):
        with pytest.raises(FieldError, match="nested too deeply"):
            read_json(opening * depth + "1" + closing * depth)
    assert read_json("[" + "[]," * 1000 + "[]]") == [[]] * 1001
