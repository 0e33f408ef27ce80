"""Suspending, resuming and revoking a gateway: first a page that says what will happen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import RedirectResponse, Response

from api.administration.desk import Desk, Device, desk
from api.administration.words import GatewayRow, gateway_row
from api.session import Posted, posted
from storage.network_view import GatewayFacts
from storage.registry import NotEnrolledError, RevokedForGoodError, Status, set_gateway_status

router = APIRouter(include_in_schema=False)

MOST_REASON_CHARACTERS: Final = 200

Change = Literal["suspend", "resume", "revoke"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequences:
    """What a change is and does. fits: the states of a gateway it can be made in."""

    verb: str
    done: str
    becomes: Status
    fits: frozenset[str]
    points: Sequence[str]
    warning: str = ""
    wants_reason: bool = True


CHANGES: Final[Mapping[Change, Consequences]] = {
    "suspend": Consequences(
        verb="Suspend",
        done="suspended",
        becomes="suspended",
        fits=frozenset({"active"}),
        points=(
            "Within a second, what it sends is refused and kept aside.",
            "The broker takes it off its lists, ends its connection and lets it make no new one.",
            "Readings that arrived before stay where they are.",
            "The gateway keeps its readings. You can resume it later, and it sends what it kept.",
        ),
    ),
    "resume": Consequences(
        verb="Resume",
        done="at work again",
        becomes="active",
        fits=frozenset({"suspended"}),
        points=(
            "Within a second, what it sends is accepted again.",
            "The broker lets it connect as soon as it has its new lists, usually within seconds.",
            "If its certificate expired meanwhile, invite it again afterwards.",
        ),
        wants_reason=False,
    ),
    "revoke": Consequences(
        verb="Revoke",
        done="revoked",
        becomes="revoked",
        fits=frozenset({"invited", "active", "suspended"}),
        points=(
            "Within a second, what it sends is refused and kept aside.",
            "The council revokes its certificate, and the broker ends its connection.",
            "An invitation that is still open ends.",
            "Readings that arrived before stay where they are.",
            "Its site is free: you can invite another gateway there.",
        ),
        warning="A gateway that is revoked never comes back. If you may need it again, suspend it.",
    ),
}


@router.get("/administration/gateways/{device}/{change}")
async def ask(device: Device, change: Change, at: Annotated[Desk, Depends(desk)]) -> Response:
    """Say what a change will do, and ask whether it shall be."""
    facts = await at.gateway(device)
    return await _page(at, facts, change)


@router.post("/administration/gateways/{device}/{change}")
async def make(
    device: Device,
    change: Change,
    at: Annotated[Desk, Depends(desk)],
    form: Annotated[Posted, Depends(posted)],
) -> Response:
    """Suspend, resume or revoke a gateway."""
    facts = await at.gateway(device)
    consequences = CHANGES[change]
    reason = " ".join(form.text("reason").split())
    if consequences.wants_reason and not reason:
        return await _page(at, facts, change, "Say why, for the audit trail.")
    if len(reason) > MOST_REASON_CHARACTERS:
        problem = f"Use at most {MOST_REASON_CHARACTERS} characters."
        return await _page(at, facts, change, problem)
    try:
        async with at.centre.connection() as conn:
            await set_gateway_status(
                conn, device=device, status=consequences.becomes, actor=at.actor, reason=reason
            )
    except (RevokedForGoodError, NotEnrolledError) as error:
        raise HTTPException(409, _not_now(gateway_row(facts, datetime.now(UTC)))) from error
    return RedirectResponse(f"/administration/gateways/{device}?done={change}", 303)


async def _page(at: Desk, facts: GatewayFacts, change: Change, problem: str = "") -> Response:
    row = gateway_row(facts, datetime.now(UTC))
    consequences = CHANGES[change]
    if facts.status not in consequences.fits:
        raise HTTPException(409, _not_now(row))
    context = {
        "row": row,
        "change": change,
        "consequences": consequences,
        "problem": problem,
        "most": MOST_REASON_CHARACTERS,
    }
    return await at.answer("administration_change.html", context, 400 if problem else 200)


def _not_now(row: GatewayRow) -> str:
    return f"{row.name} is “{row.status.lower()}” now. Its page says what can be done."
