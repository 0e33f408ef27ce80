"""Gateways of a network: inviting, looking, revoking, and settings from afar (message C).

All of it is rows in the database. The enrolment service makes them hold: it issues certificates
for tokens, revocation lists and signed settings, and tells the broker.
"""

import asyncio
import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from command_line.network.directory import NetworkDirectory
from command_line.network.setup import operator
from device_protocol.configuration import BadSetting, validate
from device_protocol.first_boot import EST_PATH, FirstBoot
from enrolment.files import read_certificate
from enrolment.settings import EnrolmentSettings
from runtime.settings import load
from storage import audit, registry
from storage.audit import AuditEntry
from storage.configurations import (
    ConfigurationState,
    configuration_states,
    request_configuration,
)
from storage.invitations import TOKEN_LIFETIME, Invitation
from storage.invitations import invite as invite_sites
from storage.network_view import GatewayFacts, gateway_facts
from storage.registry import Status, UnknownGatewayError
from storage.site_list import Site

SETTINGS_LIFETIME: Final = timedelta(days=30)
SETTLED: Final = frozenset({"in force", "refused", "superseded", "expired"})

_POLL_SECONDS: Final = 0.25
_SHOWN_ENTRIES: Final = 10


class GatewayError(Exception):
    """A gateway cannot be treated as asked; the message names the value and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invited:
    """What came of inviting sites.

    invitations: in the order of the sites. first_boots: for each that got a token, by device.
    """

    invitations: tuple[Invitation, ...]
    first_boots: Mapping[str, FirstBoot]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Everything known of one gateway. configurations: newest first. audit: newest first."""

    facts: GatewayFacts
    configurations: tuple[ConfigurationState, ...]
    audit: tuple[AuditEntry, ...]


async def invite(
    directory: NetworkDirectory,
    *,
    tenant: str,
    sites: Sequence[Site],
    renew: bool = False,
    lifetime: timedelta = TOKEN_LIFETIME,
    actor: str = "",
) -> Invited:
    """Invite a gateway to each site; see `storage.invitations.invite`.

    renew: give a new token also where one is open, or where the gateway has enrolled.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
        SettingsError, CredentialError: the directory's files are damaged.
    """
    where = _Enrolment.of(directory)
    async with directory.connection() as conn, conn.transaction():
        invitations = await invite_sites(
            conn,
            tenant=tenant,
            sites=sites,
            actor=actor or operator(),
            lifetime=lifetime,
            renew=renew,
        )
    return Invited(
        invitations=tuple(invitations),
        first_boots={
            each.device: where.first_boot(tenant, each) for each in invitations if each.token
        },
    )


async def listed(
    directory: NetworkDirectory, *, tenant: str | None = None, status: str | None = None
) -> list[GatewayFacts]:
    """Return the gateways of one council, or of all; of one status, or of any.

    Raises:
        UnknownCouncilError: nobody has the short name `tenant`.
    """
    async with directory.connection() as conn:
        if tenant is not None:
            await registry.find_council(conn, tenant)
        found = await gateway_facts(conn, tenant=tenant)
    return [each for each in found if status in (None, each.status)]


async def shown(directory: NetworkDirectory, device: str) -> Shown:
    """Return everything known of one gateway.

    Raises:
        UnknownGatewayError: no such device.
    """
    async with directory.connection() as conn:
        found = await gateway_facts(conn, device=device)
        if not found:
            raise UnknownGatewayError(f"no gateway is called {device!r}")
        configurations = await configuration_states(conn, device)
        entries = await audit.entries(conn, subject=device, limit=_SHOWN_ENTRIES)
    return Shown(
        facts=found[0],
        configurations=tuple(sorted(configurations, key=lambda each: each.version, reverse=True)),
        audit=tuple(entries),
    )


async def set_status(
    directory: NetworkDirectory,
    *,
    devices: Iterable[str],
    status: Status,
    reason: str = "",
    actor: str = "",
) -> None:
    """Revoke, suspend or resume ("active") gateways, all of them or, after an error, none.

    Raises:
        UnknownGatewayError, RevokedForGoodError, NotEnrolledError: as
            `storage.registry.set_gateway_status`.
    """
    async with directory.connection() as conn, conn.transaction():
        for device in sorted(set(devices)):
            await registry.set_gateway_status(
                conn, device=device, status=status, actor=actor or operator(), reason=reason
            )


async def configure(
    directory: NetworkDirectory,
    *,
    device: str,
    settings: Mapping[str, object],
    lifetime: timedelta = SETTINGS_LIFETIME,
    actor: str = "",
) -> int:
    """Ask for settings of a gateway (message C) and return their version.

    They take the place of all that were asked for before; what they do not name is as in the
    gateway's own file. lifetime: a gateway that comes back later than this follows them no more.

    Raises:
        GatewayError: a setting that cannot be changed from afar, or not to this; all are named.
        UnknownGatewayError: no such device.
        RevokedForGoodError: the gateway was revoked.
    """
    check(settings)
    async with directory.connection() as conn, conn.transaction():
        return await request_configuration(
            conn,
            device=device,
            settings=settings,
            actor=actor or operator(),
            lifetime=lifetime,
        )


def check(settings: Mapping[str, object]) -> None:
    """Return if every setting can be changed from afar to what is asked.

    Raises:
        GatewayError: naming those that cannot, with what is allowed.
    """
    bad: Sequence[BadSetting] = validate(settings)
    if bad:
        raise GatewayError("\n".join(str(each) for each in bad))


async def settled(
    directory: NetworkDirectory, *, device: str, version: int, within_seconds: float
) -> ConfigurationState:
    """Return what became of a configuration, once that is known or the time is over.

    Raises:
        GatewayError: the gateway has no such configuration.
    """
    ends = time.monotonic() + within_seconds
    async with directory.connection() as conn:
        while True:
            states = await configuration_states(conn, device)
            found = next((each for each in states if each.version == version), None)
            if found is None:
                raise GatewayError(f"gateway {device!r} was never sent settings {version}")
            if found.state in SETTLED or time.monotonic() >= ends:
                return found
            await asyncio.sleep(_POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class _Enrolment:
    """Where gateways of this network enrol, and how they know it."""

    public_url: str
    region_root_sha256: bytes

    @classmethod
    def of(cls, directory: NetworkDirectory) -> "_Enrolment":
        directory.check()
        settings = load(EnrolmentSettings, directory.enrolment_settings)
        root = read_certificate(directory.region_root)
        digest = hashlib.sha256(root.public_bytes(Encoding.DER)).digest()
        return cls(settings.public_url, digest)

    def first_boot(self, tenant: str, invitation: Invitation) -> FirstBoot:
        return FirstBoot(
            url=f"{self.public_url}{EST_PATH}{tenant}",
            tenant=tenant,
            device=invitation.device,
            token=invitation.token,
            region_root_sha256=self.region_root_sha256,
        )
