"""The suites of the envelope (section 4): which algorithms go together under one number.

Both ends read this table: a gateway to choose, the centre to know what it accepts. Suite 4 is
reserved, so nobody supports it. Which suites a council allows stands in its key set.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from device_protocol import cose
from device_protocol.errors import AlgorithmError
from device_protocol.keys import P256, X25519, X_WING


@dataclass(frozen=True, slots=True)
class Suite:
    """Algorithms by their COSE numbers.

    signatures: those a device of this suite may sign with.
    recipient_kind: of the recipients' keys. delivery: how they are reached.
    """

    signatures: frozenset[int]
    recipient_kind: str
    delivery: int


SUPPORTED: dict[int, Suite] = {
    1: Suite(frozenset({cose.ED25519}), X25519, cose.ECDH_ES_HKDF_256),
    2: Suite(frozenset({cose.ESP256}), P256, cose.ECDH_ES_HKDF_256),
    3: Suite(cose.SIGNATURE_ALGORITHMS, X_WING, cose.HPKE_MLKEM768_X25519),
}
DEFAULT = (1, 2)
"""Those a receiver accepts when it is told nothing else; suite 3 is experimental."""


def signature_algorithms(suites: Iterable[int]) -> frozenset[int]:
    """Return the signature algorithms of these suites together."""
    return frozenset().union(*(SUPPORTED[suite].signatures for suite in suites))


def delivery_algorithms(suites: Iterable[int]) -> frozenset[int]:
    """Return the key delivery algorithms of these suites together."""
    return frozenset(SUPPORTED[suite].delivery for suite in suites)


def suite_of(signature: int, delivery: int) -> int:
    """Return the suite of a device that signs and delivers by these algorithms.

    Raises:
        AlgorithmError: no suite has both.
    """
    for number, suite in SUPPORTED.items():
        if signature in suite.signatures and delivery == suite.delivery:
            return number
    raise AlgorithmError(f"signature {signature} with delivery {delivery} is of no suite")
