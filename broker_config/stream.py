"""What a NATS cluster must hold before a gateway is admitted: a council's stream, and consumers.

NATS keeps what comes by MQTT in a stream of each account, `nats.STREAM`, for as long as somebody
is interested, and says PUBACK for a message that interests nobody, too. So the consumer of every
service that reads the stream is made here, before the first gateway of a council is let in; and so
is the stream itself, for the one that NATS would make has no limit. NATS takes a stream that it
finds. Both are made once and changed in place; asked again, nothing happens.

What a consumer gets is read by `ingest.receiving.nats_intake`.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import nats as client
from nats.aio.client import Client
from nats.errors import Error as NatsError

from broker_config import nats
from broker_config.errors import BrokerError
from broker_config.network import KEEPER, TOPIC_ROOT, Network
from broker_config.nodes import REPLICAS

ACK_WAIT_SECONDS = 5
"""After so long what a reader took and did not acknowledge is delivered again, to any reader.

Until then the gateways of a worker that died may wait with a full window; what a slow database
makes come twice is recognised as a duplicate, which costs little.
"""

MAX_UNACKNOWLEDGED = 4000
"""Messages that a reader may hold unacknowledged: its inbox, and two batches under way."""

_FOUND_SECONDS = 30.0  # the nodes find one another and elect a leader
_ANSWER_SECONDS = 1.0
_NO_SUCH_STREAM = 10059
_NOT_YET = frozenset({10008, 10023, 503})  # no leader, too few peers, or a restart under way
_NANOSECONDS = 1_000_000_000


async def prepare(
    network: Network, tenant: str, servers: Sequence[str], context: ssl.SSLContext
) -> None:
    """Make a council's stream and the consumer of each service that takes in its readings.

    servers: native addresses of the nodes, tls://host:port. context: holds the keeper's
    certificate for this council, `service_user(KEEPER, tenant)`.

    Raises:
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
        found = await _ask(keeper, f"STREAM.INFO.{nats.STREAM}", {}, lacking=True)
        wanted = _stream(network)
        verb = "CREATE" if found is None else "UPDATE"
        if found is None or not _holds(found["config"], wanted):
            kept = {} if found is None else found["config"]
            await _ask(keeper, f"STREAM.{verb}.{nats.STREAM}", {**kept, **wanted})
        for consumer in _consumers(network, tenant):
            subject = f"CONSUMER.CREATE.{nats.STREAM}.{consumer['durable_name']}"
            await _ask(keeper, subject, {"stream_name": nats.STREAM, "config": consumer})
    finally:
        await keeper.close()


def native_servers(network: Network) -> list[str]:
    """Return the addresses of the nodes as NATS' own clients want them."""
    return [f"tls://{node.host}:{node.native_port}" for node in network.nodes]


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
            if lacking and found["error"].get("err_code") == _NO_SUCH_STREAM:
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
