"""What a person has asked to have tried again, out of quarantine.

Ingest alone holds the keys, so the asking is a mark in the database and a notification; the work
is done here, portion by portion, and at the next start if ingest was away. A reading is checked
anew against its gateway's description of today (`retry`). A whole message goes to the inbox and
through admission like one that a broker delivers now, with every check and the replay window; its
verdict is written in the transaction that stores it.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Final, NoReturn

from device_protocol.errors import RejectionError, UnknownDeviceError
from ingest.admission.decision import Rules
from ingest.admission.readings import Columns, Contradiction, conflicting_result
from ingest.admission.refusals import clipped
from ingest.admission.retry import Retried, readmit
from ingest.admission.snapshot import DeviceKey
from ingest.metrics import READINGS
from ingest.receiving.delivery import Delivery
from ingest.receiving.inbox import Inbox
from ingest.registry import Registry
from runtime.backoff import FullJitter
from storage import batches, quarantine
from storage.database import OUTAGES, Connection, connect
from storage.quarantine import AskedRow, Verdict

log = logging.getLogger(__name__)

_APPLICATION: Final = "kerbstone ingest quarantine"
_PORTION: Final = 200  # rows at a time, and the most messages under way
_LOOK_SECONDS: Final = 0.5  # between two looks at what became of messages under way
_BACKOFF_SECONDS: Final = (0.05, 5.0)

Note = Callable[[Columns, Sequence[Contradiction]], None]


class SecondChance:
    """Works off what is asked for of the gateways that this process owns.

    connection: names the broker connection on which a council is answered. owns: tells of a device
    whether it is ours. note: is told of observations that were stored.
    """

    def __init__(
        self,
        dsn: str,
        *,
        inbox: Inbox,
        registry: Registry,
        rules: Rules,
        connection: Callable[[str], str],
        owns: Callable[[str], bool],
        note: Note,
    ) -> None:
        self._dsn = dsn
        self._inbox = inbox
        self._registry = registry
        self._rules = rules
        self._connection = connection
        self._owns = owns
        self._note = note
        self._under_way: set[tuple[int, int]] = set()  # messages: row, and tries before this one

    async def follow(self) -> NoReturn:
        """Try again what is asked for, now and whenever more is; outages are waited out."""
        backoff = FullJitter(*_BACKOFF_SECONDS)
        while True:
            try:
                asked = quarantine.asked(self._dsn, application_name=_APPLICATION)
                async with (
                    await connect(
                        self._dsn, autocommit=True, application_name=_APPLICATION
                    ) as conn,
                    aclosing(asked) as calls,
                ):
                    await batches.prepare(conn)
                    async for _ in calls:
                        await self._work_off(conn)
                        backoff.reset()
            except OUTAGES as error:
                log.warning("quarantine not tried again", extra={"error": str(error).strip()})
            await asyncio.sleep(backoff.next())

    async def _work_off(self, conn: Connection) -> None:
        """Take portions until none is left and no message is under way."""
        while True:
            rows = await self._portion(conn)
            await self._readings(conn, [row for row in rows if row.message is None])
            await self._messages([row for row in rows if row.message is not None])
            if rows:
                continue
            if not self._under_way:
                return
            await asyncio.sleep(_LOOK_SECONDS)
            ids = [row_id for row_id, _ in self._under_way]
            self._under_way &= await quarantine.still_asked(conn, ids)

    async def _portion(self, conn: Connection) -> list[AskedRow]:
        room = _PORTION - len(self._under_way)
        devices = [name for name in await quarantine.asked_devices(conn) if self._owns(name)]
        if not devices or room <= 0:
            return []
        under_way = [row_id for row_id, _ in self._under_way]
        return await quarantine.asked_rows(conn, devices, limit=room, under_way=under_way)

    async def _messages(self, rows: Iterable[AskedRow]) -> None:
        """Deliver whole messages anew, when the inbox has room."""
        for row in rows:
            await self._inbox.room.wait()
            self._under_way.add((row.id, row.tries))
            self._inbox.put(
                Delivery(
                    self._connection(row.tenant),
                    row.topic,
                    row.message or b"",
                    retained=False,
                    received_at=int(time.time()),
                    held_as=row.id,
                )
            )

    async def _readings(self, conn: Connection, rows: Iterable[AskedRow]) -> None:
        by_device: defaultdict[DeviceKey, list[AskedRow]] = defaultdict(list)
        for row in rows:
            by_device[row.tenant, row.device].append(row)
        for device, found in by_device.items():
            await self._registry.refresh_until_done(device[1])
            await self._readings_of(conn, device, found)

    async def _readings_of(
        self, conn: Connection, device: DeviceKey, rows: Sequence[AskedRow]
    ) -> None:
        """Store what of a gateway's readings passes the checks now; say why of the rest."""
        gateway = self._registry.snapshot.gateways.get(device)
        if gateway is None:
            error = UnknownDeviceError(f"gateway {device[1]!r} of {device[0]!r}")
            await quarantine.settle(conn, [verdict(row.id, error) for row in rows])
            return
        held = [row.reading for row in rows if row.reading is not None]
        retried = readmit(held, device, gateway, self._rules)
        columns = retried.columns
        await batches.make_room(conn, columns.observations)
        async with conn.transaction():
            conflicts = await batches.store_observations(
                conn, columns.observations, list(columns.extras.values())
            )
            taken = [
                columns.contradiction(found.datastream_id, found.time, found.stored)
                for found in conflicts
            ]
            await quarantine.settle(conn, verdicts(retried, taken))
        kept = len(columns.observations) - len(taken)
        READINGS.labels("retried", "").inc(kept)
        self._note(columns, taken)
        log.info(
            "quarantined readings tried again",
            extra={"device": device[1], "stored": kept, "refused": len(rows) - kept},
        )


def verdict(row_id: int, error: RejectionError) -> Verdict:
    """Return that a row was refused again."""
    return Verdict(row_id, error.reason, clipped(str(error)))


def verdicts(retried: Retried, taken: Iterable[Contradiction]) -> list[Verdict]:
    """Return what became of each reading; `taken`: those in whose place another result stands.

    A reading that repeats a stored one is stored.
    """
    found = {row_id: Verdict(row_id) for row_id in retried.ids}
    for row_id, error in retried.refused:
        found[row_id] = verdict(row_id, error)
    for contradiction in (*retried.contradictions, *taken):
        row_id = retried.row_of(contradiction)
        found[row_id] = verdict(row_id, conflicting_result(contradiction))
    return list(found.values())
