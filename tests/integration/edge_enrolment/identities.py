"""Whom an agent would be that looks into a directory."""

from pathlib import Path

from cryptography import x509

from device_protocol.keys import VerifyingKey
from edge_agent.clock import Clock
from edge_agent.credentials.keystore import Identity, Keystore
from edge_agent.settings import AgentSettings, BrokerSettings, ThingSettings, TrustSettings

DEVICE = "k7q2m9xd4t"


def identity_in(directory: Path) -> Identity:
    """Return what an agent would be whose settings point into `directory`."""
    current = directory / "current"
    settings = AgentSettings(
        tenant="camden",
        device=DEVICE,
        state_directory=directory,
        broker=BrokerSettings(
            host="localhost",
            port=8883,
            ca_file=current / "region-root.pem",
            certificate_file=current / "gateway.pem",
            key_file=current / "gateway.key",
        ),
        trust=TrustSettings(council_root_file=current / "council-root.pem"),
        thing=(
            ThingSettings(
                urn="urn:dev:example:lamp-1",
                name="Lamp 1",
                description="A lamp post.",
                longitude=-0.13,
                latitude=51.52,
                place_name="Gower Street",
            ),
        ),
    )
    return Keystore(settings, Clock(directory / "clock")).load()


def kid_of(certificate: x509.Certificate) -> bytes:
    return VerifyingKey.from_public(certificate.public_key()).kid
