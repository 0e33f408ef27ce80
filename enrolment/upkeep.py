"""Doing what the certificate service owes the network: signing, storing, telling the broker.

Looks whenever the registry changes and at least once a minute: what is due then `enrolment.duties`
says. Revocation comes first, and a duty that fails holds up no other. While the database is away
nothing is done and nothing is lost; what was missed is due at the next look.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn

from cryptography import x509

from broker_config.errors import BrokerError
from broker_config.network import NetworkError
from device_protocol.configuration import Configuration, sign_configuration
from device_protocol.errors import RejectionError
from device_protocol.key_set import KeySet, certificate_chain, open_key_set, sign_key_set
from enrolment import duties, metrics
from enrolment.authority import Authority
from enrolment.broker_upkeep import BrokerUpkeep
from enrolment.duties import CouncilFacts, KeySetDue, RevocationListDue
from enrolment.files import CredentialError
from enrolment.policy import PolicyError
from enrolment.settings import BrokerFilesSettings
from runtime.backoff import FullJitter
from storage import certificates, configurations, recipients, registry
from storage.certificates import SupersededError
from storage.configurations import Unsigned
from storage.database import OUTAGES, Connection, Pool
from storage.registry import GatewayRow

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 60.0
SPACING_SECONDS: Final = 1.0
"""Between two looks, however much changes: also the most often that a broker is reloaded."""

_BACKOFF_SECONDS: Final = (1.0, 30.0)
_SHARE: Final = 2  # of a long look's length that is rested after it
_RETRIED: Final = frozenset({"database", "revocation list", "broker", "key set"})
"""Duties tried again soon when they fail; for the others somebody must first do something."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look at the registry found."""

    now: datetime
    councils: Sequence[CouncilFacts]
    gateways: Sequence[GatewayRow]


async def run(
    authority: Authority,
    pool: Pool,
    dsn: str,
    *,
    network_file: Path,
    broker: BrokerFilesSettings | None,
) -> None:
    """Do the service's duties until cancelled.

    network_file: the network description, read again at every look.
    broker: the broker to keep up to date, None if somebody else does.
    """
    kept = BrokerUpkeep(authority, network_file, broker) if broker is not None else None
    upkeep = Upkeep(authority, pool, kept)
    changed = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_follow(dsn, changed), name="follow registry")
        tasks.create_task(_look_again_and_again(upkeep, changed), name="do duties")


async def _follow(dsn: str, changed: asyncio.Event) -> NoReturn:
    backoff = FullJitter(*_BACKOFF_SECONDS)
    while True:
        try:
            changes = registry.changes(dsn, application_name="kerbstone enrolment registry")
            async with aclosing(changes) as devices:
                async for _ in devices:
                    changed.set()
                    backoff.reset()
        except OUTAGES as error:
            log.warning("registry not followed", extra={"error": str(error).strip()})
        await asyncio.sleep(backoff.next())


async def _look_again_and_again(upkeep: "Upkeep", changed: asyncio.Event) -> NoReturn:
    backoff = FullJitter(*_BACKOFF_SECONDS)
    while True:
        changed.clear()
        began = time.monotonic()
        done = await upkeep.look()
        if done:
            backoff.reset()
        rest = max(SPACING_SECONDS, _SHARE * (time.monotonic() - began))
        await asyncio.sleep(rest if done else max(rest, backoff.next()))
        if done:
            await _wait(changed, LOOK_SECONDS)


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return


class Upkeep:
    """The duties of one network; `look` does whatever is due.

    broker: the broker to keep up to date, None if somebody else does.
    """

    def __init__(self, authority: Authority, pool: Pool, broker: BrokerUpkeep | None) -> None:
        self._authority = authority
        self._pool = pool
        self._broker = broker
        self._troubles: dict[tuple[str, str], str] = {}

    async def look(self) -> bool:
        """Do everything that is due; return whether nothing needs another try soon."""
        try:
            async with self._pool.connection() as conn:
                seen = await self._see(conn)
                await self._issue_revocation_lists(conn, seen)
            settled = not duties.too_soon(seen.councils, seen.now)
            if settled:  # else somebody thrown out would find the door still open
                await self._tell_broker(seen)
            async with self._pool.connection() as conn:
                await self._sign_key_sets(conn, seen)
                await self._sign_configurations(conn, seen.now)
            self._watch_certificates(seen.now)
        except OUTAGES as error:
            self._note("database", "", str(error).strip())
            return False
        self._note("database", "", "")
        return settled and not any(duty in _RETRIED for duty, _ in self._troubles)

    async def _see(self, conn: Connection) -> _Seen:
        now = datetime.now(UTC)
        # Before what is revoked: whoever is seen to have left a key behind is on the list by then.
        gateways = await registry.gateways(conn)
        lists = await certificates.revocation_lists(conn)
        key_sets = await registry.newest_key_sets(conn)
        listed = await recipients.recipients(conn)
        councils = []
        for council in await registry.councils(conn):
            tenant = council.tenant
            rootless = not self._authority.holds_council(tenant)
            self._note("council root", tenant, "there is none; add the council" if rootless else "")
            if rootless:
                continue
            councils.append(
                CouncilFacts(
                    tenant=tenant,
                    suites=council.suites,
                    recipients=[row for row in listed if row.tenant == tenant],
                    revoked=await certificates.revoked_certificates(conn, tenant=tenant, now=now),
                    revocation_list=lists.get(tenant),
                    key_set=self._read_key_set(tenant, key_sets.get(tenant), now),
                )
            )
        return _Seen(now, councils, gateways)

    def _read_key_set(self, tenant: str, message: bytes | None, now: datetime) -> KeySet | None:
        """Return what gateways make of the newest message R: one they refuse is made anew."""
        if message is None:
            return None
        try:
            anchor = self._authority.council_certificate(tenant)
            key_set = open_key_set(message, tenant=tenant, anchor=anchor, now=_unix(now))
        except (CredentialError, PolicyError, RejectionError) as error:
            log.warning("key set is refused", extra={"tenant": tenant, "error": str(error)})
            return None
        metrics.KEY_SET_SOFT_EXPIRY.labels(tenant).set(key_set.soft_expiry)
        return key_set

    async def _issue_revocation_lists(self, conn: Connection, seen: _Seen) -> None:
        for due in duties.revocation_lists_due(seen.councils, seen.now):
            trouble = ""
            try:
                await self._issue_revocation_list(conn, due, seen.now)
            except (CredentialError, PolicyError, SupersededError) as error:
                trouble = str(error)
            self._note("revocation list", due.tenant, trouble)

    async def _issue_revocation_list(
        self, conn: Connection, due: RevocationListDue, now: datetime
    ) -> None:
        message = self._authority.issue_revocation_list(
            due.tenant, number=due.number, revoked=due.revoked, now=now
        )
        signed = x509.load_der_x509_crl(message)
        await certificates.put_revocation_list(
            conn,
            tenant=due.tenant,
            number=due.number,
            this_update=signed.last_update_utc,
            next_update=signed.next_update_utc or now,
            message=message,
        )
        facts = {"number": due.number, "revoked": len(due.revoked), "reason": due.reason}
        log.info("revocation list issued", extra={"tenant": due.tenant} | facts)

    async def _tell_broker(self, seen: _Seen) -> None:
        """Hand over what is committed: a broker never holds a list that the registry forgot."""
        async with self._pool.connection() as conn:
            kept = await certificates.revocation_lists(conn)
        served = {council.tenant for council in seen.councils}
        lists = {tenant: each for tenant, each in kept.items() if tenant in served}
        for tenant, each in lists.items():
            metrics.REVOCATION_LIST_ISSUED.labels(tenant).set(each.this_update.timestamp())
            metrics.REVOCATION_LIST_ENDS.labels(tenant).set(each.next_update.timestamp())
        watched = {tenant: each.this_update for tenant, each in lists.items()}
        if self._broker is not None:
            trouble = ""
            messages = {tenant: each.message for tenant, each in lists.items()}
            try:
                await self._broker.tell(seen.gateways, messages)
            except (BrokerError, NetworkError, CredentialError, PolicyError, OSError) as error:
                trouble = str(error)
            self._note("broker", "", trouble)
            watched |= self._broker.listed_at()
        self._watch(watched, seen.now)

    def _watch(self, lists: Mapping[str, datetime], now: datetime) -> None:
        """Raise the alarm about lists that should long have been replaced."""
        overdue = duties.overdue(lists, now)
        for tenant, since in lists.items():
            metrics.REVOCATION_LIST_PUBLISHED.labels(tenant).set(since.timestamp())
            late = f"the one in use is of {since:%Y-%m-%d %H:%M} UTC" if tenant in overdue else ""
            self._note("revocation list age", tenant, late)

    def _watch_certificates(self, now: datetime) -> None:
        """Raise the alarm about certificates that only a person can replace."""
        try:
            held = self._authority.certificates()
        except CredentialError as error:
            self._note("certificates", "", str(error))
            return
        self._note("certificates", "", "")
        for name, certificate in held.items():
            ends = certificate.not_valid_after_utc
            metrics.CERTIFICATE_ENDS.labels(name).set(ends.timestamp())
            # A signer is replaced when it next signs; that it could not is its duty's alarm.
            late = not name.endswith("-signer") and duties.ends_soon(certificate, now)
            self._note("certificate age", name, f"it ends {ends:%Y-%m-%d}" if late else "")

    async def _sign_key_sets(self, conn: Connection, seen: _Seen) -> None:
        for council in seen.councils:
            trouble = lonely = ""
            try:
                if not duties.wanted_groups(council, seen.now):
                    lonely = "its gateways have nobody to seal for"
                for due in duties.key_sets_due([council], seen.now):
                    await self._sign_key_set(conn, due, seen.now)
            except (CredentialError, PolicyError, RejectionError) as error:
                trouble = str(error)
            self._note("recipients", council.tenant, lonely)
            self._note("key set", council.tenant, trouble)

    async def _sign_key_set(self, conn: Connection, due: KeySetDue, now: datetime) -> None:
        signer, chain = self._authority.sign_as_key_set_signer(due.tenant)
        version = await registry.next_key_set_version(conn, due.tenant)
        key_set = due.key_set(version, now, chain[0].not_valid_after_utc)
        message = sign_key_set(
            key_set, tenant=due.tenant, signer=signer, chain=certificate_chain(chain)
        )
        await registry.add_key_set(conn, tenant=due.tenant, key_set=key_set, message=message)
        metrics.KEY_SET_SOFT_EXPIRY.labels(due.tenant).set(key_set.soft_expiry)
        facts = {"tenant": due.tenant, "version": version, "reason": due.reason}
        log.info("key set signed", extra=facts)

    async def _sign_configurations(self, conn: Connection, now: datetime) -> None:
        for wanted in await configurations.unsigned(conn):
            trouble = ""
            try:
                message = self._signed(wanted, now)
                await configurations.put_signed(
                    conn,
                    device=wanted.device,
                    version=wanted.version,
                    message=message,
                    signed_at=now,
                )
                facts = {"device": wanted.device, "version": wanted.version}
                log.info("configuration signed", extra=facts)
            except (CredentialError, PolicyError, RejectionError) as error:
                trouble = str(error)
            self._note("configuration", f"{wanted.device} {wanted.version}", trouble)

    def _signed(self, wanted: Unsigned, now: datetime) -> bytes:
        signer, chain = self._authority.sign_as_configuration_signer(wanted.tenant)
        return sign_configuration(
            Configuration(
                version=wanted.version,
                issued_at=_unix(now),
                expires_at=_unix(wanted.expires_at),
                settings=wanted.settings,
            ),
            tenant=wanted.tenant,
            device=wanted.device,
            signer=signer,
            chain=certificate_chain(chain),
        )

    def _note(self, duty: str, subject: str, trouble: str) -> None:
        """Count every failure, and say so in the log when it begins, changes and ends."""
        key = (duty, subject)
        if trouble:
            metrics.DUTY_FAILURES.labels(duty).inc()
        facts = {"duty": duty, "subject": subject}
        if trouble and self._troubles.get(key) != trouble:
            log.error("duty not done", extra=facts | {"error": trouble})
            self._troubles[key] = trouble
        elif not trouble and self._troubles.pop(key, ""):
            log.info("duty done again", extra=facts)


def _unix(moment: datetime) -> int:
    return int(moment.timestamp())
