"""Keeping the network's broker to what the registry says, as one of the service's duties.

On a cluster every node has files of its own, below its name, and is told for itself: one that
cannot be told keeps none of the others from it. What is told to which is in the settings; a node on
another machine is told by a command.

How a broker is told is `broker_config.keeper`; when, `enrolment.upkeep`.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from broker_config import network as description
from broker_config.broker_log import BrokerLog
from broker_config.errors import BrokerError
from broker_config.files import BrokerKind, render, write
from broker_config.keeper import Applied, Keeper, command
from broker_config.network import PID_FILE, BrokerPaths, Gateway, Network
from broker_config.nodes import Node, node_names
from enrolment import metrics
from enrolment.authority import Authority
from enrolment.description import describe
from enrolment.settings import BrokerFilesSettings, BrokerNodeSettings
from storage.registry import GatewayRow

log = logging.getLogger(__name__)


class BrokerUpkeep:
    """One broker or cluster, the description it follows and the authority behind its certificates.

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
            BrokerError: it, or one of its nodes, could not be told, or refused; to be tried again.
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
        if network.nodes:
            await self._tell_nodes(network, lists)
            return
        keeper = self._keeper(network)
        self._listed_at = keeper.listed_at()  # what it holds even if it cannot be told now
        left_behind = {each: kids for each, kids in left_behind.items() if kids}
        self._note(await asyncio.to_thread(keeper.apply, network, lists, left_behind))
        self._listed_at = keeper.listed_at()

    def listed_at(self) -> dict[str, datetime]:
        """Return since when the list that the broker holds counts, by tenant, as far as known."""
        return self._listed_at

    async def _tell_nodes(self, network: Network, lists: Mapping[str, bytes]) -> None:
        """Write every node's files and tell it, all at once: one that is away delays none.

        Raises:
            BrokerError: naming each node that could not be told, or that nobody said how to tell.
        """
        told = {node.name: node for node in self._settings.node}
        mistakes = [
            f"node {name}: there is none in {self._network_file}; take its [[broker.node]] away"
            for name in told.keys() - {node.name for node in network.nodes}
        ]
        outcomes = await asyncio.gather(
            *(self._tell_node(network, node, told.get(node.name), lists) for node in network.nodes),
            return_exceptions=True,
        )
        done = []
        for node, outcome in zip(network.nodes, outcomes, strict=True):
            if isinstance(outcome, Applied):
                done.append(outcome)
            elif isinstance(outcome, BrokerError):
                mistakes.append(f"node {node.name}: {outcome}")
            else:
                raise outcome
        ended = {device for each in done for device in each.ended}
        self._note(Applied(changed=any(each.changed for each in done), ended=tuple(sorted(ended))))
        if mistakes:
            raise BrokerError("\n".join(mistakes))

    async def _tell_node(
        self,
        network: Network,
        node: Node,
        settings: BrokerNodeSettings | None,
        lists: Mapping[str, bytes],
    ) -> Applied:
        paths = BrokerPaths(
            configuration=(self._settings.configuration_directory / node.name).absolute(),
            data=_data(self._settings, settings).absolute(),
            certificates=self._authority.broker_certificates(
                network.tenants, node_names(network.host, node), node=node.name
            ),
        )
        if settings is None:
            write(render(self._kind, network, paths, node=node.name), paths)
            raise BrokerError(
                f"its files are written to {paths.configuration}, but nothing says how it is told: "
                "add a [[broker.node]] to the settings, with pid_file or reload_command"
            )
        keeper = Keeper(
            self._kind,
            paths,
            pid_file=settings.pid_file,
            reload=command(settings.reload_command) if settings.reload_command else None,
            log=BrokerLog(self._kind, settings.log_file) if settings.log_file else None,
            node=node.name,
        )
        return await asyncio.to_thread(keeper.apply, network, lists)

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


def _data(settings: BrokerFilesSettings, node: BrokerNodeSettings | None) -> Path:
    return (node.data_directory if node else None) or settings.data_directory
