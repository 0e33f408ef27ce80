"""Numbers and times found in JSON that sensors send, by paths that stand in the settings.

Pure, and shared by every adapter that reads JSON. Strict where a guess would make a wrong
reading, tolerant where makers merely write the same thing differently. How JSON arrives is told
in `local_broker` and `listener`, conversions of units in `conversion`.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal

from device_protocol.reading import Reading
from edge_agent.adapter import DatastreamSettings
from edge_agent.clock import Clock, ClockQuality
from edge_agent.inputs import conversion
from runtime.settings import KeyPath, setting

TimeForm = Literal["iso8601", "iso8601_utc", "unix", "unix_milliseconds", "seconds_ago"]
"""How a time is written: ISO 8601 with an offset; without one, in UTC; Unix time; an age."""

FUTURE_SECONDS: Final = 300.0  # a sensor's clock may be ahead of ours by this
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)  # before it, a clock has not been set
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MOST_DEPTH: Final = 64
_MOST_DIGITS: Final = 400  # written out, the greatest double has 309
_ROOT: Final = "$"
_MOST_SHOWN: Final = 40  # characters of a value in a message
_STEP: Final = re.compile(
    r'\s*(?:(?P<dot>\.)?(?:"(?P<quoted>[^"]+)"|(?P<key>[^.\[\]|"\s]+))'
    r'|(?P<bracket>\[)(?:(?P<index>[0-9]{1,6})|(?P<match>[^=\[\]"|]+)=(?P<value>[^\[\]|]+))\])\s*'
)

Step = str | int | tuple[str, str]


class FieldError(ValueError):
    """A document, or one value in it, is not what the settings say; the message says how.

    place: the path concerned, "" for the whole document.
    """

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(message)
        self.place = place

    @property
    def reason(self) -> str:
        """What it is counted by."""
        return self.place or "document"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSettings(DatastreamSettings):
    """What one value in a JSON document becomes: a datastream."""

    path: str = setting(
        "Where the value stands: keys with dots between, [0] for a place in a list, "
        '[key=value] for the element of a list that says so, "..." around a key with dots, $ for '
        "the document itself; | between paths, of which the first that leads to a value counts.",
    )
    from_unit: str = setting(
        "Unit the source speaks where it is another, e.g. degF, mi/h, inHg, psi, Pa; converted "
        "to `unit`.",
        default="",
    )
    scale: float = setting("The source's number is multiplied by this.", default=1.0)
    offset: float = setting("To which this is added, before any conversion.", default=0.0)
    values: Mapping[str, float] = setting(
        "Words, and what they count as, e.g. { ON = 1, OFF = 0 }; true and false are words, too.",
        default_factory=dict,
    )

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse a path that is none, a unit that cannot be converted and a scale of 0."""
        mistake = path_mistake(self.path)
        if mistake:
            yield ("path",), mistake
        if self.from_unit and self.from_unit != self.unit:
            reason = conversion.mistake(self.from_unit, self.unit)
            if reason:
                yield ("from_unit",), reason
        if self.scale == 0:
            yield ("scale",), "must not be 0"


def path_mistake(path: str) -> str | None:
    """Return why `path` is no path, as what must stand there; None if it is one."""
    try:
        _parsed(path)
    except FieldError as error:
        return str(error)
    return None


def read_json(body: bytes | str) -> object:
    """Return the document in `body`: UTF-8, with or without a byte order mark.

    A key that stands twice with one value is one key.

    Raises:
        FieldError: it is not JSON, holds NaN or Infinity, or a key twice with different values;
            or is nested more than 64 deep.
    """
    try:
        text = body.decode("utf-8-sig") if isinstance(body, bytes) else body
        document: object = json.loads(
            text, object_pairs_hook=_object, parse_constant=_refuse_constant
        )
    except FieldError:
        raise
    except RecursionError as error:
        raise FieldError("is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise FieldError("is not UTF-8 text") from error
    except ValueError as error:
        raise FieldError(f"is not JSON: {error}") from error
    if _is_deep(text, document):
        raise FieldError("is nested too deeply")
    return document


def find(document: object, path: str) -> object | None:
    """Return what stands at `path`; None for null, an empty text and nothing at all.

    Raises:
        FieldError: it stands there twice, with different values; or `path` is no path.
    """
    for steps in _parsed(path):
        found: list[object] = [
            value for value in _follow(document, steps) if value is not None and value != ""
        ]
        if any(not _same(value, found[0]) for value in found[1:]):
            raise FieldError(f"{path} stands twice, with different values", path)
        if found:
            return found[0]
    return None


def number(value: object, field: FieldSettings) -> float | None:
    """Return a value of `field` as a result in its unit; None for null and an empty text.

    A text is a number if it is written as JSON would write one, blanks around it and a leading
    plus or point allowed; "12,3", "12.3 C" and "nan" are none.

    Raises:
        FieldError: it is no number, and none of the words in the settings.
    """
    if value is None:
        return None
    word = str(value).lower() if isinstance(value, bool) else value
    if isinstance(word, str):
        word = word.strip()
        if not word:
            return None
        if word in field.values:
            return field.values[word]
        if isinstance(value, bool) or not _is_number(word):
            known = f"; known words: {', '.join(field.values)}" if field.values else ""
            raise FieldError(f"{field.path} is {_shown(value)}, not a number{known}", field.path)
    elif not isinstance(word, int | float):
        raise FieldError(f"{field.path} is {_shown(value)}, not a number", field.path)
    return _result(word, field)


def readings(
    document: object,
    *,
    sensor: str,
    fields: Iterable[FieldSettings],
    time: datetime,
    on_fault: Callable[[FieldError], None] | None = None,
) -> tuple[Reading, ...]:
    """Return what the fields of `document` say; fields that say nothing make no reading.

    sensor: its URN. time: of every reading. on_fault: told of values that are not what they
    should be, so that the other fields count all the same; without it the first one raises.

    Raises:
        FieldError: as `find` and `number`.
    """
    made = []
    for field in fields:
        try:
            result = number(find(document, field.path), field)
        except FieldError as error:
            if on_fault is None:
                raise
            on_fault(error)
            continue
        if result is not None:
            made.append(
                Reading(
                    sensor=sensor,
                    name=field.name,
                    phenomenon_time=time,
                    result=result,
                    unit=field.symbol,
                )
            )
    return tuple(made)


def time_of(
    document: object,
    path: str,
    form: TimeForm,
    received: datetime,
    *,
    future_seconds: float = FUTURE_SECONDS,
) -> datetime:
    """Return the time at `path`, in UTC; `received` where `path` is empty or leads to nothing.

    A time that cannot be placed is refused, never replaced: one without an offset, one relative
    to something unsaid ("-3"), one before 2000 (a clock that was never set), one in the future.

    future_seconds: by how much it may be after `received`; infinite while our own clock is
        not sure.

    Raises:
        FieldError: it is no such time.
    """
    value = find(document, path) if path else None
    if value is None:
        return received
    try:
        time = _moment(value, form, received)
    except (ValueError, OverflowError, OSError) as error:
        words = _FORMS[form]
        raise FieldError(f"{path} is {_shown(value)}, not {words}", path) from error
    if time < _EARLIEST:
        raise FieldError(f"{path} is {time.isoformat()}: that clock is not set", path)
    if (time - received).total_seconds() > future_seconds:
        raise FieldError(f"{path} is {time.isoformat()}, in the future", path)
    return time


def future_allowed(clock: Clock) -> float:
    """Return by how much a sensor's time may be ahead of ours: while ours is unsure, at will."""
    return math.inf if clock.quality() is ClockQuality.NONE else FUTURE_SECONDS


_FORMS: Final = MappingProxyType(
    {
        "iso8601": "an ISO 8601 time with an offset",
        "iso8601_utc": "an ISO 8601 time",
        "unix": "a Unix time in seconds",
        "unix_milliseconds": "a Unix time in milliseconds",
        "seconds_ago": "an age in seconds",
    }
)


def _moment(value: object, form: TimeForm, received: datetime) -> datetime:
    if form in ("iso8601", "iso8601_utc"):
        if not isinstance(value, str) or "T" not in value.upper().replace(" ", "T"):
            raise ValueError("no time of day")
        moment = datetime.fromisoformat(value.strip())
        if moment.tzinfo is None and form == "iso8601_utc":
            moment = moment.replace(tzinfo=UTC)
        if moment.utcoffset() is None:
            raise ValueError("no offset")
        return moment.astimezone(UTC)
    if isinstance(value, str) and _is_number(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("no number")  # noqa: TRY004  # of a document, not of our own making
    if form == "seconds_ago":
        if value < 0:
            raise ValueError("no age")
        return received - timedelta(seconds=value)
    per_second = 1_000_000 if form == "unix" else 1000
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=round(value * per_second))


def _is_number(text: str) -> bool:
    return len(text) <= _MOST_DIGITS and _NUMBER.fullmatch(text) is not None


def _is_deep(text: str, document: object) -> bool:
    """Tell whether a document is nested deeper than is wanted; `text` is what it was read from."""
    if text.count("[") + text.count("{") <= _MOST_DEPTH:
        return False
    layer = [document]
    for _ in range(_MOST_DEPTH + 1):
        layer = [inner for outer in layer for inner in _inside(outer)]
        if not layer:
            return False
    return True


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _result(given: float | str, field: FieldSettings) -> float:
    try:
        plain = float(given)
        result = _converter(field.from_unit, field.unit, field.scale, field.offset)(plain)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise FieldError(f"{field.path} is {_shown(given)}, which is too large", field.path)
    return result


_converter = lru_cache(maxsize=256)(conversion.converter)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        for key, value in pairs:
            if not _same(value, made[key]):
                raise FieldError(f"key {_shown(key)} stands twice, with different values")
    return made


def _same(one: object, other: object) -> bool:
    """Tell whether two JSON values are one; in Python, True is 1."""
    return bool(one == other) and json.dumps(one, sort_keys=True) == json.dumps(
        other, sort_keys=True
    )


def _refuse_constant(name: str) -> None:
    raise FieldError(f"holds {name}, which is not JSON")


def _follow(document: object, steps: tuple[Step, ...]) -> list[Any]:
    """Return all that `steps` lead to; several only where a list says so several times."""
    found: list[Any] = [document]
    for step in steps:
        match step:
            case str():
                found = [each[step] for each in found if isinstance(each, dict) and step in each]
            case int():
                lists = (each for each in found if isinstance(each, list))
                found = [each[step] for each in lists if step < len(each)]
            case key, wanted:
                elements = (item for each in found if isinstance(each, list) for item in each)
                found = [
                    item
                    for item in elements
                    if isinstance(item, dict) and _as_text(item.get(key)) == wanted
                ]
    return found


def _as_text(value: object) -> str | None:
    return value if isinstance(value, str) else json.dumps(value)


@lru_cache(maxsize=512)
def _parsed(path: str) -> tuple[tuple[Step, ...], ...]:
    """Return the alternatives of a path, each as its steps.

    Raises:
        FieldError: it is no path; the message is what must stand there.
    """
    alternatives: list[list[Step]] = [[]]
    at = 0
    while at < len(path):
        steps = alternatives[-1]
        if path[at] == "|" and steps:
            alternatives.append([])
            at += 1
            continue
        match = _STEP.match(path, at)
        if match is None or bool(match["dot"]) != bool(steps and not match["bracket"]):
            raise FieldError(f"is no path from here on: {path[at:]}", path)
        steps.append(_step(match))
        at = match.end()
    if not alternatives[-1]:
        raise FieldError("must be a path such as a.b[0].c", path)
    return tuple(() if steps == [_ROOT] else tuple(steps) for steps in alternatives)


def _step(match: re.Match[str]) -> Step:
    if match["index"]:
        return int(match["index"])
    if match["match"]:
        return match["match"].strip(), match["value"].strip()
    return match["quoted"] or match["key"]


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
