"""An MQTT connection for many messages: read in large pieces, confirmed together.

paho reads a packet in four or five small pieces, makes three objects of it, and returns to the
event loop for the next: 63 µs of CPU a message over TLS. Here publications are taken out of the
stream before paho sees them: 12 µs, from the socket to the inbox. Everything else of MQTT, from
CONNECT to the keep-alive, is left to paho.
"""

from collections.abc import Callable
from typing import Any, Final

import aiomqtt
from paho.mqtt.client import PUBACK

from ingest.receiving.packets import PacketError, Packets, Publication
from runtime.mqtt import MOST_PACKET_BYTES, MqttConnection

_PIECE_BYTES: Final = (
    1 << 14
)  # as much as a TLS record can hold, so that OpenSSL keeps nothing back
_PIECES_AT_ONCE: Final = 32  # then other tasks get their turn
_FOR_PAHO_AT_ONCE: Final = 4 << 10  # bytes; paho takes packets one by one, 10 µs for each
_MOST_UNSENT_PACKETS: Final = 4096  # one holds the confirmations of all that was read at once
_MOST_UNSENT_BYTES: Final = 1 << 20  # a broker that is owed 65 535 confirmations sends no more
_CONFIRMATION: Final = bytes((PUBACK, 2))


class PublicationStream(MqttConnection):
    """A connection that hands each publication to `take`, and reads while `may_read()` holds.

    A publication is confirmed to the broker once `take` has returned.
    """

    def __init__(
        self,
        *arguments: Any,
        take: Callable[[Publication], None],
        may_read: Callable[[], bool],
        protocol: aiomqtt.ProtocolVersion,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, protocol=protocol, **options)
        self._take = take
        self._may_read = may_read
        self._packets = Packets(
            has_properties=protocol is aiomqtt.ProtocolVersion.V5, most_bytes=MOST_PACKET_BYTES
        )
        self._for_paho = b""
        self._read_by_paho = 0
        self._is_over = False
        self._failure: OSError | None = None

    def pause(self) -> None:
        """Stop reading, so that the broker has to wait.

        Raises:
            aiomqtt.MqttError: the connection is lost.
        """
        socket = self._client.socket()
        if socket is None or socket.fileno() < 0:
            raise aiomqtt.MqttError("connection lost")
        self._loop.remove_reader(socket.fileno())

    def resume(self) -> None:
        """Read again, if the connection is still there."""
        socket = self._client.socket()
        if socket is not None and socket.fileno() >= 0:
            self._loop.add_reader(socket.fileno(), self._read)

    def _receive_bounded(self, bufsize: int) -> bytes:
        """Receive for paho: what was left for it, then the end of the connection."""
        if self._waits_for_paho():
            begin = self._read_by_paho
            self._read_by_paho += bufsize
            return self._for_paho[begin : self._read_by_paho]
        if self._failure is not None:
            raise self._failure
        if self._is_over:
            return b""
        raise BlockingIOError

    def _waits_for_paho(self) -> bool:
        return self._read_by_paho < len(self._for_paho)

    def _on_socket_open(self, client: Any, userdata: Any, sock: Any) -> None:
        """Have the event loop call our reader in place of aiomqtt's. Called by any thread."""
        super()._on_socket_open(client, userdata, sock)

        def register() -> None:
            if sock.fileno() >= 0:
                self._loop.add_reader(sock.fileno(), self._read)

        self._loop.call_soon_threadsafe(register)

    def _read(self) -> None:
        """Take what the socket holds; runs on the event loop whenever there is something."""
        try:
            confirmations = self._take_pieces()
            if confirmations:
                self._client._packet_queue(PUBACK, confirmations, 0, 1)  # noqa: SLF001  # one write for all
            while self._client.socket() is not None and (self._waits_for_paho() or self._is_over):
                self._client.loop_read()
        except Exception as error:  # noqa: BLE001  # as aiomqtt does: for who waits
            if not self._disconnected.done():
                self._disconnected.set_exception(error)

    def _take_pieces(self) -> bytes:
        """Read until there is no more, or enough; return the confirmations of what was read."""
        confirmations: list[bytes] = []
        for_paho = bytearray(self._for_paho[self._read_by_paho :])
        try:
            self._check_unsent()
            for _ in range(_PIECES_AT_ONCE):
                if not self._may_read():
                    break
                piece = self._receive(_PIECE_BYTES)
                if not piece:
                    self._is_over = True
                    break
                publications, others = self._packets.feed(piece)
                for publication in publications:
                    self._take(publication)
                    if publication.packet_id:
                        confirmations += (_CONFIRMATION, publication.packet_id)
                for_paho += others
                if len(for_paho) > _FOR_PAHO_AT_ONCE:
                    break
        except BlockingIOError:
            pass
        except OSError as error:
            self._is_over, self._failure = True, error
        self._for_paho, self._read_by_paho = bytes(for_paho), 0
        return b"".join(confirmations)

    def _check_unsent(self) -> None:
        """Leave a broker that goes on sending and takes nothing: what it is told would pile up.

        Raises:
            PacketError: too much waits for it.
        """
        packets = self._client._out_packet  # noqa: SLF001  # paho does not tell
        if (
            len(packets) > _MOST_UNSENT_PACKETS
            or sum(packet["to_process"] for packet in packets) > _MOST_UNSENT_BYTES
        ):
            raise PacketError(f"the broker sends and does not listen: {len(packets)} packets wait")
