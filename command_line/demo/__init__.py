"""`kerbstone demo`: a whole city on this computer, from gateways to live dashboard.

`london` says what is in it, `session` starts and stops it, `backfill` shows how far the replay has
come. `attack` attacks a demo that runs.
"""

import argparse
import asyncio
import json
import sys
import time
import urllib.request
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from broker_config.embedded import BrokerError, default_kind
from command_line.demo import attack
from command_line.demo.backfill import backfilled
from command_line.demo.layout import Layout, default_data_directory
from command_line.demo.london import LONDON
from command_line.demo.provisioning import ACTOR
from command_line.demo.session import DemoError, Options, Session, running
from command_line.network import passes
from command_line.progress import say
from enrolment.files import CredentialError
from runtime.signals import run_until_stopped
from storage.database import OUTAGES, connect
from storage.edition import Edition, detect
from storage.embedded import edition_of
from storage.programs import EmbeddedDatabaseError, provision_timescaledb, timescaledb_is_here

PASS_LIFETIME: Final = timedelta(days=1)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the demo's options, and the attack on one that runs."""
    actions = parser.add_subparsers(dest="action", metavar="[attack]")
    attack.configure(
        actions.add_parser(
            "attack",
            help="attack a demo that runs in another terminal, and see what refuses each attempt",
            description="Attack a demo that runs in another terminal: forge, replay, move and "
            "flood as a dishonest broker operator and as the thief of a gateway would.",
        )
    )
    parser.add_argument("--port", type=int, default=8400, help="of the dashboard (default 8400)")
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=default_data_directory(),
        metavar="DIR",
        help="where everything is kept, and resumed (default %(default)s)",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="forget what is in the data directory first"
    )
    parser.add_argument(
        "--broker",
        choices=["mosquitto", "nats"],
        help="default: mosquitto where there is one, else nats",
    )
    store = parser.add_mutually_exclusive_group()
    store.add_argument(
        "--timescaledb",
        action="store_true",
        help="on TimescaleDB, provisioned if need be (default where it is already there)",
    )
    store.add_argument(
        "--plain", action="store_true", help="on plain PostgreSQL, even if TimescaleDB is there"
    )
    store.add_argument(
        "--database", metavar="URL", help="on a PostgreSQL or TimescaleDB server of your own"
    )
    parser.add_argument(
        "--headless-check",
        action="store_true",
        help="start, wait until readings are served, print a JSON summary, stop",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo until Ctrl-C, or the check once; 1 when it cannot start."""
    if arguments.action == "attack":
        return attack.run(arguments)
    try:
        options = _options(arguments)
        demo = _check(options) if arguments.headless_check else _show(options)
        return asyncio.run(run_until_stopped(demo))
    except (DemoError, BrokerError, CredentialError, EmbeddedDatabaseError, *OUTAGES) as error:
        print(f"kerbstone demo: {error}", file=sys.stderr)
        return 1


def _options(arguments: argparse.Namespace) -> Options:
    layout = Layout(arguments.data_dir.absolute())
    return Options(
        layout=layout,
        broker=arguments.broker or default_kind(),
        timescaledb=_wants_timescaledb(arguments, layout),
        database=arguments.database,
        port=arguments.port,
        fresh=arguments.fresh,
    )


def _wants_timescaledb(arguments: argparse.Namespace, layout: Layout) -> bool:
    """Decide the embedded database's edition: what was asked, else what is there already."""
    if arguments.timescaledb:
        provision_timescaledb(lambda line: say(f"  {line}"))
        return True
    if arguments.plain or arguments.database:
        return False
    made_for = None if arguments.fresh else edition_of(layout.database)
    return timescaledb_is_here() if made_for is None else made_for is not Edition.PLAIN


async def _show(options: Options) -> None:
    async with running(LONDON, options) as session:
        await backfilled(session)
        secret = await _sign_in_pass(session)
        say(f"\nDashboard    {session.address}")
        say(f"SensorThings {session.address}sensorthings/v1.1")
        port = session.readers.broker.port
        say(
            f"MQTT         mosquitto_sub -h localhost -p {port} "
            f"--cafile {session.network.region_root} -t 'v1.1/Observations'"
        )
        say(f"Gateways     {session.address}administration (sign in with {secret})")
        say(f"Network      kerbstone network status --directory {session.network.root}")
        say(f"Data, logs   {options.layout.root}")
        say(
            "The London sites replay 2009, moved to today; this computer measures itself.\n"
            "Ctrl-C stops everything.\n"
        )
        await session.children.keep_running()


async def _sign_in_pass(session: Session) -> str:
    """Return a new pass of the region's operator, good for a day."""
    added = await passes.add(
        session.network, name="demo", role="operator", lifetime=PASS_LIFETIME, actor=ACTOR
    )
    return added.secret


@dataclass(frozen=True, slots=True)
class Summary:
    """What `--headless-check` found, measured through the front door."""

    address: str
    broker: str
    edition: str
    gateways: int
    datastreams: int
    observations: int
    seconds_to_dashboard: float
    seconds_to_backfilled: float


async def _check(options: Options) -> None:
    started = time.monotonic()
    async with running(LONDON, options) as session:
        to_dashboard = time.monotonic() - started
        await backfilled(session)
        to_backfilled = time.monotonic() - started
        summary = await _summary(session, to_dashboard, to_backfilled)
    print(json.dumps(asdict(summary), indent=2))


async def _summary(session: Session, to_dashboard: float, to_backfilled: float) -> Summary:
    service = f"{session.address}sensorthings/v1.1"
    datastreams = await asyncio.to_thread(_get, f"{service}/Datastreams?$count=true&$top=1")
    observations = await asyncio.to_thread(_get, f"{service}/Observations?$count=true&$top=1")
    await asyncio.to_thread(_get_page, session.address)
    async with await connect(session.dsn, application_name="kerbstone demo") as conn:
        edition = await detect(conn)
    if not observations["@iot.count"]:
        raise DemoError(f"no observations are served; see {session.options.layout.root / 'logs'}")
    return Summary(
        address=session.address,
        broker=session.broker.kind,
        edition=edition.value,
        gateways=len(session.city.gateways),
        datastreams=datastreams["@iot.count"],
        observations=observations["@iot.count"],
        seconds_to_dashboard=round(to_dashboard, 1),
        seconds_to_backfilled=round(to_backfilled, 1),
    )


def _get(url: str) -> Any:
    return json.loads(_get_page(url))


def _get_page(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 - our own address
        return bytes(response.read())
