"""Mosquitto's configuration of a network. Pure: a description in, file texts out.

One listener and root for each council, and one of the services with the service root. A
gateway's user name is its certificate's whole subject, which the name constraints in a
council's root (`enrolment.policy`) keep inside that council; a service's is its CN. Either
is also the client id, which no client can choose for itself.

A council's listener checks the council's certificate revocation list. Mosquitto reads it again
when it is told to reload, and lets go of nobody: whoever is connected stays so, mute once left
out of the access list. Therefore one more listener, on loopback, trusts a single certificate,
the keeper's, whose bearer may choose any client id: to come under somebody else's ends that
session (`broker_config.keeper`). Nothing may be published or read there.

There is one access list for all listeners, not one each: with per_listener_settings
Mosquitto 2.0.12 and later keep nothing for clients that are away, since an absent client
has no listener whose list could allow it. Running the broker is `broker_config.embedded`.
"""

from pathlib import Path

from broker_config.network import (
    KEEPER,
    LOOPBACK,
    MAX_PACKET_BYTES,
    PID_FILE,
    TOPIC_ROOT,
    BrokerPaths,
    Council,
    Gateway,
    Network,
    NetworkError,
    Service,
)

MAIN_FILE = "mosquitto.conf"
KEEPER_CERTIFICATE_FILE = "keeper.pem"  # put there by `broker_config.keeper_credential`

_ACCESS_FILE = "access.acl"

_GLOBAL = """\
# Written from the network description; changes here are lost.
user {run_as}
allow_anonymous false
acl_file {acl}
pid_file {pid}

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
{user_from} true
{further}"""


def render(network: Network, paths: BrokerPaths, *, run_as: str = "mosquitto") -> dict[str, str]:
    """Return Mosquitto's files by name; `MAIN_FILE` is the one it is started with.

    run_as: the user Mosquitto becomes when root starts it; it must be able to read the
    certificates and write `paths.data`.

    Raises:
        NetworkError: a listener's port is still 0.
    """
    settings = _GLOBAL.format(
        run_as=run_as,
        acl=paths.configuration / _ACCESS_FILE,
        pid=paths.data / PID_FILE,
        data=paths.data,
        max_packet=MAX_PACKET_BYTES,
    )
    listeners = [
        _service_listener(network, paths),
        _keeper_listener(network, paths),
        *(_council_listener(council, network, paths) for council in network.councils),
    ]
    return {MAIN_FILE: settings + "".join(listeners), _ACCESS_FILE: _access(network)}


def _service_listener(network: Network, paths: BrokerPaths) -> str:
    return _listener(
        "The services",
        network.service_port,
        paths,
        bind=network.bind,
        root=paths.certificates.service_root,
        user_from="use_identity_as_username",
        further="use_username_as_clientid true\n",
    )


def _keeper_listener(network: Network, paths: BrokerPaths) -> str:
    """Render the listener where client ids are free to choose, for one certificate alone."""
    return _listener(
        "The keeper",
        network.keeper_port,
        paths,
        bind=LOOPBACK,
        root=paths.configuration / KEEPER_CERTIFICATE_FILE,
        user_from="use_identity_as_username",
    )


def _council_listener(council: Council, network: Network, paths: BrokerPaths) -> str:
    revoked = paths.certificates.revocation_lists.get(council.tenant)
    return _listener(
        council.name,
        council.port,
        paths,
        bind=network.bind,
        root=paths.certificates.council_roots[council.tenant],
        user_from="use_subject_as_username",
        further="use_username_as_clientid true\n" + (f"crlfile {revoked}\n" if revoked else ""),
    )


def _listener(
    name: str,
    port: int,
    paths: BrokerPaths,
    *,
    bind: str,
    root: Path,
    user_from: str,
    further: str = "",
) -> str:
    if not port:
        raise NetworkError(f"{name}: port = 0 is no listener; give it a port of its own")
    return _LISTENER.format(
        comment=name,
        port=port,
        bind=bind,
        root=root,
        certificate=paths.certificates.server_certificate,
        key=paths.certificates.server_key,
        user_from=user_from,
        further=further,
    )


def _access(network: Network) -> str:
    """Grant each its own topics by name: one left out of the description is mute."""
    users = [f"\nuser {KEEPER}\n"]  # no topic follows: it may do nothing either
    users += [_service_access(service) for service in network.services]
    users += [_gateway_access(gateway) for gateway in network.gateways]
    return "# Whoever is not named here may do nothing.\n" + "".join(users)


def _service_access(service: Service) -> str:
    lines = [f"user {service.name}"]
    for tenant in service.tenants:
        council = f"{TOPIC_ROOT}/{tenant}"
        lines += [
            f"topic read {council}/+/k/#",
            f"topic read {council}/+/d/#",
            f"topic write {council}/+/a/#",
            f"topic write {council}/+/c",
            f"topic write {council}/r",
        ]
    return "\n" + "\n".join(lines) + "\n"


def _gateway_access(gateway: Gateway) -> str:
    own = f"{TOPIC_ROOT}/{gateway.tenant}/{gateway.device}"
    lines = (
        f"user {gateway.subject}",
        f"topic write {own}/k/#",
        f"topic write {own}/d/#",
        f"topic read {own}/a/#",
        f"topic read {own}/c",
        f"topic read {TOPIC_ROOT}/{gateway.tenant}/r",
    )
    return "\n" + "\n".join(lines) + "\n"
