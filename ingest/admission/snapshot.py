"""What the registry said at one moment, in the form that admission looks things up in. Pure."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self, TypeVar

from device_protocol.keys import VerifyingKey
from device_protocol.receiver import Device, Signer
from device_protocol.unit_table import BOOLEAN_UNIT, senml_symbol
from ingest.admission.habits import Habits
from storage.registry import GatewayRow, StreamRow

T = TypeVar("T")

DeviceKey = tuple[str, str]
"""Tenant and device."""

UNKNOWN_PLACE: DeviceKey = ("unknown", "")
"""Where refusals are counted that name no council of ours."""

_FLOAT_MAX = sys.float_info.max


@dataclass(frozen=True, slots=True)
class Stream:
    """Where the readings of one SenML name go.

    unit: key of the unit table. senml_unit: the symbol of numbers that need no conversion; None
    if results are no numbers. minimum, maximum: in `unit`; finite, so that they also keep out NaN
    and infinities.
    """

    datastream_id: int
    unit: str
    senml_unit: str | None
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway and its datastreams by SenML name (sensor URN, a colon, short name).

    habits: what `packs` remembers of its packs; nothing that matters beside speed.
    """

    id: int
    council_id: int
    description_sha256: bytes = b""
    streams: Mapping[str, Stream] = field(default_factory=dict)
    habits: Habits = field(default_factory=Habits, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everyone who may speak, what they may report, and what the councils have signed for them.

    key_sets: newest message R by council. configurations: newest message C by gateway.
    tenants: short names of all councils.
    """

    devices: Mapping[DeviceKey, Device] = field(default_factory=dict)
    gateways: Mapping[DeviceKey, Gateway] = field(default_factory=dict)
    key_sets: Mapping[str, bytes] = field(default_factory=dict)
    configurations: Mapping[DeviceKey, bytes] = field(default_factory=dict)
    tenants: frozenset[str] = frozenset()

    @classmethod
    def build(
        cls,
        gateways: Iterable[GatewayRow],
        streams: Iterable[StreamRow],
        key_sets: Mapping[str, bytes],
        configurations: Mapping[DeviceKey, bytes],
        tenants: Iterable[str],
    ) -> Self:
        """Return the snapshot of these rows, without gateways that were invited and never enrolled.

        Whoever speaks in the name of one of those is unknown.
        """
        of_gateway: dict[int, dict[str, Stream]] = {}
        for row in streams:
            found = of_gateway.setdefault(row.gateway_id, {})
            found[f"{row.sensor}:{row.short_name}"] = _stream(row)
        rows = [row for row in gateways if row.status != "invited"]
        return cls(
            devices={(row.tenant, row.device): _device(row) for row in rows},
            gateways={
                (row.tenant, row.device): Gateway(
                    row.id, row.council_id, row.description_sha256, of_gateway.get(row.id, {})
                )
                for row in rows
            },
            key_sets=key_sets,
            configurations=configurations,
            tenants=frozenset(tenants),
        )

    def with_gateway(self, device: str, fresh: "Snapshot") -> "Snapshot":
        """Return this snapshot with `device` as `fresh`, which holds it alone, has it."""
        return replace(
            self,
            devices=_with_device(self.devices, device, fresh.devices),
            gateways=_with_device(self.gateways, device, fresh.gateways),
            configurations=_with_device(self.configurations, device, fresh.configurations),
        )

    def known_place(self, tenant: str, device: str) -> DeviceKey:
        """Return tenant and device as refusals are counted: only names that exist are kept."""
        if (tenant, device) in self.devices:
            return tenant, device
        return (tenant, "") if tenant in self.tenants else UNKNOWN_PLACE


def _with_device(
    before: Mapping[DeviceKey, T], device: str, fresh: Mapping[DeviceKey, T]
) -> dict[DeviceKey, T]:
    return {**{key: found for key, found in before.items() if key[1] != device}, **fresh}


def _stream(row: StreamRow) -> Stream:
    return Stream(
        datastream_id=row.datastream_id,
        unit=row.unit,
        senml_unit=None if row.unit == BOOLEAN_UNIT else senml_symbol(row.unit),
        minimum=-_FLOAT_MAX if row.valid_minimum is None else row.valid_minimum,
        maximum=_FLOAT_MAX if row.valid_maximum is None else row.valid_maximum,
    )


def _device(row: GatewayRow) -> Device:
    return Device(
        tenant=row.tenant,
        device=row.device,
        revoked=row.status != "active",
        signers={
            key.kid: Signer(
                VerifyingKey.from_cose_key(key.cose_key),
                key.valid_from,
                key.valid_until,
                superseded=key.superseded,
            )
            for key in row.keys
        },
    )
