"""The broker's files in a directory of choice, where the enrolment service cannot keep them.

The enrolment service keeps the network's own broker up to date by itself; this is the same, once,
by hand.
"""

import asyncio
import os
import pwd
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from broker_config.files import BrokerKind, render, write
from broker_config.keeper import Act, Keeper
from broker_config.network import BrokerCertificates, BrokerPaths, Network
from command_line.network.directory import (
    NetworkDirectory,
    NetworkDirectoryError,
    read_description,
)
from command_line.network.setup import operator
from enrolment.description import describe
from storage import audit, registry
from storage.certificates import revocation_lists

_SHARED: Final = 0o750
_OWNERS: Final = 0o700


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """How a running broker is told: by a command, else by a signal to the process in a file."""

    command: Act | None = None
    pid_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written, and what the broker made of it if it was told.

    main: the file to start the broker with. gateways: how many may connect. ended: devices whose
    sessions were ended. restart_needed: Mosquitto opens listeners only when it starts. readable:
    whether the broker's user has been given the right to read them, now and when they change.
    """

    main: Path
    gateways: int
    ended: tuple[str, ...] = ()
    restart_needed: bool = False
    readable: bool = False


async def export(
    directory: NetworkDirectory,
    *,
    kind: BrokerKind,
    output: Path,
    data: Path,
    run_as: str = "mosquitto",
    node: str = "",
    reload: Reload | None = None,
    actor: str = "",
) -> Exported:
    """Write everything a broker reads to `output`, copies of certificates and its key included.

    data: where the broker keeps its own store. run_as: the user it is when it reads them, which
    is in no other way needed on NATS; who is no user here leaves the files to their owner alone.
    node: which of a NATS cluster's nodes they are for. reload: tells a running broker, whose
    sessions of gateways that are left out are then ended; None: nobody is told.

    Raises:
        NetworkDirectoryError, NetworkError: no council yet, a port is still 0, or no such node.
        BrokerError: the broker could not be told, or refused; see `broker_config.keeper`.
        OSError: a certificate cannot be read or a file not be written.
    """
    described = read_description(directory).network()
    async with directory.connection() as conn:
        lists = {tenant: each.message for tenant, each in (await revocation_lists(conn)).items()}
        network = describe(described, await registry.gateways(conn), lists.keys())
        if network is None:
            raise NetworkDirectoryError(
                "no council has a revocation list; run `kerbstone network council add` again"
            )
        paths = _paths(directory, network, output, data, node)
        readable = share(paths.configuration, paths.data, run_as)
        if node and not readable:
            paths.configuration.mkdir(parents=True, exist_ok=True)
            paths.configuration.chmod(_OWNERS)
        exported = await asyncio.to_thread(
            _put, kind, network, paths, lists, run_as=run_as, node=node, reload=reload
        )
        await audit.record(
            conn,
            actor=actor or operator(),
            tenant="",
            action="broker.export",
            subject=str(paths.configuration),
            detail={
                "kind": kind.value,
                "gateways": exported.gateways,
                "ended": list(exported.ended),
            },
        )
    return replace(exported, readable=readable)


def share(configuration: Path, data: Path, user: str) -> bool:
    """Let the group of `user` read what is in `configuration`, and will be; return whether so.

    data: made for the user alone, if it is not there yet.

    A file that is written into the directory later, by whomever, has its group, too.
    """
    try:
        owner = pwd.getpwnam(user)
    except KeyError:
        return False
    configuration.mkdir(parents=True, exist_ok=True)
    try:
        if not data.exists():
            data.mkdir(parents=True, mode=_SHARED)
            os.chown(data, owner.pw_uid, owner.pw_gid)
        for path in (configuration, *configuration.iterdir()):
            os.chown(path, -1, owner.pw_gid)
        configuration.chmod(_SHARED | stat.S_ISGID)
    except PermissionError:
        return False
    return True


def _put(
    kind: BrokerKind,
    network: Network,
    paths: BrokerPaths,
    lists: Mapping[str, bytes],
    *,
    run_as: str,
    node: str,
    reload: Reload | None,
) -> Exported:
    if reload is None:
        rendering = render(kind, network, paths, run_as=run_as, revocation_lists=lists, node=node)
        return Exported(main=write(rendering, paths), gateways=len(network.gateways))
    keeper = Keeper(
        kind,
        paths,
        pid_file=reload.pid_file,
        reload=reload.command,
        run_as=run_as,
        node=node,
    )
    applied = keeper.apply(network, lists)
    return Exported(
        main=paths.configuration / keeper.render(network, lists).main,
        gateways=len(network.gateways),
        ended=applied.ended,
        restart_needed=applied.restart_needed,
    )


def _paths(
    directory: NetworkDirectory, network: Network, output: Path, data: Path, node: str
) -> BrokerPaths:
    authority = directory.authority
    server = authority / (f"nodes/{network.node(node).name}" if node else "server")
    certificate = server.with_name(f"{server.name}.pem")
    if node and not certificate.exists():
        raise NetworkDirectoryError(
            f"{certificate} is missing; describe all nodes again with `kerbstone network nodes`"
        )
    certificates = BrokerCertificates(
        service_root=authority / "service-root.pem",
        server_certificate=certificate,
        server_key=server.with_name(f"{server.name}.key"),
        council_roots={
            tenant: authority / "councils" / tenant / "root.pem" for tenant in network.tenants
        },
    )
    return BrokerPaths(
        configuration=output.absolute(), data=data.absolute(), certificates=certificates
    )
