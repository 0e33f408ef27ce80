"""The agent's connection to its broker: who it is with, and how the broker answers a publish.

What is sent over it and when is decided in `edge_agent.delivery.uplink`. Runs over MQTT 5 and
3.1.1.
"""

import asyncio
import ssl
from typing import Any, Final

import aiomqtt
from paho.mqtt.client import MQTT_ERR_SUCCESS, MQTT_LOG_ERR
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.clock import Clock
from edge_agent.credentials.keystore import Identity
from edge_agent.credentials.tls import check_peer
from edge_agent.settings import BrokerSettings
from runtime.mqtt import FIRST_FAILURE_CODE, MqttConnection

PUBLISHES_AT_ONCE: Final = 16  # below the Receive Maximum of 20 that Mosquitto grants

_MOST_QUEUED_ACKNOWLEDGEMENTS: Final = 256  # the newest of them says it all; the rest may drop
_PUBACK_SECONDS: Final = 30.0
_KEEP_ALIVE_SECONDS: Final = 30  # also bounds how long a silent broker can hold up a stop
_NO_MATCHING_SUBSCRIBERS: Final = 0x10
_CERTIFICATE_ALERTS: Final = {  # of the broker (RFC 8446, section 6.2), as OpenSSL names them
    "ALERT_CERTIFICATE_REVOKED": "is revoked",
    "ALERT_CERTIFICATE_EXPIRED": "has ended",
    "ALERT_CERTIFICATE_UNKNOWN": "is not acceptable",
    "ALERT_BAD_CERTIFICATE": "is not acceptable",
    "ALERT_UNKNOWN_CA": "is of an authority that it does not know",
}


class Connection(MqttConnection):
    """One connection to the broker, which also tells how the broker answered a publish.

    aiomqtt drops the reason code of a PUBACK; private names of it are used to get at it.
    """

    def __init__(self, settings: BrokerSettings, identity: Identity, device: str) -> None:
        is_version_5 = settings.mqtt_version == "5"
        version = aiomqtt.ProtocolVersion.V5 if is_version_5 else aiomqtt.ProtocolVersion.V311
        super().__init__(
            settings.host,
            settings.port,
            identifier=device,
            protocol=version,
            clean_session=None if is_version_5 else True,  # MQTT 5 starts clean by itself
            keepalive=_KEEP_ALIVE_SECONDS,
            max_queued_incoming_messages=_MOST_QUEUED_ACKNOWLEDGEMENTS,
            max_inflight_messages=PUBLISHES_AT_ONCE + 1,
            tls_context=identity.tls,
        )
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._socket_trouble = ""
        self._client.on_log = self._on_log

    def check_server(self, clock: Clock) -> None:
        """Return if the broker's certificate may be of now, where TLS could not tell.

        Raises:
            OSError: it cannot, or the connection is gone.
        """
        peer = self._client.socket()
        if not isinstance(peer, ssl.SSLSocket):
            raise ConnectionError("the connection is gone")
        check_peer(peer, clock)

    def trouble(self, error: BaseException) -> str:
        """Return in words why the connection came to `error`; aiomqtt's own are vague."""
        for alert, meaning in _CERTIFICATE_ALERTS.items():
            if alert in self._socket_trouble:
                return f"the broker says that this gateway's certificate {meaning}"
        return self._socket_trouble or str(error.__cause__ or error) or type(error).__name__

    async def deliver(self, topic: str, message: bytes, *, retain: bool = False) -> bool:
        """Publish with QoS 1; return whether the broker says that somebody will receive it.

        Over MQTT 3.1.1 brokers always say so.

        Raises:
            aiomqtt.MqttError, TimeoutError: the connection has failed.
        """
        sent = self._client.publish(topic, message, qos=1, retain=retain)
        if sent.rc != MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttCodeError(sent.rc, "could not publish")
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answers[sent.mid] = answer
        try:
            async with asyncio.timeout(_PUBACK_SECONDS):
                code = await answer
        finally:
            del self._answers[sent.mid]
        return code != _NO_MATCHING_SUBSCRIBERS and code < FIRST_FAILURE_CODE

    def _on_log(self, _client: Any, _userdata: Any, level: int, text: str) -> None:
        """Take note of what the socket says: a refusal of TLS 1.3 comes after the handshake."""
        if level == MQTT_LOG_ERR:
            self._socket_trouble = text.removeprefix("failed to receive on socket: ")

    def _on_publish(
        self,
        client: Any,
        userdata: Any,
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        answer = self._answers.get(mid)
        if answer is not None and not answer.done():
            answer.set_result(reason_code.value)
        super()._on_publish(client, userdata, mid, reason_code, properties)
