"""What is kept beside the good, and leaves when its datastream is described."""

from datetime import timedelta

from device_protocol.reading import Quality
from tests.integration.ingest_centre import OBSERVATIONS, QUARANTINE, RULES, START, Centre
from tests.simulators.gateway import SimulatedGateway, datastream, description, reading, series


async def test_bad_readings_and_messages_are_kept_beside_the_good(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    message = gateway.report(
        [reading(5, time=START), reading(2000, time=START), reading(1, name="no3", time=START)]
    )
    broken = gateway.seal(b"\xff", 112)
    await centre.take(message, broken)
    assert len(await centre.rows(OBSERVATIONS)) == 1
    assert await centre.rows(QUARANTINE) == [
        ("out-of-range", "urn:dev:air:no2", 2000, "ug/m3"),
        ("unknown-datastream", "urn:dev:air:no3", 1, "ug/m3"),
        ("payload", None, None, None),
    ]
    assert await centre.rows("SELECT message FROM quarantine WHERE reason = 'payload'") == [
        (broken.payload,)
    ]
    assert await centre.rows("SELECT contiguous_seq FROM epoch") == [(3,)]


async def test_long_names_are_clipped(centre: Centre, gateway: SimulatedGateway) -> None:
    name = "n" * 20_000
    await centre.take(gateway.report([reading(1, name=name, time=START)]))
    [(kept, detail)] = await centre.rows("SELECT senml_name, detail FROM quarantine")
    assert len(str(kept)) == len(str(detail)) == 501


async def test_readings_before_their_description_leave_quarantine_with_it(
    centre: Centre,
) -> None:
    gateway = await centre.enrol("k7q2m9xd4t")
    early = [
        *series([1, 2.5], start=START),
        reading(True, name="bay", unit="", time=START),  # noqa: FBT003 - a result
        reading(5000, time=START - timedelta(hours=1)),
        reading(4, name="no3", time=START),
    ]
    await centre.take(gateway.report(early))
    await centre.take(gateway.report([reading(9, time=START)]))
    assert await centre.rows("SELECT count(*) FROM observation") == [(0,)]
    await centre.describe(
        gateway,
        description(datastream(valid=(0, 1000)), datastream("bay", "bay_occupied", "bool")),
    )
    device = (gateway.tenant, gateway.device)
    for _ in range(2):
        await centre.store.retry_held(device, centre.snapshot.gateways[device], RULES)
    assert await centre.rows(OBSERVATIONS) == [
        ("bay", START, 1.0),
        ("no2", START, 1.0),
        ("no2", START + timedelta(minutes=1), 2.5),
    ]
    assert await centre.rows("SELECT state, reason, result FROM quarantine ORDER BY id") == [
        ("retried", "unknown-datastream", 1),
        ("retried", "unknown-datastream", 2.5),
        ("retried", "unknown-datastream", True),
        ("held", "unknown-datastream", 5000),
        ("held", "unknown-datastream", 4),
        ("retried", "unknown-datastream", 9),
        ("held", "conflicting-result", 9),
    ]


async def test_readings_that_nobody_describes_hold_up_no_others(centre: Centre) -> None:
    """A sensor that is never described fills the quarantine; another is described at last."""
    gateway = await centre.enrol("k7q2m9xd4t")
    await centre.take(gateway.report([reading(1, name="no3", time=START)]))
    await centre.conn.execute(
        "INSERT INTO quarantine (received_at, tenant, device, reason, detail, topic, senml_name,"
        "                        phenomenon_time, result, unit)"
        " SELECT received_at, tenant, device, reason, detail, topic, senml_name,"
        "        phenomenon_time + n * interval '1 second', result, unit"
        "   FROM quarantine, generate_series(1, 100000) AS n"
    )
    await centre.take(gateway.report([reading(7, time=START)]))
    await centre.describe(gateway, description(datastream(valid=(0, 1000))))
    device = (gateway.tenant, gateway.device)
    await centre.store.retry_held(device, centre.snapshot.gateways[device], RULES)
    assert await centre.rows(OBSERVATIONS) == [("no2", START, 7.0)]


async def test_flags_wait_in_quarantine_with_their_reading(centre: Centre) -> None:
    gateway = await centre.enrol("k7q2m9xd4t")
    await centre.take(
        gateway.report(
            [
                reading(5000, time=START, quality=Quality.OUT_OF_RANGE),
                reading(7, time=START + timedelta(minutes=1)),
            ]
        )
    )
    assert await centre.rows("SELECT quality FROM quarantine ORDER BY id") == [(1,), (0,)]
    await centre.describe(gateway, description(datastream(valid=(0, 1000))))
    device = (gateway.tenant, gateway.device)
    await centre.store.retry_held(device, centre.snapshot.gateways[device], RULES)
    assert [row[2] for row in await centre.rows(OBSERVATIONS)] == [5000.0, 7.0]
    assert await centre.rows("SELECT time, quality FROM observation_extra") == [(START, 1)]
