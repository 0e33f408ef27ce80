"""For whom gateways seal: the public keys of recipients, and how far a change of them has come.

A council's wish stands here; the certificate service signs it as a key set (message R), which
`storage.registry` keeps. Private keys are files of the recipients and never here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from device_protocol.key_set import SUITES
from device_protocol.keys import thumbprint
from storage import audit, registry
from storage.database import Connection, query


class UnknownRecipientError(LookupError):
    """The council's group has no such recipient."""


class RetiredError(ValueError):
    """The recipient's key was retired, and never comes back."""


class LastRecipientError(ValueError):
    """It is the council's last recipient: nobody could read what its gateways send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientRow:
    """Who can open what gateways seal for a group. role: region, council or partner."""

    tenant: str
    group: str
    role: str
    kid: bytes
    cose_key: bytes
    valid_from: datetime
    valid_until: datetime
    retired_at: datetime | None


async def add_recipient(
    conn: Connection,
    *,
    tenant: str,
    group: str,
    role: str,
    cose_key: bytes,
    valid_from: datetime,
    valid_until: datetime,
    actor: str,
) -> bytes:
    """Let a recipient open what is sealed for `group` in this time; return its key's kid.

    Adding it again only prolongs its time. The next key set names it.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
        RetiredError: its key was retired.
        psycopg.errors.CheckViolation: another role than region, council and partner.
    """
    kid = thumbprint(cose_key)
    async with conn.transaction():
        cursor = await conn.execute(
            query("add_recipient"),
            {
                "council_id": await registry.find_council(conn, tenant),
                "group": group,
                "role": role,
                "kid": kid,
                "cose_key": cose_key,
                "valid_from": valid_from,
                "valid_until": valid_until,
            },
        )
        if cursor.rowcount == 0:
            raise RetiredError(f"key {kid.hex()} was retired from group {group!r} of {tenant}")
        await audit.record(
            conn,
            actor=actor,
            tenant=tenant,
            action="recipient.add",
            subject=kid.hex(),
            detail={"group": group, "role": role, "valid_until": valid_until.isoformat()},
        )
        await registry.announce(conn, "")
    return kid


async def retire_recipient(
    conn: Connection, *, tenant: str, group: str, kid: bytes, actor: str, now: datetime
) -> None:
    """Leave a recipient out of key sets from now on; one retired already stays as it is.

    Its private key is still needed: see `stragglers`, and until their messages' delay is over.

    Raises:
        UnknownCouncilError, UnknownRecipientError: there is no such council or recipient.
        LastRecipientError: the council would have none.
    """
    async with conn.transaction():
        council_id = await registry.find_council(conn, tenant)
        cursor = await conn.execute(query("lock_recipients"), {"council_id": council_id})
        found = {(name, key): retired_at for name, key, retired_at in await cursor.fetchall()}
        if (group, kid) not in found:
            raise UnknownRecipientError(f"group {group!r} of {tenant} has no key {kid.hex()}")
        if found[group, kid] is not None:
            return
        if sum(retired_at is None for retired_at in found.values()) == 1:
            raise LastRecipientError(f"{kid.hex()} is the last recipient of {tenant}")
        await conn.execute(
            "UPDATE recipient SET retired_at = %s"
            " WHERE council_id = %s AND recipient_group = %s AND kid = %s",
            (now, council_id, group, kid),
        )
        await audit.record(
            conn,
            actor=actor,
            tenant=tenant,
            action="recipient.retire",
            subject=kid.hex(),
            detail={"group": group},
        )
        await registry.announce(conn, "")


async def recipients(conn: Connection, tenant: str | None = None) -> list[RecipientRow]:
    """Return the recipients of one council or of all, retired ones included, oldest first."""
    async with conn.cursor(row_factory=class_row(RecipientRow)) as cursor:
        await cursor.execute(query("recipients"), {"tenant": tenant})
        return await cursor.fetchall()


async def set_suites(conn: Connection, *, tenant: str, suites: Sequence[int], actor: str) -> None:
    """Set which suites of the envelope a council's gateways may use, from the next key set on.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
        ValueError: none, or one that the envelope does not know.
    """
    wanted = sorted(set(suites))
    if not wanted or not SUITES.issuperset(wanted):
        raise ValueError(f"suites {list(suites)}, known: {sorted(SUITES)}")
    async with conn.transaction():
        council_id = await registry.find_council(conn, tenant)
        await conn.execute("UPDATE council SET suites = %s WHERE id = %s", (wanted, council_id))
        await audit.record(
            conn,
            actor=actor,
            tenant=tenant,
            action="council.suites",
            subject=tenant,
            detail={"suites": wanted},
        )
        await registry.announce(conn, "")


async def stragglers(conn: Connection, *, tenant: str, version: int) -> list[str]:
    """Return the active gateways that do not yet seal for key set `version` or a later one.

    Of those heard in the last 24 hours. A gateway counts as long as any of the groups it uses, in
    the day up to its newest announcement, was last announced for an older set.
    """
    cursor = await conn.execute(query("stragglers"), {"tenant": tenant, "version": version})
    return [device for (device,) in await cursor.fetchall()]
