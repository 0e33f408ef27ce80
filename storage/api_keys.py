"""Keys of programs: random secrets of which only the hash is kept, with what each may do.

A key is shown once, when it is made. Carrying it in a request, and what follows, is the pages'
business; what people sign in with is `storage.staff`.
"""

import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal

from psycopg.rows import class_row

from storage import audit, registry
from storage.database import Connection, query

Scope = Literal["read", "write"]
"""read: restricted datastreams. write: registry entities and manually kept observations."""

RateClass = Literal["standard", "bulk"]
"""How much a key may ask; the limits of each are settings of the web process."""

PREFIX: Final = "kbs_"
"""What every key begins with, so that one that leaks is recognised for what it is."""

_SECRET_BYTES: Final = 32
_MOST_CHARACTERS: Final = 100


class UnknownKeyError(LookupError):
    """There is no key of this number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRow:
    """A key that was made. tenant: None for every council. last_used_on: UTC."""

    id: int
    tenant: str | None
    name: str
    scopes: tuple[Scope, ...]
    rate_class: RateClass
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None
    last_used_on: date | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scopes", tuple(self.scopes))  # arrays arrive as lists


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodKey:
    """A key that counts now. councils: ids of those that its scopes are for."""

    id: int
    name: str
    key_sha256: bytes
    tenant: str | None
    scopes: Collection[Scope]
    rate_class: RateClass
    last_used_on: date | None
    councils: Collection[int]

    @property
    def actor(self) -> str:
        """How audit entries call it, e.g. "key 3 (traffic desk, camden)"."""
        return f"key {self.id} ({self.name}, {self.tenant or 'region'})"


def draw_key() -> str:
    """Return a new key: 256 random bits after `PREFIX`."""
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def key_sha256(key: str) -> bytes:
    """Return what the store keeps of a key."""
    return hashlib.sha256(key.encode()).digest()


async def add_key(
    conn: Connection,
    *,
    tenant: str | None,
    name: str,
    scopes: Collection[Scope],
    rate_class: RateClass,
    key: str,
    expires_at: datetime,
    actor: str,
) -> int:
    """Let whoever bears the key do what its scopes say until it expires; return its number.

    tenant: None for every council. scopes: none for a key that names its bearer and no more.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
    """
    async with conn.transaction():
        council_id = None if tenant is None else await registry.find_council(conn, tenant)
        cursor = await conn.execute(
            query("add_api_key"),
            {
                "council_id": council_id,
                "name": name,
                "key_sha256": key_sha256(key),
                "scopes": sorted(scopes),
                "rate_class": rate_class,
                "actor": actor,
                "expires_at": expires_at,
            },
        )
        [(key_id,)] = await cursor.fetchall()
        await audit.record(
            conn,
            actor=actor,
            tenant=tenant or "",
            action="key.create",
            subject=f"key {key_id}",
            detail={
                "name": name,
                "scopes": sorted(scopes),
                "rate_class": rate_class,
                "expires_at": expires_at.isoformat(),
            },
        )
    return int(key_id)


async def revoke_key(conn: Connection, *, key_id: int, actor: str) -> None:
    """End a key; one revoked already stays as it is.

    Raises:
        UnknownKeyError: there is no such key.
    """
    async with conn.transaction():
        found = await keys(conn, key_id=key_id)
        if not found:
            raise UnknownKeyError(f"there is no key {key_id}")
        revoked = await conn.execute(
            "UPDATE api_key SET revoked_at = now() WHERE id = %s AND revoked_at IS NULL", (key_id,)
        )
        if revoked.rowcount:
            await audit.record(
                conn,
                actor=actor,
                tenant=found[0].tenant or "",
                action="key.revoke",
                subject=f"key {key_id}",
                detail={"name": found[0].name},
            )


async def keys(
    conn: Connection, *, tenant: str | None = None, key_id: int | None = None
) -> list[ApiKeyRow]:
    """Return the keys, newest first: of one council, of one number, or all."""
    async with conn.cursor(row_factory=class_row(ApiKeyRow)) as cursor:
        await cursor.execute(query("api_keys"), {"tenant": tenant, "key_id": key_id})
        return await cursor.fetchall()


async def find_key(conn: Connection, key: str, now: datetime) -> GoodKey | None:
    """Return what a key may do; None if it is unknown, expired or revoked.

    The day of its use is noted.
    """
    if not key.startswith(PREFIX) or len(key) > _MOST_CHARACTERS or not key.isascii():
        return None
    digest = key_sha256(key)
    async with conn.cursor(row_factory=class_row(GoodKey)) as cursor:
        await cursor.execute(query("find_good_api_key"), {"key_sha256": digest, "now": now})
        found = await cursor.fetchone()
    # The index has compared hashes of random keys already, from which nothing can be guessed; this
    # holds if it ever finds by less than the whole hash.
    if found is None or not hmac.compare_digest(found.key_sha256, digest):
        return None
    if found.last_used_on != now.date():
        await conn.execute(
            "UPDATE api_key SET last_used_on = %s WHERE id = %s", (now.date(), found.id)
        )
    return found
