r"""Regular expressions of requests, matched in time linear in the text whatever the expression.

Python's own engine backtracks: `(a+)+$` would keep a worker busy for hours. Here an expression is
turned into a nondeterministic automaton that is in many states at once (Thompson), and those sets
are remembered, so that most characters cost one look-up. Understood: characters, `.`, `[...]`,
`\d \w \s` and their opposites, groups, `|`, `* + ? {m,n}`, `^` and `$`. Back-references and
look-around are not, as they could not be matched so.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NoReturn

from standards_mapping.ngsi_ld.errors import BadRequestDataError

LONGEST_PATTERN: Final = 512
MOST_STATES: Final = 2000

_MOST_REMEMBERED: Final = 5000
_DEEPEST: Final = 50
_LARGEST_REPEAT: Final = 1000

Test = Callable[[str], bool]

_CLASSES: Final[dict[str, Test]] = {
    "d": str.isdecimal,
    "w": lambda c: c.isalnum() or c == "_",
    "s": str.isspace,
    "D": lambda c: not c.isdecimal(),
    "W": lambda c: not (c.isalnum() or c == "_"),
    "S": lambda c: not c.isspace(),
}
_CONTROLS: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}


@dataclass(slots=True)
class _State:
    """One state: where it leads on a character that passes, and where without one.

    anchor: "^" or "$" where going on without a character needs an end of the text.
    """

    test: Test | None = None
    onward: int = -1
    free: list[int] = field(default_factory=list)
    anchor: str = ""


class Pattern:
    """A compiled expression.

    Raises:
        BadRequestDataError: it is too long, not well-formed, or has what is not understood.
    """

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST_PATTERN:
            raise BadRequestDataError(f"a pattern of more than {LONGEST_PATTERN} characters")
        self.text = text
        compiler = _Compiler(text)
        self._start, self._end = compiler.compile()
        self._states = compiler.states
        self._steps: dict[tuple[frozenset[int], str], frozenset[int]] = {}
        self._first = self._closure([self._start], at_start=True)

    def search(self, text: str) -> bool:
        """Return whether the expression matches anywhere in `text`."""
        now = self._first
        for character in text:
            if self._end in now:
                return True
            now = self._step(now, character)
        return self._end in self._closure(now, at_start=not text, at_end=True)

    def _step(self, now: frozenset[int], character: str) -> frozenset[int]:
        key = (now, character)
        found = self._steps.get(key)
        if found is None:
            onward = [self._start]  # a match may begin anywhere
            for number in now:
                state = self._states[number]
                if state.test is not None and state.test(character):
                    onward.append(state.onward)
            found = self._closure(onward)
            if len(self._steps) >= _MOST_REMEMBERED:
                self._steps.clear()
            self._steps[key] = found
        return found

    def _closure(
        self, states: Iterable[int], *, at_start: bool = False, at_end: bool = False
    ) -> frozenset[int]:
        """Return the states reached without reading a character."""
        found: set[int] = set()
        waiting = list(states)
        while waiting:
            number = waiting.pop()
            if number in found:
                continue
            found.add(number)
            state = self._states[number]
            if state.anchor and not (at_start if state.anchor == "^" else at_end):
                continue
            waiting.extend(state.free)
        return frozenset(found)


class _Compiler:
    """Reads an expression from left to right and adds states as it goes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self.states: list[_State] = []

    def compile(self) -> tuple[int, int]:
        part = self._alternatives()
        if self._at < len(self._text):
            self._refuse("a “)” that closes nothing")
        return part

    def _refuse(self, why: str) -> NoReturn:
        raise BadRequestDataError(
            f"the pattern {self._text!r} is not understood at character {self._at + 1}: {why}"
        )

    def _add(self, state: _State | None = None) -> int:
        if len(self.states) >= MOST_STATES:
            self._refuse("it repeats too much; write a shorter one")
        self.states.append(state or _State())
        return len(self.states) - 1

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        character = self._peek()
        if not character:
            self._refuse("it ends too early")
        self._at += 1
        return character

    def _alternatives(self) -> tuple[int, int]:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._refuse("too many groups in one another")
        parts = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._sequence())
        self._depth -= 1
        if len(parts) == 1:
            return parts[0]
        start, end = self._add(), self._add()
        for first, last in parts:
            self.states[start].free.append(first)
            self.states[last].free.append(end)
        return start, end

    def _sequence(self) -> tuple[int, int]:
        start = end = self._add()
        while self._peek() and self._peek() not in "|)":
            first, last = self._repeated()
            self.states[end].free.append(first)
            end = last
        return start, end

    def _repeated(self) -> tuple[int, int]:
        """Return an atom with what says how often; a repeat is that many copies of it."""
        began = self._at
        part = self._atom()
        ended = self._at
        times = self._quantifier()
        if times is None:
            return part
        if self._peek() and self._peek() in "*+?{":
            self._refuse("two repetitions after each other")
        least, most = times
        start = end = self._add()
        resume = self._at
        for copy in range(max(least, most or 0, 1)):
            if copy:
                self._at = began
                part = self._atom()
            first, last = part
            self.states[end].free.append(first)
            if copy >= least:
                self.states[end].free.append(exit_ := self._add())
                self.states[last].free.append(exit_)
                last = exit_
            if most is None and copy == max(least, 1) - 1:
                self.states[part[1]].free.append(part[0])
            end = last
        self._at = max(resume, ended)
        if most == 0:
            nothing = self._add()
            return nothing, nothing
        return start, end

    def _quantifier(self) -> tuple[int, int | None] | None:
        mark = self._peek()
        if not mark or mark not in "*+?{":
            return None
        self._at += 1
        if mark != "{":
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[mark]
        closing = self._text.find("}", self._at)
        least, comma, most = self._text[self._at : max(closing, self._at)].partition(",")
        if closing < 0 or not least.isdecimal() or (most and not most.isdecimal()):
            self._refuse("braces hold one or two counts, as {2} or {2,5}")
        self._at = closing + 1
        low = int(least)
        high = (int(most) if most else None) if comma else low
        if low > _LARGEST_REPEAT or (high or 0) > _LARGEST_REPEAT:
            self._refuse(f"more than {_LARGEST_REPEAT} repetitions")
        if high is not None and high < low:
            self._refuse("the second count is below the first")
        return low, high

    def _atom(self) -> tuple[int, int]:
        character = self._take()
        match character:
            case "(":
                return self._group()
            case "[":
                return self._reading(self._set())
            case ".":
                return self._reading(lambda c: c != "\n")
            case "^" | "$":
                state = self._add(_State(anchor=character))
                end = self._add()
                self.states[state].free.append(end)
                return state, end
            case "*" | "+" | "?" | "{":
                self._at -= 1
                self._refuse("nothing to repeat")
            case "\\":
                return self._reading(self._escape())
        return self._reading(character.__eq__)

    def _group(self) -> tuple[int, int]:
        if self._peek() == "?":
            if self._text[self._at : self._at + 2] != "?:":
                self._refuse("only plain groups and (?:...) are understood")
            self._at += 2
        part = self._alternatives()
        if self._peek() != ")":
            self._refuse("a group is not closed")
        self._at += 1
        return part

    def _reading(self, test: Test) -> tuple[int, int]:
        end = self._add()
        return self._add(_State(test, end)), end

    def _escape(self) -> Test:
        character = self._take()
        if character in _CLASSES:
            return _CLASSES[character]
        if character in _CONTROLS:
            return _CONTROLS[character].__eq__
        if character.isalnum():
            self._refuse(f"\\{character} is not understood")
        return character.__eq__

    def _set(self) -> Test:
        """Return the test of a bracket expression, whose bracket was read."""
        negated = self._peek() == "^"
        self._at += negated
        tests: list[Test] = []
        first = True
        while first or self._peek() != "]":
            first = False
            character = self._take()
            if character == "\\":
                tests.append(self._escape())
                continue
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                tests.append(self._range(character, self._take()))
            else:
                tests.append(character.__eq__)
        self._at += 1
        return lambda c: any(test(c) for test in tests) is not negated

    def _range(self, low: str, high: str) -> Test:
        if high == "\\" or high < low:
            self._refuse(f"{low}-{high} is no range")
        return lambda c: low <= c <= high
