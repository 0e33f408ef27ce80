"""Invitations: who may enrol where, proved by a one-time token of which only the hash is kept.

An invitation makes a gateway's row, with its device id and its site, before there is a gateway.
What a token is redeemed for is the certificate service's business, and `storage.certificates`'.
"""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from psycopg.rows import class_row

from device_protocol.first_boot import draw_token, new_device_id, token_sha256
from storage import audit, registry
from storage.database import Connection, query
from storage.site_list import Site

TOKEN_LIFETIME: Final = timedelta(hours=72)

Outcome = Literal["invited", "renewed", "already invited", "already enrolled"]
"""What became of an invitation: a new gateway; a new token for one that there is; or nothing."""

TokenRefusal = Literal[
    "unknown",
    "wrong-council",
    "wrong-device",
    "revoked-gateway",
    "suspended-gateway",
    "withdrawn",
    "expired",
    "spent",
]

_WITH_TOKEN: Final = frozenset({"invited", "renewed"})
_MOST_DRAWS: Final = 8

Random: TypeAlias = Callable[[int], bytes]


class TokenRefusedError(ValueError):
    """A token that cannot be redeemed. reason: a slug for logs; the gateway is not told it."""

    def __init__(self, reason: TokenRefusal) -> None:
        super().__init__(f"token refused: {reason}")
        self.reason: Final[TokenRefusal] = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What inviting a site led to.

    token: as it is printed, known only now; "" unless one was made. expires_at: of the token that
    is open, made now or before; None if there is none.
    """

    site: Site
    device: str
    outcome: Outcome
    token: str = field(repr=False)
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeemable:
    """A token that is good. used_kid: key it was spent on before, None while it is unspent."""

    token_id: int
    gateway_id: int
    tenant: str
    device: str
    status: str
    expires_at: datetime
    used_kid: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seat:
    """A site's gateway. open_until: of its open token."""

    site: str
    gateway_id: int
    device: str
    status: str
    open_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token(Redeemable):
    """A token of ours, good or not."""

    withdrawn: bool
    expired: bool


async def invite(
    conn: Connection,
    *,
    tenant: str,
    sites: Sequence[Site],
    actor: str,
    lifetime: timedelta = TOKEN_LIFETIME,
    renew: bool = False,
    random: Random = os.urandom,
) -> list[Invitation]:
    """Invite a gateway to each site and return what came of it, in the order of `sites`.

    A site has one gateway that is not revoked. It gets a new token, and its earlier ones end, if
    it never enrolled and has no open token, or if `renew` asks for it; then an enrolled gateway
    can enrol anew. Otherwise the site is left as it is, so that asking twice is harmless. Label
    and place of a gateway that exists are brought up to what `sites` say of them; a new one takes
    over those of the gateway revoked there last, as far as `sites` do not give them.

    lifetime: of the tokens. random: returns that many random bytes.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
        ValueError: a site is named twice.
    """
    by_name = {site.site: site for site in sites}
    if len(by_name) < len(sites):
        raise ValueError("a site is named twice")
    async with conn.transaction():
        council_id = await _lock_council(conn, tenant)
        before = await _seats(conn, council_id, by_name)
        await _correct(conn, [(before[name].gateway_id, by_name[name]) for name in before])
        made = await _add_gateways(
            conn, council_id, [site for site in sites if site.site not in before], random
        )
        outcomes: dict[str, Outcome] = {
            name: _outcome(before[name], renew=renew) for name in before
        }
        outcomes |= dict.fromkeys(made, "invited")
        seats = before | made
        fresh = [seats[site.site] for site in sites if outcomes[site.site] in _WITH_TOKEN]
        tokens, expires_at = await _add_tokens(conn, fresh, actor, lifetime, random)
        await audit.record_each(
            conn,
            actor=actor,
            tenant=tenant,
            action="gateway.invite",
            about=[
                (seat.device, {"site": seat.site, "outcome": outcomes[seat.site]}) for seat in fresh
            ],
        )
        await registry.announce(conn, "")
    return [
        Invitation(
            site=site,
            device=seats[site.site].device,
            outcome=outcomes[site.site],
            token=tokens.get(site.site, ""),
            expires_at=expires_at if site.site in tokens else seats[site.site].open_until,
        )
        for site in sites
    ]


async def redeem(
    conn: Connection, *, tenant: str, device: str, token_sha256: bytes, now: datetime
) -> Redeemable:
    """Return what a token is good for; nobody else redeems it before the transaction ends.

    Call it inside a transaction, and `spend` the token in the same. One that is spent already is
    returned with its `used_kid`: whether the request is the same one again is for the caller.

    Raises:
        TokenRefusedError: it is not good for this device of this council at `now`.
    """
    await conn.execute(query("lock_token_gateway"), {"token_sha256": token_sha256})
    async with conn.cursor(row_factory=class_row(_Token)) as cursor:
        await cursor.execute(
            query("find_token"), {"token_sha256": token_sha256, "tenant": tenant, "now": now}
        )
        token = await cursor.fetchone()
    if token is None:
        raise TokenRefusedError("unknown")
    if refusal := _refusal(token, tenant, device):
        raise TokenRefusedError(refusal)
    return Redeemable(
        token_id=token.token_id,
        gateway_id=token.gateway_id,
        tenant=token.tenant,
        device=token.device,
        status=token.status,
        expires_at=token.expires_at,
        used_kid=token.used_kid,
    )


async def spend(conn: Connection, *, token_id: int, kid: bytes, now: datetime) -> None:
    """Spend a token on the key called `kid`; spending it on the same key again changes nothing.

    Raises:
        TokenRefusedError: "spent", on another key; or "unknown".
    """
    cursor = await conn.execute(
        "UPDATE enrolment_token SET used_at = coalesce(used_at, %s), used_kid = %s"
        " WHERE id = %s AND (used_kid IS NULL OR used_kid = %s)",
        (now, kid, token_id, kid),
    )
    if cursor.rowcount == 0:
        cursor = await conn.execute("SELECT FROM enrolment_token WHERE id = %s", (token_id,))
        raise TokenRefusedError("spent" if cursor.rowcount else "unknown")


def _refusal(token: _Token, tenant: str, device: str) -> TokenRefusal | None:
    """Return the first reason why a token of ours is not good, or None."""
    checks: tuple[tuple[bool, TokenRefusal], ...] = (
        (token.tenant != tenant, "wrong-council"),
        (token.device != device, "wrong-device"),
        (token.status == "revoked", "revoked-gateway"),
        (token.status == "suspended", "suspended-gateway"),
        (token.withdrawn, "withdrawn"),
        (token.expired, "expired"),
    )
    return next((reason for holds, reason in checks if holds), None)


def _outcome(seat: _Seat, *, renew: bool) -> Outcome:
    if renew or (seat.status == "invited" and seat.open_until is None):
        return "renewed"
    return "already invited" if seat.status == "invited" else "already enrolled"


async def _lock_council(conn: Connection, tenant: str) -> int:
    """Return a council's id; its other invitations wait until the transaction ends."""
    cursor = await conn.execute(
        "SELECT id FROM council WHERE tenant = %s FOR NO KEY UPDATE", (tenant,)
    )
    row = await cursor.fetchone()
    if row is None:
        raise registry.UnknownCouncilError(f"no council is called {tenant!r}")
    return int(row[0])


async def _seats(conn: Connection, council_id: int, names: Collection[str]) -> dict[str, _Seat]:
    """Return the gateways that sites have, locked, by site."""
    asked = {"council_id": council_id, "sites": list(names)}
    await conn.execute(query("lock_sites"), asked)
    async with conn.cursor(row_factory=class_row(_Seat)) as cursor:
        await cursor.execute(query("seats"), asked)
        return {seat.site: seat async for seat in cursor}


async def _correct(conn: Connection, found: Sequence[tuple[int, Site]]) -> None:
    """Bring labels and places up to what a site list says of them; what it leaves out stays."""
    await conn.execute(
        query("correct_sites"),
        {"gateway_ids": [gateway_id for gateway_id, _ in found]}
        | _columns([site for _, site in found]),
    )


async def _add_gateways(
    conn: Connection, council_id: int, sites: Sequence[Site], random: Random
) -> dict[str, _Seat]:
    """Make a gateway for each site, drawing again those few device ids that are taken."""
    missing = list(sites)
    made: dict[str, _Seat] = {}
    for _ in range(_MOST_DRAWS):
        if not missing:
            return made
        cursor = await conn.execute(
            query("add_invited_gateways"),
            {"council_id": council_id, "devices": [new_device_id(random) for _ in missing]}
            | _columns(missing),
        )
        for site, gateway_id, device in await cursor.fetchall():
            made[site] = _Seat(
                site=site, gateway_id=gateway_id, device=device, status="invited", open_until=None
            )
        missing = [site for site in missing if site.site not in made]
    raise RuntimeError(f"{len(missing)} device ids were taken, {_MOST_DRAWS} times in a row")


async def _add_tokens(
    conn: Connection, seats: Sequence[_Seat], actor: str, lifetime: timedelta, random: Random
) -> tuple[dict[str, str], datetime | None]:
    """Give each seat a token in place of its earlier ones; return them by site, and their end."""
    tokens = {seat.site: draw_token(random) for seat in seats}
    gateway_ids = [seat.gateway_id for seat in seats]
    await conn.execute(
        "UPDATE enrolment_token SET withdrawn_at = now()"
        " WHERE gateway_id = ANY(%s) AND withdrawn_at IS NULL",
        (gateway_ids,),
    )
    cursor = await conn.execute(
        query("add_tokens"),
        {
            "gateway_ids": gateway_ids,
            "hashes": [token_sha256(tokens[seat.site]) for seat in seats],
            "actor": actor,
            "lifetime": lifetime,
        },
    )
    row = await cursor.fetchone()
    return tokens, None if row is None else row[0]


def _columns(sites: Sequence[Site]) -> dict[str, list[object]]:
    """Return sites as arrays, one a column."""
    return {
        "sites": [site.site for site in sites],
        "labels": [site.label for site in sites],
        "place_names": [site.place_name for site in sites],
        "longitudes": [site.longitude for site in sites],
        "latitudes": [site.latitude for site in sites],
    }
