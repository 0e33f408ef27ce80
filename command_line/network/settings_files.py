"""The settings files of the central processes, as `kerbstone network init` first writes them.

They belong to the operator from then on: what is there is kept. Only a new council on NATS, where
ingest needs a connection of its own for each, is added at the end of a file that exists.
"""

import ipaddress
import secrets
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from broker_config.files import BrokerKind
from broker_config.nodes import Node
from command_line.network.directory import INGEST, PRIVATE, Description, NetworkDirectory
from command_line.network.first_messages import MAIN
from command_line.network.options import InitOptions, Telling
from command_line.toml_text import toml_text
from enrolment.authority import Authority
from enrolment.settings import BrokerFilesSettings, EnrolmentSettings
from ingest.settings import IngestSettings
from runtime.atomic_files import write_atomically
from runtime.settings import load

EVERYONE: Final = "+"

_LOOPBACK: Final = "127.0.0.1"
_DATA: Final = {
    BrokerKind.MOSQUITTO: Path("/var/lib/mosquitto"),
    BrokerKind.NATS: Path("/var/lib/nats"),
}
_RESTART: Final = {
    BrokerKind.MOSQUITTO: ("systemctl", "restart", "mosquitto"),
    BrokerKind.NATS: ("systemctl", "restart", "nats-server"),
}
_RELOAD: Final = {
    BrokerKind.MOSQUITTO: ("systemctl", "reload", "mosquitto"),
    BrokerKind.NATS: ("systemctl", "reload", "nats-server"),
}


def write(
    directory: NetworkDirectory, options: InitOptions, described: Description, authority: Authority
) -> list[Path]:
    """Write the settings files that are missing, or all if told so; return those written."""
    documents = {
        directory.ingest_settings: _ingest(directory, options, described, authority),
        directory.serve_settings: _serve(directory, options),
        directory.analytics_settings: _database(directory),
        directory.enrolment_settings: _enrolment(directory, options),
    }
    if options.readers_port is not None:
        documents[directory.publish_settings] = _publish(directory, options, authority)
    written = []
    for path, document in documents.items():
        if options.replace_settings or not path.exists():
            whole = _merged(document, options.settings.get(path.stem, {}))
            write_atomically(path, toml_text(whole).encode(), PRIVATE)
            written.append(path)
    return written


def add_connection(
    directory: NetworkDirectory, described: Description, authority: Authority, tenant: str
) -> bool:
    """Give ingest a connection for a new council where it needs one; return whether it did.

    A file in which the operator lists connections by hand gets the new one like any other.
    """
    file = directory.ingest_settings
    text = file.read_text(encoding="utf-8")
    served = {row.get("tenant", EVERYONE) for row in tomllib.loads(text).get("broker", [])}
    if EVERYONE in served or tenant in served:
        return False
    connection = _connection(described, authority, BrokerKind.NATS, tenant, "")
    added = text.rstrip("\n") + "\n" + toml_text({"broker": [connection]})
    write_atomically(file, added.encode(), PRIVATE)
    return True


def add_nodes(
    directory: NetworkDirectory, nodes: Sequence[Node], telling: Telling
) -> tuple[str, ...]:
    """Tell the enrolment service how nodes are told that have no table there; return their names.

    A table that is there is the operator's, and stays.
    """
    kept = kept_broker(directory)
    if kept is None:
        return ()
    known = {node.name for node in kept.node}
    missing = [node for node in nodes if node.name not in known]
    if missing:
        file = directory.enrolment_settings
        tables = [telling.table(node, kept.configuration_directory / node.name) for node in missing]
        text = file.read_text(encoding="utf-8").rstrip("\n") + "\n"
        write_atomically(file, (text + toml_text({"broker.node": tables})).encode(), PRIVATE)
    return tuple(node.name for node in missing)


def connections_by_mqtt(directory: NetworkDirectory) -> tuple[str, ...]:
    """Return the names of ingest's connections that read no stream of a cluster."""
    document = tomllib.loads(directory.ingest_settings.read_text(encoding="utf-8"))
    return tuple(
        str(row.get("name"))
        for row in document.get("broker", [])
        if row.get("receive") != "jetstream"
    )


def default_data(kind: BrokerKind) -> Path:
    """Return where a broker installed from Debian keeps its own store."""
    return _DATA[kind]


def broker_kind(directory: NetworkDirectory) -> BrokerKind:
    """Return which broker the enrolment service keeps.

    Raises:
        NetworkDirectoryError: no network has been made here.
        SettingsError: the enrolment service's settings hold mistakes.
    """
    kept = kept_broker(directory)
    return BrokerKind(kept.kind) if kept else BrokerKind.MOSQUITTO


def kept_broker(directory: NetworkDirectory) -> BrokerFilesSettings | None:
    """Return what the enrolment service is told of the broker it keeps; None if it keeps none.

    Raises:
        NetworkDirectoryError, SettingsError: as `broker_kind`.
    """
    directory.check()
    return load(EnrolmentSettings, directory.enrolment_settings).broker


def ingest_suites(directory: NetworkDirectory) -> tuple[int, ...]:
    """Return the suites of the envelope that ingest accepts."""
    text = directory.ingest_settings.read_text(encoding="utf-8")
    default = {field.name: field.default for field in fields(IngestSettings)}["suites"]
    return tuple(tomllib.loads(text).get("suites", default))


def _database(directory: NetworkDirectory) -> dict[str, Any]:
    return {"dsn_file": directory.database_file}


def _serve(directory: NetworkDirectory, options: InitOptions) -> dict[str, Any]:
    enrolment = {"url_base": options.public_url, "region_root_file": directory.region_root}
    document: dict[str, Any] = {**_database(directory)}
    if options.readers_port is not None:
        document["mqtt_endpoints"] = [f"mqtts://{_bracketed(options.host)}:{options.readers_port}"]
    return {**document, "enrolment": enrolment}


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _publish(
    directory: NetworkDirectory, options: InitOptions, authority: Authority
) -> dict[str, Any]:
    server = authority.broker_server([options.host])
    broker = {
        "kind": options.broker.value,
        "host": options.host,
        "port": options.readers_port,
        "bind": options.bind,
        "secret_file": directory.publisher_secret,
        "ca_file": authority.region_root(),
        "certificate_file": server.certificate,
        "key_file": server.key,
    }
    return {**_database(directory), "base_url": options.api_url, "broker": broker}


def _ingest(
    directory: NetworkDirectory,
    options: InitOptions,
    described: Description,
    authority: Authority,
) -> dict[str, Any]:
    if options.broker is BrokerKind.MOSQUITTO:
        tenants = [EVERYONE]
    else:
        tenants = [council.tenant for council in described.councils]
    document: dict[str, Any] = {
        **_database(directory),
        "service_key_file": directory.service_key,
        "recipient_key_directory": directory.recipients,
    }
    if tenants:  # an empty list, once written, could not be added to
        held = _client_ids(directory)
        document["broker"] = [
            _connection(described, authority, options.broker, tenant, held.get(tenant, ""))
            for tenant in tenants
        ]
    return document


def _client_ids(directory: NetworkDirectory) -> dict[str, str]:
    """Return ingest's client ids so far, by tenant: what waits at the broker waits for them."""
    try:
        document = tomllib.loads(directory.ingest_settings.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {row.get("tenant", EVERYONE): row["client_id"] for row in document.get("broker", [])}


def _connection(
    described: Description, authority: Authority, kind: BrokerKind, tenant: str, client_id: str
) -> dict[str, Any]:
    """client_id: the one it has; empty: it is drawn."""
    everyone = tenant == EVERYONE
    files = authority.service_client(INGEST, "" if everyone else tenant)
    return {
        "name": "all" if everyone else tenant,
        **_place(described),
        "mqtt_version": "5" if kind is BrokerKind.MOSQUITTO else "3.1.1",
        # On NATS whoever knows a client id of the same council could end its session.
        "client_id": client_id
        or (INGEST if everyone else f"{INGEST}-{tenant}-{secrets.token_hex(8)}"),
        "ca_file": authority.region_root(),
        "certificate_file": files.certificate,
        "key_file": files.key,
        "tenant": tenant,
        "groups": [MAIN],
    }


def _place(described: Description) -> dict[str, Any]:
    """Return where ingest finds the broker, or every node and its stream."""
    if not described.nodes:
        return {"host": _near(described), "port": described.service_port}
    nodes = [
        {"host": node.host, "port": node.mqtt_port, "native_port": node.native_port}
        for node in described.nodes
    ]
    return {"receive": "jetstream", "node": nodes}


def _near(described: Description) -> str:
    """Return where a process on the broker's own machine reaches it."""
    bound = ipaddress.ip_address(described.bind)
    return _LOOPBACK if bound.is_unspecified or bound.is_loopback else described.host


def _enrolment(directory: NetworkDirectory, options: InitOptions) -> dict[str, Any]:
    broker: dict[str, Any] = {
        "kind": options.broker.value,
        "configuration_directory": directory.broker,
        "data_directory": options.broker_data or _DATA[options.broker],
    }
    if options.pid_file is not None:
        broker["pid_file"] = options.pid_file
    else:
        broker["reload_command"] = list(options.reload_command or _RELOAD[options.broker])
    if options.restart_command is not None:
        broker["restart_command"] = list(options.restart_command)
    elif options.reload_command is None and options.pid_file is None:
        broker["restart_command"] = list(_RESTART[options.broker])
    document: dict[str, Any] = {
        **_database(directory),
        "host": options.bind,
        "port": options.enrolment_port,
        "public_url": options.public_url,
        "authority_directory": directory.authority,
        "network_file": directory.network_file,
        "broker": broker,
    }
    if options.passphrase_file is not None:
        document["passphrase_file"] = options.passphrase_file.absolute()
    return document


def _merged(document: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return `document` with `more` in it; tables are merged key by key."""
    merged = dict(document)
    for key, value in more.items():
        held = merged.get(key)
        both = isinstance(held, Mapping) and isinstance(value, Mapping)
        merged[key] = {**held, **value} if both and held is not None else value
    return merged
