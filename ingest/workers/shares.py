"""What each process of ingest is told: one share of the councils, and a number in it. Pure.

The settings file describes all of them; from it follows what a single process does, which is an
ingest with one database. That there are several is no business of the rest of the code.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ingest.settings import BrokerSettings, IngestSettings, ShareSettings
from ingest.workers.ownership import Ownership
from runtime.metrics import MetricsSettings


class NoSuchShareError(Exception):
    """The settings know no such share, or no worker of that number."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process. share: empty where there are none."""

    share: str
    worker: int

    def __str__(self) -> str:
        return f"{self.share} worker {self.worker}".strip()


@dataclass(frozen=True, slots=True)
class Part:
    """One process's settings, and which gateways are its own.

    sessions: name of the connection and client id of every session that it and its like use.
    """

    settings: IngestSettings
    ownership: Ownership
    sessions: frozenset[tuple[str, str]]

    @property
    def scope(self) -> str:
        """What its number is unique in: processes for other recipients take other messages."""
        groups = {group for broker in self.settings.broker for group in broker.groups}
        every = not all(broker.groups for broker in self.settings.broker)
        return "" if every else ",".join(sorted(groups))


def children(settings: IngestSettings) -> list[Child]:
    """Return the processes that these settings ask for; a single one needs no supervisor."""
    if not settings.share:
        return [Child("", worker) for worker in range(settings.workers)]
    return [Child(share.name, n) for share in settings.share for n in range(share.workers)]


def whole(settings: IngestSettings) -> Part:
    """Return the part of the only process there is."""
    ownership = Ownership(by_council=_by_council(settings))
    return Part(settings, ownership, _sessions(settings, ownership))


def part_of(settings: IngestSettings, child: Child) -> Part:
    """Return what one of several processes is told.

    Raises:
        NoSuchShareError: naming what there is instead.
    """
    share = _share(settings, child.share)
    workers = settings.workers if share is None else share.workers
    if not 0 <= child.worker < workers:
        raise NoSuchShareError(f"worker {child.worker}: there are 0 to {workers - 1}")
    ownership = Ownership(
        share=child.share,
        tenants=None if share is None else frozenset(share.tenants),
        worker=child.worker,
        workers=workers,
        by_council=_by_council(settings),
    )
    number = children(settings).index(child)
    own = replace(
        settings,
        share=(),
        broker=tuple(_connections(settings, ownership)),
        metrics=_metrics(settings.metrics, number),
    )
    if share is not None:
        own = replace(own, dsn=share.dsn, dsn_file=share.dsn_file)
    return Part(own, ownership, _sessions(settings, ownership))


def client_id(broker: BrokerSettings, ownership: Ownership) -> str:
    """Return the client id of one process: its own wherever others use the same connection.

    A council's connection that one process alone uses keeps its name, and with it the session that
    the broker keeps, whichever process that is.
    """
    return f"{broker.client_id}{suffix(broker, ownership)}"


def suffix(broker: BrokerSettings, ownership: Ownership) -> str:
    """Return what a process's client id and certificate have after those of the settings."""
    if broker.tenant != "+" and not ownership.divides_councils:
        return ""
    share = f"-{ownership.share}" if ownership.share else ""
    return f"{share}-w{ownership.worker}" if ownership.workers > 1 else share


def own_file(path: Path, ending: str) -> Path:
    """Return where a process's own certificate or key is, beside that of the settings."""
    return path.with_name(f"{path.stem}{ending}{path.suffix}")


def division(broker: BrokerSettings, ownership: Ownership) -> str:
    """Return by what rule a connection's gateways are divided; empty: it hears them all.

    A session made under another rule is subscribed to other gateways.
    """
    if not suffix(broker, ownership):
        return ""
    tenants = ",".join(sorted(ownership.tenants or ()))
    unit = "council" if ownership.by_council else "gateway"
    return f"{ownership.workers} by {unit} of {tenants or 'all'}"


def _share(settings: IngestSettings, name: str) -> ShareSettings | None:
    if not name and not settings.share:
        return None
    for share in settings.share:
        if share.name == name:
            return share
    known = ", ".join(share.name for share in settings.share) or "none"
    raise NoSuchShareError(f"share {name!r}: there is {known}")


def _connections(settings: IngestSettings, ownership: Ownership) -> Iterator[BrokerSettings]:
    for broker in settings.broker:
        if broker.tenant == "+" or ownership.serves(broker.tenant):
            yield replace(broker, client_id=client_id(broker, ownership))


def _by_council(settings: IngestSettings) -> bool:
    """Return whether councils are divided, not gateways: where a subscription is dear.

    NATS, which speaks MQTT 3.1.1 alone, keeps a consumer for each.
    """
    return any(broker.mqtt_version == "3.1.1" for broker in settings.broker)


def _sessions(settings: IngestSettings, ownership: Ownership) -> frozenset[tuple[str, str]]:
    like = [replace(ownership, worker=number) for number in range(ownership.workers)]
    return frozenset(
        (broker.name, broker.client_id) for each in like for broker in _connections(settings, each)
    )


def _metrics(settings: MetricsSettings, number: int) -> MetricsSettings:
    return replace(settings, port=settings.port + number) if settings.port else settings
