"""Keeping the network's broker to what the registry says, as one of the service's duties.

How a broker is told is `broker_config.keeper`; when, `enrolment.upkeep`.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from broker_config import network as description
from broker_config.broker_log import BrokerLog
from broker_config.files import BrokerKind
from broker_config.keeper import Applied, Keeper, command
from broker_config.network import PID_FILE, BrokerPaths, Gateway, Network
from enrolment import metrics
from enrolment.authority import Authority
from enrolment.description import describe
from enrolment.settings import BrokerFilesSettings
from storage.registry import GatewayRow

log = logging.getLogger(__name__)


class BrokerUpkeep:
    """One broker, the description it follows and the authority behind its certificates.

    The broker reads copies of its certificates: the authority's directory is not for its eyes.
    """

    def __init__(
        self, authority: Authority, network_file: Path, settings: BrokerFilesSettings
    ) -> None:
        self._authority = authority
        self._network_file = network_file
        self._settings = settings
        self._kind = BrokerKind(settings.kind)
        self._restart_needed = False
        self._listed_at: dict[str, datetime] = {}

    async def tell(
        self, gateways: Sequence[GatewayRow], revocation_lists: Mapping[str, bytes]
    ) -> None:
        """Make the broker admit and refuse by this.

        gateways: of all councils. revocation_lists: DER by tenant; a council without one gets
        no listener yet.

        Raises:
            BrokerError: it could not be told, or refused; to be tried again.
            NetworkError: the description is wrong.
            CredentialError, OSError: a file cannot be read or written.
        """
        network = describe(description.load(self._network_file), gateways, revocation_lists.keys())
        if network is None:
            return
        rows = {Gateway(row.tenant, row.device): row for row in gateways}
        left_behind = {
            each: frozenset(key.kid.hex() for key in rows[each].keys if key.superseded)
            for each in network.gateways
        }
        lists = {tenant: revocation_lists[tenant] for tenant in network.tenants}
        keeper = self._keeper(network)
        self._listed_at = keeper.listed_at()  # what it holds even if it cannot be told now
        left_behind = {each: kids for each, kids in left_behind.items() if kids}
        self._note(await asyncio.to_thread(keeper.apply, network, lists, left_behind))
        self._listed_at = keeper.listed_at()

    def listed_at(self) -> dict[str, datetime]:
        """Return since when the list that the broker holds counts, by tenant, as far as known."""
        return self._listed_at

    def _keeper(self, network: Network) -> Keeper:
        settings = self._settings
        return Keeper(
            self._kind,
            BrokerPaths(
                configuration=settings.configuration_directory.absolute(),
                data=settings.data_directory.absolute(),
                certificates=self._authority.broker_certificates(network.tenants, [network.host]),
            ),
            pid_file=settings.pid_file or settings.data_directory / PID_FILE,
            reload=command(settings.reload_command) if settings.reload_command else None,
            restart=command(settings.restart_command) if settings.restart_command else None,
            log=BrokerLog(self._kind, settings.log_file) if settings.log_file else None,
            run_as=settings.run_as,
        )

    def _note(self, applied: Applied) -> None:
        if applied.changed:
            metrics.BROKER_RELOADED.set_to_current_time()
            metrics.SESSIONS_ENDED.inc(len(applied.ended))
            log.info("broker took a change", extra={"ended": list(applied.ended)})
        if applied.restart_needed and not self._restart_needed:
            log.error(
                "broker must be restarted: Mosquitto opens a listener, and learns that it has a "
                "revocation list, only when it starts",
                extra={"network_file": str(self._network_file)},
            )
        self._restart_needed = applied.restart_needed
        metrics.BROKER_RESTART_NEEDED.set(applied.restart_needed)
