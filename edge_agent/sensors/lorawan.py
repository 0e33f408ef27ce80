"""LoRaWAN devices, read through their network server: one sensor each.

ChirpStack, The Things Stack or LORIOT hand uplinks on, over an MQTT broker on or near the gateway
or by webhook; all sensors of one topic or path share one stream, of which each takes what its
device EUI names. Envelopes are read by `edge_agent.inputs.uplinks`, payloads decoded by tables
(`edge_agent.inputs.payload`). An uplink is acknowledged once its readings are on the disk. What
cannot be read is acknowledged, too, for it would come again for ever: it is counted and logged.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from device_protocol.description import Datastream
from device_protocol.reading import Reading
from device_protocol.unit_table import nearest
from edge_agent.adapter import Adapter, Harvest, SensorSettings, Surroundings
from edge_agent.inputs.decoder_tables import DecodedSettings
from edge_agent.inputs.faults import Faults
from edge_agent.inputs.fields import FUTURE_SECONDS, FieldError, future_allowed, read_json
from edge_agent.inputs.local_broker import messages, topic_filter_mistake
from edge_agent.inputs.payload import (
    Decoder,
    FrameError,
    Value,
    decoder_names,
    load_decoder,
)
from edge_agent.inputs.uplinks import (
    EUI,
    Repeats,
    Server,
    Uplink,
    UplinkError,
    eui,
    read_uplink,
)
from runtime.settings import KeyPath, SettingsError, setting

_OLDEST: Final = timedelta(days=400)  # what a device may have kept
_AHEAD: Final = timedelta(minutes=10)  # by which a device's clock may be before its server's
_BAD_REQUEST: Final = 400
_REFUSED: Final = "uplink refused"

_RADIO: Final = (
    DecodedSettings(
        name="rssi",
        title="Signal strength",
        description="Signal strength at the LoRaWAN gateway that heard it loudest.",
        observed_property="rssi",
        unit="dBm",
        optional=True,
    ),
    DecodedSettings(
        name="snr",
        title="Signal to noise",
        description="Signal-to-noise ratio at the LoRaWAN gateway that heard it loudest.",
        observed_property="snr",
        unit="dB",
        optional=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LorawanSettings(SensorSettings):
    """Reads a LoRaWAN device through its network server."""

    adapter: Literal["lorawan"] = "lorawan"
    device_eui: str = setting("Its EUI, 16 hex digits, dashes or colons allowed.", pattern=EUI)
    decoder: Path = setting(
        "What its payloads mean: the name of a table that comes with the agent, or the path of "
        "one of your own, which ends in .toml."
    )
    server: Server = setting("Which network server hands its uplinks on.")
    local_broker: str = setting(
        "Name of the [[local_broker]] they are published to; or `push_path`.", default=""
    )
    topic: str = setting("MQTT topic filter of the uplinks there.", default="")
    push_path: str = setting(
        "Path of the [listener] they are posted to, e.g. /lorawan.", default="", pattern=r"(/\S*)?"
    )
    period_seconds: int | None = setting(
        "How often it is set to report; unset: irregularly.", default=None, minimum=1
    )
    repeat_seconds: float = setting(
        "Time within which the same frame is taken for a repetition.",
        default=300.0,
        minimum=0.0,
        maximum=86_400.0,
    )
    also: tuple[str, ...] = setting(
        "Optional values to report as well: of the table, rssi and snr.", default=()
    )
    without: tuple[str, ...] = setting("Values of the table not to report.", default=())
    observes: Mapping[str, str] = setting(
        "Observed property of a value, where it is more special than the table's, e.g. "
        '{ distance = "water_distance" }.',
        default_factory=dict,
    )

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse a table that is none, values it does not have, and no way or two to get them."""
        if bool(self.local_broker) == bool(self.push_path):
            yield ("local_broker",), "must be given, or else push_path; not both"
        if bool(self.local_broker) != bool(self.topic):
            yield ("topic",), "must be given with local_broker, and only there"
        elif self.topic and (mistake := topic_filter_mistake(self.topic)):
            yield ("topic",), mistake
        mistake = _decoder_mistake(self.decoder)
        if mistake:
            yield ("decoder",), mistake
            return
        yield from self._names_unknown()
        if not chosen(self):
            yield ("without",), "must leave something to report"

    def _names_unknown(self) -> Iterator[tuple[KeyPath, str]]:
        known = [one.name for one in _known(load_decoder(self.decoder))]
        for key, names in (("also", self.also), ("without", self.without)):
            for index, name in enumerate(names):
                if name not in known:
                    yield (key, index), f"must be one of {', '.join(known)}"
        for name in self.observes:
            if name not in known:
                yield ("observes", name), f"is no value; there are {', '.join(known)}"


def _decoder_mistake(path: Path) -> str:
    try:
        load_decoder(path)
    except SettingsError as error:
        if path.suffix == ".toml":
            return "; ".join(str(mistake) for mistake in error.mistakes)
        names = decoder_names()
        return f"is no table{nearest(path.name, names)}; there are {', '.join(names)}"
    return ""


def _known(decoder: Decoder) -> tuple[DecodedSettings, ...]:
    named = {one.name for one in decoder.table.datastream}
    return (*decoder.table.datastream, *(one for one in _RADIO if one.name not in named))


def chosen(settings: LorawanSettings) -> dict[str, DecodedSettings]:
    """Return what is reported of the device, by name."""
    return {
        one.name: replace(
            one, observed_property=settings.observes.get(one.name, one.observed_property)
        )
        for one in _known(load_decoder(settings.decoder))
        if one.name not in settings.without and (not one.optional or one.name in settings.also)
    }


def datastreams(settings: LorawanSettings) -> tuple[Datastream, ...]:
    """Return what the device measures, as its table and the settings say."""
    return tuple(one.datastream(settings.period_seconds) for one in chosen(settings).values())


@dataclass(frozen=True, slots=True)
class Delivery:
    """An uplink on its way: when it came, and how to tell who brought it that it is kept.

    urgent: who brought it brings nothing more until then.
    """

    uplink: Uplink
    received: datetime
    accept: Callable[[], None]
    urgent: bool


async def harvests(
    settings: LorawanSettings, surroundings: Surroundings
) -> AsyncGenerator[Harvest, None]:
    """Yield what each uplink says; a repeated one says nothing more."""
    reader, clock = Reader(settings), surroundings.clock
    async with aclosing(_deliveries(settings, surroundings)) as found:
        async for delivery in found:
            allowed = future_allowed(clock)
            readings = reader.readings(delivery.uplink, delivery.received, allowed)
            yield Harvest(readings, at_once=delivery.urgent, stored=delivery.accept)


class Reader:
    """Turns uplinks of one device into readings; remembers what was here before."""

    def __init__(self, settings: LorawanSettings) -> None:
        self.faults = Faults(_REFUSED, sensor=settings.urn)
        self._urn = settings.urn
        self._decoder = load_decoder(settings.decoder)
        self._symbols = {name: one.symbol for name, one in chosen(settings).items()}
        self._repeats = Repeats(settings.repeat_seconds)

    def readings(
        self, uplink: Uplink, received: datetime, future_seconds: float = FUTURE_SECONDS
    ) -> tuple[Reading, ...]:
        """Return what an uplink says that is to be reported; nothing of what is refused.

        future_seconds: as of `Uplink.moment`.
        """
        time, quality = uplink.moment(received, future_seconds)
        if self._repeats.has(uplink, time):
            return ()
        try:
            values = self._decoder.decode(uplink.f_port, uplink.payload)
        except FrameError as error:
            self.faults.note(error, device=uplink.dev_eui)
            return ()
        readings = []
        for value in (*values, *_radio(uplink)):
            if value.name not in self._symbols or not self._is_possible(value, time):
                continue
            readings.append(
                Reading(
                    sensor=self._urn,
                    name=value.name,
                    phenomenon_time=value.time or time,
                    result=value.result,
                    unit=self._symbols[value.name] if isinstance(value.result, float) else "",
                    quality=quality,
                )
            )
        return tuple(readings)

    def _is_possible(self, value: Value, time: datetime) -> bool:
        """Return whether a time that the device itself gives can be."""
        if value.time is None or time - _OLDEST <= value.time <= time + _AHEAD:
            return True
        error = FrameError("device-time", f"{value.name} of {value.time}")
        self.faults.note(error)
        return False


def _radio(uplink: Uplink) -> Iterator[Value]:
    if uplink.rssi is not None:
        yield Value("rssi", uplink.rssi)
    if uplink.snr is not None:
        yield Value("snr", uplink.snr)


def _deliveries(
    settings: LorawanSettings, surroundings: Surroundings
) -> AsyncGenerator[Delivery, None]:
    """Yield the uplinks of this device, from the stream that it shares with others."""
    server, broker, topic = settings.server, settings.local_broker, settings.topic
    path = settings.push_path

    def opening() -> AsyncGenerator[tuple[str, Delivery], None]:
        if path:
            return pushed(surroundings, server, path)
        return published(surroundings, server, broker, topic)

    key = ("lorawan", server, path or broker, topic)
    return surroundings.sources.stream(key, opening, eui(settings.device_eui), _accept)


def _accept(delivery: Delivery) -> None:
    delivery.accept()


async def published(
    surroundings: Surroundings, server: Server, broker: str, topic: str
) -> AsyncGenerator[tuple[str, Delivery], None]:
    """Yield (device EUI, uplink) of what a network server publishes; acknowledge what is none."""
    faults = Faults(_REFUSED)
    async with aclosing(messages(surroundings, broker, topic)) as found:
        async for message in found:
            try:
                uplink = read_uplink(server, read_json(message.payload))
            except (UplinkError, FieldError) as error:
                faults.note(error, topic=message.topic, device=getattr(error, "device", ""))
                uplink = None
            if uplink is None or (message.retained and uplink.time is None):  # long ago, perhaps
                message.acknowledge()
                continue
            accept, urgent = message.acknowledge, message.urgent
            yield uplink.dev_eui, Delivery(uplink, message.received, accept, urgent)


async def pushed(
    surroundings: Surroundings, server: Server, path: str
) -> AsyncGenerator[tuple[str, Delivery], None]:
    """Yield (device EUI, uplink) of what a network server posts; tell it what is no envelope."""
    from edge_agent.inputs.listener import posts  # noqa: PLC0415  # h11, where it is used

    faults = Faults(_REFUSED)
    async with aclosing(posts(surroundings, path)) as found:
        async for post in found:
            try:
                uplink = read_uplink(server, read_json(post.body))
            except (UplinkError, FieldError) as error:
                faults.note(error, path=path, device=getattr(error, "device", ""))
                if getattr(error, "device", ""):
                    post.accept()  # an uplink, and no better the next time
                else:
                    post.refuse(_BAD_REQUEST, str(error))
                continue
            if uplink is None:
                post.accept()
                continue
            yield uplink.dev_eui, Delivery(uplink, post.received, post.accept, urgent=True)


ADAPTER: Final = Adapter(LorawanSettings, datastreams, harvests)
