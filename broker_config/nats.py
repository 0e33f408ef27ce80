"""NATS' configuration of a network. Pure: a description in, file texts out.

One account for each council, so that no subject of one exists in another. The user is the
DNS name in the client's certificate, "<device>.<tenant>" or "<service>.<tenant>._services",
which also picks the account. All councils share one listener, and what keeps one council's root
from naming another's gateway are the name constraints in that root (`enrolment.policy`).

NATS speaks MQTT 3.1.1 only, and lets a client choose any client id within its account.
Running the broker is `broker_config.embedded`.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from broker_config.network import (
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

MAIN_FILE = "nats.conf"
ROOTS_FILE = "roots.pem"  # every root in one file, put there by `broker_config.files`

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


def render(network: Network, paths: BrokerPaths) -> dict[str, str]:
    """Return NATS' files by name; `MAIN_FILE` is the one it is started with.

    The rendering names `ROOTS_FILE` in the same directory, which must hold all roots.

    Raises:
        NetworkError: `service_port`, here the listener of everyone, is still 0.
    """
    if not network.service_port:
        raise NetworkError("service_port = 0 is no listener; give it a port of its own")
    tls = _TLS.format(
        certificate=_path(paths.certificates.server_certificate),
        key=_path(paths.certificates.server_key),
        roots=_path(paths.configuration / ROOTS_FILE),
    )
    server = _SERVER.format(
        max_payload=MAX_PACKET_BYTES,
        data=_path(paths.data),
        pid=_path(paths.data / PID_FILE),
        tls=tls,
        listen=json.dumps(f"{_bracketed(network.bind)}:{network.service_port}"),
        mqtt_tls=_indented(tls, 2),
    )
    accounts = "".join(_account(network, council) for council in network.councils)
    return {MAIN_FILE: f"{server}\naccounts {{\n{accounts}}}\n"}


def _account(network: Network, council: Council) -> str:
    users = [_gateway(gateway) for gateway in network.gateways_of(council.tenant)]
    users += [_service(service, council) for service in network.services_of(council.tenant)]
    return (
        f"  council-{council.tenant}: {{\n"
        "    jetstream: enabled\n"
        "    users: [\n" + "".join(users) + "    ]\n"
        "  }\n"
    )


def _gateway(gateway: Gateway) -> str:
    own = f"{_SUBJECT_ROOT}.{gateway.tenant}.{gateway.device}"
    return _user(
        gateway.user,
        publish=(f"{own}.k.>", f"{own}.d.>"),
        subscribe=(
            *_with_parent(f"{own}.a"),
            f"{own}.c",
            f"{_SUBJECT_ROOT}.{gateway.tenant}.r",
        ),
    )


def _service(service: Service, council: Council) -> str:
    below = f"{_SUBJECT_ROOT}.{council.tenant}"
    return _user(
        service_user(service.name, council.tenant),
        publish=(f"{below}.*.a.>", f"{below}.*.c", f"{below}.r"),
        subscribe=(*_with_parent(f"{below}.*.k"), *_with_parent(f"{below}.*.d")),
    )


def _with_parent(subject: str) -> tuple[str, str]:
    """Allow what MQTT's `#` stands for: every level below, and the level itself."""
    return f"{subject}.>", subject


def _user(name: str, *, publish: Iterable[str], subscribe: Iterable[str]) -> str:
    return (
        f'      {{ user: "{name}", allowed_connection_types: ["MQTT"], permissions: {{\n'
        f"          publish: {json.dumps(list(publish))}\n"
        f"          subscribe: {json.dumps([*subscribe, _DELIVERY])} }} }}\n"
    )


def _path(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _indented(text: str, spaces: int) -> str:
    return "".join(" " * spaces + line for line in text.splitlines(keepends=True))
