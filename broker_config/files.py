"""Putting a rendered configuration on disk, each file whole or not at all.

What the files say is `mosquitto` and `nats`; starting a broker over them is `embedded`.
"""

from enum import StrEnum
from pathlib import Path

from broker_config import mosquitto, nats
from broker_config.network import BrokerPaths, Network

FILE_MODE = 0o640  # Mosquitto will refuse access lists the world can read


class BrokerKind(StrEnum):
    """The two brokers a network can run on."""

    MOSQUITTO = "mosquitto"
    NATS = "nats"


def write_configuration(
    kind: BrokerKind, network: Network, paths: BrokerPaths, *, run_as: str = "mosquitto"
) -> Path:
    """Write a broker's files to `paths.configuration`; return the one to start it with.

    run_as: see `mosquitto.render`; NATS stays the user that starts it.

    Raises:
        NetworkError: the network cannot be rendered, e.g. a port is still 0.
        OSError: a certificate cannot be read or a file not be written.
    """
    if kind is BrokerKind.MOSQUITTO:
        main = mosquitto.MAIN_FILE
        files = mosquitto.render(network, paths, run_as=run_as)
    else:
        main = nats.MAIN_FILE
        files = nats.render(network, paths) | {nats.ROOTS_FILE: _roots(network, paths)}
    paths.configuration.mkdir(parents=True, exist_ok=True)
    paths.data.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        partial = paths.configuration / f".{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.chmod(FILE_MODE)
        partial.replace(paths.configuration / name)
    return paths.configuration / main


def _roots(network: Network, paths: BrokerPaths) -> str:
    """Return every root a NATS listener trusts: the services' and each council's."""
    held = paths.certificates
    files = [held.service_root, *(held.council_roots[tenant] for tenant in network.tenants)]
    return "".join(file.read_text(encoding="ascii") for file in files)
