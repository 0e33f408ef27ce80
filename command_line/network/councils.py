"""Councils of a network: adding one with all it needs, listing them, choosing their suites.

A council that is added can invite gateways at once: it has its roots and signers, recipients, a
first signed key set and a first, empty, revocation list. From then on the enrolment service keeps
these up to date. Where it listens stands in `network.toml`, all else in the database.
"""

import difflib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from typing import Final

from broker_config.files import BrokerKind
from broker_config.network import Council
from command_line.network import first_messages, settings_files
from command_line.network.directory import (
    Description,
    NetworkDirectory,
    read_description,
    write_description,
)
from command_line.network.setup import open_authority, operator
from dashboard import BOUNDARIES
from device_protocol.keys import X_WING, RecipientPublicKey
from enrolment.authority import Authority
from storage import audit, council_codes, recipients, registry
from storage.council_codes import CouncilCode
from storage.network_view import gateway_facts
from storage.recipients import RecipientRow

CLASSICAL_SUITES: Final = (1, 2)
POST_QUANTUM_SUITE: Final = 3

_UPPER_TIER: Final = "E10"  # county councils are no local authority districts


class CouncilError(Exception):
    """A council cannot be added or changed as asked; the message names the value and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CouncilAdded:
    """What `add` did.

    port: where its gateways connect. new: whether the network did not have it before.
    key_set_version: newest.
    broker_restart_needed, ingest_restart_needed: whether they must be started anew to serve it.
    streams_needed: whether a cluster must hold its stream before a gateway may come.
    """

    council: Council
    port: int
    new: bool
    key_set_version: int
    broker_restart_needed: bool
    ingest_restart_needed: bool
    streams_needed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CouncilListed:
    """A council, with how many gateways it has by status.

    port: where its gateways connect; 0 if it has no listener.
    """

    tenant: str
    gss: str
    name: str
    port: int
    suites: tuple[int, ...]
    gateways: dict[str, int]


async def add(
    directory: NetworkDirectory,
    *,
    tenant: str,
    gss: str,
    name: str,
    passphrase: bytes | None,
    port: int | None = None,
    unlisted: bool = False,
    actor: str = "",
) -> CouncilAdded:
    """Add a council, or make what it still lacks; the enrolment service tells the broker.

    port: its own listener on Mosquitto; None: as before, or the one after the highest in use.
    unlisted: whether `gss` may be missing from the list of local authorities.
    passphrase: of the authority's keys.

    Raises:
        CouncilError: code, name or port do not fit the list or what the network has.
        NetworkError: a bad name, code or port, or one that another council has.
        CredentialError: a key cannot be read with this passphrase.
    """
    check_code(gss, name, unlisted=unlisted)
    kind = settings_files.broker_kind(directory)
    with directory.locked():
        described = read_description(directory)
        council = _council(described, tenant=tenant, gss=gss, name=name, port=port)
        new = described.council(tenant) is None
        changed = described.with_council(council)
        authority = open_authority(directory, passphrase)
        authority.service_root()  # with another passphrase nothing is made under it
        _make_credentials(authority, tenant)
        async with directory.connection() as conn, conn.transaction():
            await registry.add_council(conn, gss=gss, tenant=tenant, name=name)
            made = await first_messages.make(
                conn, authority, directory, tenant=tenant, actor=actor or operator()
            )
            if new or made.anything:
                await audit.record(
                    conn,
                    actor=actor or operator(),
                    tenant=tenant,
                    action="council.add",
                    subject=tenant,
                    detail={"gss": gss, "name": name, "port": council.port},
                )
        connected = settings_files.add_connection(directory, changed, authority, tenant)
        write_description(directory, changed)
    return CouncilAdded(
        council=council,
        port=_entrance(changed, council, kind),
        new=new,
        key_set_version=made.key_set_version,
        broker_restart_needed=new and kind is BrokerKind.MOSQUITTO,
        ingest_restart_needed=connected,
        streams_needed=new and bool(changed.nodes),
    )


async def listed(directory: NetworkDirectory) -> list[CouncilListed]:
    """Return every council, by name."""
    described, kind = read_description(directory), settings_files.broker_kind(directory)
    async with directory.connection() as conn:
        rows = await registry.councils(conn)
        counts = Counter((each.tenant, each.status) for each in await gateway_facts(conn))
    return [
        CouncilListed(
            tenant=row.tenant,
            gss=row.gss,
            name=row.name,
            port=_entrance(described, council, kind)
            if (council := described.council(row.tenant))
            else 0,
            suites=row.suites,
            gateways={
                status: count for (tenant, status), count in counts.items() if tenant == row.tenant
            },
        )
        for row in rows
    ]


def _entrance(described: Description, council: Council, kind: BrokerKind) -> int:
    """Return the port its gateways connect to: on NATS everybody's."""
    return described.service_port if kind is BrokerKind.NATS else council.port


async def choose_suites(
    directory: NetworkDirectory, *, tenant: str, post_quantum: bool, actor: str = ""
) -> tuple[int, ...]:
    """Offer a council's gateways post-quantum key delivery (suite 3), or no longer; return suites.

    It begins with each gateway's next epoch, once the enrolment service has signed the key set.
    Every group needs a recipient with an X-Wing key: `rotation.rotate_recipients` makes one.

    Raises:
        UnknownCouncilError: nobody has this short name.
        CouncilError: a group has no recipient that can open what suite 3 delivers, or ingest
            would refuse it.
    """
    suites = (*CLASSICAL_SUITES, POST_QUANTUM_SUITE) if post_quantum else CLASSICAL_SUITES
    async with directory.connection() as conn, conn.transaction():
        await registry.find_council(conn, tenant)
        if post_quantum:
            _check_ingest(directory)
            _check_hybrid_recipients(await recipients.recipients(conn, tenant))
        await recipients.set_suites(conn, tenant=tenant, suites=suites, actor=actor or operator())
    return suites


async def change_code(
    directory: NetworkDirectory,
    *,
    tenant: str,
    gss: str,
    name: str,
    since: date,
    unlisted: bool = False,
    actor: str = "",
) -> None:
    """Give a council the ONS code, and the name, that it has from a day on.

    Raises:
        UnknownCouncilError: nobody has this short name.
        CouncilError: code and name do not fit the list, or what the council had before.
        NetworkError: the code is none.
    """
    check_code(gss, name, unlisted=unlisted)
    with directory.locked():
        described = read_description(directory)
        held = described.council(tenant)
        changed = None
        if held is not None:
            changed = described.with_council(replace(held, gss=gss, name=name))
        async with directory.connection() as conn, conn.transaction():
            try:
                await council_codes.change_code(
                    conn, tenant=tenant, gss=gss, name=name, since=since, actor=actor or operator()
                )
            except council_codes.CouncilCodeError as error:
                raise CouncilError(str(error)) from error
        if changed is not None:
            write_description(directory, changed)


async def codes(directory: NetworkDirectory) -> list[CouncilCode]:
    """Return every code that councils have and had."""
    async with directory.connection() as conn:
        return await council_codes.council_codes(conn)


def check_code(gss: str, name: str, *, unlisted: bool = False) -> None:
    """Return if `gss` is a local authority's code in the list of boundaries, and `name` its own.

    County councils (E10…) are in no list of districts and are let through by their form.

    Raises:
        CouncilError: it is not, or it is another council's; the nearest is named.
    """
    if unlisted or gss.startswith(_UPPER_TIER):
        return
    known = _local_authorities()
    if gss not in known:
        near = difflib.get_close_matches(name, known.values(), n=1)
        code = next((code for code, each in known.items() if near and each == near[0]), "")
        hint = f"{near[0]} is {code}" if near else "look it up in the ONS register"
        raise CouncilError(
            f"--gss {gss} is no local authority in the list of May 2023; {hint}. For a council "
            "made since then add --unlisted"
        )
    official = known[gss]
    if not _same_council(official, name):
        raise CouncilError(
            f"--gss {gss} is {official}, not {name}; correct one of them, or add --unlisted if "
            "the council has been renamed"
        )


def _check_ingest(directory: NetworkDirectory) -> None:
    suites = settings_files.ingest_suites(directory)
    if POST_QUANTUM_SUITE not in suites:
        wanted = [*suites, POST_QUANTUM_SUITE]
        raise CouncilError(
            f"--post-quantum on: ingest accepts suites {list(suites)} only; write "
            f"suites = {wanted} in {directory.ingest_settings} and restart it first"
        )


def _check_hybrid_recipients(rows: Sequence[RecipientRow]) -> None:
    kinds: dict[str, set[str]] = {}
    for row in rows:
        if row.retired_at is None:
            kind = RecipientPublicKey.from_cose_key(row.cose_key).kind
            kinds.setdefault(row.group, set()).add(kind)
    lacking = sorted(group for group, held in kinds.items() if X_WING not in held)
    if lacking:
        remedy = f"rotate recipients --group {lacking[0]} --key-type {X_WING}"
        raise CouncilError(
            f"--post-quantum on: group {lacking[0]} has no recipient with an {X_WING} key; make "
            f"one first: kerbstone network {remedy}"
        )


def _same_council(official: str, name: str) -> bool:
    """Tell whether one name is part of the other: "Camden", "London Borough of Camden"."""
    ours, theirs = name.casefold().strip(), official.casefold()
    return bool(ours) and (theirs in ours or ours in theirs)


@cache
def _local_authorities() -> dict[str, str]:
    """Return the names of all local authority districts by GSS code."""
    features = json.loads(BOUNDARIES.read_bytes())["features"]
    return {each["properties"]["gss"]: each["properties"]["name"] for each in features}


def _council(
    described: Description, *, tenant: str, gss: str, name: str, port: int | None
) -> Council:
    """Return the council as it is to stand in `network.toml`.

    Raises:
        CouncilError: its short name or port says otherwise already.
    """
    held = described.council(tenant)
    if held is not None and held.gss != gss:
        raise CouncilError(
            f"council {tenant!r} has the code {held.gss}, not {gss}; choose another short name"
        )
    if held is not None and port not in (None, held.port):
        raise CouncilError(
            f"--port {port}: council {tenant!r} listens on {held.port}, which its gateways know. "
            "Leave it as it is"
        )
    if port is None:
        port = held.port if held is not None else _next_port(described)
    return Council(tenant=tenant, gss=gss, name=name, port=port)


def _next_port(described: Description) -> int:
    return max(described.service_port, *(each.port for each in described.councils), 0) + 1


def _make_credentials(authority: Authority, tenant: str) -> None:
    authority.council_root(tenant)
    authority.key_set_signer(tenant)
    authority.configuration_signer(tenant)
