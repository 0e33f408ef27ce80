"""Recipients that are not the region: a council's own keys, and partners that it lists.

Their private keys are made and kept where they are used; only the public half comes here. Group
`council` is sealed for these alone, so that the region cannot read it.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from command_line.network.directory import PRIVATE, NetworkDirectory
from command_line.network.first_messages import BACKDATED, RECIPIENT_LIFETIME, REGION
from command_line.network.setup import operator
from device_protocol import topics
from device_protocol.errors import EncodingError, StructureError, TopicError
from device_protocol.keys import RecipientPublicKey
from device_protocol.recipient_pem import encode_pem, generate
from runtime.atomic_files import write_atomically
from storage.recipients import RecipientRow, add_recipient, recipients, retire_recipient

Role = Literal["council", "partner"]

COUNCIL: Final = "council"


class RecipientError(Exception):
    """A recipient cannot be as asked; the message names the value and the remedy."""


def make(kind: str, file: Path) -> RecipientPublicKey:
    """Write a new private key to `file`, mode 0600; return its public half.

    Raises:
        RecipientError: there is such a file already; it is not overwritten.
    """
    if file.exists():
        raise RecipientError(f"--output {file} exists; it may be somebody's only key")
    key = generate(kind)
    write_atomically(file, encode_pem(key), PRIVATE)
    return key.public()


async def add(
    directory: NetworkDirectory,
    *,
    tenant: str,
    public_key: str,
    group: str = COUNCIL,
    role: Role = "council",
    actor: str = "",
) -> bytes:
    """List a recipient for a council's group, and return its kid.

    public_key: a COSE_Key in hexadecimal, as `make` gives it. Gateways seal for it from their
    next epoch, once the enrolment service has signed the key set.

    Raises:
        RecipientError: no such key or group can be.
        UnknownCouncilError: nobody has the short name `tenant`.
        RetiredError: the key was retired, and never comes back.
    """
    try:
        topics.checked("group", group)
        key = RecipientPublicKey.from_cose_key(bytes.fromhex(public_key))
    except TopicError as error:
        raise RecipientError(f"--group {group}: {error}") from error
    except (ValueError, EncodingError, StructureError) as error:
        raise RecipientError(
            f"--public-key {public_key[:16]}…: {error}; give what `recipient make` printed"
        ) from error
    now = datetime.now(UTC).replace(microsecond=0)
    async with directory.connection() as conn:
        return await add_recipient(
            conn,
            tenant=tenant,
            group=group,
            role=role,
            cose_key=key.cose_key,
            valid_from=now - BACKDATED,
            valid_until=now + RECIPIENT_LIFETIME,
            actor=actor or operator(),
        )


async def listed(directory: NetworkDirectory, *, tenant: str | None = None) -> list[RecipientRow]:
    """Return all recipients of one council or of all, retired ones and the region's included."""
    async with directory.connection() as conn:
        return await recipients(conn, tenant)


async def retire(
    directory: NetworkDirectory, *, tenant: str, group: str, kid: str, actor: str = ""
) -> None:
    """Leave a recipient out of a council's key sets from now on.

    Raises:
        RecipientError: `kid` is none, or the region's, which `rotation` retires.
        UnknownCouncilError, UnknownRecipientError, LastRecipientError: as
            `storage.recipients.retire_recipient`.
    """
    try:
        wanted = bytes.fromhex(kid)
    except ValueError as error:
        raise RecipientError(f"kid {kid!r} is not hexadecimal; take it from the list") from error
    async with directory.connection() as conn, conn.transaction():
        rows = await recipients(conn, tenant)
        if any(row.kid == wanted and row.group == group and row.role == REGION for row in rows):
            raise RecipientError(f"kid {kid} is the region's: use `kerbstone network rotate`")
        await retire_recipient(
            conn,
            tenant=tenant,
            group=group,
            kid=wanted,
            actor=actor or operator(),
            now=datetime.now(UTC),
        )
