"""A database for tests that put the processes together themselves."""

from tests.integration.conftest import database_server, dsn

__all__ = ["database_server", "dsn"]
