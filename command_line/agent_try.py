"""`kerbstone agent try`: read the sensors once and show it, for whoever stands on the ladder.

Shows what `edge_agent.trial` finds out: readings as they come, then each sensor with its newest
results or with what is wrong.
"""

import argparse
import asyncio
import difflib
import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from command_line.process import USAGE_ERROR
from device_protocol.reading import Reading
from edge_agent.health.status import read_status
from edge_agent.settings import AgentSettings
from runtime.logs import facts_of
from runtime.settings import SettingsError, load
from runtime.signals import run_until_stopped

if TYPE_CHECKING:
    from edge_agent.trial import SensorTrial, Trial

_LONGEST_SECONDS: Final = 86_400.0
_TALLIES: Final = ("refused", "flagged", "repeated", "withheld")
_NO_UNITS: Final = ("1", "bool")
_AGENT_RUNS: Final = (
    "note: the agent runs: serial ports, pipes and the listener are in its hands. To try those, "
    "stop it first, and start it again afterwards."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        "Read the sensors, and show what the agent would report of them. Nothing is sent or "
        "stored. It ends when every datastream has had a result, or every sensor one and ten "
        "seconds brought no other."
    )
    parser.epilog = (
        "Exit status: 0 every sensor gave readings; 1 one or more did not; 2 misused, or mistakes "
        "in the settings; 130 interrupted."
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="the gateway's settings, TOML"
    )
    parser.add_argument(
        "--sensor",
        action="append",
        default=[],
        metavar="URN",
        help="only this sensor; may be given several times (default: all)",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        metavar="N",
        help="how long to wait at most (default: as long as the rarest takes, 1 to 15 minutes)",
    )
    parser.add_argument("--json", action="store_true", help="for scripts")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _LONGEST_SECONDS:
        allowed = f"a number of seconds up to {_LONGEST_SECONDS:.0f}"
        raise argparse.ArgumentTypeError(f"{text!r} must be {allowed}")
    return seconds


def run(arguments: argparse.Namespace) -> int:
    """Try the sensors, show what came of each, and return the exit status."""
    try:
        settings = load(AgentSettings, arguments.config)
    except (SettingsError, OSError) as error:
        return _misused(str(error))
    if not settings.sensor:
        return _misused(f"{arguments.config} has no [[sensor]]")
    known = [sensor.urn for sensor in settings.sensor]
    for urn in arguments.sensor:
        if urn not in known:
            near = difflib.get_close_matches(urn, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            return _misused(f"{arguments.config} has no sensor {urn}; {hint}")
    return _try(settings, arguments)


def _misused(problem: str) -> int:
    print(f"kerbstone agent try: {problem}", file=sys.stderr)
    return USAGE_ERROR


def _try(settings: AgentSettings, arguments: argparse.Namespace) -> int:
    # Here, not above: an agent that runs has no need of it.
    from edge_agent.trial import Trial  # noqa: PLC0415

    as_json = arguments.json
    trial = Trial(settings, arguments.sensor, seen=_unseen if as_json else _show)
    if read_status(settings).running:
        print(_AGENT_RUNS, file=sys.stderr)
    logging.basicConfig(level=logging.WARNING, handlers=[_Notes(sys.stderr)], force=True)
    seconds = arguments.seconds or trial.patience_seconds
    if not as_json:
        count = len(trial.sensors)
        what = "1 sensor" if count == 1 else f"{count} sensors"
        print(f"Reading {what} for up to {seconds:g} s; nothing is sent or stored.", flush=True)
    stopped = asyncio.run(run_until_stopped(trial.run(seconds)))
    if as_json:
        print(json.dumps(_document(trial)))
    else:
        print("\n".join(_summary(trial)))
    return stopped or int(not all(sensor.newest for sensor in trial.sensors))


class _Notes(logging.StreamHandler[Any]):
    """Shows what the agent would log, as lines for people; each once."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._shown: set[str] = set()

    def format(self, record: logging.LogRecord) -> str:
        facts = ", ".join(f"{key} {value}" for key, value in facts_of(record).items())
        return f"note: {record.getMessage()}: {facts}" if facts else f"note: {record.getMessage()}"

    def filter(self, record: logging.LogRecord) -> bool:
        line = self.format(record)
        is_new = line not in self._shown
        self._shown.add(line)
        return is_new and bool(super().filter(record))


# What is shown


def _unseen(_sensor: "SensorTrial", _reading: Reading) -> None:
    """Show nothing until the end."""


def _show(sensor: "SensorTrial", reading: Reading) -> None:
    time = reading.phenomenon_time.astimezone(UTC)
    words = f"{sensor.settings.name}  {reading.name}  {_result(sensor, reading)}"
    print(f"{time:%Y-%m-%d %H:%M:%S} UTC  {words}", flush=True)


def _result(sensor: "SensorTrial", reading: Reading) -> str:
    """Return a result with its unit, as settings call it, and its flags."""
    words = [str(reading.result)]
    stream = sensor.streams.get(reading.name)
    unit = reading.unit if stream is None else stream.unit
    if unit and unit not in _NO_UNITS:
        words.append(unit)
    words += [f"({flag})" for flag in reading.quality.flags]
    return " ".join(words)


def _summary(trial: "Trial") -> Iterator[str]:
    for sensor in trial.sensors:
        yield ""
        yield f"{sensor.settings.name} ({sensor.settings.urn}, {sensor.facts.adapter})"
        yield from (f"  {line}" for line in _lines(sensor))
    yield ""
    if trial.unclaimed:
        heard = ", ".join(f"{name} ({count} times)" for name, count in trial.unclaimed.items())
        yield f"Heard, but no sensor here claims it: {heard}"
    gave = sum(bool(sensor.newest) for sensor in trial.sensors)
    count = len(trial.sensors)
    yield (
        f"{gave} of {count} sensors gave readings."
        if count > 1
        else ("The sensor gave readings." if gave else "The sensor gave no reading.")
    )


def _lines(sensor: "SensorTrial") -> Iterator[str]:
    facts, settings = sensor.facts, sensor.settings
    if sensor.is_failing:
        yield f"FAILS: {facts.last_error}"
    if not sensor.newest and not sensor.is_failing:
        yield _why_nothing(sensor)
    if sensor.newest:
        width = max(map(len, (*sensor.streams, *sensor.newest)))
        for name in dict.fromkeys((*sensor.streams, *sensor.newest)):
            newest = sensor.newest.get(name)
            shown = "nothing came" if newest is None else _result(sensor, newest)
            title = f"  {sensor.streams[name].title}" if name in sensor.streams else ""
            yield f"{name:{width}}  {shown}{title}"
    tallies = [f"{getattr(facts, name)} {name}" for name in _TALLIES if getattr(facts, name)]
    if tallies:
        yield f"of {facts.readings} readings: {', '.join(tallies)}"
    if settings.aggregate is not None:
        yield "The agent aggregates these before it reports them, as [sensor.aggregate] says."


def _why_nothing(sensor: "SensorTrial") -> str:
    if sensor.facts.readings:
        return "NO READING is left of those that came"
    if sensor.answers:
        return f"NO READING in {sensor.answers} answers: do its settings name what stands in them?"
    if (period := sensor.period_seconds) is not None:
        return f"NOTHING CAME in this time; it is due every {period} s"
    return "NOTHING CAME in this time"


def _document(trial: "Trial") -> dict[str, Any]:
    """Return the outcome as JSON's values."""
    return {
        "sensors": [_sensor(sensor) for sensor in trial.sensors],
        "unclaimed": trial.unclaimed,
    }


def _sensor(sensor: "SensorTrial") -> dict[str, Any]:
    facts = sensor.facts
    return {
        "urn": sensor.settings.urn,
        "name": sensor.settings.name,
        "adapter": facts.adapter,
        "answers": sensor.answers,
        "error": facts.last_error if sensor.is_failing else None,
        "readings": facts.readings,
        **{name: getattr(facts, name) for name in _TALLIES},
        "datastreams": [
            {
                "name": stream.name,
                "title": stream.title,
                "observed_property": stream.observed_property,
                "unit": stream.unit,
                "count": sensor.counts.get(stream.name, 0),
                "newest": _newest(sensor.newest.get(stream.name)),
            }
            for stream in sensor.streams.values()
        ],
    }


def _newest(reading: Reading | None) -> dict[str, Any] | None:
    if reading is None:
        return None
    return {
        "time": reading.phenomenon_time.astimezone(UTC).isoformat(),
        "result": reading.result,
        "unit": reading.unit,
        "quality": list(reading.quality.flags),
    }
