"""Keeping the certificate young: a fresh key and certificate once two thirds of life have passed.

A task of the agent. It also follows an invitation that lies in the identity's directory, so that
a gateway cut short while enrolling goes on by itself, and one whose certificate has ended is
mended by putting a new invitation there. What may go wrong on the way leaves the present
identity as it is; the uplink notices a new one and begins a new epoch under it.

An ended certificate is still tried, seldom: perhaps it is this clock that is wrong, and only the
service can tell.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from device_protocol.first_boot import FirstBoot, FirstBootError
from device_protocol.identity import renewal_due
from edge_agent.clock import Clock
from edge_agent.credentials import identity
from edge_agent.credentials.enrolment import (
    KeyKind,
    add_signing_certificate,
    check_certificate,
    enrol,
    forget_old_keys,
    mutual_client,
    new_key,
)
from edge_agent.credentials.est import (
    EnrolmentError,
    RefusedError,
    UnreachableError,
    UnusableError,
    certificate_request,
)
from edge_agent.credentials.identity import Generation, IdentityDirectory, PrivateKey
from edge_agent.credentials.keystore import Keystore
from edge_agent.credentials.signer import HardwareToken
from edge_agent.health.facts import Facts
from edge_agent.settings import AgentSettings
from runtime.backoff import FullJitter

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 60.0  # how soon an invitation, or a clock put right, is noticed
_LEAST_SECONDS: Final = 0.1
_DUE_PART: Final = 2 / 3  # of a certificate's life
_REST_PART: Final = 1 / 3  # in which a new certificate is not replaced, whatever the clock says
_FIRST_RETRY_PART: Final = 1 / 3000  # of a certificate's life...
_FIRST_RETRY_SECONDS: Final = 60.0
_RETRY_PART: Final = 1 / 30  # ...so that there are ten tries or more in its last third
_RETRY_SECONDS: Final = 3600.0


_NO_CERTIFICATE: Final = (
    "there is no certificate: ask the council for an invitation, then use `kerbstone agent enrol`"
)


def renew(
    directory: Path,
    url: str,
    *,
    kind: KeyKind,
    clock: Clock,
    token: HardwareToken | None = None,
) -> Generation:
    """Get a certificate for a fresh key under the present one, and put both into use.

    The key is on the disk before it is certified, and asked for again until an answer comes: the
    service repeats an answer that was lost, but certifies only so many keys.

    Raises:
        EnrolmentError: none came; what was in use still is.
        OSError: the directory cannot be written, or the token cannot be used.
    """
    store = IdentityDirectory(directory)
    with store.locked():
        current = store.current()
        if current is None:
            raise UnusableError("there is no certificate to renew")
        device = _origin(current).device
        root = x509.load_pem_x509_certificate(current.council_root_file.read_bytes())
        key = _fresh_key(store, kind)
        generation = store.begin()
        generation.put_key(key)
        current.hand_on(generation)
        try:
            certificate = mutual_client(current, url, clock).renew(certificate_request(key, device))
            check_certificate(certificate, key, device, root, clock)
        except (RefusedError, UnusableError):
            store.give_up(generation)  # another key next time: it may be this one's fault
            raise
        generation.put_certificate(certificate)
        if token is not None:
            client = mutual_client(generation, url, clock)
            add_signing_certificate(generation, client, token, device, clock)
        store.commit(generation)
        clock.save_floor()
        store.tidy()
        if token is not None:
            forget_old_keys(store, token)
    return generation


class Renewal:
    """The task, for settings that name a certificate service and a directory.

    on_new_identity: called once another identity is in use.
    settle_seconds: how long after that, so that the centre has heard of a key before it sees it
    used.
    """

    def __init__(
        self,
        settings: AgentSettings,
        *,
        keystore: Keystore,
        clock: Clock,
        facts: Facts,
        on_new_identity: Callable[[], None],
        settle_seconds: float = 2.0,
    ) -> None:
        self._settings = settings
        self._keystore = keystore
        self._clock = clock
        self._facts = facts
        self._on_new_identity = on_new_identity
        self._settle_seconds = settle_seconds
        self._directory = settings.enrolment.directory or Path()
        self._store = IdentityDirectory(self._directory)
        self._retries: FullJitter | None = None
        self._renewed_at = float("-inf")

    async def run(self) -> NoReturn:
        """Look, act, wait; until cancelled."""
        while True:
            seconds = await self._look()
            await asyncio.sleep(seconds)

    async def _look(self) -> float:
        """Do what is due, and return after how many seconds to look again."""
        certificate = self._certificate()
        trouble = ""
        try:
            if (invitation := self._store.invitation()) is not None:
                return await self._try(partial(self._follow, invitation), certificate)
        except (FirstBootError, OSError) as problem:
            trouble = f"the invitation in {self._directory} cannot be followed: {problem}"
        if certificate is None:
            self._note(trouble or _NO_CERTIFICATE)
            return _LOOK_SECONDS
        now = self._clock.unix()
        self._facts.certificate_not_after = int(certificate.not_valid_after_utc.timestamp())
        begins, life = _life(certificate)
        if renewal_due(certificate, int(now)):
            rest = self._renewed_at + life * _REST_PART - self._clock.monotonic()
            if rest <= 0:
                return await self._try(self._renew, certificate)
            self._note(
                "the newest certificate is due at once: this clock, or the service's, is off"
            )
            return min(rest, _LOOK_SECONDS)
        self._note(trouble)
        return min(max(begins + life * _DUE_PART - now, _LEAST_SECONDS), _LOOK_SECONDS)

    async def _try(self, work: Callable[[], None], certificate: x509.Certificate | None) -> float:
        retries = self._retries = self._retries or _retries(certificate)
        try:
            await asyncio.to_thread(work)
        except (EnrolmentError, OSError) as problem:
            self._count("failed")
            self._note(self._words(problem, certificate))
            asked = problem.wait_seconds if isinstance(problem, UnreachableError) else 0.0
            return max(retries.next(), asked)
        self._retries = None
        self._renewed_at = self._clock.monotonic()
        self._count("renewed")
        self._note("")
        await asyncio.sleep(self._settle_seconds)
        self._on_new_identity()
        return 0.0

    def _renew(self) -> None:
        enrolment = self._settings.enrolment
        renew(
            self._directory,
            enrolment.url,
            kind=enrolment.key,
            clock=self._clock,
            token=self._keystore.token(),
        )

    def _follow(self, invitation: FirstBoot) -> None:
        enrol(
            invitation,
            self._directory,
            kind=self._settings.enrolment.key,
            clock=self._clock,
            token=self._keystore.token(),
            keep_invitation=False,
        )

    def _certificate(self) -> x509.Certificate | None:
        try:
            content = self._settings.broker.certificate_file.read_bytes()
            return x509.load_pem_x509_certificate(content)
        except (OSError, ValueError):
            return None

    def _words(self, problem: Exception, certificate: x509.Certificate | None) -> str:
        if certificate is None or certificate.not_valid_after_utc > self._clock.now():
            return str(problem)
        return (
            f"the certificate ended {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC and "
            "needs a new invitation: ask the council for one, then use `kerbstone agent enrol` "
            f"({problem})"
        )

    def _count(self, outcome: str) -> None:
        self._facts.renewals[outcome] = self._facts.renewals.get(outcome, 0) + 1
        if outcome == "renewed":
            log.info("certificate renewed")

    def _note(self, problem: str) -> None:
        if problem and not self._facts.renewal_problem:
            log.warning("certificate not renewed", extra={"problem": problem})
        self._facts.renewal_problem = problem


def _fresh_key(store: IdentityDirectory, kind: KeyKind) -> PrivateKey:
    """Return the key asked for last time, if nothing came of it, else a new one."""
    key = store.unfinished_key()
    is_of_kind = isinstance(key, Ed25519PrivateKey) == (kind == "ed25519")
    return key if key is not None and is_of_kind else new_key(kind)


def _origin(generation: Generation) -> identity.Origin:
    try:
        return generation.origin()
    except (OSError, ValueError) as error:
        raise UnusableError(f"{generation.directory} is damaged: {error}") from error


def _retries(certificate: x509.Certificate | None) -> FullJitter:
    """Return waits that suit a certificate's length of life."""
    if certificate is None:
        return FullJitter(1.0, _FIRST_RETRY_SECONDS)
    _, life = _life(certificate)
    return FullJitter(
        min(life * _FIRST_RETRY_PART, _FIRST_RETRY_SECONDS), min(life * _RETRY_PART, _RETRY_SECONDS)
    )


def _life(certificate: x509.Certificate) -> tuple[float, float]:
    """Return when it begins, Unix seconds, and how many seconds it lives."""
    begins = certificate.not_valid_before_utc.timestamp()
    return begins, certificate.not_valid_after_utc.timestamp() - begins
