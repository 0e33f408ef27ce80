"""What one setting may be: whether a TOML value fits a type hint, and the hint in words.

Hints are those of settings dataclasses: str, int, float, bool, Path, Literal, None in a union,
tuple[...], Mapping[str, ...] and dataclasses. Reading a document is `runtime.settings`.
"""

import dataclasses
import math
import re
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """Tables of one kind that differ by what one of their keys says.

    key: that key; each kind has it as a Literal. names: what it may say. find: the dataclass
    for one of those names, so that those not named need not even be imported. contradictions: what
    is wrong with one of them beyond what it says itself, whatever else the file holds.
    """

    key: str
    names: Callable[[], tuple[str, ...]]
    find: Callable[[str], type[Any]]
    contradictions: Callable[[Any], Iterable[tuple[tuple[str | int, ...], str]]] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What a setting means and what it may be; kept in the field's metadata.

    doc: one sentence for people. minimum, maximum: inclusive, of a number or a list's elements.
    pattern: full match required of a text. secret: never show the value.
    must_exist: the path must lead to something when the file is read.
    choice: which dataclass each table of a list really is.
    """

    doc: str = ""
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    secret: bool = False
    must_exist: bool = False
    choice: Choice | None = None


def fits(hint: Any, value: object, limits: Limits) -> bool:
    """Return whether a TOML `value` is what the scalar `hint` under `limits` allows."""
    if get_origin(hint) is Literal:
        return any(type(value) is type(choice) and value == choice for choice in get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        return any(fits(option, value, limits) for option in get_args(hint))
    if hint is bool:
        return isinstance(value, bool)
    if hint in (int, float):
        number = isinstance(value, int if hint is int else int | float)
        return number and not isinstance(value, bool) and _within(value, limits)
    if hint is str and limits.pattern is not None:
        return isinstance(value, str) and re.fullmatch(limits.pattern, value) is not None
    if hint in (str, Path):
        return isinstance(value, str) and (hint is str or bool(value))
    raise TypeError(f"settings cannot hold {hint}")


def _within(value: Any, limits: Limits) -> bool:
    return (
        math.isfinite(value)
        and (limits.minimum is None or value >= limits.minimum)
        and (limits.maximum is None or value <= limits.maximum)
    )


def allowed_by(hint: Any, limits: Limits) -> str:
    """Return what `hint` under `limits` allows, as words for a person."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return shown(parts[0]) if len(parts) == 1 else f"one of {list_of(parts)}"
    if origin in (Union, types.UnionType):
        options = [option for option in parts if option is not types.NoneType]
        return " or ".join(allowed_by(option, limits) for option in options)
    if origin is not None:
        kind, element = ("list", parts[0]) if origin is tuple else ("table", parts[1])
        return f"a {kind}, each {allowed_by(element, limits)}"
    if dataclasses.is_dataclass(hint):
        return "a table"
    return _scalar_allowed_by(hint, limits)


def _scalar_allowed_by(hint: Any, limits: Limits) -> str:
    if hint is str and limits.pattern is not None:
        return f"text of the form {limits.pattern}"
    names = {bool: "true or false", str: "text", Path: "the path of a file or directory"}
    if hint in names:
        return names[hint]
    return f"a {'whole number' if hint is int else 'number'}{_range(limits)}"


def _range(limits: Limits) -> str:
    if limits.minimum is not None and limits.maximum is not None:
        return f" from {limits.minimum} to {limits.maximum}"
    if limits.minimum is not None:
        return f" of at least {limits.minimum}"
    return "" if limits.maximum is None else f" of at most {limits.maximum}"


def tables_in(hint: Any, limits: Limits) -> list[type[Any]]:
    """Return the dataclasses a hint leads to: itself, its choices, a tuple's or a mapping's."""
    if limits.choice is not None:
        return [limits.choice.find(name) for name in limits.choice.names()]
    if dataclasses.is_dataclass(hint):
        return [as_class(hint)]
    return [table for part in get_args(hint) for table in tables_in(part, limits)]


def as_class(hint: Any, default: type[Any] = object) -> type[Any]:
    """Return `hint` where it is a class, else `default`."""
    return hint if isinstance(hint, type) else default


def list_of(choices: Iterable[object]) -> str:
    """Return `choices` as they would stand in TOML, with commas between."""
    return ", ".join(shown(choice) for choice in choices)


def shown(value: object) -> str:
    """Return a scalar, or a list of them, as it would stand in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    return f'"{value}"' if isinstance(value, str | Path) else str(value)
