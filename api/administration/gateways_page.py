"""The list of a council's gateways: filtered by state, searched, one page at a time."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from api.administration.desk import Desk, desk
from api.administration.words import STATES, GatewayRow, gateway_row, matches
from api.pages.times import floor_second, iso_text, plural, time_text
from api.pages.view import ViewError
from storage.network_view import gateway_facts
from storage.overview import bounded_read

router = APIRouter(include_in_schema=False)

PAGE_ROWS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is looked for. state: "" or a key of `STATES`; number: of the page, from 1."""

    council: str
    state: str
    words: str
    number: int

    def address(self, number: int) -> str:
        """Return where page `number` of the same search is."""
        asked = {"council": self.council, "status": self.state, "q": self.words}
        query = {name: value for name, value in asked.items() if value}
        return f"/administration?{urlencode(query | {'page': number})}"

    @property
    def is_narrowed(self) -> bool:
        """Whether anything is left out."""
        return bool(self.council or self.state or self.words)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One page of what was found."""

    rows: Sequence[GatewayRow]
    found: int
    number: int
    last: int

    @property
    def span(self) -> str:
        """Which of how many, e.g. "51 to 100 of 200 gateways"."""
        if self.last == 1:
            return plural(self.found, "gateway")
        first = (self.number - 1) * PAGE_ROWS + 1
        return f"{first:,} to {first + len(self.rows) - 1:,} of {plural(self.found, 'gateway')}"


@router.get("/administration")
async def gateways(
    council: Annotated[str, Query(max_length=32)] = "",
    status: Annotated[str, Query(max_length=16)] = "",
    q: Annotated[str, Query(max_length=100)] = "",
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
    *,
    at: Annotated[Desk, Depends(desk)],
) -> Response:
    """List the gateways somebody may administer."""
    if status and status not in STATES:
        raise ViewError(f"No gateway is ever “{status}”.")
    if council:
        await at.council(council)
    tenant = council or at.who.staff.tenant
    async with at.centre.connection() as conn, bounded_read(conn, councils=at.centre.councils):
        facts = await gateway_facts(conn, tenant=tenant)
    now = datetime.now(UTC)
    rows = [gateway_row(one, now) for one in facts]
    search = Search(council=council, state=status, words=q.strip(), number=page)
    mine = await at.councils()
    context = {
        "search": search,
        "leaf": leaf_of(rows, search),
        "states": STATES,
        "counts": Counter(row.state for row in rows),
        "total": len(rows),
        "councils": mine if len(mine) > 1 else [],
        "heading": mine[0].name if len(mine) == 1 else "all councils",
        "read_at": time_text(floor_second(now)),
        "now": iso_text(now),
    }
    return await at.answer("administration_gateways.html", context)


def leaf_of(rows: Sequence[GatewayRow], search: Search) -> Leaf:
    """Return the page of `rows` that a search asks for, the last one if it asks for more."""
    found = [row for row in rows if search.state in ("", row.state) and matches(row, search.words)]
    last = max(1, -(-len(found) // PAGE_ROWS))
    number = min(search.number, last)
    shown = found[(number - 1) * PAGE_ROWS : number * PAGE_ROWS]
    return Leaf(shown, len(found), number, last)
