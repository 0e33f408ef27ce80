"""One gateway: what it is, how it fares, what it measures, what was and what can be done to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from api.administration.change_pages import CHANGES
from api.administration.desk import Desk, Device, desk
from api.administration.health import HealthRow, health_rows
from api.administration.kept_aside_page import kept_aside
from api.administration.words import AuditRow, GatewayRow, audit_row, gateway_row, setting_text
from api.pages.presentation import SiteRow, site_rows
from api.pages.status import Moment, moment
from api.pages.times import floor_second, iso_text, time_text
from storage.audit import entries
from storage.configurations import ConfigurationState, configuration_states
from storage.database import Connection
from storage.network_view import gateway_facts
from storage.overview import (
    CurrentValue,
    bounded_read,
    current_values,
    gateway_health,
    server_time,
    sites,
)
from storage.status_board import quarantine_counts

router = APIRouter(include_in_schema=False)

_AUDIT_ROWS: Final = 20
_CONFIGURATIONS: Final = 5
_DONE: Final[Mapping[str, str]] = {
    **{change: f"The gateway is {one.done}." for change, one in CHANGES.items()},
    "settings": "The gateway will be asked to try the new settings as soon as they are signed.",
}
_CONFIGURATION_STATES: Final[Mapping[str, str]] = {
    "requested": "Asked for; waits to be signed",
    "signed": "Signed and sent; waits for the gateway",
    "in force": "In force",
    "refused": "Refused, or tried and taken back by the gateway",
    "superseded": "Replaced by a newer one",
    "expired": "Not taken up in time",
}
_NO_REFRESH: Final = "no"


@dataclass(frozen=True, slots=True)
class ConfigurationRow:
    """Settings that were asked for and what became of them, in words."""

    configuration: ConfigurationState
    text: str
    state: str
    at: Moment


@dataclass(frozen=True, slots=True)
class Dossier:
    """All that the page shows of a gateway."""

    row: GatewayRow
    things: list[SiteRow]
    health: list[HealthRow]
    configurations: list[ConfigurationRow]
    audit: list[AuditRow]
    changes: list[str]

    @property
    def is_expected(self) -> bool:
        """Whether its first reading is still to come, and may come at any moment."""
        return self.row.state in ("invited", "waiting")


@router.get("/administration/gateways/{device}")
async def gateway(
    device: Device,
    done: Annotated[str, Query(max_length=16)] = "",
    refresh: Annotated[str, Query(max_length=8)] = "",
    *,
    at: Annotated[Desk, Depends(desk)],
) -> Response:
    """Show one gateway."""
    await at.gateway(device)
    now = datetime.now(UTC)
    async with at.centre.connection() as conn, bounded_read(conn, councils=at.centre.councils):
        dossier = await _dossier(conn, device, now)
        counts = await quarantine_counts(conn, device)
        read_at = await server_time(conn)
    facts = dossier.row.facts
    kept = [kept_aside(one, now) for one in counts]
    context = {
        "row": dossier.row,
        "dossier": dossier,
        "kept": kept,
        "kept_total": sum(one.n for one in counts),
        "done": _DONE.get(done, ""),
        "can_invite": facts.site is not None and facts.status in ("invited", "active"),
        "refreshes": dossier.is_expected and refresh != _NO_REFRESH,
        "now": iso_text(now),
        "read_at": time_text(floor_second(now)),
        "live_url": f"/live?council={facts.tenant}&since={iso_text(read_at)}",
    }
    return await at.answer("administration_gateway.html", context)


async def _dossier(conn: Connection, device: str, now: datetime) -> Dossier:
    [facts] = await gateway_facts(conn, device=device)
    own = [one for one in await sites(conn, tenant=facts.tenant) if one.device == device]
    values: list[CurrentValue] = []
    for one in own:
        values += await current_values(conn, thing_id=one.id)
    trail = await entries(conn, subject=device, limit=_AUDIT_ROWS)
    states = await configuration_states(conn, device)
    return Dossier(
        row=gateway_row(facts, now),
        things=site_rows(own, values, now),
        health=health_rows(await gateway_health(conn, device), now),
        configurations=[_configuration(one, now) for one in states[:_CONFIGURATIONS]],
        audit=[audit_row(one, now) for one in trail if one.tenant == facts.tenant],
        changes=[name for name, one in CHANGES.items() if facts.status in one.fits],
    )


def _configuration(one: ConfigurationState, now: datetime) -> ConfigurationRow:
    text = "; ".join(f"{key} = {setting_text(value)}" for key, value in one.settings.items())
    return ConfigurationRow(
        one, text, _CONFIGURATION_STATES[one.state], moment(one.requested_at, now)
    )
