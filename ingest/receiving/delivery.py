"""A message as a broker delivered it, before anything about it is believed."""

from typing import NamedTuple


class Delivery(NamedTuple):
    """One MQTT message.

    connection: name of the broker connection it came over; its acknowledgement goes back there.
    received_at: Unix seconds by the centre's clock, the `now` of all checks of this message.
    held_as: its row in quarantine, from where it is tried again; 0: a broker delivered it.
    """

    connection: str
    topic: str
    message: bytes
    retained: bool
    received_at: int
    held_as: int = 0
