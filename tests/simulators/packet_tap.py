"""Whoever sits on the wire: records every TCP segment that crosses this machine's loopback.

Reading raw packets is the right of root (CAP_NET_RAW). What is recorded is what the kernel carried,
so nothing in the product needs to know of it.
"""

import ipaddress
import socket
import struct
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

_EVERY_PROTOCOL: Final = 0x0003  # ETH_P_ALL
_OUTGOING: Final = 4  # PACKET_OUTGOING: on loopback each packet is seen leaving and arriving
_IPV4, _IPV6, _TCP = 0x0800, 0x86DD, 6
_BUFFER_BYTES: Final = 64 << 20
_PACKET_DROPS: Final = (263, 6, 8)  # SOL_PACKET, PACKET_STATISTICS, two unsigned ints

Flow = tuple[str, int, str, int]


@dataclass
class PacketTap:
    """Records loopback between `with` and its end. flows: bytes by (source, port, target, port).

    lost: packets that the kernel had no room for; a test that proves an absence wants zero.
    """

    flows: dict[Flow, bytearray] = field(default_factory=dict)
    lost: int = 0

    def __enter__(self) -> Self:
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_EVERY_PROTOCOL)
        )
        self._socket.setsockopt(socket.SOL_SOCKET, 33, _BUFFER_BYTES)  # SO_RCVBUFFORCE
        self._socket.bind(("lo", _EVERY_PROTOCOL))
        self._socket.settimeout(0.2)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._record, name="packet tap")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        level, option, length = _PACKET_DROPS
        _, self.lost = struct.unpack("II", self._socket.getsockopt(level, option, length))
        self._socket.close()

    def between(self, ports: Collection[int]) -> dict[Flow, bytes]:
        """Return the flows to or from any of these ports."""
        return {
            flow: bytes(carried)
            for flow, carried in self.flows.items()
            if flow[1] in ports or flow[3] in ports
        }

    def _record(self) -> None:
        while not self._stop.is_set():
            try:
                packet, (_, protocol, direction, *_) = self._socket.recvfrom(1 << 17)
            except TimeoutError:
                continue
            if direction == _OUTGOING:
                self._keep(protocol, packet)

    def _keep(self, protocol: int, packet: bytes) -> None:
        if protocol == _IPV4 and packet[9] == _TCP:
            head = (packet[0] & 0x0F) * 4
            end = int.from_bytes(packet[2:4], "big") or len(packet)  # 0: left to the hardware
            source, target = packet[12:16], packet[16:20]
        elif protocol == _IPV6 and packet[6] == _TCP:
            head, end = 40, 40 + int.from_bytes(packet[4:6], "big")
            source, target = packet[8:24], packet[24:40]
        else:
            return
        tcp = packet[head:end]
        ports = struct.unpack("!HH", tcp[:4])
        carried = tcp[(tcp[12] >> 4) * 4 :]
        if carried:
            addresses = str(ipaddress.ip_address(source)), str(ipaddress.ip_address(target))
            flow = (addresses[0], ports[0], addresses[1], ports[1])
            self.flows.setdefault(flow, bytearray()).extend(carried)
