"""A network as its pages would find it: three councils, five sites, ninety days, some trouble.

The recording is real (London, 2009, moved to end now), so that pages look as they will; what went
wrong is planted, and `Street` says where. Everything is written by the storage functions that
ingest uses. `Street.report` then does what ingest does for one new reading.
"""

import csv
import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np

from device_protocol.description import GatewayDescription
from device_protocol.receiver import Announcement, Device, OpenedMessage, Receiver, Signer
from device_protocol.senml import CONTENT_FORMAT_SENML_CBOR
from storage.batches import (
    Extra,
    Latest,
    Observations,
    SignedBatch,
    insert_signed_batches,
    make_room,
    notify_latest,
    prepare,
    store_observations,
    update_seen,
    upsert_latest,
)
from storage.database import Connection
from storage.descriptions import Describer, store_description
from storage.epochs import NewEpoch, Progress, advance_epochs, insert_epochs
from storage.registry import add_council, add_gateway, add_signing_key
from storage.rollups import refresh_rollups
from tests.simulators.gateway import (
    SimulatedGateway,
    new_recipient_key,
    new_signing_key,
    public,
    reading,
)
from tests.simulators.street_places import (
    COUNCILS,
    MEASURED,
    PLACES,
    Place,
    described,
    slug,
    this_computer,
)

RECORDING = (
    Path(__file__).parents[2] / "command_line" / "demo" / "data" / "london_2009_hourly.csv.gz"
)
DAYS = 90
HOUR = timedelta(hours=1)
LATE = timedelta(minutes=2)
"""How old the newest value of one property is: late, where the others are fresh."""
REPLAYED, SUSPECT = 4, 8


@dataclass
class Street:
    """What was seeded. things, gateways: ids by name. streams: ids by site and short name.

    gap: from the last value before to the first after, in Bloomsbury's no2.
    """

    now: datetime
    things: dict[str, int] = field(default_factory=dict)
    gateways: dict[str, int] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)
    streams: dict[tuple[str, str], int] = field(default_factory=dict)
    senders: dict[str, SimulatedGateway] = field(default_factory=dict)
    gap: tuple[datetime, datetime] = field(init=False)
    batches: dict[str, OpenedMessage] = field(default_factory=dict)

    async def report(
        self,
        conn: Connection,
        stream: tuple[str, str],
        value: float,
        time: datetime | None = None,
        *,
        quality: int = 0,
    ) -> datetime:
        """Store one reading, bring `latest` up to it and tell listeners; return its time."""
        time = (time or datetime.now(UTC)).astimezone(UTC)
        await store(conn, {self.streams[stream]: [(time, value)]}, quality=quality)
        await notify_latest(conn)
        return time

    async def speak(self, conn: Connection) -> None:
        """Let every site but the silent one say once more what it said last, now."""
        silent = {place.name for place in PLACES if place.silent_for}
        cursor = await conn.execute("SELECT datastream_id, value, quality FROM latest")
        last = {key: (value, quality) for key, value, quality in await cursor.fetchall()}
        now = datetime.now(UTC)
        for (site, name), key in self.streams.items():
            if site not in silent and name != "spool_readings":
                value, quality = last[key]
                await store(conn, {key: [(now, value)]}, quality=quality)
        await notify_latest(conn)


async def seed(conn: Connection, now: datetime | None = None, *, days: int = DAYS) -> Street:
    """Fill an empty, migrated database; `conn` is autocommit and needs no staging table yet."""
    now = now or datetime.now(UTC)
    street = Street(now)
    await prepare(conn)
    for tenant, (gss, name) in COUNCILS.items():
        await add_council(conn, gss=gss, tenant=tenant, name=name)
    for place in PLACES:
        await _register(conn, street, place.name, place.tenant, described(place))
    await _register(conn, street, "This computer", "camden", this_computer())
    for place in PLACES:
        await _history(conn, street, place, days)
    await _present(conn, street)
    await _messages(conn, street)
    await _trouble(conn, street)
    while await refresh_rollups(conn):
        pass
    return street


async def store(
    conn: Connection,
    values: Mapping[int, Sequence[tuple[datetime, float]]],
    *,
    quality: int = 0,
) -> None:
    """Store observations as ingest does, with one quality for all, and bring `latest` up."""
    rows = sorted(
        (datastream_id, _microseconds(time), value)
        for datastream_id, series in values.items()
        for time, value in series
    )
    if not rows:
        return
    ids, times, results = zip(*rows, strict=True)
    observations = Observations(
        np.array(ids, np.int32), np.array(times, np.int64), np.array(results, np.float64)
    )
    extras = [Extra(key, time, quality, None) for key, time, _ in rows] if quality else []
    await make_room(conn, observations)
    async with conn.transaction():
        await store_observations(conn, observations, extras)
    newest = {key: Latest(time, value, None, quality) for key, time, value in rows}
    await upsert_latest(conn, newest)


def _microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


async def _register(
    conn: Connection, street: Street, name: str, tenant: str, description: GatewayDescription
) -> None:
    device = f"{slug(name).replace('-', '')[:8]}k7q2m9"
    recipient = new_recipient_key()
    sender = SimulatedGateway(
        tenant,
        device,
        [public(recipient)],
        signer=new_signing_key(suite=len(street.things) % 2 + 1),
    )
    gateway_id = await add_gateway(conn, tenant=tenant, device=device, label=name)
    await add_signing_key(
        conn,
        device=device,
        key=sender.verifying_key,
        valid_from=street.now - timedelta(days=2),
        valid_until=street.now + timedelta(days=5),
    )
    cursor = await conn.execute("SELECT council_id FROM gateway WHERE id = %s", (gateway_id,))
    [(council_id,)] = await cursor.fetchall()
    describer = Describer(
        gateway_id=gateway_id, council_id=council_id, described_at=int(street.now.timestamp())
    )
    async with conn.transaction():
        await store_description(conn, describer, description, hashlib.sha256().digest())
    street.gateways[name], street.devices[name], street.senders[name] = gateway_id, device, sender
    street.batches[name] = await _first_epoch(conn, street, name, sender, recipient)
    cursor = await conn.execute(
        "SELECT datastream.id, short_name, thing.id, thing.urn LIKE '%%:health' FROM datastream "
        "JOIN thing ON thing.id = thing_id WHERE thing.gateway_id = %s",
        (gateway_id,),
    )
    for datastream_id, short_name, thing_id, is_health in await cursor.fetchall():
        street.streams[name, short_name] = datastream_id
        if not is_health:
            street.things[name] = thing_id


async def _first_epoch(
    conn: Connection, street: Street, name: str, sender: SimulatedGateway, recipient: object
) -> OpenedMessage:
    """Seal one real message, open it as ingest would, and keep what ingest keeps."""
    now = int(street.now.timestamp())
    key = sender.verifying_key
    signer = Signer(key, now - 86_400, now + 86_400)
    device = Device(sender.tenant, sender.device, revoked=False, signers={key.kid: signer})
    receiver = Receiver(devices=[device], recipients=[recipient])  # type: ignore[list-item]
    announced = receiver.receive(*sender.announce(now), retained=False, now=now)
    assert isinstance(announced, Announcement)
    readings = [reading(40.5 + i, time=street.now - timedelta(seconds=i)) for i in range(12)]
    opened = receiver.receive(*sender.report(readings), retained=False, now=now)
    assert isinstance(opened, OpenedMessage)
    epoch = NewEpoch(
        epoch_id=announced.epoch.epoch_id,
        gateway_id=street.gateways[name],
        group=sender.group,
        counter=announced.epoch.counter,
        announcement_sha256=announced.sha256,
        content_algorithm=announced.epoch.content_algorithm,
        sealed_key=b"sealed",
        received_at=now,
        closes_at=now + 604_800,
        key_set_version=announced.key_set_version,
        previous=None,
    )
    batch = SignedBatch(
        epoch_id=opened.epoch_id,
        seq=opened.seq,
        message_hash=opened.digest,
        gateway_id=street.gateways[name],
        signer_kid=opened.signer_kid,
        content_format=CONTENT_FORMAT_SENML_CBOR,
        signed=opened.signed,
        readings=len(readings),
        first_time=_microseconds(readings[-1].phenomenon_time),
        last_time=_microseconds(readings[0].phenomenon_time),
        received_at=now,
    )
    async with conn.transaction():
        await insert_epochs(conn, [epoch])
        await insert_signed_batches(conn, [batch])
        await advance_epochs(
            conn,
            [
                Progress(
                    epoch_id=epoch.epoch_id, highest_seq=1, contiguous_seq=1, received_messages=1
                )
            ],
        )
    return opened


@cache
def _recording() -> Mapping[str, list[tuple[datetime, dict[str, str]]]]:
    rows: dict[str, list[tuple[datetime, dict[str, str]]]] = {}
    with gzip.open(RECORDING, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["site"], []).append((datetime.fromisoformat(row["date"]), row))
    return rows


def shift(now: datetime) -> timedelta:
    """Return the whole days by which the recording is moved."""
    return timedelta(days=(now.date() - datetime(2009, 12, 31, tzinfo=UTC).date()).days)


async def _history(conn: Connection, street: Street, place: Place, days: int) -> None:
    """Days of hourly means, none newer than the present's; a gap is planted in Bloomsbury's no2."""
    moved, end = shift(street.now), street.now - max(place.silent_for, LATE)
    values: dict[int, list[tuple[datetime, float]]] = {}
    for recorded, row in _recording()[place.recorded_as]:
        time = recorded + moved
        if street.now - timedelta(days=days) < time < end:
            for measured in MEASURED:
                if (place.name, measured.name) in street.streams and row[measured.column]:
                    series = values.setdefault(street.streams[place.name, measured.name], [])
                    series.append((time, float(row[measured.column])))
    if place.name == "Bloomsbury":
        _plant_gap(street, values[street.streams["Bloomsbury", "no2"]])
    await store(conn, values, quality=REPLAYED)


def _plant_gap(street: Street, series: list[tuple[datetime, float]]) -> None:
    whole = street.now.replace(minute=0, second=0, microsecond=0)
    first, last = whole - 14 * HOUR, whole - 9 * HOUR
    series[:] = [(time, value) for time, value in series if not first < time < last]
    street.gap = (first, last)
    present = {time for time, _ in series}
    series += [(time, 30.25) for time in (first, last) if time not in present]


async def _present(conn: Connection, street: Street) -> None:
    """Ten minutes of replayed values, five seconds apart, and this computer's own every second."""
    values: dict[int, list[tuple[datetime, float]]] = {}
    for place in PLACES:
        if place.silent_for:
            continue
        rows = _recording()[place.recorded_as]
        for step in range(120):
            time = street.now - timedelta(seconds=5 * (120 - step))
            for measured in MEASURED:
                cell = rows[2000 + step][1][measured.column]
                if cell and (place.name, measured.name) != ("Marylebone Road", "pm25"):
                    key = street.streams[place.name, measured.name]
                    values.setdefault(key, []).append((time, float(cell)))
    await store(conn, values, quality=REPLAYED)
    silent = street.streams["Marylebone Road", "pm25"]
    await store(conn, {silent: [(street.now - LATE, 19.0)]}, quality=REPLAYED)
    own = {
        street.streams["This computer", "cpu_load"]: 0.35,
        street.streams["This computer", "memory_used"]: 41.7,
    }
    seconds = [street.now - timedelta(seconds=600 - i) for i in range(600)]
    await store(
        conn,
        {
            key: [
                (time, level * (1 + 0.1 * np.sin(i / 40).item())) for i, time in enumerate(seconds)
            ]
            for key, level in own.items()
        },
    )
    suspect = street.streams["North Kensington", "visibility"]
    moment = street.now - timedelta(seconds=1)
    await store(conn, {suspect: [(moment, 120.0)]}, quality=REPLAYED | SUSPECT)


async def _messages(conn: Connection, street: Street) -> None:
    now = int(street.now.timestamp())
    seen = dict.fromkeys(street.gateways.values(), now - 4)
    seen[street.gateways["Cromwell Road 2"]] = now - 3 * 3600
    await update_seen(conn, seen)
    waiting = {
        street.streams[name, "spool_readings"]: [
            (street.now - timedelta(seconds=8), 640.0 if name == "North Kensington" else 0.0)
        ]
        for name in street.gateways
    }
    await store(conn, waiting)
    epoch_id = street.batches["Marylebone Road"].epoch_id
    progress = Progress(epoch_id=epoch_id, highest_seq=48, contiguous_seq=31, received_messages=45)
    await advance_epochs(conn, [progress])


async def _trouble(conn: Connection, street: Street) -> None:
    hour = street.now.replace(minute=0, second=0, microsecond=0)
    tenant, device = "westminster", street.devices["Marylebone Road"]
    refusals = [
        ("duplicate", 12, "seq 31 again"),
        ("out-of-range", 3, "no2 = -55 ug/m3, valid from -20 to 2000"),
        ("signature", 2, "seq 44"),
    ]
    for reason, n, detail in refusals:
        await conn.execute(
            "INSERT INTO refusal (hour, tenant, device, reason, n, last_at, last_detail) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (hour, tenant, device, reason, n, street.now - timedelta(minutes=4), detail),
        )
    await conn.execute(
        "INSERT INTO quarantine (received_at, tenant, device, reason, detail, topic, senml_name, "
        "phenomenon_time, result, unit) VALUES (%s, %s, %s, 'out-of-range', %s, %s, %s, %s, "
        "'-55', 'ug/m3')",
        (
            street.now - timedelta(minutes=4),
            tenant,
            device,
            refusals[1][2],
            f"snaas/1/{tenant}/{device}/d/main",
            "urn:dev:test:analyser:marylebone-road:no2",
            street.now - timedelta(minutes=5),
        ),
    )
    await conn.execute(
        "INSERT INTO description_conflict (gateway_id, urn, detail) VALUES (%s, %s, %s)",
        (
            street.gateways["Bloomsbury"],
            "urn:dev:test:analyser:marylebone-road",
            "another gateway described this Sensor first",
        ),
    )
