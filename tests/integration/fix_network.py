"""Somebody at a terminal who types `kerbstone network …`, with a real database behind it.

What the enrolment service does between two commands is done by its own `Upkeep`, and a gateway's
part by `enrolled`.
"""

import asyncio
import io
import json
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from command_line.__main__ import main
from command_line.network.directory import NetworkDirectory
from enrolment.authority import Authority
from enrolment.upkeep import Upkeep
from storage import registry
from storage.certificates import add_certificate
from storage.database import Connection, connect, open_pool
from storage.epochs import NewEpoch, insert_epochs
from tests.integration import enrolled

T = TypeVar("T")
CAMDEN = ("camden", "--gss", "E09000007", "--name", "Camden")


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Operator:
    """Somebody at a terminal with a network of their own, or who is about to make it."""

    directory: NetworkDirectory
    dsn: str
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Said:
        """Type `kerbstone network WORDS`, and read what comes back."""
        self.capsys.readouterr()
        try:
            status = main(["network", *words, "--directory", str(self.directory.root)])
        except SystemExit as stopped:  # argparse, for words it does not know
            status = int(str(stopped.code))
        told = self.capsys.readouterr()
        return Said(status, told.out, told.err)

    def init(self, *more: str) -> Said:
        return self(
            "init",
            *("--name", "Testshire", "--host", "broker.example.org", "--database", self.dsn),
            "--generate-passphrases",
            *more,
        )

    def has(self, work: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        """Look into, or change, the database behind the commands' back."""

        async def do() -> T:
            async with await connect(
                self.dsn, autocommit=True, application_name="kerbstone test"
            ) as conn:
                return await work(conn)

        return asyncio.run(do())

    def serve(self) -> None:
        """Let the enrolment service look once at what is due, as it does within a second."""
        passphrase = (self.directory.root / "authority.passphrase").read_bytes().strip()

        async def look() -> None:
            authority = Authority(self.directory.authority, "Testshire", passphrase=passphrase)
            async with open_pool(self.dsn, application_name="kerbstone test") as pool:
                upkeep = Upkeep(authority, pool, None)
                for _ in range(100):
                    if await upkeep.look():
                        return
                    await asyncio.sleep(0.05)  # two lists are a second apart
                raise AssertionError("something is left to do")

        asyncio.run(look())

    def invited(self, site: str) -> str:
        """Invite a gateway and return its device id."""
        device: str = self("gateway", "invite", "camden", "--site", site, "--json").json[
            "invitations"
        ][0]["device"]
        return device

    def enrolled(self, site: str) -> str:
        """Invite a gateway and let it enrol; return its device id."""
        device = self.invited(site)
        self.has(
            lambda conn: add_certificate(
                conn,
                device=device,
                certificate=enrolled.certificate(device),
                issued_by="simpleenroll",
            )
        )
        return device

    def announced(self, device: str, version: int) -> None:
        """Let a gateway begin an epoch that is sealed for this key set."""

        async def announce(conn: Connection) -> None:
            [row] = await registry.gateways(conn, device)
            now = int(datetime.now(UTC).timestamp())
            epoch = NewEpoch(
                epoch_id=secrets.token_bytes(8),
                gateway_id=row.id,
                group="main",
                counter=version,
                announcement_sha256=bytes(32),
                content_algorithm=24,
                sealed_key=b"sealed",
                received_at=now,
                closes_at=now + 604_800,
                key_set_version=version,
                previous=None,
            )
            await insert_epochs(conn, [epoch])
            await conn.execute(
                "INSERT INTO gateway_seen (gateway_id, last_message_at) VALUES (%s, now())"
                " ON CONFLICT (gateway_id) DO UPDATE SET last_message_at = now()",
                (row.id,),
            )

        self.has(announce)

    def acts(self) -> list[str]:
        """Return what the audit says was done, oldest first."""
        entries = self("audit", "--json").json["entries"]
        return [entry["action"] for entry in reversed(entries)]


@pytest.fixture
def newcomer(dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    """An operator with a database and an empty directory."""
    return Operator(NetworkDirectory(tmp_path / "network"), dsn, capsys)


@pytest.fixture
def kerbstone(newcomer: Operator) -> Operator:
    """An operator with a network of one council."""
    assert newcomer.init().status == 0
    assert newcomer("council", "add", *CAMDEN).status == 0
    return newcomer


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sit down at a terminal and type this next."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def type_in(text: str) -> None:
        monkeypatch.setattr("sys.stdin", Terminal(f"{text}\n"))

    return type_in


def contents(directory: Path) -> dict[Path, bytes]:
    """Return every file below a directory."""
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def status_of(kerbstone: Operator, device: str) -> str:
    """Return what the commands say a gateway is."""
    shown = kerbstone("gateway", "show", device, "--json").json
    return str(shown["gateway"]["facts"]["status"])
