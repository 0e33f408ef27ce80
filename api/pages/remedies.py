"""What to do about what is in quarantine, by reason, as docs/reference/reasons.md has it.

What a reason means is `api.pages.words`. Reasons of which nothing is kept are on the page alone.
"""

from collections.abc import Mapping
from typing import Final

REMEDIES: Final[Mapping[str, str]] = {
    "revoked": "Nothing, if it was meant. `kerbstone network gateway resume` readmits a suspended "
    "gateway, never a revoked one; what was kept stays in quarantine.",
    "signer-time": "The certificate ended more than seven days ago, or begins in the future. "
    "Invite the gateway again with `--renew` and enrol it; if its certificate is good, look at "
    "the centre's clock.",
    "epoch-closed": "Readings came more than seven days after the end of their epoch key. A "
    "Kerbstone gateway seals old readings anew; look for a broker that held messages back.",
    "content-format": "The gateway sends what this version does not read. Compare versions; the "
    "message is kept.",
    "payload": "The gateway sends what this version does not read. Compare versions; the message "
    "is kept.",
    "reading-time": "Readings from before `earliest_year` or more than five minutes ahead. Set "
    "the gateway's clock.",
    "unknown-datastream": "Usually nothing: the readings came before the gateway's description, "
    "and are stored when it comes. If they stay, part of the description was refused: look for "
    "that on the status page.",
    "unit-mismatch": "The unit does not measure the observed property, or is not known. The "
    "detail names the nearest that is. Correct the gateway's settings.",
    "out-of-range": "The sensor is broken, or `valid_minimum` and `valid_maximum` in the "
    "gateway's settings are wrong.",
    "conflicting-result": "Two results for one datastream and time. The first stays. Look for two "
    "sensors that share a URN.",
}
"""For each of `device_protocol.errors.QUARANTINED`; held against the page by a test."""
