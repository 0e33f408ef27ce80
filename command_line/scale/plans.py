"""The three ways to grow, as values: what there is more than one of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from broker_config.network import Council

COUNCILS: Final = (
    Council(tenant="camden", gss="E09000007", name="Camden"),
    Council(tenant="islington", gss="E09000019", name="Islington"),
    Council(tenant="southwark", gss="E09000028", name="Southwark"),
    Council(tenant="westminster", gss="E09000033", name="Westminster"),
)
GATEWAYS_EACH: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is started.

    workers: processes of ingest for each database. nodes: of a NATS cluster, 0 for one broker.
    shares: councils by the database they have among themselves; empty for one database of all.
    replica: whether the first database has a streaming replica that the pages read from.
    """

    title: str
    workers: int = 1
    nodes: int = 0
    shares: Mapping[str, tuple[str, ...]]
    replica: bool = False


_ALL: Final = {"": tuple(council.tenant for council in COUNCILS)}

PLANS: Final[Mapping[str, Plan]] = {
    "workers": Plan(title="three ingest workers before one database", workers=3, shares=_ALL),
    "cluster": Plan(
        title="a NATS cluster of three, two ingest workers", workers=2, nodes=3, shares=_ALL
    ),
    "databases": Plan(
        title="a database for each pair of councils, a replica for the pages",
        shares={"north": ("camden", "islington"), "south": ("southwark", "westminster")},
        replica=True,
    ),
}
