"""Which kind of server this is, which decides how `observation` is kept.

The statements that create it are storage/migrations/*.EDITION.sql; partitions are made and
dropped by `storage.partitions` and `storage.retention`.
"""

from enum import Enum

from storage.database import Connection, query


class Edition(Enum):
    """How observations are kept; the value stands in the names of migration files.

    PLAIN: PostgreSQL alone; partitions by month. APACHE: TimescaleDB under its Apache licence;
    a hypertable with a chunk a day. TIMESCALE: its Community edition; chunks also turn into
    columns after a week.
    """

    PLAIN = "plain"
    APACHE = "apache"
    TIMESCALE = "timescale"


async def detect(conn: Connection) -> Edition:
    """Return the edition of the database.

    Once `observation` exists its form decides, so that installing the extension later does not
    change an existing database's edition. Before that, the extension does: whoever wants
    hypertables runs CREATE EXTENSION timescaledb before the first migration.
    """
    cursor = await conn.execute(query("detect_edition"))
    [(is_partitioned, has_extension)] = await cursor.fetchall()
    if is_partitioned or not has_extension:
        return Edition.PLAIN
    cursor = await conn.execute("SELECT current_setting('timescaledb.license')")
    [(licence,)] = await cursor.fetchall()
    return Edition.APACHE if licence == "apache" else Edition.TIMESCALE
