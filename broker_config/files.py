"""Everything a broker reads, as bytes by file name, and putting it on disk.

What the texts say is `mosquitto` and `nats`; here certificates and revocation lists join them.
Starting a broker over the files is `embedded`, changing them under a running one `keeper`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from broker_config import mosquitto, nats
from broker_config.keeper_credential import keeper_credential
from broker_config.network import BrokerCertificates, BrokerPaths, Network, NetworkError
from runtime.atomic_files import write_atomically

FILE_MODE = 0o640  # Mosquitto will refuse access lists the world can read


class BrokerKind(StrEnum):
    """The two brokers a network can run on."""

    MOSQUITTO = "mosquitto"
    NATS = "nats"


MAIN_FILES = {BrokerKind.MOSQUITTO: mosquitto.MAIN_FILE, BrokerKind.NATS: nats.MAIN_FILE}


@dataclass(frozen=True, slots=True)
class Rendering:
    """A broker's files by name, `main` the one it is started with."""

    main: str
    files: Mapping[str, bytes]

    @property
    def fingerprint(self) -> str:
        """Equal for equal files: SHA-256 over names and contents, in hexadecimal."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(f"{name} {len(content)}\n".encode())
            digest.update(content)
        return digest.hexdigest()


def render(
    kind: BrokerKind,
    network: Network,
    paths: BrokerPaths,
    *,
    run_as: str = "mosquitto",
    revocation_lists: Mapping[str, bytes] | None = None,
    node: str = "",
) -> Rendering:
    """Return everything a broker reads, with copies of the certificates that `paths` names.

    The files themselves may lie where a broker must not look.

    run_as: see `mosquitto.render`; NATS stays the user that starts it.
    revocation_lists: DER by tenant; NATS checks none. Those not given here stay the files
        that `paths` names.
    node: which of a NATS cluster's nodes it is for; empty where the network has none.

    Raises:
        NetworkError: the network cannot be rendered, e.g. a port is still 0, or a revocation
            list is none.
        OSError: a certificate cannot be read.
    """
    if network.nodes and kind is not BrokerKind.NATS:
        raise NetworkError(f"{kind} runs as one broker; [[node]] tables are for {BrokerKind.NATS}")
    certificates, files = _copied(network, paths)
    if kind is BrokerKind.NATS:
        files[nats.ROOTS_FILE] = _roots(network, paths)
        texts = nats.render(network, replace(paths, certificates=certificates), node)
    else:
        held = dict(certificates.revocation_lists)
        for tenant, der in (revocation_lists or {}).items():
            name = f"council-{tenant}.crl"
            files[name] = _pem(tenant, der)
            held[tenant] = paths.configuration / name
        certificates = replace(certificates, revocation_lists=held)
        texts = mosquitto.render(network, replace(paths, certificates=certificates), run_as=run_as)
    return Rendering(
        MAIN_FILES[kind], files | {name: text.encode() for name, text in texts.items()}
    )


def write(rendering: Rendering, paths: BrokerPaths) -> Path:
    """Put a rendering on disk, each file whole or not at all; return the main one.

    The main file comes last, after all that it names.

    Raises:
        OSError: a file cannot be written.
    """
    paths.configuration.mkdir(parents=True, exist_ok=True)
    paths.data.mkdir(parents=True, exist_ok=True)
    if rendering.main == mosquitto.MAIN_FILE:
        keeper_credential(paths.configuration)
    for name in sorted(rendering.files, key=lambda name: name == rendering.main):
        path = paths.configuration / name
        if not (path.exists() and path.read_bytes() == rendering.files[name]):
            write_atomically(path, rendering.files[name], FILE_MODE)
    return paths.configuration / rendering.main


def _pem(tenant: str, der: bytes) -> bytes:
    """Return a revocation list as Mosquitto reads it: one it cannot read locks a council out."""
    try:
        return x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)
    except ValueError as error:
        raise NetworkError(f"council {tenant!r}: its revocation list is not one: {error}") from None


def _roots(network: Network, paths: BrokerPaths) -> bytes:
    """Return every root a NATS listener trusts: the services' and each council's."""
    held = paths.certificates
    files = [held.service_root, *(held.council_roots[tenant] for tenant in network.tenants)]
    return b"".join(file.read_bytes() for file in files)


def _copied(network: Network, paths: BrokerPaths) -> tuple[BrokerCertificates, dict[str, bytes]]:
    """Return certificates to be read beside the configuration, and what those files hold."""
    held = paths.certificates
    sources = {
        "service-root.pem": held.service_root,
        "server.pem": held.server_certificate,
        "server.key": held.server_key,
    } | {f"council-{tenant}.pem": held.council_roots[tenant] for tenant in network.tenants}
    below = paths.configuration
    copies = BrokerCertificates(
        service_root=below / "service-root.pem",
        server_certificate=below / "server.pem",
        server_key=below / "server.key",
        council_roots={tenant: below / f"council-{tenant}.pem" for tenant in network.tenants},
        revocation_lists=held.revocation_lists,
    )
    return copies, {name: source.read_bytes() for name, source in sources.items()}
