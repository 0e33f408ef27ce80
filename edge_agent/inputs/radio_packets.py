"""JSON lines of rtl_433: which transmitter sent them, and which identify vehicles.

Pure. What rtl_433 prints is told in its docs/DATA_FORMAT.md; how it is run is in `sensors.rtl_433`.
Tyre pressure sensors and car keys broadcast a number that is theirs alone: whoever notes it where
a street passes can tell when that vehicle passed, so they are to be dropped unseen.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from edge_agent.inputs.fields import FieldError, find, time_of

_IDS: Final = "id|sensor_id|rid|device"  # the new key, then those of versions before 2019
_RECEPTION: Final = frozenset(
    {"time", "mod", "freq", "freq1", "freq2", "rssi", "snr", "noise", "protocol", "sequence_num"}
)
"""What tells how a packet was received, or the how manieth of its repeats it is."""
_HARMLESS: Final = frozenset({"mic"})
"""Printed twice by some decoders, once for each check that a packet passed."""
_MOST_BYTES: Final = 65_536  # of a line

_VEHICLE_WORDS: Final = ("tpms", "tire", "tyre", "carremote", "car remote", "car key")
_VEHICLE_MODELS: Final = frozenset(
    {
        "abarth-124spider",
        "airpuxem-tyh11eu6zq",
        "astrostart-2000",
        "ave",
        "citroen",
        "compustar-1wg3r",
        "compustar-700r",
        "elantra2012",
        "ford",
        "gm-aftermarket",
        "hyundai-vdo",
        "jansite",
        "jansite-solar",
        "kia",
        "nissan",
        "pmv-107j",
        "porsche",
        "renault",
        "renault-0435r",
        "schrader",
        "schrader-eg53ma4",
        "schrader-smd3ma4",
        "steelmate",
        "toyota",
        "truck",
        "trw-fsk",
        "trw-ook",
    }
)
_VEHICLE_MAKERS: Final = ("bmw-", "denso-")
_TYRE_KEYS: Final = frozenset({"pressure_kPa", "pressure_PSI", "pressure_psi", "pressure_bar"})
"""How rtl_433 names the pressure of a tyre; that of the air is in hPa or inHg."""


class Transmitter(NamedTuple):
    """Who sent a packet; empty where it does not say, or, in a claim, where any will do."""

    model: str
    id: str = ""
    channel: str = ""

    def __str__(self) -> str:
        """Say it as it is written in settings."""
        return "/".join(part or "-" for part in self)

    def is_claimed_by(self, claim: "Transmitter") -> bool:
        """Tell whether a sensor that claims `claim` is to have it."""
        return self.model == claim.model and all(
            wanted in ("", given) for given, wanted in zip(self[1:], claim[1:], strict=True)
        )


@dataclass(frozen=True, slots=True)
class Packet:
    """One line: who sent it, when, and all that it says."""

    transmitter: Transmitter
    time: datetime
    document: Mapping[str, Any]

    def content(self) -> str:
        """Return what it says without how it was received: equal in a packet sent twice."""
        return json.dumps(
            {key: value for key, value in self.document.items() if key not in _RECEPTION},
            sort_keys=True,
        )


def read_packet(line: bytes, received: datetime) -> Packet | None:
    """Return what a line of JSON says; None where it is no packet (a blank line, a status).

    Its time counts where it can be placed: Unix time, or ISO 8601 with an offset. What cannot
    (a time since rtl_433's start, a local one, none, one in the future) was `received` now.

    Raises:
        FieldError: it is not a JSON object.
    """
    if not line.strip():
        return None
    document = _read(line)
    model = document.get("model")
    if not isinstance(model, str) or not model:
        return None
    transmitter = Transmitter(
        model, _as_text(find(document, _IDS)), _as_text(find(document, "channel"))
    )
    return Packet(transmitter, _time(document, received), document)


def identifies_vehicle(document: Mapping[str, Any]) -> bool:
    """Tell whether a packet came from a tyre sensor or a car's key."""
    if str(document.get("type", "")).casefold() == "tpms" or _TYRE_KEYS & document.keys():
        return True
    return is_vehicle_model(str(document.get("model", "")))


def is_vehicle_model(model: str) -> bool:
    """Tell whether transmitters of this model are part of a vehicle, by its name alone."""
    name = model.casefold()
    return (
        name in _VEHICLE_MODELS
        or name.startswith(_VEHICLE_MAKERS)
        or any(word in name for word in _VEHICLE_WORDS)
    )


class Repeats:
    """Tells the packets that a transmitter sends again, to be safe, from those that are new.

    seconds: within which a packet that says the same is the same; from the first one on, so that
    a transmitter that is never at rest is heard all the same.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._content: str | None = None
        self._since = 0.0

    def is_repeat(self, packet: Packet, monotonic: float) -> bool:
        """Tell whether this packet has been heard; monotonic: seconds of a clock that only runs."""
        content = packet.content()
        if content == self._content and monotonic - self._since < self._seconds:
            return True
        self._content, self._since = content, monotonic
        return False


class LineSplitter:
    """Cuts bytes into lines; what is longer than 64 KiB is no line and left out."""

    def __init__(self) -> None:
        self._begun = b""
        self._too_long = False

    def feed(self, octets: bytes) -> Iterable[bytes]:
        """Yield the lines that these bytes complete, without their ends."""
        *complete, rest = (self._begun + octets).split(b"\n")
        for line in complete:
            if not self._too_long and len(line) <= _MOST_BYTES:
                yield line
            self._too_long = False
        self._too_long |= len(rest) > _MOST_BYTES
        self._begun = b"" if self._too_long else rest


def _read(line: bytes) -> dict[str, Any]:
    """Return the object in a line; of a key that stands twice and differs, nothing is believed."""
    try:
        document = json.loads(line, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FieldError("a line that is not JSON") from error
    if not isinstance(document, dict):
        raise FieldError("a line that is no JSON object")
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        for key, value in pairs:
            if key in made and value != made[key] and key not in _HARMLESS:
                del made[key]
    return made


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _as_text(value: object) -> str:
    """Return an id or channel as settings name it: 184 and "184" are one."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) else ""


def _time(document: Mapping[str, Any], received: datetime) -> datetime:
    for form in ("iso8601", "unix"):
        try:
            return time_of(document, "time", form, received)
        except FieldError:
            continue
    return received
