"""What the agent knows about itself at present: written by its tasks, shown by status and metrics.

Nothing is decided by these facts, and they are gone with the process.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from device_protocol.reading import Reading


@dataclass(slots=True)
class AdapterFacts:
    """One sensor's adapter.

    holds: it was started again after a failure and has not failed for a minute, though nothing
    came: what it listens to is there. since: Unix seconds of the last change of these.
    readings: taken since the start; of those, by `edge_agent.processing`: refused, flagged, left
    out as repeats, left out because their interval had been told, and withheld because they say
    too little about too few.
    """

    adapter: str
    running: bool = False
    holds: bool = False
    since: float = 0.0
    readings: int = 0
    refused: int = 0
    flagged: int = 0
    repeated: int = 0
    late: int = 0
    withheld: int = 0
    failures: int = 0
    last_error: str = ""


@dataclass(slots=True)
class Facts:
    """The whole agent; times in Unix seconds, None where there is none.

    connection_since: last change of `connected`. connection_error: why it is not, if known.
    certificate_not_after: of the certificate in use. renewals: since the start, by outcome.
    renewal_problem: why there is no newer certificate though one is due, and what to do;
    "" if nothing is wrong. waiting_for: what keeps readings from
    being sealed, "" if nothing. configuration: version of the settings from afar in force, 0 for
    none; likewise of those refused and on trial. messages: by outcome, since the start.
    adapters: by the sensor's URN. unclaimed: devices heard that no sensor claims, and how often.
    flagged: readings by the quality flag they were taken with, since the start.
    """

    started_at: float
    connected: bool = False
    connection_since: float = 0.0
    connection_error: str = ""
    last_acknowledgement_at: float | None = None
    last_refusal: int = 0
    certificate_not_after: int | None = None
    renewals: dict[str, int] = field(default_factory=dict)
    renewal_problem: str = ""
    key_set_version: int | None = None
    key_set_is_stale: bool = False
    configuration: int = 0
    configuration_refused: int = 0
    configuration_on_trial: int = 0
    epoch_counter: int = 0
    rolled_back: bool = False
    waiting_for: str = ""
    readings: int = 0
    readings_acknowledged: int = 0
    messages: dict[str, int] = field(default_factory=dict)
    adapters: dict[str, AdapterFacts] = field(default_factory=dict)
    unclaimed: dict[str, int] = field(default_factory=dict)
    flagged: dict[str, int] = field(default_factory=dict)

    @property
    def adapters_running(self) -> int:
        """How many sensors have given readings and not failed since."""
        return sum(each.running for each in self.adapters.values())

    @property
    def failing(self) -> frozenset[str]:
        """URNs of the sensors whose adapter has failed and given nothing since."""
        return frozenset(
            urn
            for urn, each in self.adapters.items()
            if each.failures and not each.running and not each.holds
        )

    def summary(self) -> str:
        """Return one line that says how the agent fares, for whoever supervises it."""
        said = ["connected" if self.connected else f"not connected: {self.connection_error}"]
        if not self.connected and not self.connection_error:
            said = ["not connected yet"]
        if self.waiting_for:
            said.append(self.waiting_for)
        said.append(f"{self.adapters_running} of {len(self.adapters)} sensors readable")
        if self.failing:
            said.append(f"{len(self.failing)} fail")
        return ", ".join(said)

    def flag(self, readings: Iterable[Reading]) -> None:
        """Count the flags of readings just taken."""
        for reading in readings:
            for flag in reading.quality:
                name = str(flag.name).lower()
                self.flagged[name] = self.flagged.get(name, 0) + 1

    def count(self, outcome: str, messages: int = 1) -> None:
        """Count messages that came to `outcome`."""
        self.messages[outcome] = self.messages.get(outcome, 0) + messages
