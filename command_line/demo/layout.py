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
    def ports(self) -> Path:
        """The ports drawn at first start."""
        return self.root / "ports.json"

    @property
    def processes(self) -> Path:
        """Process ids, so that a killed demo's children can be ended."""
        return self.root / "processes"

    @property
    def database(self) -> Path:
        """The embedded database's files."""
        return self.root / "database"

    @property
    def network(self) -> Path:
        """The network's directory, as `kerbstone network init` makes it."""
        return self.root / "network"

    @property
    def passphrase(self) -> Path:
        """What encrypts the authority's keys; on a real network it lies elsewhere than they do."""
        return self.root / "passphrase"

    @property
    def region_passphrase(self) -> Path:
        """What encrypts the region root's key; on a real network both are in a safe."""
        return self.root / "region-passphrase"

    @property
    def broker(self) -> Path:
        """The embedded broker's configuration and store."""
        return self.root / "broker"

    @property
    def readers_broker(self) -> Path:
        """The readers' broker: its configuration and store."""
        return self.root / "readers-broker"

    def gateway(self, key: str) -> Path:
        """Return a gateway's own directory: settings, identity, spool."""
        return self.root / "gateways" / key

    def identity(self, key: str) -> Path:
        """Return where a gateway keeps its key and certificate."""
        return self.gateway(key) / "identity"

    def log(self, process: str) -> Path:
        """Return the log file of a process."""
        return self.root / "logs" / f"{process}.log"
