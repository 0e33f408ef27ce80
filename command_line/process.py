"""What every long-running command shares: read settings, name mistakes, run until stopped."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from runtime.logs import configure as configure_logs
from runtime.settings import SettingsError, load
from runtime.signals import run_until_stopped

USAGE_ERROR = 2

Settings = TypeVar("Settings")


def configure_config(parser: argparse.ArgumentParser) -> None:
    """Add `--config FILE` and `--log-level LEVEL`."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings, TOML")
    parser.add_argument(
        "--log-level",
        default="INFO",
        choices=["DEBUG", "INFO", "WARNING", "ERROR"],
        help="least severe line that is logged (default INFO)",
    )


def run_process(
    name: str,
    settings_class: type[Settings],
    main: Callable[[Settings], Coroutine[Any, Any, None]],
    arguments: argparse.Namespace,
    *,
    misused: tuple[type[Exception], ...] = (),
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> int:
    """Run `main(settings)` until SIGINT or SIGTERM; wrong settings are listed: status 2.

    misused: what `main` raises when a file that the settings name is not what it should be.
    loop_factory: makes the event loop; None for asyncio's own.
    """
    try:
        settings = load(settings_class, arguments.config)
    except (SettingsError, OSError) as error:
        print(f"kerbstone {name}: {error}", file=sys.stderr)
        return USAGE_ERROR
    configure_logs(name, arguments.log_level)
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(run_until_stopped(main(settings)))
    except misused as error:
        print(f"kerbstone {name}: {error}", file=sys.stderr)
        return USAGE_ERROR
