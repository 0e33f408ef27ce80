"""A sensor that publishes JSON to an MQTT broker near the gateway, e.g. through Zigbee2MQTT.

What the broker has kept (retained) is of an unknown time and left out, unless the message says
when it was measured. A message is acknowledged once its readings are on the disk; one that makes
no reading, at once.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from device_protocol.description import Datastream
from device_protocol.reading import Reading
from edge_agent.adapter import Adapter, Harvest, SensorSettings, Surroundings, table_contradictions
from edge_agent.inputs.faults import Faults
from edge_agent.inputs.fields import (
    FieldError,
    FieldSettings,
    TimeForm,
    find,
    future_allowed,
    path_mistake,
    read_json,
    readings,
    time_of,
)
from edge_agent.inputs.local_broker import Message, messages, topic_filter_mistake
from runtime.settings import KeyPath, setting

_AVAILABILITY: Final = (b"", b"online", b"offline")


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttJsonSettings(SensorSettings):
    """Reads JSON that a sensor publishes to a broker near the gateway."""

    adapter: Literal["mqtt_json"] = "mqtt_json"
    local_broker: str = setting("Name of the [[local_broker]] it publishes to.")
    topic: str = setting("Topic, or topic filter, e.g. zigbee2mqtt/lamp-17.")
    fields: Mapping[str, FieldSettings] = setting("What each value becomes.")
    period_seconds: int | None = setting(
        "How often a message is to be expected; unset: whenever something changes.",
        default=None,
        minimum=1,
    )
    time_path: str = setting(
        "Where a message says when it was measured; empty, or nothing there: when it came.",
        default="",
    )
    time_form: TimeForm = setting("How that time is written.", default="iso8601")
    retained: Literal["ignore", "use"] = setting(
        "What to do with messages that the broker has kept; to use them, they must tell their "
        "time.",
        default="ignore",
    )

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse fields that clash, a topic or path that is none, and times nobody knows."""
        yield from table_contradictions("fields", self.fields)
        mistake = topic_filter_mistake(self.topic)
        if mistake:
            yield ("topic",), mistake
        mistake = path_mistake(self.time_path) if self.time_path else None
        if mistake:
            yield ("time_path",), mistake
        if self.retained == "use" and not self.time_path:
            yield ("retained",), "needs a time_path: when it was measured is not known otherwise"


def datastreams(settings: MqttJsonSettings) -> tuple[Datastream, ...]:
    """Return what the fields become."""
    return tuple(field.datastream(settings.period_seconds) for field in settings.fields.values())


async def harvests(
    settings: MqttJsonSettings, surroundings: Surroundings
) -> AsyncGenerator[Harvest, None]:
    """Yield the readings of each message, to be acknowledged once they are stored.

    Raises:
        SourceError, OSError: as `edge_agent.inputs.local_broker.messages`.
    """
    faults = Faults("value unusable", sensor=settings.urn)
    newest_retained: datetime | None = None
    arriving = messages(surroundings, settings.local_broker, settings.topic)
    async with aclosing(arriving) as found:
        async for message in found:
            made: tuple[Reading, ...] = ()
            try:
                made = read(settings, message, faults, future_allowed(surroundings.clock))
            except FieldError as fault:
                faults.note(fault)
            if made and message.retained:
                if newest_retained and made[0].phenomenon_time <= newest_retained:
                    made = ()  # the broker gives it again after each new connection
                else:
                    newest_retained = made[0].phenomenon_time
            if made:
                yield Harvest(made, at_once=message.urgent, stored=message.acknowledge)
            else:
                message.acknowledge()


def read(
    settings: MqttJsonSettings, message: Message, faults: Faults, future_seconds: float
) -> tuple[Reading, ...]:
    """Return what a message says; nothing of one that tells only whether a device is there.

    faults: told of single values that are unusable.

    Raises:
        FieldError: nothing in it is usable.
    """
    if message.payload.strip() in _AVAILABILITY:
        return ()
    if message.retained and settings.retained == "ignore":
        return ()
    document = read_json(message.payload)
    if message.retained and find(document, settings.time_path) is None:
        return ()
    return readings(
        document,
        sensor=settings.urn,
        fields=settings.fields.values(),
        time=time_of(
            document,
            settings.time_path,
            settings.time_form,
            message.received,
            future_seconds=future_seconds,
        ),
        on_fault=faults.note,
    )


ADAPTER: Final = Adapter(MqttJsonSettings, datastreams, harvests)
