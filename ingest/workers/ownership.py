"""Which worker owns which gateways. Pure.

Several processes of ingest share the work by gateway: all messages of one go to one worker, whose
memory of its epochs is therefore whole. Where a subscription is dear (NATS keeps a consumer for
each), the unit is the council instead. That no two workers of one number run is `claim`'s business.
"""

import hashlib
from dataclasses import dataclass

from ingest.admission.snapshot import DeviceKey

_DIGEST_BYTES = 8


def owner(name: str, workers: int) -> int:
    """Return the number, from 0, of the worker that owns a device, or a council.

    It depends on the name alone, on every machine and in every version: the first 8 bytes of its
    SHA-256, modulo `workers`.
    """
    digest = hashlib.sha256(name.encode()).digest()[:_DIGEST_BYTES]
    return int.from_bytes(digest, "big") % workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """What one process owns: its part of its share; by default everything.

    share: its name; empty without shares. tenants: the councils of the share; None: all.
    worker, workers: its number, and how many there are. by_council: councils are divided among
    them, not gateways.
    """

    share: str = ""
    tenants: frozenset[str] | None = None
    worker: int = 0
    workers: int = 1
    by_council: bool = False

    def serves(self, tenant: str) -> bool:
        """Return whether gateways of this council may be ours."""
        if self.tenants is not None and tenant not in self.tenants:
            return False
        return not self.by_council or owner(tenant, self.workers) == self.worker

    def owns(self, device: DeviceKey) -> bool:
        """Return whether a gateway, by tenant and device, is ours."""
        tenant, name = device
        return self.serves(tenant) and (self.by_council or self.owns_device(name))

    def owns_device(self, device: str) -> bool:
        """Return whether a gateway of a council that we serve is ours."""
        return owner(device, self.workers) == self.worker

    def answers_for(self, tenant: str) -> bool:
        """Return whether what is published for a whole council is ours to publish."""
        return self.serves(tenant) and owner(tenant, self.workers) == self.worker

    @property
    def divides_councils(self) -> bool:
        """Whether other workers own gateways of the same councils."""
        return self.workers > 1 and not self.by_council

    @property
    def is_part(self) -> bool:
        """Whether there are gateways that are not ours."""
        return self.workers > 1 or self.tenants is not None
