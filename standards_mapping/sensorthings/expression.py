"""The expressions of $filter and $orderby (OGC 18-088, clause 9.3.3.5; OData 4.0 ABNF).

Text becomes a tree; what a tree means, and whether its parts can be compared at all, is decided
by whoever evaluates it. Lexing lives in `tokens`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, TypeAlias

from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.geometry import GEOSPATIAL, Geometry
from standards_mapping.sensorthings.tokens import Token, tokenise

_DEEPEST: Final = 40
"""Of parentheses, calls and chains of one operator; what reads a tree is recursive."""

_LONGEST_LIST: Final = 200


@dataclass(frozen=True, slots=True)
class Period:
    """An interval of time given in an expression, from `start` to `end`."""

    start: datetime
    end: datetime


LiteralValue: TypeAlias = (
    str | bool | int | Decimal | datetime | Period | date | time | timedelta | Geometry | None
)


@dataclass(frozen=True, slots=True)
class Literal:
    """A value written out. None is `null`; times carry their offset."""

    value: LiteralValue


@dataclass(frozen=True, slots=True)
class Path:
    """A property of an entity or of one linked to it: names in the order written."""

    segments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A built-in function, in lower case, and its arguments; their number is right."""

    function: str
    arguments: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """A comparison or an arithmetic operator between two expressions."""

    operator: str
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class Logic:
    """`and` or `or` over two or more operands."""

    operator: str
    operands: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The negation of a condition."""

    operand: "Expression"


@dataclass(frozen=True, slots=True)
class Negative:
    """The number of opposite sign."""

    operand: "Expression"


Expression: TypeAlias = Literal | Path | Call | Operation | Logic | Not | Negative


@dataclass(frozen=True, slots=True)
class Order:
    """One key of $orderby."""

    expression: Expression
    descending: bool


FUNCTIONS: Final = {  # name: fewest and most arguments (OGC 18-088, Table 23)
    "substringof": (2, 2),
    "endswith": (2, 2),
    "startswith": (2, 2),
    "length": (1, 1),
    "indexof": (2, 2),
    "substring": (2, 3),
    "tolower": (1, 1),
    "toupper": (1, 1),
    "trim": (1, 1),
    "concat": (2, 2),
    "year": (1, 1),
    "month": (1, 1),
    "day": (1, 1),
    "hour": (1, 1),
    "minute": (1, 1),
    "second": (1, 1),
    "fractionalseconds": (1, 1),
    "date": (1, 1),
    "time": (1, 1),
    "totaloffsetminutes": (1, 1),
    "now": (0, 0),
    "mindatetime": (0, 0),
    "maxdatetime": (0, 0),
    "round": (1, 1),
    "floor": (1, 1),
    "ceiling": (1, 1),
    **GEOSPATIAL,
}

# Loosest first. `not` stands between `and` and the comparisons, so that `not a eq b` negates the
# comparison; `not f(x)` reads the same under OData's tighter binding.
_EQUALITY: Final = ("eq", "ne")
_RELATION: Final = ("lt", "le", "gt", "ge")
_SUM: Final = ("add", "sub")
_PRODUCT: Final = ("mul", "div", "mod")
_BINARY: Final = (_EQUALITY, _RELATION, _SUM, _PRODUCT)


class _Parser:
    """Recursive descent over the tokens of one option."""

    def __init__(self, text: str) -> None:
        self._tokens = tokenise(text)
        self._position = 0
        self._depth = 0

    def expression(self) -> Expression:
        """Read one whole expression, as deep in as the parentheses around it."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise QueryError(f"an expression nested more than {_DEEPEST} deep")
        found = self._logic("or")
        self._depth -= 1
        return found

    def order(self) -> Order:
        """Read one key of $orderby: an expression, then perhaps asc or desc in either case."""
        expression = self.expression()
        token = self._peek()
        if token.kind == "name" and str(token.value).lower() in ("asc", "desc"):
            self._position += 1
            return Order(expression, str(token.value).lower() == "desc")
        return Order(expression, descending=False)

    def take(self, symbol: str) -> bool:
        """Step over the symbol if it comes next, and say whether it did."""
        token = self._peek()
        if token.kind != "symbol" or token.value != symbol:
            return False
        self._position += 1
        return True

    def end(self) -> None:
        """Refuse anything that is left over."""
        token = self._peek()
        if token.kind != "end":
            raise QueryError(f"cannot read on at {token.text!r}, character {token.start + 1}")

    def _peek(self) -> Token:
        return self._tokens[self._position]

    def _operator(self, names: tuple[str, ...]) -> str | None:
        token = self._peek()
        if token.kind != "name" or token.value not in names:
            return None
        self._position += 1
        return str(token.value)

    def _logic(self, operator: str) -> Expression:
        operands = [self._logic("and") if operator == "or" else self._negation()]
        while self._operator((operator,)):
            operands.append(self._logic("and") if operator == "or" else self._negation())
        return operands[0] if len(operands) == 1 else Logic(operator, tuple(operands))

    def _negation(self) -> Expression:
        negations = 0
        while self._operator(("not",)):
            negations += 1
        operand = self._binary(0)
        return Not(operand) if negations % 2 else operand

    def _binary(self, level: int) -> Expression:
        if level == len(_BINARY):
            return self._unary()
        found = self._binary(level + 1)
        if level == _BINARY.index(_RELATION) and self._operator(("in",)):
            return self._one_of(found)
        length = 0
        while operator := self._operator(_BINARY[level]):
            length += 1
            if length > _DEEPEST:
                raise QueryError(f"more than {_DEEPEST} operators in a row")
            found = Operation(operator, found, self._binary(level + 1))
        return found

    def _one_of(self, found: Expression) -> Expression:
        """Read the list of `in`, and say with `eq` what it means; OData 4.01 has it."""
        if not self.take("("):
            token = self._peek()
            raise QueryError(f"expected a list in parentheses at character {token.start + 1}")
        choices = [self.expression()]
        while self.take(","):
            choices.append(self.expression())
        self._close()
        if len(choices) > _LONGEST_LIST:
            raise QueryError(f"a list of more than {_LONGEST_LIST} values")
        equal = tuple(Operation("eq", found, choice) for choice in choices)
        return equal[0] if len(equal) == 1 else Logic("or", equal)

    def _unary(self) -> Expression:
        minus = 0
        while self.take("-"):
            minus += 1
        operand = self._primary()
        if minus % 2 == 0:
            return operand
        if isinstance(operand, Literal) and type(operand.value) in (int, Decimal):
            return Literal(-operand.value)  # type: ignore[operator]
        return Negative(operand)

    def _primary(self) -> Expression:
        token = self._peek()
        self._position += 1
        if token.kind == "symbol" and token.value == "(":
            inner = self.expression()
            self._close()
            return inner
        if token.kind == "name":
            name = str(token.value)
            return self._call(name) if self.take("(") else Path(tuple(name.split("/")))
        if token.kind == "literal":
            return self._period(Literal(token.value))
        what = "the end" if token.kind == "end" else repr(token.text)
        raise QueryError(f"expected a value at character {token.start + 1}, found {what}")

    def _period(self, literal: Literal) -> Literal:
        """Go on from an instant to the end of an interval, written start/end."""
        if not isinstance(literal.value, datetime) or not self.take("/"):
            return literal
        token = self._peek()
        self._position += 1
        if not isinstance(token.value, datetime):
            raise QueryError(f"expected the end of an interval at character {token.start + 1}")
        if token.value < literal.value:
            raise QueryError("an interval that ends before it starts")
        return Literal(Period(literal.value, token.value))

    def _call(self, name: str) -> Call:
        if name not in FUNCTIONS:
            raise QueryError(f"there is no function {name!r}")
        arguments: list[Expression] = []
        if not self.take(")"):
            arguments.append(self.expression())
            while self.take(","):
                arguments.append(self.expression())
            self._close()
        fewest, most = FUNCTIONS[name]
        if not fewest <= len(arguments) <= most:
            count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            raise QueryError(f"{name} takes {count} arguments, not {len(arguments)}")
        return Call(name, tuple(arguments))

    def _close(self) -> None:
        if not self.take(")"):
            token = self._peek()
            raise QueryError(f"expected a closing parenthesis at character {token.start + 1}")


def parse_filter(text: str) -> Expression:
    """Return the tree of a $filter.

    Raises:
        QueryError: not an expression; the message says where.
    """
    parser = _Parser(text)
    found = parser.expression()
    parser.end()
    return found


def parse_orderby(text: str) -> tuple[Order, ...]:
    """Return the keys of an $orderby, the most significant first.

    Raises:
        QueryError: as for a filter.
    """
    parser = _Parser(text)
    keys = [parser.order()]
    while parser.take(","):
        keys.append(parser.order())
    parser.end()
    return tuple(keys)


def conjuncts(expression: Expression) -> tuple[Expression, ...]:
    """Return conditions that all hold if and only if `expression` does."""
    if isinstance(expression, Logic) and expression.operator == "and":
        return tuple(part for operand in expression.operands for part in conjuncts(operand))
    return (expression,)


def calls(expression: Expression) -> Iterator[Call]:
    """Yield every call of a function in an expression."""
    match expression:
        case Call(_, operands):
            yield expression
            for operand in operands:
                yield from calls(operand)
        case Logic(_, operands):
            for operand in operands:
                yield from calls(operand)
        case Operation(_, left, right):
            yield from calls(left)
            yield from calls(right)
        case Not(operand) | Negative(operand):
            yield from calls(operand)
        case Literal() | Path():
            return


def paths(expression: Expression) -> Iterator[Path]:
    """Yield every path in an expression, in the order written."""
    match expression:
        case Path():
            yield expression
        case Call(_, operands) | Logic(_, operands):
            for operand in operands:
                yield from paths(operand)
        case Operation(_, left, right):
            yield from paths(left)
            yield from paths(right)
        case Not(operand) | Negative(operand):
            yield from paths(operand)
        case Literal():
            return
