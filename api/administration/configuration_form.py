"""Changing a gateway's settings from the centre: the form, and asking for what it says.

What may be changed, and to what, is `device_protocol.configuration`. A request is only a row: the
enrolment service signs it, and the gateway tries it and goes back by itself if it must.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import RedirectResponse, Response

from api.administration.desk import Desk, Device, desk
from api.administration.words import gateway_row, setting_text
from api.session import Posted, posted
from device_protocol.configuration import REMOTE_SETTINGS, RemoteSetting, validate
from storage.configurations import configuration_states, request_configuration
from storage.database import Connection
from storage.network_view import GatewayFacts
from storage.registry import RevokedForGoodError, streams

router = APIRouter(include_in_schema=False)

LIFETIME: Final = timedelta(days=7)
"""How long a gateway that is away may take up what was asked of it."""

_SENSOR: Final = "<urn>"
_ANY_SENSOR: Final = "the sensor with this URN"
_HEALTH: Final = ":health"  # has a setting of its own
_FIELD: Final = "setting "
_FIRST_FIELD: Final = "settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One setting on the form. key: dotted. value: as it stands in its box. subject: its sensor."""

    key: str
    number: int
    setting: RemoteSetting
    value: str
    problem: str = ""
    subject: str = ""

    @property
    def name(self) -> str:
        """What the form calls it."""
        return f"{_FIELD}{self.key}"

    @property
    def label(self) -> str:
        """What a person calls it."""
        text = self.setting.help.removesuffix(".")
        return text.replace(_ANY_SENSOR, f"sensor {self.subject}") if self.subject else text

    @property
    def hint(self) -> str:
        """What it may be."""
        shown = self.setting
        if shown.kind == "text":
            return "A host name or an address."
        whole = "A whole number" if shown.kind == "whole number" else "A number"
        unit = {"s": " seconds", "": ""}.get(shown.unit, f" {shown.unit}")
        return f"{whole} from {_bound(shown.minimum)} to {_bound(shown.maximum)}{unit}."

    @property
    def is_tick(self) -> bool:
        """Whether it can only be asked for."""
        return self.setting.kind == "true"


@router.get("/administration/gateways/{device}/settings")
async def show(device: Device, at: Annotated[Desk, Depends(desk)]) -> Response:
    """Show the settings asked for last, ready to be changed."""
    facts = await _changeable(at, device)
    async with at.centre.connection() as conn:
        states = await configuration_states(conn, device)
        sensors = await _sensors(conn, device)
    wanted = states[0].settings if states else {}
    given = {key: setting_text(value) for key, value in wanted.items() if key != "rekey"}
    return await _page(at, facts, fields_of(sensors, given, {}), "")


@router.post("/administration/gateways/{device}/settings")
async def ask(
    device: Device,
    at: Annotated[Desk, Depends(desk)],
    form: Annotated[Posted, Depends(posted)],
) -> Response:
    """Ask the gateway to run under these settings."""
    facts = await _changeable(at, device)
    async with at.centre.connection() as conn:
        sensors = await _sensors(conn, device)
    given = {
        name.removeprefix(_FIELD): value.strip()
        for name, value in form.fields.items()
        if name.startswith(_FIELD) and value.strip()
    }
    settings, problems = read_settings(fields_of(sensors, given, {}))
    if not settings and not problems:
        problems = {_FIRST_FIELD: "Fill in at least one setting, or tick “new key”."}
    if problems:
        fields = fields_of(sensors, given, problems)
        return await _page(at, facts, fields, problems.get(_FIRST_FIELD, ""), 400)
    try:
        async with at.centre.connection() as conn:
            await request_configuration(
                conn, device=device, settings=settings, actor=at.actor, lifetime=LIFETIME
            )
    except RevokedForGoodError as error:
        raise HTTPException(409, "This gateway was revoked in the meantime.") from error
    return RedirectResponse(f"/administration/gateways/{device}?done=settings", 303)


def fields_of(
    sensors: Iterable[str], given: Mapping[str, str], problems: Mapping[str, str]
) -> list[Field]:
    """Return the boxes of the form: each setting once, those of a sensor once for each."""
    keys: list[tuple[str, RemoteSetting, str]] = []
    for setting in REMOTE_SETTINGS:
        if _SENSOR in setting.name:
            keys += [(setting.name.replace(_SENSOR, urn), setting, urn) for urn in sensors]
        else:
            keys.append((setting.name, setting, ""))
    return [
        Field(
            key=key,
            number=number,
            setting=setting,
            value=given.get(key, ""),
            problem=problems.get(key, ""),
            subject=subject,
        )
        for number, (key, setting, subject) in enumerate(keys, start=1)
    ]


def read_settings(fields: Sequence[Field]) -> tuple[dict[str, object], dict[str, str]]:
    """Return what was filled in, and what is wrong with it, both by dotted key."""
    values: dict[str, object] = {
        field.key: _value(field.setting, field.value) for field in fields if field.value
    }
    by_key = {field.key: field for field in fields}
    problems = {
        bad.key: "Give " + by_key[bad.key].hint[0].lower() + by_key[bad.key].hint[1:]
        for bad in (validate(values) if values else ())
        if bad.key in by_key
    }
    return values, problems


def _value(setting: RemoteSetting, text: str) -> object:
    """Return what a box holds; its own text where that is no number, which `validate` refuses."""
    if setting.kind == "true":
        return True
    if setting.kind == "text":
        return text
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _bound(value: float | None) -> str:
    return "any" if value is None else f"{value:,g}"


async def _changeable(at: Desk, device: str) -> GatewayFacts:
    facts = await at.gateway(device)
    if facts.status == "revoked":
        raise HTTPException(409, "This gateway was revoked. Its settings cannot be changed.")
    return facts


async def _sensors(conn: Connection, device: str) -> list[str]:
    """Return the URNs of a gateway's sensors that can be told how often to measure."""
    urns = {row.sensor for row in await streams(conn, device)}
    return sorted(urn for urn in urns if not urn.endswith(_HEALTH))


async def _page(
    at: Desk, facts: GatewayFacts, fields: Sequence[Field], problem: str, status_code: int = 200
) -> Response:
    context = {
        "row": gateway_row(facts, datetime.now(UTC)),
        "fields": fields,
        "problem": problem,
        "has_problems": bool(problem) or any(field.problem for field in fields),
        "days": LIFETIME.days,
    }
    return await at.answer("administration_settings.html", context, status_code)
