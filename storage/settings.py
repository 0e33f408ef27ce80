"""How a central process is told where the database is; the same keys for every one of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.settings import setting

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """The part of a process's settings that leads to its database."""

    dsn: str = setting(
        "How to reach the database: a URL or key-value pairs.", default="", secret=True
    )
    dsn_file: Path | None = setting("Instead: a file that holds it.", default=None, must_exist=True)

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse both ways to the database, and none."""
        if bool(self.dsn) == (self.dsn_file is not None):
            yield ("dsn",), "give either dsn or dsn_file"

    @property
    def database(self) -> str:
        """How to reach the database.

        Raises:
            OSError: `dsn_file` cannot be read.
        """
        if self.dsn_file is None:
            return self.dsn
        return self.dsn_file.read_text(encoding="utf-8").strip()
