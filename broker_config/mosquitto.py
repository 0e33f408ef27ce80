"""Mosquitto's configuration of a network. Pure: a description in, file texts out.

One listener, root and access list for each council, and one of the services with the
service root: on a shared listener one council's root could certify another council's
gateway. The user is the certificate's CN, and so is the client id, which no client can
choose for itself. Running the broker is `broker_config.embedded`.
"""

from broker_config.network import (
    MAX_PACKET_BYTES,
    TOPIC_ROOT,
    BrokerPaths,
    Council,
    Network,
    NetworkError,
)

MAIN_FILE = "mosquitto.conf"

_SERVICES_ACL = "services.acl"

_GLOBAL = """\
# Written from the network description; changes here are lost.
per_listener_settings true
user {run_as}

persistence true
persistence_location {data}/
# A crash loses what came after the last save. That is only a resend: gateways keep readings
# until the centre acknowledges them end to end.
autosave_interval 30
persistent_client_expiration 14d

max_packet_size {max_packet}
max_inflight_messages 1000
max_queued_messages 100000
max_queued_bytes 268435456
max_keepalive 300
set_tcp_nodelay true

log_dest stderr
log_type error
log_type warning
log_type notice
log_type information
log_timestamp_format %Y-%m-%dT%H:%M:%S
sys_interval 0
"""

_LISTENER = """
# {comment}
listener {port} {bind}
cafile {root}
certfile {certificate}
keyfile {key}
tls_version tlsv1.3
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file {acl}
"""


def render(network: Network, paths: BrokerPaths, *, run_as: str = "mosquitto") -> dict[str, str]:
    """Return Mosquitto's files by name; `MAIN_FILE` is the one it is started with.

    run_as: the user Mosquitto becomes when root starts it; it must be able to read the
    certificates and write `paths.data`.

    Raises:
        NetworkError: a listener's port is still 0.
    """
    listeners = [
        _listener(network, paths, None),
        *(_listener(network, paths, council) for council in network.councils),
    ]
    main = _GLOBAL.format(run_as=run_as, data=paths.data, max_packet=MAX_PACKET_BYTES)
    files = {MAIN_FILE: main + "".join(listeners), _SERVICES_ACL: _services_acl(network)}
    for council in network.councils:
        files[_acl_file(council)] = _council_acl(network, council)
    return files


def _acl_file(council: Council) -> str:
    return f"council-{council.tenant}.acl"


def _listener(network: Network, paths: BrokerPaths, council: Council | None) -> str:
    """Render a council's listener, or the services' for None."""
    port = council.port if council else network.service_port
    name = council.name if council else "The services"
    if not port:
        raise NetworkError(f"{name}: port = 0 is no listener; give it a port of its own")
    held = paths.certificates
    return _LISTENER.format(
        comment=name,
        port=port,
        bind=network.bind,
        root=held.council_roots[council.tenant] if council else held.service_root,
        certificate=held.server_certificate,
        key=held.server_key,
        acl=paths.configuration / (_acl_file(council) if council else _SERVICES_ACL),
    )


def _council_acl(network: Network, council: Council) -> str:
    """Grant each gateway its own topics by name: one left out of the description is mute."""
    lines = [f"# Gateways of {council.name}; whoever is not named may do nothing."]
    for gateway in network.gateways_of(council.tenant):
        own = f"{TOPIC_ROOT}/{gateway.tenant}/{gateway.device}"
        lines += [
            "",
            f"user {gateway.device}",
            f"topic write {own}/k/#",
            f"topic write {own}/d/#",
            f"topic read {own}/a/#",
            f"topic read {own}/c",
            f"topic read {TOPIC_ROOT}/{gateway.tenant}/r",
        ]
    return "\n".join(lines) + "\n"


def _services_acl(network: Network) -> str:
    lines = ["# Central services, each confined to the councils it takes in."]
    for service in network.services:
        lines += ["", f"user {service.name}"]
        for tenant in service.tenants:
            council = f"{TOPIC_ROOT}/{tenant}"
            lines += [
                f"topic read {council}/+/k/#",
                f"topic read {council}/+/d/#",
                f"topic write {council}/+/a/#",
                f"topic write {council}/+/c",
                f"topic write {council}/r",
            ]
    return "\n".join(lines) + "\n"
