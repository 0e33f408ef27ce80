"""Who may read what: API keys, and which datastreams are open to everybody.

The words of the command line are `commands.access`; what is kept is `storage.api_keys` and
`storage.access`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from command_line.network.directory import NetworkDirectory
from command_line.network.setup import operator
from storage import access, api_keys
from storage.access import Access, CouncilAccess
from storage.api_keys import ApiKeyRow, RateClass, Scope

KEY_LIFETIME: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCreated:
    """A new API key. key: what its bearer sends; nobody can show it again."""

    id: int
    key: str
    tenant: str | None
    name: str
    scopes: tuple[Scope, ...]
    rate_class: RateClass
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessChanged:
    """What was opened or restricted. datastreams: ids of those that were not so before.

    new_datastreams: whether it is another rule for new ones.
    """

    datastreams: list[int]
    new_datastreams: bool


async def create_key(
    directory: NetworkDirectory,
    *,
    name: str,
    tenant: str | None,
    scopes: Collection[Scope],
    rate_class: RateClass = "standard",
    lifetime: timedelta = KEY_LIFETIME,
    actor: str = "",
) -> KeyCreated:
    """Make a key; tenant None: for every council; no scopes: for open data only.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
    """
    key = api_keys.draw_key()
    expires_at = datetime.now(UTC).replace(microsecond=0) + lifetime
    async with directory.connection() as conn:
        key_id = await api_keys.add_key(
            conn,
            tenant=tenant,
            name=name,
            scopes=scopes,
            rate_class=rate_class,
            key=key,
            expires_at=expires_at,
            actor=actor or operator(),
        )
    return KeyCreated(
        id=key_id, key=key, tenant=tenant, name=name, scopes=tuple(sorted(scopes)),
        rate_class=rate_class, expires_at=expires_at,
    )  # fmt: skip


async def listed_keys(directory: NetworkDirectory, *, tenant: str | None) -> list[ApiKeyRow]:
    """Return the keys of one council, or all of them, newest first."""
    async with directory.connection() as conn:
        return await api_keys.keys(conn, tenant=tenant)


async def revoke_key(directory: NetworkDirectory, *, key_id: int, actor: str = "") -> None:
    """End a key.

    Raises:
        UnknownKeyError: there is no such key.
    """
    async with directory.connection() as conn:
        await api_keys.revoke_key(conn, key_id=key_id, actor=actor or operator())


async def shown(directory: NetworkDirectory, *, tenant: str) -> CouncilAccess:
    """Return who may read what of a council.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
    """
    async with directory.connection() as conn:
        return await access.council_access(conn, tenant)


async def decide(
    directory: NetworkDirectory,
    *,
    tenant: str,
    access_to_be: Access,
    property_key: str | None = None,
    datastream_id: int | None = None,
    new_only: bool = False,
    actor: str = "",
) -> AccessChanged:
    """Open or restrict: datastreams of one property, one alone, only those to come, or all.

    All means those there are and those to come.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
        UnknownDatastreamError: the council has none of this property, or not this one.
    """
    who = actor or operator()
    everything = property_key is None and datastream_id is None
    changed: list[int] = []
    new = False
    async with directory.connection() as conn, conn.transaction():
        if everything:
            new = await access.set_access_of_new(
                conn, tenant=tenant, access=access_to_be, actor=who
            )
        if not new_only:
            changed = await access.set_access(
                conn,
                tenant=tenant,
                access=access_to_be,
                property_key=property_key,
                datastream_id=datastream_id,
                actor=who,
            )
    return AccessChanged(datastreams=changed, new_datastreams=new)
