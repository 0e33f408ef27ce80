"""A whole centre without gateways, for the measurement of those that enrol into it."""

import tempfile
from pathlib import Path
from typing import Any, Final

from bench.enrol import measure
from broker_config.embedded import default_kind
from command_line.demo.city import City, DemoCouncil
from command_line.demo.layout import Layout
from command_line.demo.session import Options, running
from command_line.network import gateways as network
from command_line.progress import Progress
from device_protocol.first_boot import FirstBoot
from storage.embedded import remove
from storage.site_list import Site

CITY: Final = City(
    name="Bench",
    councils=(
        DemoCouncil(tenant="camden", gss="E09000007", name="Camden"),
        DemoCouncil(tenant="westminster", gss="E09000033", name="Westminster"),
    ),
    gateways=(),
)


async def measure_enrolment(*, gateways: int, broker: str = "") -> dict[str, Any]:
    """Start a centre, invite so many gateways, let them enrol and report; see `bench.enrol`.

    broker: "mosquitto" or "nats"; empty: the best there is here.

    Raises:
        BenchError: a gateway did not come through.
        BrokerError, EmbeddedDatabaseError, DemoError: the centre did not start.
    """
    kind = broker or default_kind().value
    with tempfile.TemporaryDirectory(prefix="kerbstone-bench-") as folder:
        layout = Layout(Path(folder))
        async with running(CITY, Options(layout=layout, broker=kind, port=0)) as session:
            first_boots: list[FirstBoot] = []
            for index, council in enumerate(CITY.councils):
                count = len(range(index, gateways, len(CITY.councils)))
                sites = [Site(site=f"bench-{number}") for number in range(count)]
                invited = await network.invite(session.network, tenant=council.tenant, sites=sites)
                first_boots += invited.first_boots.values()
            with Progress("Enrolling", len(first_boots), unit="gateways") as progress:
                result = await measure(
                    first_boots,
                    layout.root / "gateways",
                    dsn=session.dsn,
                    progress=progress.update,
                )
        remove(layout.database)
    return {"broker": kind, **result}
