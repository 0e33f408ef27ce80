"""NATS' configuration of a network. Pure: a description in, file texts out.

One account for each council, so that no subject of one exists in another. The user is the
DNS name in the client's certificate, "<device>.<tenant>" or "<service>.<tenant>._services",
which also picks the account. All councils share one listener, and what keeps one council's root
from naming another's gateway are the name constraints in that root (`enrolment.policy`).

NATS speaks MQTT 3.1.1 only, and lets a client choose any client id within its account.

A node of a cluster has two listeners more. By the native one services take their council's messages
from the stream in which NATS keeps what came by MQTT (`ingest.receiving.nats_intake`), and the
keeper makes that stream and the services' consumers (`broker_config.stream`); gateways are not let
in there. By the route the nodes speak with one another: it trusts a certificate that leads to the
service root only where it names one of the nodes.

Running a broker is `broker_config.embedded`, running a cluster `broker_config.cluster`.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from broker_config.network import (
    KEEPER,
    MAX_PACKET_BYTES,
    PID_FILE,
    TOPIC_ROOT,
    BrokerPaths,
    Council,
    Gateway,
    Network,
    NetworkError,
    Service,
    service_user,
)
from broker_config.nodes import REPLICAS, Node

MAIN_FILE = "nats.conf"
ROOTS_FILE = "roots.pem"  # every root in one file, put there by `broker_config.files`

STREAM = "$MQTT_msgs"
"""Where NATS keeps, by council, what came by MQTT with QoS 1 or 2. A name of NATS' own: what is
relied on is held by tests/integration/test_nats_contract.py against the pinned version."""

STREAM_SUBJECTS = "$MQTT.msgs."
"""What a topic's subject is preceded by in that stream."""

OTHER_STORE_BYTES = 256 << 20
"""Room for a council's retained messages and sessions, beside the stream."""

_SUBJECT_ROOT = TOPIC_ROOT.replace("/", ".")  # NATS maps the levels of a topic to tokens
_DELIVERY = "$MQTT.sub.>"  # where JetStream hands a QoS 1 subscription its messages

_SERVER = """\
# Written from the network description; changes here are lost.
server_name: kerbstone
pid_file: {pid}
# Native NATS clients are not wanted: loopback, and every user below is MQTT only.
listen: "127.0.0.1:-1"
max_payload: {max_payload}

jetstream {{
  store_dir: {data}
  max_file_store: 2GB
  max_memory_store: 64MB
  # A crash loses what came after the last sync. That is only a resend: gateways keep
  # readings until the centre acknowledges them end to end.
  sync_interval: "10s"
}}

{tls}
mqtt {{
  listen: {listen}
  ack_wait: "60s"
  max_ack_pending: 1000
{mqtt_tls}}}
"""

_TLS = """\
tls {{
  cert_file: {certificate}
  key_file: {key}
  ca_file: {roots}
  verify_and_map: true
  min_version: "1.3"
  timeout: 10
}}
"""


_NODE = """\
# Written from the network description; changes here are lost.
server_name: {name}
pid_file: {pid}
# Services alone, each let in to what its certificate names; every gateway below is MQTT only.
listen: {native}
max_payload: {max_payload}

jetstream {{
  store_dir: {data}
  max_file_store: {store}
  max_memory_store: 64MB
  # A gateway hears of its message once two of three nodes have it on disk.
  sync_interval: always
}}

{native_tls}
mqtt {{
  listen: {listen}
  ack_wait: "60s"
  max_ack_pending: 1000
  stream_replicas: {replicas}
{mqtt_tls}}}

cluster {{
  name: {cluster}
  listen: {route}
  # Other than by TLS nobody is a node, and whoever is must be one of these by its certificate.
  routes: {routes}
  connect_retries: 30
{route_tls}}}
"""

_ROUTE_TLS = """\
tls {{
  cert_file: {certificate}
  key_file: {key}
  ca_file: {root}
  verify_cert_and_check_known_urls: true
  min_version: "1.3"
  timeout: 10
}}
"""


def render(network: Network, paths: BrokerPaths, node: str = "") -> dict[str, str]:
    """Return NATS' files by name; `MAIN_FILE` is the one it is started with.

    node: which of the cluster's nodes they are for; empty where the network has none.
    The rendering names `ROOTS_FILE` in the same directory, which must hold all roots.

    Raises:
        NetworkError: `service_port`, here the listener of everyone, or a port of a node, is still
            0; no such node.
    """
    server = _node(network, paths, network.node(node)) if node else _server(network, paths)
    accounts = "".join(_account(network, council) for council in network.councils)
    return {MAIN_FILE: f"{server}\naccounts {{\n{accounts}}}\n"}


def _server(network: Network, paths: BrokerPaths) -> str:
    if network.nodes:
        names = ", ".join(node.name for node in network.nodes)
        raise NetworkError(f"the network is a cluster: say for which of its nodes, {names}")
    if not network.service_port:
        raise NetworkError("service_port = 0 is no listener; give it a port of its own")
    tls = _everyones_tls(paths)
    return _SERVER.format(
        max_payload=MAX_PACKET_BYTES,
        data=_path(paths.data),
        pid=_path(paths.data / PID_FILE),
        tls=tls,
        listen=_listener(network, network.service_port),
        mqtt_tls=_indented(tls, 2),
    )


def _node(network: Network, paths: BrokerPaths, node: Node) -> str:
    for each in network.nodes:
        for key, port in each.ports.items():
            if not port:
                raise NetworkError(f"node {each.name!r}: {key} = 0 is no listener; give it a port")
    route_tls = _ROUTE_TLS.format(
        certificate=_path(paths.certificates.server_certificate),
        key=_path(paths.certificates.server_key),
        root=_path(paths.certificates.service_root),
    )
    room = network.council_store_bytes + OTHER_STORE_BYTES
    return _NODE.format(
        name=node.name,
        pid=_path(paths.data / PID_FILE),
        native=_listener(network, node.native_port),
        max_payload=MAX_PACKET_BYTES,
        data=_path(paths.data),
        store=room * len(network.councils),
        native_tls=_tls(paths, paths.certificates.service_root),
        listen=_listener(network, node.mqtt_port),
        replicas=REPLICAS,
        mqtt_tls=_indented(_everyones_tls(paths), 2),
        cluster=json.dumps(_cluster_name(network)),
        route=_listener(network, node.route_port),
        routes=json.dumps([f"nats://{each.host}:{each.route_port}" for each in network.nodes]),
        route_tls=_indented(route_tls, 2),
    )


def _cluster_name(network: Network) -> str:
    """Return the network's name as NATS takes it: without spaces."""
    return "-".join(network.name.split())


def _everyones_tls(paths: BrokerPaths) -> str:
    """Return the TLS of a listener where gateways and services come in."""
    return _tls(paths, paths.configuration / ROOTS_FILE)


def _tls(paths: BrokerPaths, roots: Path) -> str:
    return _TLS.format(
        certificate=_path(paths.certificates.server_certificate),
        key=_path(paths.certificates.server_key),
        roots=_path(roots),
    )


def _listener(network: Network, port: int) -> str:
    return json.dumps(f"{_bracketed(network.bind)}:{port}")


def _account(network: Network, council: Council) -> str:
    users = [_gateway(gateway) for gateway in network.gateways_of(council.tenant)]
    natively = bool(network.nodes)
    users += [
        _service(service, council, natively=natively)
        for service in network.services_of(council.tenant)
    ]
    if natively:
        users.append(_keeper(council))
    return (
        f"  council-{council.tenant}: {{\n"
        f"    jetstream: {_limits(network)}\n"
        "    users: [\n" + "".join(users) + "    ]\n"
        "  }\n"
    )


def _limits(network: Network) -> str:
    """Return what a council may store: on one broker no more than all, on a cluster its share."""
    if not network.nodes:
        return "enabled"
    every_copy = (network.council_store_bytes + OTHER_STORE_BYTES) * REPLICAS
    return f"{{ max_file: {every_copy}, max_memory: 0 }}"


def _gateway(gateway: Gateway) -> str:
    own = f"{_SUBJECT_ROOT}.{gateway.tenant}.{gateway.device}"
    return _user(
        gateway.user,
        publish=(f"{own}.k.>", f"{own}.d.>"),
        subscribe=(
            *_with_parent(f"{own}.a"),
            f"{own}.c",
            f"{_SUBJECT_ROOT}.{gateway.tenant}.r",
            _DELIVERY,
        ),
    )


def _service(service: Service, council: Council, *, natively: bool) -> str:
    """Return a service's rights; natively: also to take from a consumer of its own name."""
    below = f"{_SUBJECT_ROOT}.{council.tenant}"
    publish = [f"{below}.*.a.>", f"{below}.*.c", f"{below}.r"]
    subscribe = [*_with_parent(f"{below}.*.k"), *_with_parent(f"{below}.*.d"), _DELIVERY]
    if natively:
        publish += (
            f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{service.name}",
            f"$JS.API.CONSUMER.INFO.{STREAM}.{service.name}",
            f"$JS.ACK.{STREAM}.{service.name}.>",
        )
        subscribe.append(f"{inbox_prefix(service.name)}.>")
    return _user(
        service_user(service.name, council.tenant),
        publish=publish,
        subscribe=subscribe,
        natively=natively,
    )


def _keeper(council: Council) -> str:
    """Return the rights of whoever makes a council's stream and its consumers."""
    publish = [f"$JS.API.STREAM.{verb}.{STREAM}" for verb in ("CREATE", "UPDATE", "INFO")]
    publish += [f"$JS.API.CONSUMER.CREATE.{STREAM}.*", f"$JS.API.CONSUMER.INFO.{STREAM}.*"]
    return _user(
        service_user(KEEPER, council.tenant),
        publish=publish,
        subscribe=[f"{inbox_prefix(KEEPER)}.>"],
        natively=True,
    )


def inbox_prefix(service: str) -> str:
    """Return where a service that speaks natively hears answers: no other may listen there."""
    return f"_INBOX.{service}"


def _with_parent(subject: str) -> tuple[str, str]:
    """Allow what MQTT's `#` stands for: every level below, and the level itself."""
    return f"{subject}.>", subject


def _user(
    name: str, *, publish: Iterable[str], subscribe: Iterable[str], natively: bool = False
) -> str:
    ways = ["MQTT", "STANDARD"] if natively else ["MQTT"]
    return (
        f'      {{ user: "{name}", allowed_connection_types: {json.dumps(ways)}, permissions: {{\n'
        f"          publish: {json.dumps(list(publish))}\n"
        f"          subscribe: {json.dumps(list(subscribe))} }} }}\n"
    )


def _path(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _indented(text: str, spaces: int) -> str:
    return "".join(" " * spaces + line for line in text.splitlines(keepends=True))
