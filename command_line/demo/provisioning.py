"""Makes a city real: device ids, certificates, registry rows, a settings file per process.

Everything here may be run again over the same directory: what is there and still good is kept.
"""

import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from broker_config.embedded import EmbeddedBroker
from broker_config.network import Council, Gateway, Network, Service
from command_line.demo.city import City, DemoGateway
from command_line.demo.layout import Layout
from command_line.demo.toml_text import toml_text
from device_protocol.identity import renewal_due
from device_protocol.key_set import KeySet, Recipient, certificate_chain, sign_key_set
from device_protocol.keys import RecipientKey, RecipientPublicKey, SigningKey, VerifyingKey
from enrolment.authority import Authority, KeyKind, enrol_locally
from enrolment.files import read_certificate, read_key, write_atomically
from enrolment.policy import new_device_id
from storage.database import connect
from storage.registry import (
    add_council,
    add_gateway,
    add_key_set,
    add_signing_key,
    next_key_set_version,
)

GROUP: Final = "main"
KEY_SET_SOFT_LIFE: Final = timedelta(days=30)
KEY_SET_HARD_LIFE: Final = timedelta(days=60)
PRIVATE: Final = 0o600

RecipientPrivate: TypeAlias = X25519PrivateKey | ec.EllipticCurvePrivateKey
# One for each curve that gateways may deliver to (envelope suites 1 and 2).
RECIPIENT_KEYS: Final[dict[str, Callable[[], RecipientPrivate]]] = {
    "recipient.key": X25519PrivateKey.generate,
    "recipient-p256.key": lambda: ec.generate_private_key(ec.SECP256R1()),
}


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A city with device ids drawn and certificates issued.

    devices: by the gateway's key. client_tail: makes ingest's MQTT client ids unguessable, since
    on NATS whoever knows a client id of the same council could end its session.
    """

    city: City
    layout: Layout
    authority: Authority
    devices: Mapping[str, str]
    client_tail: str

    def network(self) -> Network:
        """Describe the network for the broker."""
        return Network(
            name=self.city.name,
            host="127.0.0.1",
            bind="127.0.0.1",
            councils=tuple(
                Council(tenant=council.tenant, gss=council.gss, name=council.name)
                for council in self.city.councils
            ),
            gateways=tuple(
                Gateway(tenant=gateway.tenant, device=self.devices[gateway.key])
                for gateway in self.city.gateways
            ),
            services=(Service("ingest", tuple(council.tenant for council in self.city.councils)),),
        )


def provision_identities(city: City, layout: Layout) -> Provisioned:
    """Draw device ids and issue certificates; those that are due are renewed with a new key."""
    authority = Authority(layout.authority, city.name)
    devices, client_tail = _drawn(city, layout)
    for gateway in city.gateways:
        certificate = layout.gateway(gateway.key) / "gateway.pem"
        if not certificate.exists() or renewal_due(
            read_certificate(certificate), _unix(datetime.now(UTC))
        ):
            kind = KeyKind.ED25519 if gateway.suite == 1 else KeyKind.P256
            enrol_locally(
                authority,
                gateway.tenant,
                devices[gateway.key],
                layout.gateway(gateway.key),
                kind=kind,
            )
    for name, generate in RECIPIENT_KEYS.items():
        if not (layout.centre / name).exists():
            pem = generate().private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            write_atomically(layout.centre / name, pem, PRIVATE)
    service_key = layout.centre / "service.key"
    if not service_key.exists():
        write_atomically(service_key, secrets.token_hex(32).encode(), PRIVATE)
    return Provisioned(city, layout, authority, devices, client_tail)


async def register(provisioned: Provisioned, dsn: str) -> None:
    """Register councils, gateways, their keys, and a fresh key set for each council."""
    async with await connect(dsn, application_name="kerbstone demo") as conn:
        for council in provisioned.city.councils:
            await add_council(conn, gss=council.gss, tenant=council.tenant, name=council.name)
        for gateway in provisioned.city.gateways:
            device = provisioned.devices[gateway.key]
            await add_gateway(conn, tenant=gateway.tenant, device=device, label=gateway.name)
            certificate = read_certificate(provisioned.layout.gateway(gateway.key) / "gateway.pem")
            await add_signing_key(
                conn,
                device=device,
                key=VerifyingKey.from_public(certificate.public_key()),
                valid_from=certificate.not_valid_before_utc,
                valid_until=certificate.not_valid_after_utc,
            )
        for council in provisioned.city.councils:
            version = await next_key_set_version(conn, council.tenant)
            key_set, message = _key_set(provisioned, council.tenant, version)
            await add_key_set(conn, tenant=council.tenant, key_set=key_set, message=message)


def write_agent_settings(provisioned: Provisioned, broker: EmbeddedBroker) -> dict[str, Path]:
    """Write each gateway's settings file; return them by the gateway's key."""
    return {
        gateway.key: _write_agent(provisioned, gateway, broker)
        for gateway in provisioned.city.gateways
    }


def write_ingest_settings(provisioned: Provisioned, broker: EmbeddedBroker, dsn: str) -> Path:
    """Write ingest's settings: one connection on Mosquitto, one for each council on NATS."""
    centre = provisioned.layout.centre
    tenants = ["+"] if broker.kind == "mosquitto" else list(broker.network.tenants)
    document = {
        "dsn": dsn,
        "service_key_file": centre / "service.key",
        "recipient_key_files": [centre / name for name in RECIPIENT_KEYS],
        "metrics": {"port": 0},
        "broker": [_service_connection(provisioned, broker, tenant) for tenant in tenants],
    }
    return _write(centre / "ingest.toml", document)


def write_serve_settings(provisioned: Provisioned, dsn: str, port: int) -> Path:
    """Write the API's settings."""
    document = {"dsn": dsn, "host": "127.0.0.1", "port": port}
    return _write(provisioned.layout.centre / "serve.toml", document)


def write_analytics_settings(provisioned: Provisioned, dsn: str) -> Path:
    """Write the settings of rollups and housekeeping."""
    return _write(provisioned.layout.centre / "analytics.toml", {"dsn": dsn})


def _drawn(city: City, layout: Layout) -> tuple[dict[str, str], str]:
    """Return the device ids and the tail of ingest's client ids, drawn once and kept."""
    state: dict[str, Any] = {}
    if layout.state.exists():
        state = json.loads(layout.state.read_bytes())
    devices: dict[str, str] = state.setdefault("devices", {})
    for gateway in city.gateways:
        devices.setdefault(gateway.key, new_device_id(os.urandom))
    client_tail: str = state.setdefault("ingest_client_tail", secrets.token_hex(8))
    write_atomically(layout.state, json.dumps(state, indent=1).encode(), PRIVATE)
    return devices, client_tail


def _key_set(provisioned: Provisioned, tenant: str, version: int) -> tuple[KeySet, bytes]:
    now = datetime.now(UTC)
    entries = tuple(
        Recipient(
            key=RecipientPublicKey.from_cose_key(
                _recipient(provisioned.layout.centre / name).cose_key
            ),
            role="region",
            valid_from=_unix(now - timedelta(minutes=5)),
            valid_until=_unix(now + KEY_SET_HARD_LIFE),
        )
        for name in RECIPIENT_KEYS
    )
    key_set = KeySet(
        version=version,
        issued_at=_unix(now),
        soft_expiry=_unix(now + KEY_SET_SOFT_LIFE),
        hard_expiry=_unix(now + KEY_SET_HARD_LIFE),
        suites=(1, 2),
        groups={GROUP: entries},
    )
    signer = provisioned.authority.key_set_signer(tenant)
    message = sign_key_set(
        key_set,
        tenant=tenant,
        signer=SigningKey.from_private(read_key(signer.key)),
        chain=certificate_chain([read_certificate(signer.certificate)]),
    )
    return key_set, message


def _recipient(path: Path) -> RecipientKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, X25519PrivateKey | ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} is neither an X25519 nor a P-256 key")
    return RecipientKey.from_private(key)


def _unix(moment: datetime) -> int:
    return int(moment.timestamp())


def _write_agent(provisioned: Provisioned, gateway: DemoGateway, broker: EmbeddedBroker) -> Path:
    directory = provisioned.layout.gateway(gateway.key)
    endpoint = broker.council_endpoint(gateway.tenant)
    tables: dict[str, dict[str, Any]] = {
        "broker": {
            "host": endpoint.host,
            "port": endpoint.port,
            "mqtt_version": endpoint.mqtt_version,
            "ca_file": directory / "service-root.pem",
            "certificate_file": directory / "gateway.pem",
            "key_file": directory / "gateway.key",
        },
        "trust": {"council_root_file": directory / "council-root.pem"},
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
        "device": provisioned.devices[gateway.key],
        "group": GROUP,
        "state_directory": directory / "state",
        **tables,
        "thing": gateway.things,
        "sensor": gateway.sensors,
    }
    return _write(directory / "agent.toml", document)


def _service_connection(
    provisioned: Provisioned, broker: EmbeddedBroker, tenant: str
) -> dict[str, Any]:
    everyone = tenant == "+"
    endpoint = broker.service_endpoint(broker.network.tenants[0] if everyone else tenant)
    files = provisioned.authority.service_client("ingest", "" if everyone else tenant)
    return {
        "name": "all" if everyone else tenant,
        "host": endpoint.host,
        "port": endpoint.port,
        "mqtt_version": endpoint.mqtt_version,
        "client_id": "ingest" if everyone else f"ingest-{tenant}-{provisioned.client_tail}",
        "ca_file": provisioned.authority.service_root(),
        "certificate_file": files.certificate,
        "key_file": files.key,
        "tenant": tenant,
    }


def _write(path: Path, document: Mapping[str, Any]) -> Path:
    write_atomically(path, toml_text(document).encode(), PRIVATE)
    return path
