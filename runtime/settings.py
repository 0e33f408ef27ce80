"""Settings: a TOML file becomes frozen dataclasses, or every mistake in it is named.

Tables are nested dataclasses, arrays of tables are `tuple[Dataclass, ...]`, choices are
`Literal[...]`. Tables that differ by what one of their keys says are told by a `Choice`.
Unknown keys stop the start. Relative paths are relative to the file. Secrets are paths to
files, never values. What the settings of a process are is that process's business.
"""

import dataclasses
import difflib
import json
import re
import tomllib
import types
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as hints_of

from runtime.json_lines import json_lines
from runtime.setting_types import (
    Choice,
    Limits,
    allowed_by,
    as_class,
    fits,
    list_of,
    shown,
    tables_in,
)
from runtime.toml_lines import KeyPath, key_lines

__all__ = [
    "Choice",
    "KeyPath",
    "Mistake",
    "Referring",
    "SelfChecking",
    "SettingDescription",
    "SettingsError",
    "describe",
    "load",
    "setting",
]

T = TypeVar("T")

_WRONG: Final = object()


def setting(
    doc: str,
    *,
    default: Any = dataclasses.MISSING,
    default_factory: Any = dataclasses.MISSING,
    minimum: float | None = None,
    maximum: float | None = None,
    pattern: str | None = None,
    secret: bool = False,
    must_exist: bool = False,
    choice: Choice | None = None,
) -> Any:
    """Return a dataclass field that says what it means and what is allowed (see `Limits`).

    default, default_factory: as of `dataclasses.field`.
    """
    limits = Limits(doc, minimum, maximum, pattern, secret, must_exist, choice)
    metadata = {"limits": limits}
    if default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=default_factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong in a settings file; `str()` is the line shown to a person."""

    file: Path
    line: int
    key: str
    value: str
    allowed: str

    def __str__(self) -> str:
        given = f" = {self.value}" if self.value else ""
        subject = f"{self.key}{given}: " if self.key else ""
        return f"{self.file}:{self.line}: {subject}{self.allowed}"


class SettingsError(Exception):
    """A settings file is not usable; `mistakes` holds all that is wrong with it."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


class SelfChecking(Protocol):
    """Settings whose values must also fit each other."""

    def contradictions(self) -> Iterable[tuple[KeyPath, str]]:
        """Yield, for each contradiction, the path of the key below here and what is allowed."""
        ...


class Referring(Protocol):
    """Settings whose tables name each other."""

    @staticmethod
    def loose_ends(table: Mapping[str, Any]) -> Iterable[tuple[KeyPath, str]]:
        """Yield what names nothing, or the same twice, as `SelfChecking` does.

        Asked of the table as it stands in the file, which may hold any other mistake: so one
        mistyped number does not hide that a sensor hangs on nothing.
        """
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class SettingDescription:
    """One row of a settings reference: dotted key, what is allowed, default as text, meaning."""

    key: str
    allowed: str
    default: str
    doc: str


def load(
    cls: type[T],
    path: Path,
    *,
    also: Callable[[T], Iterable[tuple[KeyPath, str]]] | None = None,
) -> T:
    """Return the settings in `path` as an instance of dataclass `cls`.

    The file is TOML, or JSON if its name ends in .json.

    also: asked, beside the settings themselves, for contradictions in what is right so far.

    Raises:
        SettingsError: the file cannot be read or parsed, or holds mistakes (all are listed).
    """
    document, lines = _read(path)
    reader = _Reader(path, lines)
    settings = reader.table(cls, document, ())
    if also is not None and not reader.mistakes:
        reader.note_contradictions(also(settings), document, ())
    if reader.mistakes:
        raise SettingsError(sorted(reader.mistakes, key=lambda mistake: mistake.line))
    return settings  # type: ignore[no-any-return]  # built by calling cls


def _read(path: Path) -> tuple[Any, Mapping[KeyPath, int]]:
    """Return a parsed document, and on which line everything in it stands."""
    try:
        text = path.read_bytes().decode()
        if path.suffix == ".json":
            return json.loads(text), json_lines(text)
        return tomllib.loads(text), key_lines(text)
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        raise SettingsError([Mistake(path, 1, "", "", reason)]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([Mistake(path, 1, "", "", "is not UTF-8 text")]) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([_syntax_mistake(path, error)]) from error
    except json.JSONDecodeError as error:
        mistake = Mistake(path, error.lineno, "", "", f"is not JSON: {error}")
        raise SettingsError([mistake]) from error


def describe(cls: type[Any], prefix: str = "") -> list[SettingDescription]:
    """Return a description of every setting of dataclass `cls`, in order, for documentation."""
    rows: list[SettingDescription] = []
    hints = hints_of(cls)
    for field in dataclasses.fields(cls):
        tables = tables_in(hints[field.name], _limits_of(field))
        key = f"{prefix}{field.name}"
        if tables:
            for table in tables:
                rows += describe(table, f"{key}{_below(hints[field.name])}.")
            continue
        default = "" if _is_required(field) else shown(_default_of(field))
        limits = _limits_of(field)
        rows.append(
            SettingDescription(key, allowed_by(hints[field.name], limits), default, limits.doc)
        )
    return rows


def _below(hint: Any) -> str:
    """Return how the keys of a table, of an array of tables or of named tables are written."""
    origin = get_origin(hint)
    if origin is tuple:
        return "[]"
    return "" if origin in (None, Union, types.UnionType) else ".<name>"


def _syntax_mistake(path: Path, error: tomllib.TOMLDecodeError) -> Mistake:
    line = re.search(r"line (\d+)", str(error))
    return Mistake(path, int(line.group(1)) if line else 1, "", "", f"is not TOML: {error}")


class _Reader:
    """Builds dataclasses from one parsed document and collects what is wrong on the way."""

    def __init__(self, file: Path, lines: Mapping[KeyPath, int]) -> None:
        self.mistakes: list[Mistake] = []
        self._file = file
        self._lines = lines

    def table(self, cls: type[Any], table: object, at: KeyPath) -> Any:
        """Return `cls` made from `table`, or _WRONG after noting at least one mistake."""
        if not isinstance(table, dict):
            return self._wrong(at, table, "must be a table")
        known_mistakes = len(self.mistakes)
        hints = hints_of(cls)
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for key in table.keys() - fields.keys():
            self._unknown(at, key, table[key], fields.keys())
        values: dict[str, Any] = {}
        for name, field in fields.items():
            if name in table:
                values[name] = self._value(hints[name], table[name], (*at, name), _limits_of(field))
            elif dataclasses.is_dataclass(hints[name]) and _is_required(field):
                values[name] = self.table(as_class(hints[name]), {}, (*at, name))
            elif _is_required(field):
                allowed = allowed_by(hints[name], _limits_of(field))
                self._note((*at, name), "", f"is missing: {allowed}")
        if hasattr(cls, "loose_ends"):
            self.note_contradictions(cls.loose_ends(table), table, at)
        if len(self.mistakes) > known_mistakes:
            return _WRONG
        built = cls(**values)
        if hasattr(built, "contradictions"):
            self.note_contradictions(built.contradictions(), table, at)
        return built if len(self.mistakes) == known_mistakes else _WRONG

    def note_contradictions(
        self, found: Iterable[tuple[KeyPath, str]], table: Any, at: KeyPath
    ) -> None:
        """Note, for each path below `at` that is named, what is allowed there."""
        for below, allowed in found:
            value = table
            for key in below:
                try:
                    value = value[key]
                except (KeyError, IndexError):
                    value = None
                    break
            scalar = value is not None and not isinstance(value, dict | list)
            self._note((*at, *below), shown(value) if scalar else "", allowed)

    def _value(self, hint: Any, value: object, at: KeyPath, limits: Limits) -> Any:
        origin = get_origin(hint)
        if origin in (Union, types.UnionType):
            return self._union(hint, value, at, limits)
        if limits.choice is not None and origin is None:
            return self._chosen(limits.choice, value, at)
        if dataclasses.is_dataclass(hint):
            return self.table(as_class(hint), value, at)
        if origin is tuple:
            return self._list(get_args(hint)[0], value, at, limits)
        if origin is not None and issubclass(as_class(origin, default=str), Mapping):
            return self._mapping(get_args(hint)[1], value, at, limits)
        return self._scalar(hint, value, at, limits)

    def _union(self, hint: Any, value: object, at: KeyPath, limits: Limits) -> Any:
        options = [option for option in get_args(hint) if option is not types.NoneType]
        if len(options) == 1:
            return self._value(options[0], value, at, limits)
        return self._scalar(hint, value, at, limits)

    def _chosen(self, choice: Choice, value: object, at: KeyPath) -> Any:
        if not isinstance(value, dict):
            return self._wrong(at, value, "must be a table")
        names = choice.names()
        if choice.key not in value:
            allowed = f"is missing: must be one of {list_of(names)}"
            return self._note((*at, choice.key), "", allowed)
        name = value[choice.key]
        if name in names:
            built = self.table(choice.find(name), value, at)
            if built is not _WRONG and choice.contradictions is not None:
                self.note_contradictions(choice.contradictions(built), value, at)
            return built
        near = difflib.get_close_matches(str(name).lower(), names, n=1)
        hint = f"; did you mean {shown(near[0])}?" if near else ""
        return self._wrong((*at, choice.key), name, f"must be one of {list_of(names)}{hint}")

    def _list(self, hint: Any, value: object, at: KeyPath, limits: Limits) -> Any:
        if not isinstance(value, list):
            return self._wrong(at, value, "must be a list")
        return tuple(
            self._value(hint, element, (*at, index), limits) for index, element in enumerate(value)
        )

    def _mapping(self, hint: Any, value: object, at: KeyPath, limits: Limits) -> Any:
        if not isinstance(value, dict):
            return self._wrong(at, value, "must be a table")
        return types.MappingProxyType(
            {key: self._value(hint, element, (*at, key), limits) for key, element in value.items()}
        )

    def _scalar(self, hint: Any, value: object, at: KeyPath, limits: Limits) -> Any:
        if fits(hint, value, limits):
            if hint is Path:
                return self._path(str(value), at, limits)
            return float(value) if hint is float and isinstance(value, int) else value
        allowed = f"must be {allowed_by(hint, limits)}{_quotation_marks(hint, value, limits)}"
        return self._wrong(at, value, allowed, secret=limits.secret)

    def _path(self, value: str, at: KeyPath, limits: Limits) -> Any:
        path = self._file.parent / value
        if limits.must_exist and not path.exists():
            return self._wrong(at, value, f"nothing is at {path}")
        return path

    def _unknown(self, at: KeyPath, key: str, value: object, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(key, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(names)}"
        given = "" if isinstance(value, dict | list) else shown(value)
        self._note((*at, key), given, f"is not a setting; {hint}")

    def _wrong(self, at: KeyPath, value: object, allowed: str, *, secret: bool = False) -> Any:
        return self._note(at, "(not shown)" if secret else shown(value), allowed)

    def _note(self, at: KeyPath, value: str, allowed: str) -> Any:
        self.mistakes.append(Mistake(self._file, self._line_of(at), _dotted(at), value, allowed))
        return _WRONG

    def _line_of(self, at: KeyPath) -> int:
        while at not in self._lines:
            at = at[:-1]
        return self._lines[at]


def _limits_of(field: dataclasses.Field[Any]) -> Limits:
    limits = field.metadata.get("limits")
    return limits if isinstance(limits, Limits) else Limits()


def _is_required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _default_of(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _quotation_marks(hint: Any, value: object, limits: Limits) -> str:
    """Return that quotation marks are missing, or are too many, where that is all."""
    if hint is str and isinstance(value, int | float) and fits(hint, shown(value), limits):
        return ", in quotation marks"
    if isinstance(value, str):
        with suppress(tomllib.TOMLDecodeError):
            if fits(hint, tomllib.loads(f"bare = {value}")["bare"], limits):
                return ", without quotation marks"
    return ""


def _dotted(at: KeyPath) -> str:
    text = "".join(f"[{key + 1}]" if isinstance(key, int) else f".{key}" for key in at)
    return text.removeprefix(".")
