"""An MQTT connection by aiomqtt that ends whenever it should, however it ends.

Mends what aiomqtt and `asyncio.wait_for` of Python 3.11 get wrong, by way of aiomqtt's private
names: a cancellation that is lost, a hang-up that goes unnoticed while connecting, a socket that
a failed attempt leaves behind, a socket that is closed before it is watched, a broker that would
fill all memory. What is sent and received is
up to whoever uses it.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, Final, Self, TypeVar

import aiomqtt
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.reasoncodes import ReasonCode

T = TypeVar("T")

FIRST_FAILURE_CODE: Final = 0x80
"""Reason codes from here on tell that something was refused (MQTT 5, section 2.4)."""


MOST_PACKET_BYTES: Final = 2 * 1024 * 1024
"""Largest packet that is read; MQTT allows 256 MB, and over 3.1.1 nobody can ask for less."""


def _refuse_qos_2(mid: int) -> MQTTErrorCode:
    """Take the place of paho's answer to QoS 2, of which paho would keep any number of messages."""
    raise MalformedPacket(f"message {mid} has QoS 2, which was not asked for")


class MqttConnection(aiomqtt.Client):
    """One connection to a broker, from `async with` to its end.

    A broker that sends a packet of more than 2 MiB, or with QoS 2, is left.
    """

    _is_connecting = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._receive = self._client._sock_recv  # noqa: SLF001  # paho offers no limit
        self._client._sock_recv = self._receive_bounded  # type: ignore[method-assign]  # noqa: SLF001
        self._client._send_pubrec = _refuse_qos_2  # type: ignore[method-assign]  # noqa: SLF001

    def _receive_bounded(self, bufsize: int) -> bytes:
        """Receive for paho, which asks for all that is left of a packet at once."""
        if bufsize > MOST_PACKET_BYTES:
            raise ConnectionError(f"the broker sends a packet of {bufsize} bytes")
        return self._receive(bufsize)

    async def __aenter__(self) -> Self:
        """Connect; a connection that fails half-way leaves no socket behind.

        Raises:
            aiomqtt.MqttError: it failed.
        """
        self._is_connecting = True
        try:
            return await super().__aenter__()
        except BaseException:
            self._is_connecting = False  # before the line below: this is no hanging up
            self._client.disconnect()
            raise
        finally:
            self._is_connecting = False

    async def __aexit__(self, *exception: Any) -> None:  # noqa: PYI036  # aiomqtt's signature
        """Disconnect.

        Raises:
            aiomqtt.MqttError: the broker did not answer in time.
        """
        try:
            await super().__aexit__(*exception)
        finally:
            if self._disconnected.done() and not self._disconnected.cancelled():
                self._disconnected.exception()  # seen: who had to know has already failed by it

    async def _wait_for(self, fut: Awaitable[T], timeout: float | None) -> T:  # noqa: ASYNC109  # aiomqtt's signature
        """Wait as aiomqtt does, but without `asyncio.wait_for` (see `runtime.cancellation`)."""
        try:
            async with asyncio.timeout(self.timeout if timeout is None else timeout):
                return await fut
        except TimeoutError as error:
            raise aiomqtt.MqttError("the broker did not answer in time") from error

    def _on_socket_register_write(self, client: Any, _userdata: Any, sock: Any) -> None:
        """Have the event loop write when the socket takes more. Called by any thread.

        aiomqtt hands on the socket's number; by then it may be closed, or that of another.
        """

        def write() -> None:
            try:
                client.loop_write()
            except Exception as error:  # noqa: BLE001  # as aiomqtt does: for who waits
                if not self._disconnected.done():
                    self._disconnected.set_exception(error)

        def register() -> None:
            if sock.fileno() >= 0:
                self._loop.add_writer(sock.fileno(), write)

        self._loop.call_soon_threadsafe(register)

    def _on_disconnect(self, *arguments: Any) -> None:
        """End the wait for CONNACK at once; aiomqtt would go on waiting. Called by any thread."""
        super()._on_disconnect(*arguments)
        self._loop.call_soon_threadsafe(self._hung_up)

    def _hung_up(self) -> None:
        """Give up connecting. Runs on the event loop whenever a connection has ended."""
        if self._is_connecting and not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError("the broker has hung up"))


def failures(codes: Iterable[int | ReasonCode]) -> list[int]:
    """Return the reason codes among a broker's answers that tell of a refusal."""
    values = (code.value if isinstance(code, ReasonCode) else code for code in codes)
    return [value for value in values if value >= FIRST_FAILURE_CODE]
