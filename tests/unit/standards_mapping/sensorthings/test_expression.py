from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standards_mapping.sensorthings.errors import QueryError, SensorThingsError
from standards_mapping.sensorthings.expression import (
    FUNCTIONS,
    Call,
    Expression,
    Literal,
    Logic,
    Negative,
    Not,
    Operation,
    Order,
    Path,
    Period,
    calls,
    conjuncts,
    parse_filter,
    parse_orderby,
    paths,
)

RESULT = Path(("result",))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'it''s'", "it's"),
        ("''", ""),
        ("'a and b eq ( c'", "a and b eq ( c"),
        ("42", 42),
        ("-42", -42),
        ("20.10", Decimal("20.10")),
        ("-1e-3", Decimal("-0.001")),
        ("true", True),
        ("false", False),
        ("null", None),
        ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T12:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        (
            "2026-03-01T12:00:00.1234567+01:00",
            datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1))),
        ),
        ("2026-03-01T12:00:00-0330", datetime(2026, 3, 1, 15, 30, tzinfo=UTC)),
        (
            "2026-03-01T00:00:00Z/2026-03-02T00:00:00Z",
            Period(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)),
        ),
        ("2026-03-01", date(2026, 3, 1)),
        ("12:30:00.25", time(12, 30, 0, 250_000)),
        ("12:30", time(12, 30)),
        ("duration'P1DT2H30M0.5S'", timedelta(days=1, hours=2, minutes=30, seconds=0.5)),
        ("duration'-PT1H'", timedelta(hours=-1)),
    ],
)
def test_literals_are_read(text: str, value: object) -> None:
    found = parse_filter(text)
    assert isinstance(found, Literal)
    assert found.value == value
    assert type(found.value) is type(value)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("result", RESULT),
        ("Datastream/Thing/properties/a-b", Path(("Datastream", "Thing", "properties", "a-b"))),
        ("Datastream/@iot.id", Path(("Datastream", "@iot.id"))),
        ("-result", Negative(RESULT)),
        ("--result", RESULT),
        ("result eq 1", Operation("eq", RESULT, Literal(1))),
        (
            "result add 1 mul 2 gt 3",
            Operation(
                "gt",
                Operation("add", RESULT, Operation("mul", Literal(1), Literal(2))),
                Literal(3),
            ),
        ),
        (
            "result sub 1 sub 2 eq 0",
            Operation(
                "eq",
                Operation("sub", Operation("sub", RESULT, Literal(1)), Literal(2)),
                Literal(0),
            ),
        ),
        (
            "result eq 1 or result eq 2 and result eq 3",
            Logic(
                "or",
                (
                    Operation("eq", RESULT, Literal(1)),
                    Logic(
                        "and",
                        (
                            Operation("eq", RESULT, Literal(2)),
                            Operation("eq", RESULT, Literal(3)),
                        ),
                    ),
                ),
            ),
        ),
        ("not result eq 1", Not(Operation("eq", RESULT, Literal(1)))),
        ("not not result", RESULT),
        ("(result)", RESULT),
        (
            "result gt 1 eq true",
            Operation("eq", Operation("gt", RESULT, Literal(1)), Literal(value=True)),
        ),
        (
            "not startswith(name,'a') and now() lt resultTime",
            Logic(
                "and",
                (
                    Not(Call("startswith", (Path(("name",)), Literal("a")))),
                    Operation("lt", Call("now", ()), Path(("resultTime",))),
                ),
            ),
        ),
        (
            "substring(concat(name, ', '), 1, 2)",
            Call(
                "substring",
                (
                    Call("concat", (Path(("name",)), Literal(", "))),
                    Literal(1),
                    Literal(2),
                ),
            ),
        ),
        ("date(resultTime)", Call("date", (Path(("resultTime",)),))),
        ("time", Path(("time",))),
    ],
)
def test_operators_bind_as_in_odata(text: str, tree: Expression) -> None:
    assert parse_filter(text) == tree


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "expected a value"),
        ("result eq", "expected a value"),
        ("result eq 1 2", "cannot read on at '2'"),
        ("result = 1", "cannot read '='"),
        ("(result eq 1", "closing parenthesis"),
        ("'open", "cannot read"),
        ("length()", "takes 1 arguments"),
        ("concat(name)", "takes 2 arguments"),
        ("substring('a')", "takes 2 to 3"),
        ("contains(name,'a')", "no function"),
        ("resultTime gt 2026-03-01T12:00:00", "no offset"),
        ("resultTime gt 2026-13-01T12:00:00Z", "month"),
        ("resultTime gt 2026-02-30", "day"),
        ("resultTime gt 0001-01-01T00:00:00+01:00", "years 1 to 9999"),
        ("resultTime gt duration'P1Y'", "duration"),
        ("resultTime gt duration'P'", "duration"),
        ("resultTime gt duration'P9999999999D'", "too long"),
        ("resultTime eq 2026-03-02T00:00:00Z/2026-03-01T00:00:00Z", "ends before"),
        ("resultTime eq 2026-03-02T00:00:00Z/3", "end of an interval"),
        ("result gt 1e999", "too long"),
        ("name eq 'a\0b'", "null character"),
        ("(" * 100 + "1" + ")" * 100, "nested"),
        ("1" + " add 1" * 100 + " gt 0", "in a row"),
        ("result eq 1 or " * 1000 + "result eq 1", "words"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(text: str, hint: str) -> None:
    with pytest.raises(QueryError, match=hint):
        parse_filter(text)


def test_one_of_a_list_is_equal_to_any_in_it() -> None:
    both = Logic("or", (Operation("eq", RESULT, Literal(1)), Operation("eq", RESULT, Literal("b"))))
    assert parse_filter("result in (1,'b')") == both
    assert parse_filter("result in (1)") == Operation("eq", RESULT, Literal(1))
    assert parse_filter("not (result in (1,'b'))") == Not(both)
    with pytest.raises(QueryError, match="in parentheses"):
        parse_filter("result in 1")
    with pytest.raises(QueryError, match="more than 200"):
        parse_filter(f"result in ({','.join('1' * 201)})")


def test_every_call_is_found() -> None:
    text = "not (length(name) gt 1 and -round(floor(result)) lt year(time) or trim(name) eq 'a')"
    found = [call.function for call in calls(parse_filter(text))]
    assert found == ["length", "round", "floor", "year", "trim"]


def test_a_long_list_of_alternatives_is_no_deep_tree() -> None:
    many = parse_filter(" or ".join(f"result eq {number}" for number in range(300)))
    assert isinstance(many, Logic)
    assert len(many.operands) == 300


@pytest.mark.parametrize(
    ("text", "orders"),
    [
        ("name", (Order(Path(("name",)), descending=False),)),
        (
            "result DESC,phenomenonTime asc",
            (
                Order(RESULT, descending=True),
                Order(Path(("phenomenonTime",)), descending=False),
            ),
        ),
        (
            "length(name) mul 2 desc , id",
            (
                Order(
                    Operation("mul", Call("length", (Path(("name",)),)), Literal(2)),
                    descending=True,
                ),
                Order(Path(("id",)), descending=False),
            ),
        ),
    ],
)
def test_orders_are_read(text: str, orders: tuple[Order, ...]) -> None:
    assert parse_orderby(text) == orders


@pytest.mark.parametrize("text", ["", "name desc asc", "name,", ",name", "name descending"])
def test_an_order_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(QueryError):
        parse_orderby(text)


def test_conjuncts_and_paths_take_an_expression_apart() -> None:
    found = parse_filter("a eq 1 and (b eq c and not (d eq 1 or e eq 2)) and length(f) eq -g")
    assert len(conjuncts(found)) == 4
    assert ["/".join(path.segments) for path in paths(found)] == list("abcdefg")


@given(st.text(max_size=60))
def test_no_text_does_anything_but_parse_or_be_refused(text: str) -> None:
    with suppress(SensorThingsError):
        parse_filter(text)


OPERATORS = ["and", "or", "not", "eq", "lt", "add", "-", "/", "(", ")", ",", "desc"]
VALUES = ["result", "name", "'x'", "1", "1.5", "null", "true", "2026-03-01T00:00:00Z"]
WORDS = st.sampled_from([*OPERATORS, *VALUES, *FUNCTIONS])


@given(st.lists(WORDS, max_size=25))
def test_no_sequence_of_words_does_anything_but_parse_or_be_refused(words: list[str]) -> None:
    for parse in (parse_filter, parse_orderby):
        with suppress(SensorThingsError):
            parse(" ".join(words))


@given(st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8"), max_size=40))
def test_every_text_survives_quoting(text: str) -> None:
    assert parse_filter("'" + text.replace("'", "''") + "'") == Literal(text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_instant_survives_being_written(moment: datetime) -> None:
    assert parse_filter(moment.isoformat()) == Literal(moment)


def expressions() -> st.SearchStrategy[str]:
    """Texts of well-formed conditions, with their parentheses."""
    numbers = st.sampled_from(["result", "1", "2.5", "length(name)", "round(result)"])
    comparisons = st.builds(
        lambda left, operator, right: f"{left} {operator} {right}",
        numbers,
        st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"]),
        numbers,
    )
    return st.recursive(
        comparisons,
        lambda inner: st.one_of(
            st.builds(lambda a, b: f"({a}) and ({b})", inner, inner),
            st.builds(lambda a, b: f"({a}) or ({b})", inner, inner),
            st.builds(lambda a: f"not ({a})", inner),
        ),
        max_leaves=8,
    )


@given(expressions())
def test_spaces_and_more_parentheses_change_nothing(text: str) -> None:
    assert parse_filter(f"  ( {text} ) ") == parse_filter(text)
