"""What `kerbstone test` can run: each part, its steps in order, and what it needs."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Step:
    """One command, given to this environment's Python."""

    title: str
    words: tuple[str, ...]

    @property
    def is_pytest(self) -> bool:
        """Whether extra arguments for pytest belong here."""
        return self.words[:2] == ("-m", "pytest")


@dataclass(frozen=True, slots=True)
class Part:
    """Steps that pass or fail together.

    needs: what `provision` must find or get first. beside: whether it may run while another part
    does, because it mostly waits for servers of its own and judges no time and no memory.
    """

    name: str
    steps: tuple[Step, ...]
    needs: frozenset[str] = frozenset()
    beside: bool = False


def _pytest(title: str, *paths: str) -> Step:
    return Step(title, ("-m", "pytest", "--quiet", "-p", "no:cacheprovider", *paths))


_DATABASES: Final = frozenset({"database", "timescaledb"})  # or one of the user's own
_EMBEDDED: Final = frozenset({"mosquitto", "embedded_database", "embedded_timescaledb"})

# Those that may run beside each other stand together, the longest first.
PARTS: Final[dict[str, Part]] = {
    part.name: part
    for part in (
        Part(
            "lint",
            (
                Step("ruff", ("-m", "ruff", "check")),
                Step("formatting", ("-m", "ruff", "format", "--check")),
                Step("types", ("-m", "mypy")),
                Step(
                    "imports point down",
                    ("-c", "from importlinter.cli import lint_imports_command as c; c()"),
                ),
            ),
        ),
        Part("unit", (_pytest("unit and property-based", "tests/unit"),)),
        Part("edge", (Step("the edge extra alone", ("-m", "command_line.testing.edge")),)),
        Part(
            "integration",
            (_pytest("real servers", "tests/integration", "-m", "not interoperability"),),
            _DATABASES | {"mosquitto", "openssl", "strace"},
            beside=True,
        ),
        Part(
            "end_to_end",
            (_pytest("sensor to API", "tests/end_to_end"),),
            _EMBEDDED,
            beside=True,
        ),
        Part(
            "attack",
            (_pytest("misbehaving brokers and gateways", "tests/attack"),),
            _DATABASES | {"mosquitto"},
            beside=True,
        ),
        Part(
            "conformance",
            (_pytest("OGC SensorThings, requirement by requirement", "tests/conformance"),),
            _DATABASES,
            beside=True,
        ),
        Part(
            "interoperability",
            (_pytest("clients of other makers", "tests/integration", "-m", "interoperability"),),
            _DATABASES | {"foreign_clients", "openssl"},
            beside=True,
        ),
        Part(
            "operations",
            (_pytest("what operators watch, while things fail", "tests/operations"),),
            _EMBEDDED | {"prometheus"},
            beside=True,
        ),
        Part(
            "capture",
            (_pytest("what the wire gives away", "tests/capture"),),
            _EMBEDDED | {"packet_capture"},
        ),
        Part(
            "gateway",
            (_pytest("installing, updating and taking back gateways", "tests/gateway"),),
            frozenset({"gateway_computer"}),
        ),
        Part(
            "disk_full",
            (_pytest("a database without room", "tests/disk_full"),),
            frozenset({"mosquitto", "embedded_database", "small_disks"}),
        ),
        Part(
            "chaos",
            (Step("faults, and the accounts of every reading", ("-m", "tests.chaos")),),
            frozenset({"mosquitto", "embedded_database", "fake_clock"}),
        ),
        Part(
            "browser",
            (_pytest("dashboard in Chromium", "tests/browser"),),
            _DATABASES | {"chromium"},
        ),
    )
}

# Names for more than one part.
ALL: Final[dict[str, tuple[str, ...]]] = {"check": ("lint", "unit"), "all": tuple(PARTS)}


def expand(names: list[str]) -> list[Part]:
    """Return the parts that `names` mean, each once, in the order of `PARTS`; none means all.

    Raises:
        KeyError: with the first name that is neither a part nor a group of them.
    """
    wanted: set[str] = set()
    for name in names or ["all"]:
        if name in ALL:
            wanted.update(ALL[name])
        else:
            wanted.add(PARTS[name].name)
    return [part for part in PARTS.values() if part.name in wanted]
