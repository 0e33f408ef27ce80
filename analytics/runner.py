"""The analytics process: keeps hourly rollups true, partitions ahead, and old data in bounds.

It holds no state: killed at any moment and started again, it goes on where the log stands. Two
may run at once; one of them works. The statements are in `storage`.
"""

import asyncio
import logging
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from analytics.condition import Measure
from analytics.settings import AnalyticsSettings
from runtime.backoff import FullJitter
from runtime.metrics import serve_metrics
from storage.database import OUTAGES, Connection, connect
from storage.partitions import ensure_partitions
from storage.publication import forget_unpublished
from storage.retention import expire, forget_certificates, forget_credentials
from storage.rollups import LOG_ENTRIES, refresh_rollups
from storage.thinning import thin

log = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS: Final = 3600.0
PARTITIONS_AHEAD: Final = timedelta(days=35)
CREDENTIALS_KEPT: Final = timedelta(days=90)
"""After the end of a one-time token or a staff session: long enough to look into a mishap."""
CERTIFICATES_KEPT: Final = timedelta(days=365)
"""After the end of a gateway's certificate: who held it is kept for ever, itself no longer."""

RETRY_BASE_SECONDS: Final = 0.5
RETRY_CAP_SECONDS: Final = 30.0

ENTRIES = Counter("analytics_rollup_log_entries", "Log entries worked off.")
REFRESH_DURATION = Histogram("analytics_rollup_refresh_duration_seconds", "Time of one refresh.")
LAST_REFRESH = Gauge(
    "analytics_rollup_last_refresh_timestamp_seconds", "When the rollups were last known true."
)
EXPIRED = Counter("analytics_expired_tables", "Partitions or chunks of observations dropped.")
THINNED = Counter(
    "analytics_thinned_observations", "Observations deleted by the classes of [[retention]]."
)
OUTAGE = Gauge("analytics_database_down", "1 while the database cannot be used.")


async def run(settings: AnalyticsSettings) -> None:
    """Keep the store until cancelled; an outage of the database is waited out."""
    with ExitStack() as resources:
        if metrics := serve_metrics(settings.metrics):
            resources.callback(metrics.close)
        backoff = FullJitter(RETRY_BASE_SECONDS, RETRY_CAP_SECONDS)
        while True:
            try:
                await _keep_store(settings, backoff)
            except OUTAGES as error:
                wait = backoff.next()
                OUTAGE.set(1)
                log.warning(
                    "database outage", extra={"error": str(error), "retry_in_seconds": wait}
                )
                await asyncio.sleep(wait)


async def _keep_store(settings: AnalyticsSettings, backoff: FullJitter) -> None:
    """Work on one connection for as long as it lasts."""
    async with await connect(
        settings.database, autocommit=True, application_name="kerbstone analytics"
    ) as conn:
        housekeeping_due = 0.0
        measure = Measure()
        while True:
            await measure.when_due(conn)  # before the work: while that lasts, its backlog shows
            await _refresh(conn)  # first: housekeeping may fail for as long as a reader blocks it
            if time.monotonic() >= housekeeping_due:
                await _keep_house(conn, settings)
                housekeeping_due = time.monotonic() + HOUSEKEEPING_SECONDS
            backoff.reset()
            OUTAGE.set(0)
            await measure.beat(conn)
            await asyncio.sleep(settings.refresh_seconds)


async def _refresh(conn: Connection) -> None:
    """Work off what is logged."""
    taken = LOG_ENTRIES
    while taken == LOG_ENTRIES:
        with REFRESH_DURATION.time():
            taken = await refresh_rollups(conn)
        ENTRIES.inc(taken)
    LAST_REFRESH.set_to_current_time()


async def _keep_house(conn: Connection, settings: AnalyticsSettings) -> None:
    """Make the coming weeks' partitions, and drop what is kept no longer."""
    now = datetime.now(UTC)
    await ensure_partitions(conn, now, now + PARTITIONS_AHEAD)
    forgotten = await forget_credentials(conn, now - CREDENTIALS_KEPT)
    if forgotten:
        log.info("ended credentials removed", extra={"rows": forgotten})
    emptied = await forget_certificates(conn, now - CERTIFICATES_KEPT)
    if emptied:
        log.info("ended certificates emptied", extra={"rows": emptied})
    if left := await forget_unpublished(conn):
        log.info("batches that nobody published forgotten", extra={"rows": left})
    if settings.keep_days is not None:
        expired = await expire(conn, now - timedelta(days=settings.keep_days))
        EXPIRED.inc(expired.tables)
        log.info("expired", extra={"tables": expired.tables, "rows": expired.rows})
    for each in settings.retention:
        rows = await thin(conn, each.before(now))
        THINNED.inc(rows)
        if rows:
            log.info("class thinned", extra={"class": each.name, "rows": rows})
