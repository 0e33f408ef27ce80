"""The way of a sensor's readings from harvest to spool: checked, filtered, aggregated.

Pure but for the salt of a privacy filter. Keeping open intervals on the disk is
`edge_agent.collection`'s business.
"""

import logging
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from device_protocol.description import Datastream
from device_protocol.reading import Reading
from edge_agent.adapter import SensorSettings
from edge_agent.clock import Clock
from edge_agent.processing.checks import Checks, RefusedError
from edge_agent.processing.duplicates import Duplicates

if TYPE_CHECKING:  # both cost memory, and few sensors need them
    from edge_agent.processing.aggregation import Aggregation, Closing
    from edge_agent.processing.privacy import Filter

log = logging.getLogger(__name__)


class Tally(Protocol):
    """What is counted since the start: readings refused, flagged, repeated, late and withheld."""

    refused: int
    flagged: int
    repeated: int
    late: int
    withheld: int


@dataclass(frozen=True, slots=True)
class Due:
    """What intervals came to. readings: to be spooled; then give this to `Pipeline.settle`."""

    readings: tuple[Reading, ...]
    closing: "Closing"


class Pipeline:
    """What becomes of one sensor's readings.

    aggregation: its open intervals, if readings are aggregated.
    """

    def __init__(
        self,
        sensor: SensorSettings,
        datastreams: Iterable[Datastream],
        clock: Clock,
        *,
        state_directory: Path,
        tally: Tally,
    ) -> None:
        streams = tuple(datastreams)
        self._sensor = sensor
        self._clock = clock
        self._tally = tally
        self._checks = Checks(streams, sensor.checks)
        self._duplicates = Duplicates(
            {name: check.repeat_seconds for name, check in sensor.checks.items()}
        )
        self._complained: set[str] = set()
        self._filter_told = False
        self._filter = self._make_filter(streams, state_directory)
        self.aggregation = self._make_aggregation(streams)

    def _make_filter(self, streams: Sequence[Datastream], directory: Path) -> "Filter | None":
        settings = self._sensor.privacy
        if settings is None:
            return None
        from edge_agent.processing.privacy import Filter, Salt  # noqa: PLC0415  # costs memory

        file = directory / state_name("salt", self._sensor.urn)
        salt = Salt(file, settings.salt_hours, self._clock.unix)
        by_name = {stream.name: stream for stream in streams}
        return Filter(self._sensor.urn, settings, by_name, salt)

    def _make_aggregation(self, streams: Sequence[Datastream]) -> "Aggregation | None":
        settings = self._sensor.aggregate
        if settings is None:
            return None
        from edge_agent.processing.aggregation import Aggregation  # noqa: PLC0415  # costs memory

        return Aggregation(self._sensor.urn, streams, settings)

    def process(self, readings: Iterable[Reading]) -> list[Reading]:
        """Return what of these readings is to be spooled as it is; the rest is counted.

        Raises:
            OSError: the salt of a privacy filter could not be stored. Nothing is remembered of
                the readings, so that they are not taken for repetitions when they come again.
        """
        if self._filter is not None:
            self._filter.prepare()
        told = [] if self._filter is None or self._filter_told else [self._tell(self._filter)]
        told += [passed for reading in readings if (passed := self._process(reading)) is not None]
        return told

    def _tell(self, passed: "Filter") -> Reading:
        """Return the version of the filter, ahead of the first reading."""
        self._filter_told = True
        return passed.told_at(self._clock.now())

    def _process(self, reading: Reading) -> Reading | None:
        tally = self._tally
        try:
            checked = self._checks.check(reading)
        except RefusedError as error:
            tally.refused += 1
            if reading.name not in self._complained:  # once, not with every reading
                self._complained.add(reading.name)
                log.warning(
                    "reading refused",
                    extra={"sensor": f"{reading.sensor}:{reading.name}", "error": str(error)},
                )
            return None
        if self._duplicates.is_repeated(checked):
            tally.repeated += 1
            return None
        if checked.quality != reading.quality:
            tally.flagged += 1
        return self._let_out(checked)

    def _let_out(self, reading: Reading) -> Reading | None:
        told: Reading | None = reading
        if self._filter is not None:
            told = self._filter.pass_on(reading)
        if told is None:
            return None
        if self.aggregation is not None and self.aggregation.takes(told):
            if not self.aggregation.add(told, self._clock.unix()):
                self._tally.late += 1
            return None
        if self._filter is not None and self._filter.is_few(told):
            self._tally.withheld += 1
            return None
        return told

    def due(self) -> Due | None:
        """Return what intervals came to that fell due by now; None if none did."""
        if self.aggregation is None:
            return None
        closing = self.aggregation.due(self._clock.unix())
        if not closing.intervals:
            return None
        told = []
        for reading, summary in closing.readings:
            name = reading.name.rpartition(".")[0]
            few = self._filter is not None and self._filter.is_few_aggregated(
                reading, name, summary.n
            )
            self._tally.withheld += few
            if not few:
                told.append(reading)
        return Due(tuple(told), closing)

    def settle(self, due: Due) -> None:
        """Forget the intervals of what is on the disk now."""
        if self.aggregation is not None:
            self.aggregation.settle(due.closing)


def state_name(kind: str, urn: str) -> str:
    """Return the name of a file for a sensor, whatever its URN holds."""
    return f"{kind}-{zlib.crc32(urn.encode()):08x}.json"
