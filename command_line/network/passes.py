"""Who may sign in to the pages: passes, each a random secret that is shown once.

What a pass allows, and its session, is `storage.staff`; signing in is the pages' business.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from command_line.network.directory import NetworkDirectory
from command_line.network.setup import operator
from device_protocol.first_boot import draw_token, token_sha256
from storage import staff
from storage.staff import PassRow, Role

PASS_LIFETIME: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassAdded:
    """A new pass. secret: what its holder signs in with; nobody can show it again."""

    id: int
    secret: str
    tenant: str | None
    name: str
    role: Role
    expires_at: datetime


async def add(
    directory: NetworkDirectory,
    *,
    name: str,
    role: Role = "deployer",
    tenant: str | None = None,
    lifetime: timedelta = PASS_LIFETIME,
    actor: str = "",
) -> PassAdded:
    """Let a person sign in; tenant None: for every council.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
    """
    secret = draw_token()
    expires_at = datetime.now(UTC).replace(microsecond=0) + lifetime
    async with directory.connection() as conn:
        pass_id = await staff.add_pass(
            conn,
            tenant=tenant,
            name=name,
            role=role,
            pass_sha256=token_sha256(secret),
            expires_at=expires_at,
            actor=actor or operator(),
        )
    return PassAdded(
        id=pass_id, secret=secret, tenant=tenant, name=name, role=role, expires_at=expires_at
    )


async def listed(directory: NetworkDirectory, *, tenant: str | None = None) -> list[PassRow]:
    """Return the passes of one council, or all of them, newest first."""
    async with directory.connection() as conn:
        return await staff.passes(conn, tenant)


async def withdraw(directory: NetworkDirectory, *, pass_id: int, actor: str = "") -> None:
    """End a pass and every session opened with it.

    Raises:
        UnknownPassError: there is no such pass.
    """
    async with directory.connection() as conn:
        await staff.withdraw_pass(conn, pass_id=pass_id, actor=actor or operator())
