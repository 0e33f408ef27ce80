"""Rotating keys: the region's recipient keys, and the certificates of its services.

A recipient key goes in three steps, so that no reading is lost and none can be opened for long
(envelope, sections 9 and 10): a new one is made and listed and the old one retired; gateways take
up the new key set with their next epoch; once all have, and every late message had its time, the
old private key is destroyed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from command_line.network import recipient_keys
from command_line.network.directory import PRIVATE, NetworkDirectory, read_description
from command_line.network.first_messages import BACKDATED, MAIN, RECIPIENT_LIFETIME, REGION
from command_line.network.recipient_keys import RecipientFile
from command_line.network.setup import REGION_ROOT_KEY, open_authority, operator
from device_protocol.errors import RejectionError
from device_protocol.key_set import KeySet, open_key_set
from device_protocol.keys import RecipientPublicKey
from device_protocol.receiver import Policy
from enrolment.authority import Authority
from enrolment.files import CredentialError, read_certificate
from enrolment.settings import EnrolmentSettings
from runtime.atomic_files import write_atomically
from runtime.settings import load
from storage import audit, registry
from storage.database import Connection
from storage.recipients import (
    RecipientRow,
    add_recipient,
    recipients,
    retire_recipient,
    stragglers,
)

MAX_DELAY: Final = timedelta(seconds=Policy().max_delay_seconds)
"""How long ingest takes in what was sealed to a key (envelope, section 8)."""

_SHOWN_DEVICES: Final = 5


class RotationError(Exception):
    """Nothing can be rotated as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionKey:
    """The region root's key, brought from where it is kept offline."""

    file: Path
    passphrase: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """What `rotate_recipients` did. made, retired: kids of keys. councils: whose gateways it is."""

    made: tuple[bytes, ...]
    retired: tuple[bytes, ...]
    councils: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """How far one council's gateways have taken up its newest recipients.

    key_set_version: newest signed one; 0 if there is none. signed: whether it lists all that are
        wanted and none retired. stragglers: gateways at work that seal for an older one.
    """

    tenant: str
    key_set_version: int
    signed: bool
    stragglers: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every gateway at work seals for exactly who is wanted."""
        return self.signed and not self.stragglers


@dataclass(frozen=True, slots=True, kw_only=True)
class RetiredKey:
    """A private key that no council wants. reasons: why it must be kept all the same."""

    kid: bytes
    path: Path
    retired_at: datetime
    reasons: tuple[str, ...]


async def rotate_recipients(
    directory: NetworkDirectory,
    *,
    group: str = MAIN,
    kinds: Sequence[str] = (),
    actor: str = "",
) -> Rotated:
    """Make new private keys, list them for every council, and retire those they replace.

    kinds: of the keys; empty: of those the group has now. A kind it has not is added. The
    enrolment service signs the new key sets, and ingest reads the new keys, within seconds; a
    gateway follows with its next epoch.

    Raises:
        RotationError: no council has a key of the region in this group.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    actor = actor or operator()
    with directory.locked():
        async with directory.connection() as conn, conn.transaction():
            ours = [row for row in await _current(conn) if row.group == group]
            if not ours:
                raise RotationError(
                    f"--group {group}: no council lists a key of the region in it; what stands in "
                    "other groups is the councils' own"
                )
            wanted = set(kinds) or {_kind(row) for row in ours}
            made = [
                recipient_keys.make(directory.recipients, kind, prefix=group)
                for kind in recipient_keys.KINDS
                if kind in wanted
            ]
            tenants = tuple(dict.fromkeys(row.tenant for row in ours))
            for tenant in tenants:
                for file in made:
                    await _list(conn, tenant, group, file, now=now, actor=actor)
            replaced = [row for row in ours if _kind(row) in wanted]
            for row in replaced:
                await retire_recipient(
                    conn, tenant=row.tenant, group=group, kid=row.kid, actor=actor, now=now
                )
    return Rotated(
        made=tuple(file.key.kid for file in made),
        retired=tuple(dict.fromkeys(row.kid for row in replaced)),
        councils=tenants,
    )


async def adoption(directory: NetworkDirectory) -> list[Adoption]:
    """Return how far each council's gateways have taken up its recipients."""
    async with directory.connection() as conn:
        messages = await registry.newest_key_sets(conn)
        rows = await recipients(conn)
        found = []
        for tenant in sorted({row.tenant for row in rows}):
            key_set = newest_key_set(directory, tenant, messages.get(tenant))
            version = key_set.version if key_set else 0
            wanted = {row.kid for row in rows if row.tenant == tenant and row.retired_at is None}
            found.append(
                Adoption(
                    tenant=tenant,
                    key_set_version=version,
                    signed=key_set is not None and _listed(key_set) == wanted,
                    stragglers=tuple(await stragglers(conn, tenant=tenant, version=version)),
                )
            )
    return found


async def retired_keys(directory: NetworkDirectory) -> list[RetiredKey]:
    """Return the private keys here that every council has retired, and why each must be kept."""
    adopted = {each.tenant: each for each in await adoption(directory)}
    async with directory.connection() as conn:
        rows = await recipients(conn)
    found = []
    for file in recipient_keys.read_all(directory.recipients):
        mine = [row for row in rows if row.kid == file.key.kid]
        ends = [row.retired_at for row in mine if row.retired_at is not None]
        if not mine or len(ends) < len(mine):
            continue
        found.append(
            RetiredKey(
                kid=file.key.kid,
                path=file.path,
                retired_at=max(ends),
                reasons=tuple(
                    _reasons([adopted[row.tenant] for row in mine], max(ends) + MAX_DELAY)
                ),
            )
        )
    return found


async def destroy_retired(
    directory: NetworkDirectory, *, force_reason: str = "", actor: str = ""
) -> list[RetiredKey]:
    """Destroy the retired private keys that nobody needs; return them.

    force_reason: destroys the others too, and says in the audit why. Messages that were sealed to
    them and have not arrived yet are lost to the centre; gateways send those readings again.

    Raises:
        RotationError: one is still needed, and no reason was given; nothing was destroyed.
    """
    with directory.locked():
        retired = await retired_keys(directory)
        kept = [key for key in retired if key.reasons]
        if kept and not force_reason:
            raise RotationError(
                "\n".join(
                    f"key {key.kid.hex()}: {reason}" for key in kept for reason in key.reasons
                )
                + "\nNothing was destroyed. Wait, or give a --force reason"
            )
        held = {file.key.kid: file for file in recipient_keys.read_all(directory.recipients)}
        async with directory.connection() as conn:
            for key in retired:
                recipient_keys.destroy(held[key.kid])
                await audit.record(
                    conn,
                    actor=actor or operator(),
                    tenant="",
                    action="recipient.destroy",
                    subject=key.kid.hex(),
                    detail={"needed": list(key.reasons), "forced": force_reason}
                    if key.reasons
                    else {},
                )
    return retired


async def rotate_services(
    directory: NetworkDirectory,
    *,
    passphrase: bytes | None,
    region: RegionKey | None = None,
    actor: str = "",
) -> list[Path]:
    """Make new keys and certificates for broker, enrolment service and services; return them.

    Each is replaced only once its successor is whole. region: makes a new service root first,
    e.g. because the old one's key was lost, or is due.

    Raises:
        CredentialError: a root's key cannot be read with its passphrase.
    """
    with directory.locked():
        _bring_back(directory)
        described = read_description(directory)
        settings = load(EnrolmentSettings, directory.enrolment_settings)
        enrolment_host = urlsplit(settings.public_url).hostname or described.host
        authority = open_authority(directory, passphrase, region.passphrase if region else None)
        if region is None:
            authority.service_root()
        else:
            with _brought(region, directory.authority / REGION_ROOT_KEY):
                authority.renew_service_root()
        renewed = [
            _renewed(authority, file, host=described.host, enrolment_host=enrolment_host)
            for file in service_certificates(directory)
        ]
    async with directory.connection() as conn:
        await audit.record(
            conn,
            actor=actor or operator(),
            tenant="",
            action="services.rotate",
            subject=described.name,
            detail={
                "certificates": [path.name for path in renewed],
                "service_root": region is not None,
            },
        )
    return renewed


def service_certificates(directory: NetworkDirectory) -> list[Path]:
    """Return the certificates of servers and services."""
    servers = (directory.authority / name for name in (_SERVER, _ENROLMENT_SERVER))
    services = sorted((directory.authority / "services").glob("*.pem"))
    return [path for path in (*servers, *services) if path.exists()]


def newest_key_set(
    directory: NetworkDirectory, tenant: str, message: bytes | None
) -> KeySet | None:
    """Return a council's newest key set; None if none is in force by the root that is here."""
    root = directory.authority / "councils" / tenant / "root.pem"
    if message is None or not root.exists():
        return None
    anchor = read_certificate(root)
    try:
        return open_key_set(
            message, tenant=tenant, anchor=anchor, now=int(datetime.now(UTC).timestamp())
        )
    except RejectionError:
        return None


def _bring_back(directory: NetworkDirectory) -> None:
    """Bring back certificates that a rotation cut short has left aside, so that they are seen."""
    for aside in directory.authority.rglob(f".*{_BEFORE}"):
        certificate = aside.with_name(aside.name.removeprefix(".").removesuffix(_BEFORE))
        if certificate.exists():
            aside.unlink()
        else:
            aside.rename(certificate)


_BEFORE: Final = ".before"
_SERVER: Final = "server.pem"
_ENROLMENT_SERVER: Final = "enrolment-server.pem"


def _renewed(authority: Authority, certificate: Path, *, host: str, enrolment_host: str) -> Path:
    with _aside(certificate):
        if certificate.name == _SERVER:
            return authority.broker_server([host]).certificate
        if certificate.name == _ENROLMENT_SERVER:
            return authority.enrolment_server([enrolment_host]).certificate
        service, _, tenant = certificate.stem.partition(".")
        return authority.service_client(service, tenant).certificate


@contextmanager
def _brought(region: RegionKey, to: Path) -> Iterator[None]:
    """Have the region root's key in the authority's directory for this long and no longer.

    One that somebody else has put there stays: it may be the only one there is.
    """
    try:
        content = region.file.read_bytes()
        is_there = to.exists() and to.samefile(region.file)
        if to.exists() and not is_there and to.read_bytes() != content:
            raise CredentialError(f"{to} is another key than {region.file}: move it away first")
    except OSError as error:
        raise CredentialError(f"{region.file} cannot be read: {error.strerror}") from error
    if is_there:
        yield
        return
    write_atomically(to, content, PRIVATE)
    try:
        yield
    finally:
        to.unlink()


@contextmanager
def _aside(certificate: Path) -> Iterator[None]:
    """Move a certificate away, so that the authority makes another; bring it back if it cannot."""
    aside = certificate.with_name(f".{certificate.name}{_BEFORE}")
    certificate.rename(aside)
    try:
        yield
    except BaseException:
        aside.rename(certificate)
        raise
    aside.unlink()


async def _current(conn: Connection) -> list[RecipientRow]:
    rows = await recipients(conn)
    return [row for row in rows if row.retired_at is None and row.role == REGION]


async def _list(
    conn: Connection, tenant: str, group: str, file: RecipientFile, *, now: datetime, actor: str
) -> None:
    await add_recipient(
        conn,
        tenant=tenant,
        group=group,
        role=REGION,
        cose_key=file.key.cose_key,
        valid_from=now - BACKDATED,
        valid_until=now + RECIPIENT_LIFETIME,
        actor=actor,
    )


def _kind(row: RecipientRow) -> str:
    return RecipientPublicKey.from_cose_key(row.cose_key).kind


def _listed(key_set: KeySet) -> set[bytes]:
    return {each.key.kid for group in key_set.groups.values() for each in group}


def _reasons(adopted: Sequence[Adoption], until: datetime) -> Iterator[str]:
    for each in adopted:
        if not each.signed:
            yield (
                f"{each.tenant} has no signed key set without it yet; is the enrolment service "
                "running?"
            )
        elif each.stragglers:
            named = ", ".join(each.stragglers[:_SHOWN_DEVICES])
            more = len(each.stragglers) - _SHOWN_DEVICES
            yield (
                f"{len(each.stragglers)} gateways of {each.tenant} still seal for an older key "
                f"set: {named}" + (f" and {more} more" if more > 0 else "")
            )
    if until > datetime.now(UTC):
        yield f"late messages may need it until {until:%Y-%m-%d %H:%M} UTC"
