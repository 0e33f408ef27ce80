import struct
import time
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ingest.receiving.packets import PacketError, Packets, Publication

PINGRESP = b"\xd0\x00"
TOPIC = b"snaas/1/camden/k7q2m9xd4t/d/main"


def variable(length: int) -> bytes:
    encoded = bytearray()
    while True:
        length, digit = divmod(length, 128)
        encoded.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(encoded)


def publish(
    payload: bytes,
    *,
    topic: bytes = TOPIC,
    qos: int = 1,
    packet_id: int = 7,
    retained: bool = False,
    properties: bytes | None = None,
) -> bytes:
    body = struct.pack(">H", len(topic)) + topic
    if qos:
        body += struct.pack(">H", packet_id)
    body += (properties or b"") + payload
    return bytes((0x30 | qos << 1 | retained,)) + variable(len(body)) + body


def packets(*, version: int = 4, most_bytes: int = 1 << 21) -> Packets:
    return Packets(has_properties=version == 5, most_bytes=most_bytes)


def fed(stream: Packets, pieces: Iterable[bytes]) -> tuple[list[Publication], bytes]:
    publications, others = [], b""
    for piece in pieces:
        found, rest = stream.feed(piece)
        publications += found
        others += rest
    return publications, others


def test_publication_is_read_with_its_packet_id() -> None:
    found, others = packets().feed(publish(b"reading", packet_id=0x0102, retained=True))
    assert found == [Publication(TOPIC, b"reading", retained=True, packet_id=b"\x01\x02")]
    assert others == b""


def test_publication_of_qos_0_has_nothing_to_confirm() -> None:
    [found], _ = packets().feed(publish(b"reading", qos=0))
    assert found == Publication(TOPIC, b"reading", retained=False, packet_id=b"")


def test_properties_of_mqtt_5_are_skipped() -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.MessageExpiryInterval = 3600
    properties.UserProperty = ("key", "v" * 200)
    data = publish(b"\x00payload", properties=properties.pack()) + publish(
        b"", properties=Properties(PacketTypes.PUBLISH).pack()
    )
    found, _ = packets(version=5).feed(data)
    assert [each.payload for each in found] == [b"\x00payload", b""]


@given(
    payloads=st.lists(st.binary(max_size=400), max_size=6),
    others=st.lists(st.sampled_from([PINGRESP, b"\x40\x02\x00\x09", b"\x90\x03\x00\x01\x01"])),
    cuts=st.lists(st.integers(0, 2600)),
)
def test_where_the_stream_is_cut_changes_nothing(
    payloads: list[bytes], others: list[bytes], cuts: list[int]
) -> None:
    parts = [publish(payload, packet_id=n + 1) for n, payload in enumerate(payloads)]
    for at, other in enumerate(others):
        parts.insert(min(2 * at, len(parts)), other)
    data = b"".join(parts)
    places = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    pieces = [data[start:end] for start, end in pairwise(places)]
    found, rest = fed(packets(), pieces)
    assert [each.payload for each in found] == payloads
    assert rest == b"".join(others)


def test_packet_larger_than_the_limit_is_refused_before_it_is_here() -> None:
    stream = packets(most_bytes=1000)
    stream.feed(publish(bytes(900)))
    with pytest.raises(PacketError, match=r"packet of 1\d\d\d bytes"):
        stream.feed(publish(bytes(1100))[:3])


@pytest.mark.parametrize("qos", [2, 3])
def test_qos_that_nobody_asked_for_is_refused(qos: int) -> None:
    with pytest.raises(PacketError, match=f"QoS {qos}"):
        packets().feed(publish(b"x", qos=qos))


@pytest.mark.parametrize(
    ("version", "body"),
    [
        (4, b""),
        (4, b"\x00"),
        (4, b"\x00\x09topic"),
        (4, b"\x00\x05topic\x00"),
        (5, b"\x00\x05topic\x00\x01\x7fx"),
        (5, b"\x00\x05topic\x00\x01\x80"),
    ],
)
def test_publication_cut_short_is_refused(version: int, body: bytes) -> None:
    with pytest.raises(PacketError, match="cut short"):
        packets(version=version).feed(b"\x32" + variable(len(body)) + body)


def test_length_of_more_than_four_bytes_is_refused() -> None:
    with pytest.raises(PacketError, match="four bytes"):
        packets().feed(b"\xd0\xff\xff\xff\xff\x01")


def test_packet_that_comes_in_crumbs_costs_no_more_than_its_length() -> None:
    """Copied anew with each crumb, 2 MiB would take ten seconds and more."""
    data = publish(bytes((1 << 21) - 100))
    stream = packets()
    began = time.process_time()
    found, _ = fed(stream, (data[start : start + 16] for start in range(0, len(data), 16)))
    assert [len(each.payload) for each in found] == [(1 << 21) - 100]
    assert time.process_time() - began < 2.0
