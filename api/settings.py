"""What the web process is told in its TOML file. Secrets are paths to files."""
# ruff: noqa: RUF009  # `setting` returns a dataclass field

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.settings import setting

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """Where Prometheus finds this process."""

    port: int = setting("TCP port; 0 is off.", default=0, minimum=0, maximum=65535)
    host: str = setting("Address to listen on.", default="127.0.0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """Who runs this network, for the pages that must say so."""

    name: str = setting("Name of the body that runs it.", default="")
    email: str = setting("Where to report a problem.", default="", pattern=r"|\S+@\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Everything the web process is told."""

    dsn: str = setting(
        "How to reach the database: a URL or key-value pairs.", default="", secret=True
    )
    dsn_file: Path | None = setting("Instead: a file that holds it.", default=None, must_exist=True)
    host: str = setting("Address to listen on.", default="127.0.0.1")
    port: int = setting("TCP port; 0 takes a free one.", default=8080, minimum=0, maximum=65535)
    base_url: str = setting(
        "How people reach it, without a slash at the end; empty: as each request says.",
        default="",
        pattern=r"|https?://[^\s/]+",
    )
    metrics: MetricsSettings = MetricsSettings()
    operator: OperatorSettings = OperatorSettings()

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
        return self.dsn or (self.dsn_file.read_text().strip() if self.dsn_file else "")
