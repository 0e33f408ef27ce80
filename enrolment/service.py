"""The enrolment process: its TLS server and its duties, opened and stopped in order.

The only process that holds the authority's keys. They are decrypted when first used and stay in
its memory.
"""

import asyncio
import logging
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette

from broker_config.files import BrokerKind
from enrolment import tls, upkeep
from enrolment.authority import Authority, CredentialFiles, network_of
from enrolment.est import create_app
from enrolment.files import CredentialError, read_certificate
from enrolment.network_file import NetworkFile
from enrolment.policy import PolicyError
from enrolment.settings import PASSPHRASE_CREDENTIAL, EnrolmentSettings
from enrolment.tls import EnrolmentProtocol, server_context, trust
from runtime.metrics import serve_metrics
from storage.database import open_pool

log = logging.getLogger(__name__)

_BACKLOG: Final = 512
_GRACE_SECONDS: Final = 5
_IDLE_SECONDS: Final = 5
_MAX_CONNECTIONS: Final = 500
_MAX_HEAD_BYTES: Final = 16 * 1024
_LOOK_SECONDS: Final = 2.0


class _Server(uvicorn.Server):
    """Leaves signals to `runtime.signals`, which cancels `run`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, with less patience for a handshake than the usual minute."""
        loop = asyncio.get_running_loop()

        def protocol() -> EnrolmentProtocol:
            return EnrolmentProtocol(self.config, self.server_state, {})

        self.servers = [
            await loop.create_server(
                protocol,
                sock=listener,
                ssl=self.config.ssl,
                backlog=self.config.backlog,
                ssl_handshake_timeout=tls.HANDSHAKE_SECONDS,
            )
            for listener in sockets or ()
        ]
        self.started = True


async def run(settings: EnrolmentSettings) -> None:
    """Enrol and renew gateways, and do the service's duties, until cancelled.

    Raises:
        CredentialError: the authority's directory or passphrase is not what it should be.
        OSError: the port is taken, or a file that the settings name cannot be read.
    """
    with listen(settings.host, settings.port) as listener:
        await serve(settings, listener)


async def serve(settings: EnrolmentSettings, listener: socket.socket) -> None:
    """Do as `run` does, on a socket that listens already.

    Raises:
        CredentialError, OSError: as `run`.
    """
    authority = open_authority(settings)
    hosts = [urlsplit(settings.public_url).hostname or "localhost"]
    context = server_context(authority.enrolment_server(hosts))
    kind = BrokerKind(settings.broker.kind) if settings.broker else BrokerKind.MOSQUITTO
    async with AsyncExitStack() as opened:
        metrics = serve_metrics(settings.metrics)
        if metrics is not None:
            opened.callback(metrics.close)
        pool = await opened.enter_async_context(
            open_pool(settings.database, application_name="kerbstone enrolment")
        )
        app = create_app(
            authority,
            pool,
            NetworkFile(settings.network_file, kind),
            guesses=settings.guesses,
            gateway_lifetime=timedelta(seconds=settings.gateway_lifetime_seconds),
        )
        log.info("serving", extra={"address": listener.getsockname()[:2]})
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_keep_current(context, authority, hosts), name="keep current")
            tasks.create_task(_answer(app, listener, context), name="answer")
            tasks.create_task(
                upkeep.run(
                    authority,
                    pool,
                    settings.database,
                    network_file=settings.network_file,
                    broker=settings.broker,
                ),
                name="duties",
            )


def open_authority(settings: EnrolmentSettings) -> Authority:
    """Return the authority that the settings lead to; its directory must hold one.

    Raises:
        CredentialError: it holds none.
        OSError: the passphrase cannot be read.
    """
    passphrase = read_passphrase(settings.passphrase_file)
    if passphrase is None:
        log.warning("no passphrase: the authority's keys lie open, which is for trials only")
    return Authority(
        settings.authority_directory,
        network_of(settings.authority_directory),
        passphrase=passphrase,
        gateway_lifetime=timedelta(seconds=settings.gateway_lifetime_seconds),
    )


def read_passphrase(file: Path | None) -> bytes | None:
    """Return the passphrase in `file`, else in the systemd credential, None without either.

    A file that others on this machine can read is an alarm in the log: with it they can use the
    keys from any backup.

    Raises:
        CredentialError: the file is empty.
        OSError: it cannot be read.
    """
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if file is None and directory and (Path(directory) / PASSPHRASE_CREDENTIAL).exists():
        file = Path(directory) / PASSPHRASE_CREDENTIAL
    if file is None:
        return None
    passphrase = file.read_bytes().strip()
    if not passphrase:
        raise CredentialError(f"{file} holds no passphrase")
    if file.stat().st_mode & stat.S_IROTH:
        log.error("the passphrase can be read by others: chmod 600", extra={"file": str(file)})
    return passphrase


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; port 0 takes a free one.

    Raises:
        OSError: the address is not ours or taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


async def _keep_current(
    context: ssl.SSLContext, authority: Authority, hosts: list[str]
) -> NoReturn:
    """Trust councils as they are added, and renew the service's own certificate when due.

    Both hold for connections from then on: nothing restarts. While a file is being replaced, or
    is damaged, what was shown and trusted before stays so.
    """
    trusted: set[bytes] = set()
    shown = authority.enrolment_server(hosts).certificate.read_bytes()
    trouble = ""
    while True:
        try:
            _trust_councils(context, authority, trusted)
            shown = _show_own(context, authority.enrolment_server(hosts), shown)
        except (CredentialError, PolicyError, OSError) as error:
            if str(error) != trouble:
                log.warning("certificates not taken up", extra={"error": str(error)})
            trouble = str(error)
        else:
            trouble = ""
        await asyncio.sleep(_LOOK_SECONDS)


def _trust_councils(context: ssl.SSLContext, authority: Authority, trusted: set[bytes]) -> None:
    for tenant, root in authority.council_roots().items():
        held = root.read_bytes()
        if held not in trusted:
            trust(context, root)
            trusted.add(held)
            log.info("council trusted", extra={"tenant": tenant})


def _show_own(context: ssl.SSLContext, own: CredentialFiles, shown: bytes) -> bytes:
    """Show the service's own certificate if it is not `shown` already; return what is shown."""
    held = own.certificate.read_bytes()
    if held != shown:
        context.load_cert_chain(own.certificate, own.key)
        until = read_certificate(own.certificate).not_valid_after_utc
        log.info("own certificate renewed", extra={"not_after": until.isoformat()})
    return held


async def _answer(app: Starlette, listener: socket.socket, context: ssl.SSLContext) -> None:
    server = _Server(
        uvicorn.Config(
            app,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # who connects is who connects: TLS ends here
            backlog=_BACKLOG,
            limit_concurrency=_MAX_CONNECTIONS,
            h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            ssl_context_factory=lambda *_: context,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="serve")
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
