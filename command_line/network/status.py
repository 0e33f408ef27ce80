"""Is the network well? What would end if nobody saw to it, and who has not kept up.

Alarms are what a person must act on; everything else is due work that the enrolment service does.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from command_line.network import recipient_keys, rotation
from command_line.network.directory import NetworkDirectory, read_description
from command_line.network.first_messages import REGION
from command_line.network.rotation import Adoption
from command_line.network.setup import REGION_ROOT_KEY, region_root_key
from enrolment.duties import ends_soon
from enrolment.files import read_certificate
from storage import registry
from storage.certificates import RevocationList, revocation_lists
from storage.network_view import GatewayFacts, gateway_facts
from storage.recipients import RecipientRow, recipients

REVOCATION_LIST_ALARM: Final = timedelta(days=3)
ROTATE_AFTER: Final = timedelta(days=30)
"""How old a recipient's key may be (envelope, section 10)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CouncilStatus:
    """One council. key_set_until: soft expiry of its newest key set; None if none is in force."""

    tenant: str
    name: str
    gateways: dict[str, int]
    revocation_list_number: int | None
    revocation_list_at: datetime | None
    key_set_version: int
    key_set_until: datetime | None
    recipients_since: datetime | None
    stragglers: tuple[str, ...]
    root_until: datetime | None
    root_due: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateStatus:
    """A certificate of the network itself. due: somebody must see to it, see `duties.ends_soon`."""

    name: str
    until: datetime
    due: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkStatus:
    """The whole network at one moment. alarms: sentences for a person, empty if all is well."""

    name: str
    at: datetime
    councils: tuple[CouncilStatus, ...]
    certificates: tuple[CertificateStatus, ...]
    retired_keys: int
    alarms: tuple[str, ...]


async def status(directory: NetworkDirectory) -> NetworkStatus:
    """Return how the network is now."""
    now = datetime.now(UTC).replace(microsecond=0)
    described = read_description(directory)
    adopted = {each.tenant: each for each in await rotation.adoption(directory)}
    retired = await rotation.retired_keys(directory)
    async with directory.connection() as conn:
        rows = await registry.councils(conn)
        lists = await revocation_lists(conn)
        messages = await registry.newest_key_sets(conn)
        facts = await gateway_facts(conn)
        recipient_rows = await recipients(conn)
    councils = tuple(
        _council(
            directory,
            row.tenant,
            row.name,
            now=now,
            facts=facts,
            listed=lists.get(row.tenant),
            message=messages.get(row.tenant),
            adoption=adopted.get(row.tenant),
            recipient_rows=recipient_rows,
        )
        for row in rows
    )
    certificates = tuple(_certificates(directory, now))
    alarms = [alarm for council in councils for alarm in _council_alarms(council, now)]
    alarms += _certificate_alarms(certificates, now)
    alarms += _loose_ends(directory, [row.tenant for row in rows], recipient_rows)
    return NetworkStatus(
        name=described.name,
        at=now,
        councils=councils,
        certificates=certificates,
        retired_keys=len(retired),
        alarms=tuple(alarms),
    )


def _council(
    directory: NetworkDirectory,
    tenant: str,
    name: str,
    *,
    now: datetime,
    facts: list[GatewayFacts],
    listed: RevocationList | None,
    message: bytes | None,
    adoption: Adoption | None,
    recipient_rows: list[RecipientRow],
) -> CouncilStatus:
    file = directory.authority / "councils" / tenant / "root.pem"
    root = _certificate(file, now) if file.exists() else None
    key_set = rotation.newest_key_set(directory, tenant, message)
    since = [
        row.valid_from
        for row in recipient_rows
        if row.tenant == tenant and row.role == REGION and row.retired_at is None
    ]
    return CouncilStatus(
        tenant=tenant,
        name=name,
        gateways=dict(Counter(each.status for each in facts if each.tenant == tenant)),
        revocation_list_number=listed.number if listed else None,
        revocation_list_at=listed.this_update if listed else None,
        key_set_version=key_set.version if key_set else 0,
        key_set_until=datetime.fromtimestamp(key_set.soft_expiry, UTC) if key_set else None,
        recipients_since=min(since, default=None),
        stragglers=adoption.stragglers if adoption else (),
        root_until=root.until if root else None,
        root_due=root is not None and root.due,
    )


def _council_alarms(council: CouncilStatus, now: datetime) -> list[str]:
    who = council.tenant
    alarms = []
    if council.root_until is None:
        alarms.append(f"{who}: its root is missing here; run `kerbstone network council add` again")
    elif council.root_due:
        alarms.append(
            f"{who}: its root ends {council.root_until:%Y-%m-%d}, and all under it; before then, "
            "give it another as after a theft, and invite its gateways anew"
        )
    if council.revocation_list_at is None:
        alarms.append(f"{who}: it has no revocation list; is the enrolment service running?")
    elif now - council.revocation_list_at > REVOCATION_LIST_ALARM:
        alarms.append(
            f"{who}: its revocation list is of {council.revocation_list_at:%Y-%m-%d %H:%M} UTC, "
            "over three days old; is the enrolment service running?"
        )
    if council.key_set_until is None:
        alarms.append(f"{who}: it has no key set in force; is the enrolment service running?")
    elif council.key_set_until < now:
        alarms.append(
            f"{who}: its key set should have been signed anew by "
            f"{council.key_set_until:%Y-%m-%d}; is the enrolment service running?"
        )
    if council.recipients_since is not None and now - council.recipients_since > ROTATE_AFTER:
        alarms.append(
            f"{who}: gateways have sealed to the same key since "
            f"{council.recipients_since:%Y-%m-%d}; run `kerbstone network rotate recipients`"
        )
    return alarms


_SERVICE_ROOT: Final = "service-root"
_ROTATE: Final = "run `kerbstone network rotate services`"
_REMEDIES: Final = {
    _SERVICE_ROOT: f"{_ROTATE[:-1]} --region-root-key FILE`",
    "region-root": "nothing can renew it: plan another network, and enrol the gateways there",
}


def _certificates(directory: NetworkDirectory, now: datetime) -> list[CertificateStatus]:
    roots = [directory.region_root, directory.authority / f"{_SERVICE_ROOT}.pem"]
    files = [path for path in roots if path.exists()] + rotation.service_certificates(directory)
    return [_certificate(path, now) for path in files]


def _certificate(path: Path, now: datetime) -> CertificateStatus:
    certificate = read_certificate(path)
    return CertificateStatus(
        name=path.stem,
        until=certificate.not_valid_after_utc,
        due=ends_soon(certificate, now),
    )


def _certificate_alarms(certificates: tuple[CertificateStatus, ...], now: datetime) -> list[str]:
    return [
        f"certificate {each.name} "
        + (f"ended {each.until:%Y-%m-%d}" if each.until <= now else f"ends {each.until:%Y-%m-%d}")
        + f"; {_REMEDIES.get(each.name, _ROTATE)}"
        for each in certificates
        if each.due
    ]


def _loose_ends(
    directory: NetworkDirectory, tenants: list[str], rows: list[RecipientRow]
) -> list[str]:
    alarms = []
    held = {file.key.kid for file in recipient_keys.read_all(directory.recipients)}
    lost = {
        row.kid.hex()
        for row in rows
        if row.role == REGION and row.retired_at is None and row.kid not in held
    }
    if lost:
        alarms.append(
            f"gateways seal to {', '.join(sorted(lost))}, whose private keys are not in "
            f"{directory.recipients}: restore them, or run `kerbstone network rotate recipients`"
        )
    # The second place is where it is brought to for a rotation, which the power may have cut short.
    alarms += [
        f"the region root's key is still on this machine: move {key} offline"
        for key in (region_root_key(directory), directory.authority / REGION_ROOT_KEY)
        if key.exists()
    ]
    described = {council.tenant for council in read_description(directory).councils}
    return alarms + [
        f"{tenant}: it is in the database, not in {directory.network_file}; run "
        "`kerbstone network council add` again"
        for tenant in sorted(set(tenants) - described)
    ]
