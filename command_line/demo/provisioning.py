"""Makes a city real as its people would: a network, its councils, an invitation for each gateway.

Everything may be run again over the same directory: what is there and still good is kept. What is
particular to a demo is that one person plays all parts on one machine; the parts themselves are
those of `kerbstone network` and `kerbstone agent enrol`.
"""

import asyncio
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from api.publishing.settings import PublishSettings
from broker_config.embedded import BrokerError, EmbeddedBroker, start_broker
from broker_config.files import BrokerKind
from broker_config.readers_broker import EmbeddedReadersBroker
from command_line.demo.city import City, DemoGateway
from command_line.demo.layout import Layout
from command_line.demo.ports import Ports
from command_line.network import councils, setup
from command_line.network import gateways as network_gateways
from command_line.network.directory import NetworkDirectory, read_description
from command_line.network.gateways import Invited
from command_line.network.options import InitOptions
from command_line.toml_text import toml_text
from device_protocol.errors import RejectionError
from device_protocol.first_boot import EST_PATH, FirstBoot
from device_protocol.identity import device_of
from edge_agent.credentials.enrolment import enrol
from edge_agent.credentials.identity import IdentityDirectory
from enrolment.description import describe
from runtime.atomic_files import write_atomically
from runtime.settings import load
from storage import registry
from storage.certificates import revocation_lists
from storage.site_list import Site

GROUP: Final = "main"
ACTOR: Final = "operator demo"
LOOPBACK: Final = "127.0.0.1"
PRIVATE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Founded:
    """A city whose network and councils exist, and whose gateways are invited.

    devices: by the gateway's key. invitations: for the gateways that have to enrol, likewise.
    """

    city: City
    layout: Layout
    directory: NetworkDirectory
    ports: Ports
    devices: Mapping[str, str]
    invitations: Mapping[str, FirstBoot]


async def found(city: City, layout: Layout, *, kind: BrokerKind, dsn: str, ports: Ports) -> Founded:
    """Make network and councils, and invite every gateway that has no certificate that holds.

    Raises:
        NetworkError, CredentialError: what an earlier start left is damaged.
    """
    passphrase = _secret(layout.passphrase).encode()
    directory = await setup.init(
        InitOptions(
            directory=layout.network,
            name=city.name,
            host=LOOPBACK,
            bind=LOOPBACK,
            dsn=dsn,
            service_port=ports.service,
            keeper_port=ports.keeper,
            enrolment_port=ports.enrolment,
            readers_port=ports.readers,
            api_url=f"http://{LOOPBACK}:{ports.dashboard}",
            broker=kind,
            broker_data=layout.broker / "data",
            pid_file=layout.broker / "broker.pid",
            passphrase=passphrase,
            passphrase_file=layout.passphrase,
            region_passphrase=_secret(layout.region_passphrase).encode(),
            settings=_particulars(layout, ports),
            replace_settings=True,
            actor=ACTOR,
        )
    )
    for council, port in zip(city.councils, ports.councils, strict=True):
        await councils.add(
            directory,
            tenant=council.tenant,
            gss=council.gss,
            name=council.name,
            port=port,
            passphrase=passphrase,
            actor=ACTOR,
        )
    devices, invitations = await _invite_all(city, layout, directory)
    return Founded(city, layout, directory, ports, devices, invitations)


async def start_embedded_broker(founded: Founded, kind: BrokerKind) -> EmbeddedBroker:
    """Start the broker as the registry would have it now; the enrolment service takes over.

    Raises:
        BrokerError: it did not start.
    """
    directory = founded.directory
    async with directory.connection() as conn:
        gateways = await registry.gateways(conn)
        held = await revocation_lists(conn)
    network = describe(read_description(directory).network(), gateways, held.keys())
    if network is None:
        raise BrokerError(f"{founded.city.name} has no council")
    authority = setup.open_authority(directory, _secret(founded.layout.passphrase).encode())
    return await asyncio.to_thread(
        start_broker,
        kind.value,
        network,
        founded.layout.broker,
        authority.broker_certificates(network.tenants, [network.host]),
        {tenant: each.message for tenant, each in held.items()},
    )


def start_readers_broker(founded: Founded) -> EmbeddedReadersBroker:
    """Start the broker where everybody may subscribe.

    Raises:
        BrokerError: it did not start.
    """
    settings = load(PublishSettings, founded.directory.publish_settings).broker
    below = founded.layout.readers_broker
    broker = EmbeddedReadersBroker(*settings.described(below / "configuration"))
    broker.start()
    return broker


async def enrol_gateways(founded: Founded) -> None:
    """Let every invited gateway enrol, all at once, over the network.

    Raises:
        EnrolmentError: the service refused one.
    """
    suites = {gateway.key: gateway.suite for gateway in founded.city.gateways}
    await asyncio.gather(
        *(
            asyncio.to_thread(
                enrol,
                first_boot,
                founded.layout.identity(key),
                kind="ed25519" if suites[key] == 1 else "p-256",
            )
            for key, first_boot in founded.invitations.items()
        )
    )


def write_agent_settings(founded: Founded, broker: EmbeddedBroker) -> dict[str, Path]:
    """Write each gateway's settings file; return them by the gateway's key."""
    return {
        gateway.key: _write_agent(founded, gateway, broker) for gateway in founded.city.gateways
    }


def _particulars(layout: Layout, ports: Ports) -> dict[str, dict[str, Any]]:
    """Return what the central processes are told beside what every network's are."""
    return {
        "publish": {"broker": {"data_directory": layout.readers_broker / "data"}},
        "serve": {"host": LOOPBACK, "port": ports.dashboard},
        "enrolment": {
            "broker": {
                "configuration_directory": layout.broker / "configuration",
                "run_as": "root" if os.geteuid() == 0 else "mosquitto",
            }
        },
    }


async def _invite_all(
    city: City, layout: Layout, directory: NetworkDirectory
) -> tuple[dict[str, str], dict[str, FirstBoot]]:
    """Invite each gateway once, and again if its certificate is gone or has ended."""
    devices: dict[str, str] = {}
    invitations: dict[str, FirstBoot] = {}
    for council in city.councils:
        own = [gateway for gateway in city.gateways if gateway.tenant == council.tenant]
        invited = await _invite(directory, council.tenant, own)
        devices |= {each.site.site: each.device for each in invited.invitations}
        lacking = [each for each in own if not _is_enrolled(layout, each.key, devices[each.key])]
        if without_token := [
            each for each in lacking if devices[each.key] not in invited.first_boots
        ]:
            again = await _invite(directory, council.tenant, without_token, renew=True)
            first_boots = {**invited.first_boots, **again.first_boots}
        else:
            first_boots = dict(invited.first_boots)
        invitations |= {each.key: first_boots[devices[each.key]] for each in lacking}
    return devices, invitations


async def _invite(
    directory: NetworkDirectory,
    tenant: str,
    invited: Sequence[DemoGateway],
    *,
    renew: bool = False,
) -> Invited:
    sites = [
        Site(
            site=gateway.key,
            label=gateway.name,
            place_name=gateway.things[0]["place_name"],
            longitude=gateway.things[0]["longitude"],
            latitude=gateway.things[0]["latitude"],
        )
        for gateway in invited
    ]
    return await network_gateways.invite(
        directory, tenant=tenant, sites=sites, renew=renew, actor=ACTOR
    )


def _is_enrolled(layout: Layout, key: str, device: str) -> bool:
    """Tell whether the gateway holds a certificate of this device that has not ended.

    An identity of another device is of another database, and removed.
    """
    store = IdentityDirectory(layout.identity(key))
    current = store.current()
    if current is None:
        return False
    try:
        certificate = x509.load_pem_x509_certificate(current.certificate_file.read_bytes())
        if device_of(certificate) == device:
            return certificate.not_valid_after_utc > datetime.now(UTC)
    except (OSError, ValueError, RejectionError):
        pass
    shutil.rmtree(store.path)
    return False


def _secret(path: Path) -> str:
    """Return what the file holds, drawn at random the first time."""
    if not path.exists():
        write_atomically(path, secrets.token_hex(16).encode(), PRIVATE)
    return path.read_text()


def _write_agent(founded: Founded, gateway: DemoGateway, broker: EmbeddedBroker) -> Path:
    layout = founded.layout
    identity = layout.identity(gateway.key)
    current = identity / "current"
    endpoint = broker.council_endpoint(gateway.tenant)
    tables: dict[str, dict[str, Any]] = {
        "broker": {
            "host": endpoint.host,
            "port": endpoint.port,
            "mqtt_version": endpoint.mqtt_version,
            "ca_file": current / "region-root.pem",
            "certificate_file": current / "gateway.pem",
            "key_file": current / "gateway.key",
        },
        "trust": {"council_root_file": current / "council-root.pem"},
        "enrolment": {
            "url": f"https://{LOOPBACK}:{founded.ports.enrolment}{EST_PATH}{gateway.tenant}",
            "directory": identity,
        },
        # A dashboard to watch, not a card to spare: small batches, soon.
        "spool": {"commit_seconds": 1.0},
        "uplink": {"batch_seconds": 1.0},
        "health": {"interval_seconds": 30.0},
        "status": {"interval_seconds": 0.5},
    }
    for name, overrides in gateway.overrides.items():
        tables[name] = tables.get(name, {}) | dict(overrides)
    document = {
        "tenant": gateway.tenant,
        "device": founded.devices[gateway.key],
        "group": GROUP,
        "state_directory": layout.gateway(gateway.key) / "state",
        **tables,
        "thing": gateway.things,
        "sensor": gateway.sensors,
    }
    path = layout.gateway(gateway.key) / "agent.toml"
    write_atomically(path, toml_text(document).encode(), PRIVATE)
    return path
