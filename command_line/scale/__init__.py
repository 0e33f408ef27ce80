"""`kerbstone scale`: a region that has outgrown one process, one broker or one database, for real.

Everything runs on this computer's loopback, as it would on several machines, with gateways that
send sealed readings, until it is stopped. What is started is `region`'s; what each of the three
ways to grow looks like is in `plans`.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
from pathlib import Path

from broker_config.errors import BrokerError
from broker_config.network import NetworkError
from command_line.scale.plans import PLANS
from command_line.scale.region import ScaleError, keep_running
from runtime.signals import run_until_stopped
from storage.programs import EmbeddedDatabaseError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("way", choices=sorted(PLANS), help="what there is more than one of")
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="an empty directory to keep everything in (default: one that is deleted in the end)",
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=16.0,
        metavar="N",
        help="messages of 100 readings a second (default 16)",
    )
    parser.add_argument(
        "--seconds", type=float, default=0.0, metavar="N", help="stop by itself (default: never)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Start it, show that readings flow, stop it: 0 stopped as asked, 1 it failed, 2 misused."""
    # asyncio warns of every TLS connection that the other side ends, which is nobody's mistake.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    given = arguments.data_dir
    if given is not None and given.exists() and any(given.iterdir()):
        print(f"kerbstone scale: {given} is not empty; choose another --data-dir", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="kerbstone-scale-") as scratch:
        directory = (given or Path(scratch)).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        plan = PLANS[arguments.way]
        try:
            work = keep_running(plan, directory, arguments.rate, arguments.seconds)
            return asyncio.run(run_until_stopped(work)) or 0
        except (ScaleError, BrokerError, NetworkError, EmbeddedDatabaseError) as error:
            print(f"kerbstone scale: {error}", file=sys.stderr)
            return 1
