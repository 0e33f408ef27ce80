"""Where everything of one demo lies below its data directory."""

import os
from dataclasses import dataclass
from pathlib import Path


def default_data_directory() -> Path:
    """Return the demo's own directory below the user's data directory (XDG Base Directory)."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "kerbstone" / "demo"


@dataclass(frozen=True, slots=True)
class Layout:
    """The demo's directory, and what is where in it."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held by the demo that runs here."""
        return self.root / "demo.lock"

    @property
    def state(self) -> Path:
        """What was drawn or chosen at first start and stays: device ids, ports."""
        return self.root / "demo.json"

    @property
    def processes(self) -> Path:
        """Process ids, so that a killed demo's children can be ended."""
        return self.root / "processes"

    @property
    def database(self) -> Path:
        """The embedded database's files."""
        return self.root / "database"

    @property
    def authority(self) -> Path:
        """Certificate authority: its keys, and the certificates of broker and services."""
        return self.root / "authority"

    @property
    def broker(self) -> Path:
        """The embedded broker's configuration and store."""
        return self.root / "broker"

    @property
    def centre(self) -> Path:
        """Settings and keys of ingest, API and analytics."""
        return self.root / "centre"

    def gateway(self, key: str) -> Path:
        """Return a gateway's own directory: settings, key, certificate, spool."""
        return self.root / "gateways" / key

    def log(self, process: str) -> Path:
        """Return the log file of a process."""
        return self.root / "logs" / f"{process}.log"
