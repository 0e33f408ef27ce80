"""Letting ingest run as several processes: certificates, and rights at the broker, for each.

Mosquitto takes a service's client id from its certificate, so that nobody steps into the session of
another. So every process needs a certificate of its own. NATS does not, and divides councils.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from broker_config.files import BrokerKind
from command_line.network import settings_files
from command_line.network.directory import (
    INGEST,
    NetworkDirectory,
    read_description,
    write_description,
)
from command_line.network.setup import open_authority, operator
from storage import audit


@dataclass(frozen=True, slots=True)
class Provided:
    """certificates: of the processes; none where the broker needs none."""

    workers: int
    broker: BrokerKind
    certificates: tuple[Path, ...]


async def provide(
    directory: NetworkDirectory, workers: int, *, passphrase: bytes | None, actor: str = ""
) -> Provided:
    """Let ingest run as so many processes, one or more; certificates that exist are kept.

    Raises:
        NetworkDirectoryError, NetworkError: there is no council yet, or the files are damaged.
        CredentialError: a key cannot be read with this passphrase.
    """
    kind = settings_files.broker_kind(directory)
    if kind is BrokerKind.NATS:
        return Provided(workers, kind, ())
    names = tuple(f"{INGEST}-w{number}" for number in range(workers if workers > 1 else 0))
    with directory.locked():
        described = read_description(directory)
        described.network()
        authority = open_authority(directory, passphrase)
        made = tuple(authority.service_client(name).certificate for name in names)
        write_description(directory, replace(described, services=(INGEST, *names)))
    async with directory.connection() as conn:
        await audit.record(
            conn,
            actor=actor or operator(),
            tenant="",
            action="ingest.workers",
            subject=described.name,
            detail={"workers": workers},
        )
    return Provided(workers, kind, made)
