"""What a NATS cluster must hold before a gateway is admitted: a council's stream, and consumers.

NATS keeps what comes by MQTT in a stream of each account, `nats.STREAM`, for as long as somebody
is interested, and says PUBACK for a message that interests nobody, too. So the consumer of every
service that reads the stream is made here, before the first gateway of a council is let in; and so
is the stream itself, for the one that NATS would make has no limit. NATS takes a stream that it
finds. Both are made once, and changed in place where that is wanted; asked again, nothing happens.

What a consumer gets is read by `ingest.receiving.nats_intake`.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import nats as client
from nats.aio.client import Client
from nats.errors import Error as NatsError

from broker_config import nats
from broker_config.errors import BrokerError
from broker_config.network import KEEPER, TOPIC_ROOT, Network
from broker_config.nodes import REPLICAS, Node

ACK_WAIT_SECONDS = 5
"""After so long what a reader took and did not acknowledge is delivered again, to any reader.

Until then the gateways of a worker that died may wait with a full window; what a slow database
makes come twice is recognised as a duplicate, which costs little.
"""

MAX_UNACKNOWLEDGED = 4000
"""Messages that a reader may hold unacknowledged: its inbox, and two batches under way."""

_FOUND_SECONDS = 30.0  # the nodes find one another and elect a leader
_ANSWER_SECONDS = 1.0
_CONNECT_SECONDS = 5
_AGAIN_SECONDS = 0.1
_MISSING = frozenset({10059, 10014})  # no such stream, no such consumer
_NOT_YET = frozenset({10008, 10023, 503})  # no leader, too few peers, or a restart under way
_NANOSECONDS = 1_000_000_000


class Step(StrEnum):
    """What had to be done for a stream or a consumer."""

    FOUND = "found"
    MADE = "made"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What `prepare` did for one council. consumers: by the service's name."""

    tenant: str
    stream: Step
    consumers: Mapping[str, Step]


class OtherSettingsError(BrokerError):
    """A stream or consumer is there with settings that are not wanted; the message names them."""


async def prepare(
    network: Network,
    tenant: str,
    servers: Sequence[str],
    context: ssl.SSLContext,
    *,
    change: bool = True,
) -> Prepared:
    """Make a council's stream and the consumer of each service that takes in its readings.

    servers: native addresses of the nodes, tls://host:port. context: holds the keeper's
    certificate for this council, `service_user(KEEPER, tenant)`. change: whether one that is there
    with other settings is given the right ones.

    Raises:
        OtherSettingsError: one is there with other settings, and is not to be changed.
        BrokerError: the cluster did not answer in time, or refused; with its words.
    """
    try:
        keeper = await client.connect(
            list(servers),
            tls=context,
            inbox_prefix=nats.inbox_prefix(KEEPER).encode(),
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            connect_timeout=_ANSWER_SECONDS,
            error_cb=_expected,
        )
    except (NatsError, OSError) as error:
        raise BrokerError(f"the cluster does not let the keeper in: {error}") from error
    try:
        stream = await _prepare_stream(keeper, network, tenant, change=change)
        consumers = {
            consumer["name"]: await _prepare_consumer(keeper, tenant, consumer, change=change)
            for consumer in _consumers(network, tenant)
        }
    finally:
        await keeper.close()
    return Prepared(tenant=tenant, stream=stream, consumers=consumers)


async def reach(node: Node, context: ssl.SSLContext) -> None:
    """Return if a node lets the keeper in by its native listener. context: as of `prepare`.

    Raises:
        BrokerError: it does not; with the remedy.
    """
    said: list[Exception] = []

    async def heard(error: Exception) -> None:
        said.append(error)

    try:
        keeper = await client.connect(
            [native_server(node)],
            tls=context,
            inbox_prefix=nats.inbox_prefix(KEEPER).encode(),
            allow_reconnect=False,
            max_reconnect_attempts=1,  # else it comes sixty times before it gives up
            reconnect_time_wait=_AGAIN_SECONDS,
            connect_timeout=_CONNECT_SECONDS,
            error_cb=heard,
        )
    except (NatsError, OSError) as error:
        raise BrokerError(
            f"node {node.name!r} does not let the keeper in at {node.host}:{node.native_port}: "
            f"{said[0] if said else error}. Does it run, with its present files (`kerbstone "
            f"network export-broker --node {node.name}`)? Can the port be reached from here?"
        ) from error
    await keeper.close()


async def _prepare_stream(keeper: Client, network: Network, tenant: str, *, change: bool) -> Step:
    wanted = _stream(network)
    found = await _ask(keeper, f"STREAM.INFO.{nats.STREAM}", {}, lacking=True)
    if found is None:
        await _ask(keeper, f"STREAM.CREATE.{nats.STREAM}", wanted)
        return Step.MADE
    if _holds(found["config"], wanted):
        return Step.FOUND
    if not change:
        raise OtherSettingsError(_other(f"the stream of council {tenant!r}", found, wanted))
    await _ask(keeper, f"STREAM.UPDATE.{nats.STREAM}", {**found["config"], **wanted})
    return Step.CHANGED


async def _prepare_consumer(
    keeper: Client, tenant: str, wanted: Mapping[str, Any], *, change: bool
) -> Step:
    name = wanted["name"]
    found = await _ask(keeper, f"CONSUMER.INFO.{nats.STREAM}.{name}", {}, lacking=True)
    if found is not None:
        if _holds(found["config"], wanted):
            return Step.FOUND
        if not change:
            what = f"consumer {name!r} of council {tenant!r}"
            raise OtherSettingsError(_other(what, found, wanted))
    request = {"stream_name": nats.STREAM, "config": wanted}
    await _ask(keeper, f"CONSUMER.CREATE.{nats.STREAM}.{name}", request)
    return Step.MADE if found is None else Step.CHANGED


def _other(what: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    config = found["config"]
    differing = (
        f"{key} = {json.dumps(config.get(key))}, described {json.dumps(value)}"
        for key, value in wanted.items()
        if config.get(key) != value
    )
    return f"{what} has other settings: {'; '.join(differing)}"


def native_servers(network: Network) -> list[str]:
    """Return the addresses of the nodes as NATS' own clients want them."""
    return [native_server(node) for node in network.nodes]


def native_server(node: Node) -> str:
    """Return the address of a node as NATS' own clients want it."""
    return f"tls://{node.host}:{node.native_port}"


def subjects(tenant: str) -> tuple[str, str]:
    """Return which of a council's messages are for the centre: K and D, of every group."""
    root = TOPIC_ROOT.replace("/", ".")
    k, d = (f"{nats.STREAM_SUBJECTS}{root}.{tenant}.*.{kind}.*" for kind in "kd")
    return k, d


def _stream(network: Network) -> dict[str, Any]:
    """Return the stream as NATS would make it, but bounded: full, it refuses what is new."""
    return {
        "name": nats.STREAM,
        "subjects": [f"{nats.STREAM_SUBJECTS}>"],
        "retention": "interest",
        "storage": "file",
        "num_replicas": REPLICAS,
        "max_bytes": network.council_store_bytes,
        "discard": "new",
    }


def _consumers(network: Network, tenant: str) -> Iterator[dict[str, Any]]:
    for service in network.services_of(tenant):
        yield {
            "name": service.name,
            "durable_name": service.name,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": ACK_WAIT_SECONDS * _NANOSECONDS,
            "max_ack_pending": MAX_UNACKNOWLEDGED,
            "filter_subjects": list(subjects(tenant)),
            "replay_policy": "instant",
        }


def _holds(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(found.get(key) == value for key, value in wanted.items())


async def _ask(
    keeper: Client, subject: str, request: Mapping[str, Any], *, lacking: bool = False
) -> dict[str, Any] | None:
    """Return what the cluster answers, asked until it can; None if it lacks what may be lacking.

    Raises:
        BrokerError: it refused, or could not answer in time.
    """
    ends = time.monotonic() + _FOUND_SECONDS
    while True:
        said: object
        try:
            answer = await keeper.request(
                f"$JS.API.{subject}", json.dumps(request).encode(), timeout=_ANSWER_SECONDS
            )
            found: dict[str, Any] = json.loads(answer.data)
            if "error" not in found:
                return found
            said = found["error"]
            if lacking and found["error"].get("err_code") in _MISSING:
                return None
            if not {found["error"].get("err_code"), found["error"].get("code")} & _NOT_YET:
                raise BrokerError(f"the cluster refused {subject}: {said}")
        except (NatsError, OSError) as error:
            said = f"{type(error).__name__} {error}"
        if time.monotonic() > ends:
            raise BrokerError(f"the cluster did not do {subject} in {_FOUND_SECONDS:.0f} s: {said}")
        await asyncio.sleep(0.1)


async def _expected(_error: Exception) -> None:
    """Leave it to the request that fails for it."""
