"""What a broker has taken so far: the keeper's memory, a file beside the broker's own.

A crash between two steps must forget neither a session to be ended nor a change not yet told.
What follows from it is `broker_config.keeper`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from broker_config.errors import BrokerError
from broker_config.files import FILE_MODE
from broker_config.network import Gateway
from runtime.atomic_files import write_atomically


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What the broker holds, and whom.

    fingerprint: of the rendering, empty while it has not been taken.
    gateways: whoever may hold a session.
    shut_out: whose session was ended, and when; they may have kept a foot in the door.
    listed_at: since when the revocation list of each council counts.
    outdated: the process, by `keeper`'s name for it, that runs with older listeners.
    left_behind: ids of keys that gateways left behind, whose sessions were ended for it.
    """

    fingerprint: str = ""
    gateways: tuple[Gateway, ...] = ()
    shut_out: Mapping[Gateway, datetime] = field(default_factory=dict)
    listed_at: Mapping[str, datetime] = field(default_factory=dict)
    outdated: str = ""
    left_behind: Mapping[Gateway, frozenset[str]] = field(default_factory=dict)


def read(path: Path) -> Taken:
    """Return what stands in the file; nothing taken where there is none.

    Raises:
        BrokerError: it is damaged; says what to do.
        OSError: it cannot be read.
    """
    try:
        found = json.loads(path.read_bytes())
        return Taken(
            fingerprint=found["fingerprint"],
            gateways=tuple(Gateway(tenant, device) for tenant, device in found["gateways"]),
            shut_out={
                Gateway(tenant, device): datetime.fromisoformat(at)
                for tenant, device, at in found["shut_out"]
            },
            listed_at={
                tenant: datetime.fromisoformat(at) for tenant, at in found["listed_at"].items()
            },
            outdated=found["outdated"],
            left_behind={
                Gateway(tenant, device): frozenset(kids)
                for tenant, device, kids in found.get("left_behind", ())  # not of older releases
            },
        )
    except FileNotFoundError:
        return Taken()
    except (ValueError, KeyError, TypeError) as error:
        raise BrokerError(
            f"{path} is damaged: {error}. Remove it and restart the broker, which ends every "
            "session it might have named"
        ) from error


def write(path: Path, taken: Taken) -> None:
    """Put it on disk, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(
        {
            "fingerprint": taken.fingerprint,
            "gateways": [[each.tenant, each.device] for each in taken.gateways],
            "shut_out": [
                [each.tenant, each.device, at.isoformat()] for each, at in taken.shut_out.items()
            ],
            "listed_at": {tenant: at.isoformat() for tenant, at in taken.listed_at.items()},
            "outdated": taken.outdated,
            "left_behind": [
                [each.tenant, each.device, sorted(kids)] for each, kids in taken.left_behind.items()
            ],
        }
    )
    write_atomically(path, text.encode(), FILE_MODE)
