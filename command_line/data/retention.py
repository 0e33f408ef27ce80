"""`kerbstone data retention --config FILE`: what the settings would delete now, and nothing else.

Deleting is what `kerbstone analytics run` does by itself.
"""

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from analytics.settings import AnalyticsSettings
from command_line.data.terminal import show
from runtime.settings import load
from storage.archive.backup import APPLICATION_NAME
from storage.database import connect
from storage.thinning import RetentionClass, preview

SUMMARY: Final = "count what `analytics run` would delete by its settings, and delete nothing"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="settings of analytics, TOML"
    )


async def run(arguments: argparse.Namespace) -> int:
    """Count, class by class."""
    settings = load(AnalyticsSettings, arguments.config)
    now = datetime.now(UTC)
    wanted = [each.before(now) for each in settings.retention]
    if settings.keep_days is not None:
        before = now - timedelta(days=settings.keep_days)
        everything = RetentionClass(
            name="keep_days",
            observed_properties=frozenset(),
            councils=frozenset(),
            before=before,
        )
        wanted.insert(0, everything)
    async with await connect(
        settings.database, autocommit=True, application_name=APPLICATION_NAME
    ) as conn:
        found = [(each, await preview(conn, each)) for each in wanted]
    facts = [
        {
            "class": each.name,
            "before": each.floor.isoformat(),
            "datastreams": due.datastreams,
            "observations": due.rows,
            "oldest": due.oldest and due.oldest.isoformat(),
        }
        for each, due in found
    ]
    lines = [
        f"{each.name}: {due.rows:,} observations of {due.datastreams:,} datastreams from before "
        f"{each.floor:%Y-%m-%d}" + (f", the oldest of {due.oldest:%Y-%m-%d}" if due.oldest else "")
        for each, due in found
    ]
    show(arguments, {"classes": facts}, "\n".join(lines) or "everything is kept")
    return 0
