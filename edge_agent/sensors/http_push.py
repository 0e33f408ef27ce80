"""A sensor that pushes JSON to the gateway by HTTP: any, or an airRohr of Sensor.Community.

Several devices may push to one path, each told by its id; one that no sensor claims is answered
with 404 and reported. Bodies are answered with 200 once their readings are on the disk.
Sensor.Community's form: https://github.com/opendata-stuttgart/meta/wiki/EN-APIs
"""

import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from device_protocol.description import Datastream
from device_protocol.reading import Reading
from edge_agent.adapter import Adapter, Harvest, SensorSettings, Surroundings, table_contradictions
from edge_agent.clock import Clock
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
from edge_agent.inputs.listener import Post, posts
from runtime.settings import KeyPath, setting

Form = Literal["json", "sensor-community"]

_NAMES: Final = re.compile(r"\s*[\w-]+\s*(?:\|\s*[\w-]+\s*)*")
_CHIP: Final = re.compile(r"(?:esp8266|esp32|raspi)-", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpPushSettings(SensorSettings):
    """Reads JSON that a sensor pushes to the gateway's [listener]."""

    adapter: Literal["http_push"] = "http_push"
    push_path: str = setting("Path it pushes to, e.g. /airrohr.", pattern=r"/[!-~]*")
    form: Form = setting(
        "json, or what Sensor.Community's devices send to a custom API: there a path is the name "
        "of a value, e.g. SDS_P1|P1.",
        default="json",
    )
    device: str = setting(
        "Id of the device, where several push to one path; for sensor-community its chip id, "
        "with or without esp8266-.",
        default="",
    )
    device_path: str = setting(
        "Where a body of form json says which device it is of; needed with `device`.", default=""
    )
    fields: Mapping[str, FieldSettings] = setting("What each value becomes.")
    period_seconds: int | None = setting(
        "How often it pushes; unset: whenever something changes.", default=None, minimum=1
    )
    time_path: str = setting(
        "Where a body says when it was measured; empty, or nothing there: when it came.",
        default="",
    )
    time_form: TimeForm = setting("How that time is written.", default="iso8601")

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse fields that clash, paths that are none, and a device nobody could tell."""
        yield from table_contradictions("fields", self.fields)
        if "?" in self.push_path:
            yield ("push_path",), "must be without a query"
        for name in ("time_path", "device_path"):
            path: str = getattr(self, name)
            mistake = path_mistake(path) if path else None
            if mistake:
                yield (name,), mistake
        if self.form == "json" and bool(self.device) != bool(self.device_path):
            missing = "device_path" if self.device else "device"
            yield (missing,), "must be set: `device` and `device_path` belong together"
        if self.form == "sensor-community":
            if self.device_path:
                yield ("device_path",), "is known for sensor-community"
            for key, field in self.fields.items():
                if not _NAMES.fullmatch(field.path):
                    yield ("fields", key, "path"), "must be names of values, e.g. SDS_P1|P1"


@dataclass(frozen=True, slots=True)
class _Body:
    """A post, and the document that it brought."""

    post: Post
    document: object


def datastreams(settings: HttpPushSettings) -> tuple[Datastream, ...]:
    """Return what the fields become."""
    return tuple(field.datastream(settings.period_seconds) for field in settings.fields.values())


async def harvests(
    settings: HttpPushSettings, surroundings: Surroundings
) -> AsyncGenerator[Harvest, None]:
    """Yield the readings of each body, to be answered once they are stored.

    Raises:
        SourceError, OSError: as `edge_agent.inputs.listener.posts`.
    """
    faults, fields = Faults("value unusable", sensor=settings.urn), fields_of(settings)
    async with aclosing(_bodies(settings, surroundings)) as found:
        async for body in found:
            try:
                made = _read(settings, fields, body, faults, surroundings.clock)
            except FieldError as fault:
                faults.note(fault)
                body.post.refuse(400, str(fault))
                continue
            if made:
                yield Harvest(made, at_once=True, stored=body.post.accept)
            else:
                body.post.accept()


def _read(
    settings: HttpPushSettings,
    fields: Iterable[FieldSettings],
    body: _Body,
    faults: Faults,
    clock: Clock,
) -> tuple[Reading, ...]:
    """Return what a body says.

    Raises:
        FieldError: nothing in it is usable.
    """
    time = time_of(
        body.document,
        settings.time_path,
        settings.time_form,
        body.post.received,
        future_seconds=future_allowed(clock),
    )
    return readings(
        body.document, sensor=settings.urn, fields=fields, time=time, on_fault=faults.note
    )


def document_in(body: bytes, form: Form) -> object:
    """Return the document in a body.

    Raises:
        FieldError: it is none, or not of that form.
    """
    document = read_json(body)
    if form == "sensor-community" and not isinstance(find(document, "sensordatavalues"), list):
        raise FieldError("has no list sensordatavalues")
    return document


def fields_of(settings: HttpPushSettings) -> tuple[FieldSettings, ...]:
    """Return the fields with paths into the document: Sensor.Community's are given by name."""
    fields = tuple(settings.fields.values())
    if settings.form == "json":
        return fields
    return tuple(replace(field, path=_by_value_type(field.path)) for field in fields)


def _by_value_type(names: str) -> str:
    return "|".join(
        f"sensordatavalues[value_type={name.strip()}].value" for name in names.split("|")
    )


def device_of(document: object, headers: Mapping[str, str], device_path: str) -> str | None:
    """Return the id of the device a body is of; without a path, as Sensor.Community tells it.

    Raises:
        FieldError: it says two different ones.
    """
    found = find(document, device_path or "esp8266id|esp32id")
    if found is None and not device_path:
        found = headers.get("x-sensor") or headers.get("sensor")
    return None if found is None else _chip_id(str(found))


def _chip_id(text: str) -> str:
    return _CHIP.sub("", text.strip(), count=1).lower()


async def _bodies(
    settings: HttpPushSettings, surroundings: Surroundings
) -> AsyncGenerator[_Body, None]:
    """Yield what is pushed for this sensor: all of its path, or its device's."""
    if not settings.device:
        async with aclosing(_documents(settings, surroundings)) as found:
            async for body in found:
                yield body
        return
    key = ("http_push", settings.push_path, settings.form, settings.device_path)
    opening = _opening(settings, surroundings)
    device = _chip_id(settings.device)
    async with aclosing(surroundings.sources.stream(key, opening, device, _refuse)) as found:
        async for body in found:
            yield body


def _opening(
    settings: HttpPushSettings, surroundings: Surroundings
) -> Callable[[], AsyncGenerator[tuple[Any, _Body], None]]:
    async def addressed() -> AsyncGenerator[tuple[Any, _Body], None]:
        async with aclosing(_documents(settings, surroundings)) as found:
            async for body in found:
                try:
                    device = device_of(body.document, body.post.headers, settings.device_path)
                except FieldError as fault:
                    body.post.refuse(400, str(fault))
                    continue
                if device is None:
                    body.post.refuse(400, "does not say which device it is of")
                else:
                    yield device, body

    return addressed


async def _documents(
    settings: HttpPushSettings, surroundings: Surroundings
) -> AsyncGenerator[_Body, None]:
    faults = Faults("value unusable", sensor=settings.urn)
    async with aclosing(posts(surroundings, settings.push_path)) as found:
        async for post in found:
            try:
                body = _Body(post, document_in(post.body, settings.form))
            except FieldError as fault:
                faults.note(fault)
                post.refuse(400, str(fault))
                continue
            yield body


def _refuse(body: _Body) -> None:
    body.post.refuse(404, "no sensor in this gateway's settings is this device")


ADAPTER: Final = Adapter(HttpPushSettings, datastreams, harvests)
