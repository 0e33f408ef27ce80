"""`kerbstone demo attack`: the running demo, attacked; every attack refused by name, readings flow.

Plays two parts against a demo that runs in another terminal. The broker's operator bends the
broker's access list to its will (`bent_broker`), reads all that passes and publishes anything
anywhere. A thief of a gateway signs with that gateway's own key. What refuses each attack, the
running ingest counts; here it is read from the table that the status page shows.

`--json` is for scripts. The exit status is 1 if anything got through.
"""

import argparse
import asyncio
import contextlib
import fcntl
import hashlib
import json
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench.mqtt_load import LoadConnection, LoadError
from broker_config.errors import BrokerError
from broker_config.files import BrokerKind
from command_line.bent_broker import bent
from command_line.demo.hostile_messages import (
    Attack,
    Message,
    Observed,
    by_a_stolen_gateway,
    by_the_operator,
    flood,
)
from command_line.demo.layout import Layout, default_data_directory
from command_line.network import setup
from command_line.network.directory import NetworkDirectory, NetworkDirectoryError
from command_line.progress import say
from device_protocol import topics
from device_protocol.keys import SigningKey
from enrolment.authority import Authority, CredentialFiles
from enrolment.files import CredentialError, read_key
from ingest.settings import IngestSettings
from runtime.settings import SettingsError, load
from runtime.tls import client_context
from storage.database import OUTAGES, Connection, connect
from storage.status_board import refusals_by_reason

USER: Final = "attacker"
GROUP: Final = "main"
FLOOD_MESSAGES: Final = 2000
_PATIENCE_SECONDS: Final = 15.0
_OBSERVING_SECONDS: Final = 60.0
_DIGEST_BYTES: Final = 8
_POLL_SECONDS: Final = 0.25


class AttackError(Exception):
    """The demo cannot be attacked; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one attack.

    by: the broker's operator, or a stolen gateway. refused: by the reason told, as the running
    ingest counted them; it counts no duplicates there. stored: of these very messages, beyond
    what had been stored before them. readings_meanwhile: of honest gateways.
    """

    name: str
    what: str
    by: str
    messages: int
    code: int
    reason: str
    refused: int
    stored: int
    readings_meanwhile: int

    @property
    def stopped(self) -> bool:
        """Whether nothing got through, and everything was refused by name."""
        return not self.stored and (self.reason == "duplicate" or self.refused >= self.messages)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=default_data_directory(),
        metavar="DIR",
        help="of the demo that runs (default %(default)s)",
    )
    parser.add_argument(
        "--messages",
        type=int,
        default=FLOOD_MESSAGES,
        help=f"in the flood (default {FLOOD_MESSAGES})",
    )
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Attack, print what refused it; 1 when anything got through or nothing could be tried."""
    layout = Layout(arguments.data_dir.absolute())
    try:
        results = asyncio.run(attack(layout, flood_messages=arguments.messages))
    except (
        AttackError,
        BrokerError,
        CredentialError,
        LoadError,
        NetworkDirectoryError,
        SettingsError,
        TimeoutError,
        *OUTAGES,
    ) as error:
        print(f"kerbstone demo attack: {error or 'no answer in time'}", file=sys.stderr)
        return 1
    through = [result for result in results if not result.stopped]
    if arguments.json:
        told = [asdict(result) | {"stopped": result.stopped} for result in results]
        print(json.dumps({"attacks": told, "got_through": len(through)}, indent=2))
    else:
        print("\n".join(_table(results)))
    return 1 if through else 0


async def attack(layout: Layout, *, flood_messages: int = FLOOD_MESSAGES) -> list[Result]:
    """Attack the demo that runs in a directory, telling of it a line at a time.

    Raises:
        AttackError: no demo runs there.
        BrokerError, LoadError, TimeoutError: its broker cannot be bent, or does not answer.
        CredentialError, NetworkDirectoryError, SettingsError, OUTAGES: nor its centre be read.
    """
    _check_running(layout)
    stage = _Stage.of(layout)
    async with await connect(
        stage.directory.dsn(), autocommit=True, application_name="kerbstone demo attack"
    ) as conn:
        say(f"Bending the broker: its operator may read and write everything ({stage.kind})")
        seen = await stage.observe()
        say(f"Holding what passes of gateway {seen.device} of {seen.tenant}, and its key")
        results = [await _read(conn, seen)]
        _tell(results[0])
        for by, tried in (
            ("operator", (*by_the_operator(seen), _replay(seen))),
            ("stolen gateway", by_a_stolen_gateway(seen, stage.stolen_key())),
            ("operator", (flood(seen, flood_messages),)),
        ):
            for each in tried:
                results.append(await _try(stage, conn, each, by))
                _tell(results[-1])
    return results


@contextlib.contextmanager
def false_service(authority: Authority, tenant: str) -> Iterator[CredentialFiles]:
    """Have the attacker certified as a service until the block ends, however it ends.

    tenant: the council whose topics it may see on NATS, "" for all.

    Raises:
        CredentialError: the authority does not certify it.
    """
    credential = authority.service_client(USER, tenant)
    try:
        yield credential
    finally:
        credential.certificate.unlink(missing_ok=True)
        credential.key.unlink(missing_ok=True)


def _check_running(layout: Layout) -> None:
    with contextlib.suppress(OSError), layout.lock.open("r") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
    raise AttackError(
        f"no demo runs in {layout.root}; start one with `kerbstone demo`, or name its --data-dir"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """The demo as its attacker finds it. victims: tenant, device and key file of its gateways."""

    layout: Layout
    directory: NetworkDirectory
    kind: BrokerKind
    authority: Authority
    ingest: IngestSettings
    victims: tuple[tuple[str, str, Path], ...]

    @classmethod
    def of(cls, layout: Layout) -> "_Stage":
        directory = NetworkDirectory(layout.network)
        on_nats = (layout.broker / "configuration" / "nats.conf").exists()
        passphrase = layout.passphrase.read_text().strip().encode()
        victims = tuple(
            (told["tenant"], told["device"], Path(told["broker"]["key_file"]))
            for file in sorted((layout.root / "gateways").glob("*/agent.toml"))
            for told in (tomllib.loads(file.read_text()),)
        )
        if len({tenant for tenant, _, _ in victims}) < 2:  # noqa: PLR2004 - a neighbour council
            raise AttackError(f"{layout.root} has not two councils with gateways")
        return cls(
            layout=layout,
            directory=directory,
            kind=BrokerKind.NATS if on_nats else BrokerKind.MOSQUITTO,
            authority=setup.open_authority(directory, passphrase),
            ingest=load(IngestSettings, directory.ingest_settings),
            victims=victims,
        )

    @property
    def victim(self) -> tuple[str, str]:
        """The gateway that is attacked: one that has a neighbour in its council."""
        tenants = [tenant for tenant, _, _ in self.victims]
        tenant, device, _ = max(self.victims, key=lambda each: tenants.count(each[0]))
        return tenant, device

    def stolen_key(self) -> SigningKey:
        """Read the victim's own key from its disk."""
        [path] = [path for *place, path in self.victims if tuple(place) == self.victim]
        return SigningKey.from_private(read_key(path))

    @contextlib.asynccontextmanager
    async def connected(self, tenant: str) -> AsyncIterator[LoadConnection]:
        """Bend the broker and connect to it with all rights over a council's topics."""
        told = self.ingest.broker[0]
        on_nats = self.kind is BrokerKind.NATS
        with (
            false_service(self.authority, tenant if on_nats else "") as credential,
            bent(self.kind, self.layout.broker, USER),
        ):
            context = client_context(
                ca_file=told.ca_file,
                certificate_file=credential.certificate,
                key_file=credential.key,
            )
            connection = await LoadConnection.open(told.host, told.port, USER, context)
            try:
                yield connection
            finally:
                await connection.close()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish anything anywhere; one connection for each council.

        The broker is bent anew each time: once a minute the network's keeper looks at what it
        wrote, and puts it right.
        """
        by_tenant: dict[str, list[Message]] = {}
        for topic, payload in messages:
            by_tenant.setdefault(topic.split("/")[2], []).append((topic, payload))
        for tenant, theirs in by_tenant.items():
            async with self.connected(tenant) as connection, asyncio.timeout(_OBSERVING_SECONDS):
                await connection.publish(theirs)

    async def observe(self) -> Observed:
        """Wait for an announcement, which the broker retains, and a message after it."""
        tenant, device = self.victim
        place = (tenant, device, GROUP)
        found = []
        for topic in (topics.announcement(*place), topics.data(*place)):
            async with self.connected(tenant) as connection, asyncio.timeout(_OBSERVING_SECONDS):
                await connection.subscribe(topic)
                found.append(await connection.delivered())
        others = [(council, other) for council, other, _ in self.victims if council != tenant]
        neighbours = [
            other for council, other, _ in self.victims if council == tenant and other != device
        ]
        if not neighbours:
            raise AttackError(f"council {tenant} of this demo has one gateway only")
        return Observed(
            tenant=tenant,
            device=device,
            group=GROUP,
            announced=found[0],
            data=found[1],
            now=int(time.time()),
            neighbour=neighbours[0],
            elsewhere=others[0],
        )


def _replay(seen: Observed) -> Attack:
    place = seen.place
    message = (topics.data(*place), seen.data)
    return Attack(
        name="replay",
        what="sends an old message again, ten times",
        reason="duplicate",
        code=500,
        messages=(message,) * 10,
    )


async def _read(conn: Connection, seen: Observed) -> Result:
    """Search what passed for anything that the centre knows of this gateway in plain words."""
    cursor = await conn.execute(
        "SELECT sensor.urn, sensor.name, datastream.short_name FROM datastream"
        " JOIN sensor ON sensor.id = sensor_id JOIN gateway ON gateway.id = sensor.gateway_id"
        " WHERE gateway.device = %s",
        (seen.device,),
    )
    words = {word for row in await cursor.fetchall() for word in row if len(word) > 3}  # noqa: PLR2004 - shorter ones are met by chance
    legible = [word for word in words if word.encode() in seen.announced + seen.data]
    return Result(
        name="read",
        what=f"looks for {len(words)} names of sensors in what passes",
        by="operator",
        messages=0,
        code=0,
        reason="encrypted",
        refused=0,
        stored=len(legible),
        readings_meanwhile=0,
    )


async def _try(stage: _Stage, conn: Connection, tried: Attack, by: str) -> Result:
    refused, readings = await _refused(conn, tried.reason), await _readings(conn)
    digests = [hashlib.sha256(payload).digest()[:_DIGEST_BYTES] for _, payload in tried.messages]
    stored = await _stored(conn, digests)
    await stage.publish(tried.messages)
    wanted = 0 if tried.reason == "duplicate" else len(tried.messages)
    ends = time.monotonic() + _PATIENCE_SECONDS
    while True:
        count = await _refused(conn, tried.reason) - refused
        meanwhile = await _readings(conn) - readings
        if (count >= wanted and meanwhile > 0) or time.monotonic() > ends:
            break
        await asyncio.sleep(_POLL_SECONDS)
    return Result(
        name=tried.name,
        what=tried.what,
        by=by,
        messages=len(tried.messages),
        code=tried.code,
        reason=tried.reason,
        refused=count,
        stored=await _stored(conn, digests) - stored,
        readings_meanwhile=meanwhile,
    )


async def _refused(conn: Connection, reason: str) -> int:
    """Return how many messages the running ingest has refused for a reason, of late."""
    return sum(each.n for each in await refusals_by_reason(conn) if each.reason == reason)


async def _stored(conn: Connection, digests: Sequence[bytes]) -> int:
    """Return how many messages with these digests were ever taken."""
    return await _number(
        conn, "SELECT count(*) FROM signed_batch WHERE message_hash = ANY(%s)", (list(digests),)
    ) + await _number(
        conn,
        "SELECT count(*) FROM epoch WHERE substr(announcement_sha256, 1, 8) = ANY(%s)",
        (list(digests),),
    )


async def _readings(conn: Connection) -> int:
    """Return how many readings the centre holds evidence for."""
    return await _number(conn, "SELECT coalesce(sum(readings), 0) FROM signed_batch", ())


async def _number(conn: Connection, statement: str, values: tuple[Any, ...]) -> int:
    cursor = await conn.execute(statement, values)
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


def _tell(result: Result) -> None:
    say(f"  {_line(result)}")


def _line(result: Result) -> str:
    who = "The operator" if result.by == "operator" else "A stolen gateway"
    if result.name == "read":
        verdict = "READABLE" if result.stored else "nothing is legible"
    elif not result.stopped:
        verdict = f"GOT THROUGH: {result.stored} stored, {result.refused} refused"
    elif result.reason == "duplicate":
        verdict = f"{result.code} {result.reason}, stored once"
    else:
        verdict = f"{result.code} {result.reason}, {result.refused} of {result.messages} refused"
    return f"{who} {result.what}: {verdict}; {result.readings_meanwhile} readings stored meanwhile"


def _table(results: Sequence[Result]) -> list[str]:
    lines = [
        f"{'attack':<20} {'by':<15} {'sent':>5} {'refused by':<22} {'counted':>7} {'stored':>6}"
    ]
    for each in results:
        by = f"{each.code or '':>3} {each.reason}"
        lines.append(
            f"{each.name:<20} {each.by:<15} {each.messages:>5} {by:<22} {each.refused:>7}"
            f" {each.stored:>6}{'' if each.stopped else '  GOT THROUGH'}"
        )
    through = sum(not each.stopped for each in results)
    meanwhile = sum(each.readings_meanwhile for each in results)
    verdict = f"{through} GOT THROUGH" if through else "Nothing got through"
    return [
        *lines,
        "",
        f"{verdict}; {meanwhile:,} readings of honest gateways were stored meanwhile.",
    ]
