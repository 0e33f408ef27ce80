"""What of one gateway was kept aside, above all after it was suspended or revoked."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from api.administration.desk import Desk, Device, desk
from api.administration.words import gateway_row
from api.pages.status import Moment, QuarantineRow, moment
from api.pages.times import floor_second, time_text
from api.pages.words import reason_text
from storage.overview import bounded_read
from storage.status_board import QuarantineCount, quarantine_counts, recently_quarantined

router = APIRouter(include_in_schema=False)

MOST_ROWS: Final = 200


@dataclass(frozen=True, slots=True)
class KeptAside:
    """How much is kept aside for one reason, in words."""

    count: QuarantineCount
    meaning: str
    first: Moment
    last: Moment


def kept_aside(count: QuarantineCount, now: datetime) -> KeptAside:
    """Return a count in words."""
    return KeptAside(
        count,
        reason_text(count.reason),
        moment(count.first_at, now),
        moment(count.last_at, now),
    )


@router.get("/administration/gateways/{device}/kept-aside")
async def kept_aside_of(device: Device, at: Annotated[Desk, Depends(desk)]) -> Response:
    """Show what was kept aside of a gateway, newest first."""
    facts = await at.gateway(device)
    async with at.centre.connection() as conn, bounded_read(conn, councils=at.centre.councils):
        counts = await quarantine_counts(conn, device)
        newest = await recently_quarantined(conn, MOST_ROWS, device=device)
    now = datetime.now(UTC)
    context = {
        "row": gateway_row(facts, now),
        "counts": [kept_aside(one, now) for one in counts],
        "entries": [
            QuarantineRow(one, reason_text(one.reason), moment(one.received_at, now))
            for one in newest
        ],
        "most": MOST_ROWS,
        "total": sum(one.n for one in counts),
        "read_at": time_text(floor_second(now)),
    }
    return await at.answer("administration_kept_aside.html", context)
