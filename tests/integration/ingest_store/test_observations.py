"""From an admitted batch to the rows in the database: each result once, with its evidence."""

from collections.abc import Sequence
from datetime import timedelta

from device_protocol.reading import Quality
from storage import batches, quarantine
from tests.integration.ingest_centre import NOW, OBSERVATIONS, QUARANTINE, START, Centre
from tests.simulators.gateway import SimulatedGateway, datastream, description, reading, series


async def test_readings_are_stored_with_their_evidence_and_replay_state(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    readings = [*series([41.5, 42], start=START), reading(True, name="bay", unit="", time=START)]  # noqa: FBT003 - a result
    await centre.take(gateway.report(readings))
    later = START + timedelta(minutes=1)
    assert await centre.rows(OBSERVATIONS) == [
        ("bay", START, 1.0),
        ("no2", START, 41.5),
        ("no2", later, 42.0),
    ]
    assert await centre.rows("SELECT quality, result FROM observation_extra") == [(0, True)]
    evidence = "SELECT seq, readings, first_time, last_time, content_format, length(signed) > 64"
    assert await centre.rows(f"{evidence} FROM signed_batch WHERE seq = 2") == [
        (2, 3, START, later, 112, True)
    ]
    assert await centre.rows(
        "SELECT counter, highest_seq, contiguous_seq, received_messages FROM epoch"
    ) == [(1, 2, 2, 2)]
    assert await centre.rows(
        "SELECT bucket, count(DISTINCT datastream_id) FROM rollup_log GROUP BY 1"
    ) == [(START, 2)]


async def test_repeated_readings_are_ignored_also_under_another_message(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    readings = series([1, 2, 3], start=START)
    await centre.take(gateway.report(readings))
    before = await centre.rows("SELECT count(*) FROM rollup_log")
    _, stored = await centre.take(gateway.report(readings))
    assert not stored.contradictions
    assert await centre.rows("SELECT count(*) FROM observation") == [(3,)]
    assert await centre.rows("SELECT count(*) FROM rollup_log") == before
    assert await centre.rows(QUARANTINE) == []


async def test_another_result_for_the_same_time_is_quarantined_and_the_first_stays(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    await centre.take(gateway.report(series([1, 2, 3], start=START)))
    await centre.take(
        gateway.report(
            [*series([1, 9, 3, 4], start=START), reading(2, time=START - timedelta(days=70))]
        )
    )
    values = [row[2] for row in await centre.rows(OBSERVATIONS)]
    assert values == [2.0, 1.0, 2.0, 3.0, 4.0]
    assert await centre.rows(QUARANTINE) == [
        ("conflicting-result", "urn:dev:air:no2", 9.0, "ug/m3")
    ]


async def test_contradicting_truth_values_are_told_apart(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    occupied, free = (reading(state, name="bay", unit="", time=START) for state in (True, False))
    await centre.take(gateway.report([occupied]))
    await centre.take(gateway.report([occupied]))
    assert await centre.rows(QUARANTINE) == []
    await centre.take(gateway.report([free]))
    assert await centre.rows(QUARANTINE) == [
        ("conflicting-result", "urn:dev:air:bay", False, "bool")
    ]
    assert await centre.rows("SELECT result FROM observation_extra") == [(True,)]


async def test_contradicting_texts_are_told_apart(centre: Centre) -> None:
    gateway = await centre.enrol("k7q2m9xd4t")
    await centre.describe(gateway, description(datastream("state", "lane_occupancy", "1")))
    for text in ("idle", "idle", "busy"):
        await centre.take(gateway.report([reading(text, name="state", unit="", time=START)]))
    assert await centre.rows("SELECT value FROM observation") == [(None,)]
    assert await centre.rows("SELECT result FROM observation_extra") == [("idle",)]
    assert [row[2] for row in await centre.rows(QUARANTINE)] == ["busy"]


async def test_flag_of_a_repetition_does_not_reach_what_is_stored(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    await centre.take(gateway.report(series([1], start=START)))
    gateway.clock = 0
    await centre.take(gateway.announce(NOW))
    await centre.take(gateway.report(series([1, 2], start=START)))
    assert await centre.rows("SELECT time, quality FROM observation_extra") == [
        (START + timedelta(minutes=1), 2)
    ]


async def test_flags_of_a_gateway_are_stored_and_shown_with_the_latest_value(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    minute = timedelta(minutes=1)
    await centre.take(
        gateway.report(
            [
                reading(1, time=START),
                reading(5000, time=START + minute, quality=Quality.OUT_OF_RANGE),
                reading(3, time=START + 2 * minute, quality=Quality.REPLAYED | Quality.SUSPECT),
            ]
        )
    )
    assert [row[2] for row in await centre.rows(OBSERVATIONS)] == [1.0, 5000.0, 3.0]
    assert await centre.rows("SELECT time, quality FROM observation_extra ORDER BY 1") == [
        (START + minute, 1),
        (START + 2 * minute, 12),
    ]
    assert await centre.rows(QUARANTINE) == []
    await batches.upsert_latest(centre.conn, centre.newest.take())
    assert await centre.rows("SELECT value, quality FROM latest") == [(3.0, 12)]


async def test_latest_follows_the_newest_and_never_goes_back(
    centre: Centre, gateway: SimulatedGateway
) -> None:
    latest = "SELECT time, value, result, quality FROM latest JOIN datastream ON id = datastream_id"
    await centre.take(gateway.report(series([1, 2, 3], start=START)))
    await centre.take(gateway.report([reading(7, time=START + timedelta(minutes=2))]))
    await batches.upsert_latest(centre.conn, centre.newest.take())
    newest = (START + timedelta(minutes=2), 3.0, None, 0)
    assert await centre.rows(latest) == [newest], "the contradiction is not the latest value"
    await centre.take(gateway.report([reading(9, time=START - timedelta(days=1))]))
    await batches.upsert_latest(centre.conn, centre.newest.take())
    assert await centre.rows(latest) == [newest]


async def test_latest_is_made_good_after_a_stop(centre: Centre, gateway: SimulatedGateway) -> None:
    occupied = reading(True, name="bay", unit="", time=START)  # noqa: FBT003 - a result
    await centre.take(gateway.report([*series([1, 2], start=START), occupied]))
    await batches.reconcile_latest(centre.conn)
    await batches.reconcile_latest(centre.conn)
    assert await centre.rows(
        "SELECT short_name, time, value, result FROM latest"
        " JOIN datastream ON id = datastream_id ORDER BY 1"
    ) == [("bay", START, 1.0, True), ("no2", START + timedelta(minutes=1), 2.0, None)]


async def test_refusals_add_up_by_the_hour(centre: Centre) -> None:
    def count(n: int, at: int, detail: str) -> Sequence[quarantine.RefusalCount]:
        found = quarantine.RefusalCount(
            tenant="camden", device="", reason="aead", n=n, last_at=at, last_detail=detail
        )
        return [found]

    hour = NOW - NOW % 3600
    await quarantine.add_refusals(centre.conn, count(2, hour, "first"))
    await quarantine.add_refusals(centre.conn, count(3, hour + 3599, "later\x00"))
    await quarantine.add_refusals(centre.conn, count(1, hour + 3600, "next hour"))
    assert await centre.rows("SELECT n, last_detail FROM refusal ORDER BY hour") == [
        (5, "later\ufffd"),
        (1, "next hour"),
    ]
