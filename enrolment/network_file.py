"""The network description as the service tells it to gateways: read again whenever it changes."""

import logging
from dataclasses import dataclass
from pathlib import Path

from broker_config import network as description
from broker_config.files import BrokerKind
from broker_config.network import Network, NetworkError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CouncilNetwork:
    """What a gateway must know of its council's network. mqtt_version: newest the broker speaks."""

    network: str
    tenant: str
    name: str
    host: str
    port: int
    mqtt_version: str


class NetworkFile:
    """A network description and the broker it is for; a damaged one leaves the last good one."""

    def __init__(self, path: Path, broker: BrokerKind) -> None:
        self._path = path
        self._broker = broker
        self._version: tuple[int, int, int] | None = None
        self._network: Network | None = None

    def council(self, tenant: str) -> CouncilNetwork | None:
        """Return where a council's gateways find the broker, None if it is not described."""
        network = self._read()
        if network is None:
            return None
        found = next((held for held in network.councils if held.tenant == tenant), None)
        if found is None:
            return None
        on_its_own = self._broker is BrokerKind.MOSQUITTO
        return CouncilNetwork(
            network=network.name,
            tenant=tenant,
            name=found.name,
            host=network.host,
            port=found.port if on_its_own else network.service_port,
            mqtt_version="5" if on_its_own else "3.1.1",
        )

    def _read(self) -> Network | None:
        try:
            status = self._path.stat()
            version = (status.st_ino, status.st_mtime_ns, status.st_size)
            if version != self._version:
                self._version = version
                self._network = description.load(self._path)
        except (OSError, NetworkError) as error:
            log.warning("network description not usable", extra={"error": str(error)})
        return self._network
