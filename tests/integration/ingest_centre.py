"""Admission and store over a real database, as ingest's pipeline runs them."""

import secrets
from datetime import UTC, datetime

from device_protocol.description import GatewayDescription
from ingest.admission.decision import Rules, admit
from ingest.admission.outcome import Outcome
from ingest.admission.snapshot import Snapshot
from ingest.admission.state import ReceiverState
from ingest.epoch_keys import EpochKeys
from ingest.latest import NewestObservations
from ingest.receiving.delivery import Delivery
from ingest.store import Store, Stored
from storage import registry
from storage.database import Connection
from tests.simulators.gateway import (
    Message,
    SimulatedGateway,
    description,
    new_recipient_key,
    public,
)

NOW = int(datetime.now(UTC).timestamp())
START = datetime.fromtimestamp(NOW - NOW % 3600 - 7200, UTC)
RECIPIENT = new_recipient_key()
RULES = Rules(recipients={RECIPIENT.kid: RECIPIENT})
KEYS = EpochKeys(secrets.token_bytes(32))


class Centre:
    """Admission and store over a real database, batch by batch, as the pipeline does it."""

    def __init__(self, conn: Connection, store: Store) -> None:
        self.conn = conn
        self.store = store
        self.state = ReceiverState()
        self.snapshot = Snapshot()
        self.newest = NewestObservations()

    async def enrol(self, device: str, *, tenant: str = "camden") -> SimulatedGateway:
        """Return a registered gateway that has announced an epoch and described one sensor."""
        gateway = SimulatedGateway(tenant, device, [public(RECIPIENT)])
        await registry.add_council(self.conn, gss=f"E-{tenant}", tenant=tenant, name=tenant.title())
        await registry.add_gateway(self.conn, tenant=tenant, device=device, label="Test")
        await registry.add_signing_key(
            self.conn,
            device=device,
            key=gateway.verifying_key,
            valid_from=datetime.fromtimestamp(NOW - 3600, UTC),
            valid_until=datetime.fromtimestamp(NOW + 3600, UTC),
        )
        await self.refresh()
        await self.take(gateway.announce(NOW))
        return gateway

    async def describe(
        self, gateway: SimulatedGateway, what: GatewayDescription | None = None
    ) -> Stored:
        """Store a description and read the registry again."""
        _, stored = await self.take(gateway.describe(what or description()))
        await self.refresh()
        return stored

    async def refresh(self) -> None:
        self.snapshot = Snapshot.build(
            await registry.gateways(self.conn),
            await registry.streams(self.conn),
            await registry.newest_key_sets(self.conn),
            {},
            await registry.tenants(self.conn),
        )

    def admit(self, *messages: Message) -> Outcome:
        return admit(
            [
                Delivery("city", m.topic, m.payload, retained=False, received_at=NOW)
                for m in messages
            ],
            snapshot=self.snapshot,
            state=self.state,
            rules=RULES,
            now=NOW,
        )

    async def take(self, *messages: Message) -> tuple[Outcome, Stored]:
        """Admit and store one batch."""
        outcome = self.admit(*messages)
        self.state.apply(outcome.channels, outcome.parking, outcome.kept)
        stored = await self.store.write(outcome)
        self.newest.note(outcome.columns, stored.contradictions)
        return outcome, stored

    async def rows(self, query: str) -> list[tuple[object, ...]]:
        return await (await self.conn.execute(query)).fetchall()  # type: ignore[arg-type]


OBSERVATIONS = (
    "SELECT short_name, time, value FROM observation"
    " JOIN datastream ON id = datastream_id ORDER BY 1, 2"
)
QUARANTINE = "SELECT reason, senml_name, result, unit FROM quarantine ORDER BY id"
