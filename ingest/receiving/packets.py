"""MQTT packets in a stream of bytes: the publications among them, and the rest as it came. Pure.

Only what ingest uses of a PUBLISH is read (MQTT 3.1.1 and 5, section 3.3); all other packets are
paho's business.
"""

from typing import NamedTuple

_PUBLISH = 0x30
_RETAIN, _QOS_1, _QOS = 0x01, 0x02, 0x06
_MOST_LENGTH_BYTES = 4
_CONTINUED = 0x80


class PacketError(ConnectionError):
    """A broker sends what it must not, or more than is taken: whoever reads it hangs up."""


class Publication(NamedTuple):
    """A PUBLISH. packet_id: two bytes, to confirm it by; empty with QoS 0."""

    topic: bytes
    payload: bytes
    retained: bool
    packet_id: bytes


class Packets:
    """Takes a stream apart, piece by piece.

    has_properties: the stream is of MQTT 5. most_bytes: largest packet that is taken; MQTT
    allows 256 MB.
    """

    def __init__(self, *, has_properties: bool, most_bytes: int) -> None:
        self._has_properties = has_properties
        self._most_bytes = most_bytes
        self._begun = bytearray()
        self._awaited = 0  # bytes, with what has begun, before looking again is worth while

    def feed(self, piece: bytes) -> tuple[list[Publication], bytes]:
        """Return the publications that `piece` completes, and all other packets together.

        Raises:
            PacketError: a packet too large, a publication without a form or with QoS 2.
        """
        data = self._completed(piece)
        publications: list[Publication] = []
        others: list[bytes] = []
        start, end = 0, len(data)
        while start < end:
            body = self._body(data, start)
            if body is None or body[1] > end:
                self._awaited = 0 if body is None else body[1] - start
                self._begun = bytearray(data[start:])
                break
            if data[start] & 0xF0 == _PUBLISH:
                publications.append(self._publication(data, start, *body))
            else:
                others.append(data[start : body[1]])
            start = body[1]
        return publications, b"".join(others)

    def _completed(self, piece: bytes) -> bytes:
        """Return what has begun with `piece`, if that completes it; else keep both.

        However small the pieces that a broker sends, each byte is copied a few times at most.
        """
        if not self._begun:
            return piece
        self._begun += piece
        if len(self._begun) < self._awaited:
            return b""
        data, self._begun = bytes(self._begun), bytearray()
        return data

    def _body(self, data: bytes, start: int) -> tuple[int, int] | None:
        """Return where a packet's variable header begins and where the packet ends, once known."""
        found = _variable_length(data, start + 1)
        if found is None:
            return None
        length, at = found
        if length > self._most_bytes:
            raise PacketError(f"the broker sends a packet of {length} bytes")
        return at, at + length

    def _publication(self, data: bytes, start: int, at: int, end: int) -> Publication:
        head = data[start]
        if head & _QOS not in (0, _QOS_1):
            raise PacketError(f"the broker sends QoS {(head & _QOS) >> 1}, which nobody asked for")
        topic_at = at + 2
        at = topic_at + (data[at] << 8 | data[at + 1]) if topic_at <= end else end + 1
        topic_end = at
        packet_id = b""
        if head & _QOS:
            packet_id = data[at : at + 2]
            at += 2
        if self._has_properties and at < end:
            found = _variable_length(data, at)
            at = end + 1 if found is None else found[0] + found[1]
        if at > end:
            raise PacketError("the broker sends a publication that is cut short")
        return Publication(data[topic_at:topic_end], data[at:end], bool(head & _RETAIN), packet_id)


def _variable_length(data: bytes, at: int) -> tuple[int, int] | None:
    """Return a number of MQTT's variable length and where it ends; None while a byte lacks."""
    value = shift = 0
    for count in range(_MOST_LENGTH_BYTES):
        if at + count >= len(data):
            return None
        byte = data[at + count]
        value |= (byte & ~_CONTINUED) << shift
        if byte < _CONTINUED:
            return value, at + count + 1
        shift += 7
    raise PacketError("the broker sends a length of more than four bytes")
