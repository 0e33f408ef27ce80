"""What an adapter is: the part of the agent that knows one kind of sensor.

Each adapter is one file in `sensors`, named as `adapter` names it in the settings; it defines
`ADAPTER`. They are found by `edge_agent.sensors`; running them, and starting them again after a
failure, is `edge_agent.collection`'s business.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from device_protocol.description import Datastream
from device_protocol.reading import Reading
from device_protocol.unit_table import senml_symbol
from edge_agent.clock import Clock
from edge_agent.input_settings import ListenerSettings, LocalBrokerSettings
from edge_agent.inputs.whereabouts import Whereabouts
from edge_agent.processing.settings import AggregateSettings, Checks, PrivacySettings
from edge_agent.sources import Sources
from runtime.settings import KeyPath, setting

URN = r"urn:[a-z0-9][a-z0-9-]{1,31}:[A-Za-z0-9:._/-]+"
SHORT_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"  # what may follow a URN and a colon in a SenML name

PriorityName = Literal["low", "normal", "alarm"]


class AdapterError(Exception):
    """A sensor cannot be read at present; the message says why. The adapter is started again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorSettings:
    """What every adapter is told; each adds its own, and a Literal `adapter` of its name."""

    adapter: str
    urn: str = setting("The sensor's lasting name; base name of its readings.", pattern=URN)
    thing: str = setting("urn of the thing it hangs on.", pattern=URN)
    name: str = setting("What people call the sensor.")
    description: str = setting("One sentence for people.")
    metadata: str = setting("Link to its data sheet.", default="")
    priority: PriorityName = setting(
        "When the spool is full, low goes first and alarm last; alarms are sent at once.",
        default="normal",
    )
    properties: Mapping[str, str] = setting(
        "Further facts about each of its datastreams.", default_factory=dict
    )
    checks: Checks = setting(
        "When results are flagged, by the short name of the datastream.", default_factory=dict
    )
    aggregate: AggregateSettings | None = None
    privacy: PrivacySettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatastreamSettings:
    """What one column, field or register becomes: a datastream."""

    name: str = setting("Short name of the datastream; unique in its sensor.", pattern=SHORT_NAME)
    title: str = setting("What people call the datastream.")
    description: str = setting("One sentence for people.")
    observed_property: str = setting("Key in the registry of observed properties.")
    unit: str = setting("Key in the table of units.")
    averaging_seconds: int = setting(
        "A result is the mean over this long, ending at its time; 0 is an instant.",
        default=0,
        minimum=0,
    )
    valid_minimum: float | None = setting("Least result the sensor can give.", default=None)
    valid_maximum: float | None = setting("Greatest result the sensor can give.", default=None)
    properties: Mapping[str, str] = setting("Further facts about it.", default_factory=dict)

    @property
    def symbol(self) -> str:
        """What stands for its unit in a reading (`unit_table.senml_symbol`)."""
        return senml_symbol(self.unit)

    def datastream(
        self, period_seconds: int | None, properties: Mapping[str, str] | None = None
    ) -> Datastream:
        """Return it as the gateway describes it.

        period_seconds: how often a result is to be expected. properties: beside its own.
        """
        return Datastream(
            name=self.name,
            title=self.title,
            description=self.description,
            observed_property=self.observed_property,
            unit=self.unit,
            period_seconds=period_seconds,
            averaging_seconds=self.averaging_seconds,
            valid_minimum=self.valid_minimum,
            valid_maximum=self.valid_maximum,
            properties={**self.properties, **(properties or {})},
        )


def table_contradictions(
    key: str, table: Mapping[str, DatastreamSettings]
) -> Iterator[tuple[KeyPath, str]]:
    """Refuse a table of datastreams that is empty or gives two of them one name.

    key: what the sensor's settings call it, in the plural, e.g. "fields".
    """
    if not table:
        yield (key,), f"must name at least one {key.removesuffix('s')}"
    names: set[str] = set()
    for entry, each in table.items():
        if each.name in names:
            yield (key, entry, "name"), "must be unique in its sensor"
        names.add(each.name)


@dataclass(frozen=True, slots=True)
class Harvest:
    """Readings of one sensor, handed over together.

    at_once: they are committed before the adapter goes on, so that it may then note how far
        it has come; else they wait for others.
    stored: called on the event loop once they are on the disk (even if there were none), so that
        whoever brought them can be told; needs no `at_once`.
    """

    readings: tuple[Reading, ...]
    at_once: bool = False
    stored: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an adapter is given besides its settings.

    state_directory: where it may keep how far it has come, under a name of its own.
    sources: what it may share with other sensors: connections, lines, pipes.
    local_brokers, listener: as in the gateway's settings.
    whereabouts: where a satellite receiver says the gateway is.
    is_trial: nothing will be stored: what waits at a broker for the agent is left there, and
        nobody is told to remember this reader.
    """

    clock: Clock
    state_directory: Path
    sources: Sources = field(default_factory=Sources)
    local_brokers: tuple[LocalBrokerSettings, ...] = ()
    listener: ListenerSettings | None = None
    whereabouts: Whereabouts = field(default_factory=Whereabouts)
    is_trial: bool = False


@dataclass(frozen=True, slots=True)
class Adapter:
    """One kind of sensor. Both functions take the adapter's own settings class.

    settings: that class; its one Literal field `adapter` holds the adapter's name.
    datastreams: what the sensor measures; does no IO.
    harvests: yields readings until it is closed. Raises AdapterError or OSError when it fails.
    """

    settings: type[SensorSettings]
    datastreams: Callable[[Any], tuple[Datastream, ...]]
    harvests: Callable[[Any, Surroundings], AsyncGenerator[Harvest, None]]
