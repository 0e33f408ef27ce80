"""The broker of readers: where everybody may subscribe to open data. Pure: values in, texts out.

It is a broker of its own, beside that of gateways and services, and knows neither. On theirs a
stranger could take a gateway's client id, by which Mosquitto ends that gateway's session, and
NATS has one listener for MQTT, which asks everybody for a certificate. Here a stranger can do no
more harm than to other strangers: connections, sessions, messages and memory are bounded, and a
reader may subscribe below `TOPICS`, nothing else. One user publishes there, by a secret drawn at
random; it comes by the readers' listener, under a client id that nobody can guess. It publishes
with QoS 0, so that the broker keeps nothing for readers who are away.

Starting one on this machine is `broker_config.readers_broker`.
"""

import base64
import hashlib
import ipaddress
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker_config.files import BrokerKind
from broker_config.network import PID_FILE, NetworkError

TOPICS: Final = "v1.1"
"""The first level of every topic: the version of the standard (OGC 18-088, clause 14)."""

MARK: Final = "published"
"""Where the publisher alone may publish, and nobody subscribe: the broker's answer to it tells that
all before it has been taken."""

PUBLISHER: Final = "publisher"
READER: Final = "reader"  # what NATS calls whoever gives no name

MAX_MESSAGE_BYTES: Final = 66_560
QUEUED_MESSAGES: Final = 100
"""How many messages wait for a reader that is slow; then it misses some."""

MEMORY_BYTES: Final = 256 << 20
SECRET_BYTES: Final = 32

PASSWORD_FILE: Final = "passwords"  # noqa: S105 - a file's name
ACCESS_FILE: Final = "access.acl"
MAIN_FILES: Final = {BrokerKind.MOSQUITTO: "mosquitto.conf", BrokerKind.NATS: "nats.conf"}

_MOST_PORT: Final = 65535
_ROUNDS: Final = 101  # as Mosquitto does; the secret is 256 random bits, which no rounds add to


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadersBroker:
    """What a broker of readers is told; valid from birth.

    bind, port: where it listens. connections: how many at once, the publisher's among them.
    secret: what the publisher shows. configuration, data: directories, absolute.
    certificate, key: of the server, PEM. run_as: the user Mosquitto becomes when root starts it.

    Raises:
        NetworkError: naming each bad value and what would be right.
    """

    bind: str
    port: int
    connections: int
    secret: str
    configuration: Path
    data: Path
    certificate: Path
    key: Path
    run_as: str = "mosquitto"

    def __post_init__(self) -> None:
        if mistakes := tuple(_mistakes(self)):
            raise NetworkError("\n".join(mistakes))


def _mistakes(broker: ReadersBroker) -> Iterator[str]:
    try:
        ipaddress.ip_address(broker.bind)
    except ValueError:
        yield f"bind = {broker.bind!r} is not an IP address; 0.0.0.0 listens on all interfaces"
    if not 1 <= broker.port <= _MOST_PORT:
        yield f"port = {broker.port} is not a port; allowed: 1 to {_MOST_PORT}"
    if broker.connections < 2:  # noqa: PLR2004 - the publisher and one reader
        yield f"connections = {broker.connections} leaves no room for a reader; give 2 or more"
    if not (broker.secret.isalnum() and len(broker.secret) >= SECRET_BYTES):
        yield f"the publisher's secret is not {SECRET_BYTES} or more letters and digits"


def render(kind: BrokerKind, broker: ReadersBroker) -> dict[str, str]:
    """Return a broker's files by name; `MAIN_FILES` names the one it is started with."""
    return _nats(broker) if kind is BrokerKind.NATS else _mosquitto(broker)


_MOSQUITTO: Final = """\
# Written from the settings of publication; changes here are lost.
user {run_as}
# Who gives a name must be the publisher; who gives none is a reader.
allow_anonymous true
password_file {passwords}
acl_file {access}
pid_file {pid}
persistence false
persistent_client_expiration 1h

max_packet_size {max_message}
max_inflight_messages 20
max_queued_messages {queued}
max_queued_bytes 1048576
memory_limit {memory}
max_keepalive 300
set_tcp_nodelay true

connection_messages false
log_dest stderr
log_type error
log_type warning
log_type notice
log_type information
log_timestamp_format %Y-%m-%dT%H:%M:%S
sys_interval 0

listener {port} {bind}
certfile {certificate}
keyfile {key}
tls_version tlsv1.3
max_connections {connections}
max_topic_alias 0
"""


def _mosquitto(broker: ReadersBroker) -> dict[str, str]:
    configuration = _MOSQUITTO.format(
        run_as=broker.run_as,
        passwords=broker.configuration / PASSWORD_FILE,
        access=broker.configuration / ACCESS_FILE,
        pid=broker.data / PID_FILE,
        max_message=MAX_MESSAGE_BYTES,
        queued=QUEUED_MESSAGES,
        memory=MEMORY_BYTES,
        port=broker.port,
        bind=broker.bind,
        certificate=broker.certificate,
        key=broker.key,
        connections=broker.connections,
    )
    access = (
        "# Before the first user stands what whoever gives no name may do.\n"
        f"topic read {TOPICS}/#\n\n"
        f"user {PUBLISHER}\ntopic write {TOPICS}/#\ntopic write {MARK}\n"
    )
    return {
        MAIN_FILES[BrokerKind.MOSQUITTO]: configuration,
        ACCESS_FILE: access,
        PASSWORD_FILE: f"{PUBLISHER}:{_hashed(broker.secret)}\n",
    }


def _hashed(secret: str) -> str:
    """Return a password as Mosquitto keeps it: PBKDF2 of SHA-512.

    The salt comes from the secret, so that equal settings make equal files.
    """
    salt = hashlib.sha256(b"salt " + secret.encode()).digest()[:12]
    digest = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, _ROUNDS)
    return f"$7${_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


_NATS: Final = """\
# Written from the settings of publication; changes here are lost.
server_name: kerbstone-readers
pid_file: {pid}
# Native NATS clients are not wanted: loopback, and both users below are MQTT only.
listen: "127.0.0.1:-1"
max_connections: {connections}
max_payload: {max_message}
max_control_line: 4KB
max_pending: 1MB
max_subscriptions: 32
write_deadline: "5s"

# MQTT on NATS needs a store, for sessions; of messages nothing is in it.
jetstream {{
  store_dir: {data}
  max_file_store: 128MB
  max_memory_store: 16MB
}}

mqtt {{
  listen: {listen}
  no_auth_user: {reader}
  max_ack_pending: {queued}
  tls {{
    cert_file: {certificate}
    key_file: {key}
    min_version: "1.3"
    timeout: 10
  }}
}}

accounts {{
  readers: {{
    jetstream: {{ max_file: 128MB, max_memory: 16MB, max_consumers: 64 }}
    users: [
      {{ user: {publisher}, password: {secret}, allowed_connection_types: ["MQTT"], permissions: {{
          publish: {{ allow: [{subjects}, {mark}] }}
          subscribe: {{ deny: [">"] }} }} }}
      {{ user: {reader}, password: {never}, allowed_connection_types: ["MQTT"], permissions: {{
          publish: {{ deny: [">"] }}
          subscribe: {{ allow: [{subjects}] }} }} }}
    ]
  }}
}}
"""


def _nats(broker: ReadersBroker) -> dict[str, str]:
    """Return NATS' file. MQTT's `/` is `.` in a subject, and `.` is `//`; `(` and `)` stay."""
    host = f"[{broker.bind}]" if ":" in broker.bind else broker.bind
    below = TOPICS.replace(".", "//")
    never = hashlib.sha256(b"reader " + broker.secret.encode()).hexdigest()
    text = _NATS.format(
        pid=json.dumps(str(broker.data / PID_FILE)),
        connections=broker.connections,
        max_message=MAX_MESSAGE_BYTES,
        data=json.dumps(str(broker.data)),
        listen=json.dumps(f"{host}:{broker.port}"),
        reader=json.dumps(READER),
        publisher=json.dumps(PUBLISHER),
        queued=QUEUED_MESSAGES,
        certificate=json.dumps(str(broker.certificate)),
        key=json.dumps(str(broker.key)),
        secret=json.dumps(broker.secret),
        never=json.dumps(never),
        mark=json.dumps(MARK),
        subjects=f"{json.dumps(f'{below}.>')}, {json.dumps(below)}",  # what MQTT's `#` stands for
    )
    return {MAIN_FILES[BrokerKind.NATS]: text}
