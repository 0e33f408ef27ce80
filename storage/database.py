"""Connections, the pool, and the text of the statements in storage/queries.

What the statements mean is the business of the module that runs them.
"""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, LiteralString, TypeAlias
from weakref import WeakKeyDictionary

import orjson
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool

Connection: TypeAlias = psycopg.AsyncConnection[TupleRow]
Pool: TypeAlias = AsyncConnectionPool[Connection]

OUTAGES: Final = (OSError, psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction)
"""What a lost, restarting or unreachable server raises, or one that has no room, or that became
a replica: wait, then try again."""

LACKS: Final = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)
"""What a database raises that was never migrated, or not since an upgrade."""

_QUERIES: Final = Path(__file__).parent / "queries"
_POOL_TIMEOUT_SECONDS: Final = 10.0
_CONNECTION_DEFAULTS: Final = {
    "connect_timeout": "5",
    "keepalives_idle": "30",
    "tcp_user_timeout": "30000",  # milliseconds; a server that vanished is noticed
}

# A column of JSON writes 1e22 out, and Python would make of that a whole number, which no JSON of
# ours can tell; orjson makes a double of it again, as it was sent.
set_json_loads(orjson.loads)


def lack(error: BaseException) -> str:
    """Say to a person what one of LACKS means."""
    missing = str(error).partition("\n")[0]
    return (
        f"the database lacks what this version needs ({missing}): check that it is the right one, "
        "and run `kerbstone database migrate` with its URL"
    )


@cache
def query(name: str) -> LiteralString:
    """Return the statement kept in storage/queries/`name`.sql."""
    return (_QUERIES / f"{name}.sql").read_text(encoding="utf-8")


def _conninfo(
    dsn: str, application_name: str, session: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return `dsn` with our session settings: times are UTC whatever the server's zone."""
    given = conninfo_to_dict(dsn)
    options = given.get("options") or ""
    for name, value in {**session, "TimeZone": "UTC"}.items():
        escaped = value.replace("\\", r"\\").replace(" ", r"\ ")
        options = f"{options} -c {name}={escaped}".strip()
    settings = _CONNECTION_DEFAULTS | given | {"options": options}
    return make_conninfo("", **settings, application_name=application_name)


async def connect(dsn: str, *, autocommit: bool = False, application_name: str) -> Connection:
    """Return one connection, for a task that keeps it (LISTEN, a lock, a migration).

    Raises:
        psycopg.OperationalError: the server cannot be reached or refuses us.
    """
    return await psycopg.AsyncConnection.connect(
        _conninfo(dsn, application_name), autocommit=autocommit
    )


@asynccontextmanager
async def open_pool(
    dsn: str,
    *,
    min_size: int = 1,
    max_size: int = 8,
    application_name: str,
    session: Mapping[str, str] = MappingProxyType({}),
    autocommit: bool = False,
    trusted_seconds: float = 0.0,
) -> AsyncIterator[Pool]:
    """Open a pool of connections for the length of the block.

    session: settings of each connection. trusted_seconds: how long one is lent again unchecked.

    Opening succeeds while the server is away; `pool.connection()` then raises a
    psycopg.OperationalError after ten seconds. A connection that died idle is replaced unseen.
    """
    checked: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()

    async def check(conn: Connection) -> None:
        now = time.monotonic()
        if trusted_seconds and now - checked.get(conn, -trusted_seconds) < trusted_seconds:
            return
        checked[conn] = now
        try:
            await AsyncConnectionPool.check_connection(conn)
        except psycopg.OperationalError:
            await pool.drain()  # where one is dead the server restarted, and all others are too
            raise

    pool: Pool = AsyncConnectionPool(
        _conninfo(dsn, application_name, session),
        kwargs={"autocommit": autocommit},
        min_size=min_size,
        max_size=max_size,
        timeout=_POOL_TIMEOUT_SECONDS,
        check=check,
        open=False,
        name=application_name,
    )
    async with pool:
        yield pool
