"""The network as the broker should know it now: its description and the registry, joined. Pure.

The description says which councils there are, where they listen and which services take their
readings in; the registry says which gateways. Telling the broker is `broker_config.keeper`.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Final

from broker_config.network import Gateway, Network
from storage.registry import GatewayRow

ADMITTED: Final = frozenset({"invited", "active"})
"""A gateway may connect as soon as it has its certificate: nobody waits for the broker."""


def describe(
    described: Network, gateways: Iterable[GatewayRow], tenants: Collection[str]
) -> Network | None:
    """Return what the broker is to serve, None if that is no council at all.

    gateways: of all councils; suspended and revoked ones are left out.
    tenants: councils that can be served, e.g. those that have a revocation list; the others
        get no listener yet.
    """
    councils = tuple(council for council in described.councils if council.tenant in tenants)
    if not councils:
        return None
    served = {council.tenant for council in councils}
    services = (
        replace(service, tenants=tuple(each for each in service.tenants if each in served))
        for service in described.services
    )
    return replace(
        described,
        councils=councils,
        services=tuple(service for service in services if service.tenants),
        gateways=tuple(
            Gateway(row.tenant, row.device)
            for row in sorted(gateways, key=lambda row: (row.tenant, row.device))
            if row.status in ADMITTED and row.tenant in served
        ),
    )
