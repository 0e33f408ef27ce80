"""LoRaWAN uplinks as network servers hand them on: three kinds of JSON, one `Uplink`.

ChirpStack v4 (and what v3, and gateways that imitate it, send), The Things Stack v3 and LORIOT.
Everything here is pure: documents come already parsed, and what the payload means is
`edge_agent.inputs.payload`'s business. What is no uplink (joins, downlinks, status) is None.
"""

import base64
import binascii
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from device_protocol.reading import UNFLAGGED, Quality
from edge_agent.inputs.fields import FUTURE_SECONDS

Server = Literal["chirpstack", "the-things-stack", "loriot"]

EUI = r"[0-9A-Fa-f]{2}([-:]?[0-9A-Fa-f]{2}){7}"
"""A device EUI as people write it: 16 hex digits, perhaps with dashes or colons."""

_EUI_BYTES: Final = 8
_MOST_REMEMBERED: Final = 64
_EARLIEST: Final = datetime(2015, 1, 1, tzinfo=UTC)  # LoRaWAN 1.0 is of that month
_MILLISECOND: Final = timedelta(milliseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MILLISECONDS: Final = 253_402_300_799_000  # the end of the year 9999
_MOST_PORT: Final = 255
_MOST_COUNT: Final = 0xFFFF_FFFF
_MOST_PAYLOAD: Final = 255  # bytes; its length goes into one byte over the air
_SHOWN: Final = 40  # characters of a strange value


class UplinkError(ValueError):
    """A message is no usable uplink.

    reason: one of few words, to count by.
    device: whose it was, where it says so.
    """

    def __init__(self, reason: str, message: str, device: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.device = device


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """One frame of one device, whichever server handed it on.

    dev_eui: 16 lower-case hex digits. f_port, f_cnt: port and frame counter (LoRaWAN 1.0.4,
    sections 4.3.2 and 4.3.1.5). payload: decrypted, not decoded.
    time: when the server received it, None where it does not say so usably.
    time_is_wrong: it says a time that cannot be read.
    rssi (dBm), snr (dB): of the gateway that heard it best.
    """

    dev_eui: str
    f_port: int
    f_cnt: int
    payload: bytes
    time: datetime | None
    time_is_wrong: bool = False
    device_name: str = ""
    rssi: float | None = None
    snr: float | None = None

    def moment(
        self, received: datetime, future_seconds: float = FUTURE_SECONDS
    ) -> tuple[datetime, Quality]:
        """Return when it was measured, as well as can be known, and what is against that.

        received: when it came to this gateway, which is taken where the server gives no time,
            or flagged where its time cannot be: unreadable, before LoRaWAN, or in the future.
        future_seconds: by how much it may be after that; infinite while our own clock is not
            sure.
        """
        if self.time is not None and self.time >= _EARLIEST:
            if (self.time - received).total_seconds() <= future_seconds:
                return self.time, UNFLAGGED
            return received, Quality.CLOCK_UNSYNCHRONISED
        wrong = self.time is not None or self.time_is_wrong
        return received, Quality.CLOCK_UNSYNCHRONISED if wrong else UNFLAGGED


class Repeats:
    """Which frames of one device were here before.

    A frame heard by several gateways may be handed on several times, and LORIOT sends it again
    with what its gateways say ("gw"); brokers and webhooks deliver again what they do not see
    acknowledged. A device that starts anew counts from 0, hence the window.
    """

    def __init__(self, window_seconds: float) -> None:
        self._window = timedelta(seconds=window_seconds)
        self._times: OrderedDict[tuple[int, int, bytes], datetime] = OrderedDict()

    def has(self, uplink: Uplink, time: datetime) -> bool:
        """Return whether the frame, of that time, was here before; remember it."""
        key = (uplink.f_cnt, uplink.f_port, uplink.payload)
        known = self._times.get(key)
        if known is not None and abs(time - known) <= self._window:
            return True
        self._times[key] = time
        self._times.move_to_end(key)
        if len(self._times) > _MOST_REMEMBERED:
            self._times.popitem(last=False)
        return False


def read_uplink(server: Server, document: object) -> Uplink | None:
    """Return the uplink in a parsed JSON document; None for what is something else of the server.

    Raises:
        UplinkError: neither; or an uplink that must not be decoded: still encrypted, simulated.
    """
    if not isinstance(document, dict):
        raise UplinkError("not-an-envelope", "not a JSON object")
    return _SERVERS[server](document)


def eui(text: str) -> str:
    """Return a device EUI as 16 lower-case hex digits.

    Raises:
        UplinkError: it is not one.
    """
    if not re.fullmatch(EUI, text):
        raise UplinkError("no-device", f"device EUI {text[:40]!r} is not 16 hex digits")
    return text.replace("-", "").replace(":", "").lower()


def _chirpstack(document: dict[str, Any]) -> Uplink | None:
    """Read ChirpStack's JSON: v4 names the device in deviceInfo, v3 beside it (devEUI).

    v4 leaves out what is 0. Only uplinks have `data`; the other events have not.
    """
    data = document.get("data")
    if not data:
        _demand_one_of(document, ("deviceInfo", "devEUI"))
        return None
    info = _table(document, "deviceInfo")
    device = eui(_text(info, "devEui")) if info else _eui_of_v3(_text(document, "devEUI"))
    if document.get("joinServerContext"):
        raise UplinkError("encrypted", "the payload is encrypted for a join server", device)
    heard = _tables(document, "rxInfo")
    times = [document.get("time"), *(one.get("nsTime") or one.get("time") for one in heard)]
    return _uplink(
        device,
        f_port=document.get("fPort"),
        f_cnt=document.get("fCnt"),
        payload=_from_base64(data, device),
        time=_first_time(times, _iso),
        name=info.get("deviceName") or document.get("deviceName"),
        best=_best(heard, ("snr", "loRaSNR")),
    )


def _the_things_stack(document: dict[str, Any]) -> Uplink | None:
    """Read The Things Stack's JSON (v3): protocol buffers' JSON, which leaves out what is 0."""
    message = _table(document, "uplink_message")
    if not message or not message.get("frm_payload"):
        _demand_one_of(document, ("end_device_ids",))
        return None
    device = eui(_text(_table(document, "end_device_ids"), "dev_eui"))
    if document.get("simulated"):
        raise UplinkError("simulated", "a simulated uplink is no measurement", device)
    return _uplink(
        device,
        f_port=message.get("f_port"),
        f_cnt=message.get("f_cnt"),
        payload=_from_base64(message["frm_payload"], device),
        time=_first_time([message.get("received_at"), document.get("received_at")], _iso),
        name=_table(document, "end_device_ids").get("device_id"),
        best=_best(_tables(message, "rx_metadata"), ("snr",)),
    )


def _loriot(document: dict[str, Any]) -> Uplink | None:
    """Read LORIOT's JSON: "rx" is an uplink, "gw" the same with what its gateways say."""
    command = _text(document, "cmd", "not-an-envelope")
    if command not in ("rx", "gw"):
        return None
    device = eui(_text(document, "EUI"))
    if document.get("encdata"):
        raise UplinkError("encrypted", "the server has no application key", device)
    data = document.get("data")
    if not data:
        return None
    return _uplink(
        device,
        f_port=document.get("port"),
        f_cnt=document.get("fcnt"),
        payload=_from_hex(data, device),
        time=_first_time([document.get("ts")], _from_milliseconds),
        name=None,
        best=_best([document, *_tables(document, "gws")], ("snr",)),
    )


_SERVERS: Final[Mapping[str, Callable[[dict[str, Any]], Uplink | None]]] = {
    "chirpstack": _chirpstack,
    "the-things-stack": _the_things_stack,
    "loriot": _loriot,
}


def _uplink(
    device: str,
    *,
    f_port: object,
    f_cnt: object,
    payload: bytes,
    time: tuple[datetime | None, bool],
    name: object,
    best: tuple[float | None, float | None],
) -> Uplink | None:
    if len(payload) > _MOST_PAYLOAD:
        raise UplinkError("no-payload", f"{len(payload)} bytes are no LoRaWAN payload", device)
    port = _whole(f_port, "port", _MOST_PORT, device)
    if port == 0:  # commands of the LoRaWAN layer itself
        return None
    return Uplink(
        dev_eui=device,
        f_port=port,
        f_cnt=_whole(f_cnt, "frame counter", _MOST_COUNT, device),
        payload=payload,
        time=time[0],
        time_is_wrong=time[1],
        device_name=name if isinstance(name, str) else "",
        rssi=best[0],
        snr=best[1],
    )


def _whole(value: object, what: str, most: int, device: str) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise UplinkError("not-an-envelope", f"{what} {repr(value)[:_SHOWN]}", device)
    return value


def _demand_one_of(document: dict[str, Any], keys: Iterable[str]) -> None:
    """Refuse what this server never sends, so that a wrong `server` is noticed."""
    if not any(document.get(key) for key in keys):
        known = " or ".join(keys)
        raise UplinkError("not-an-envelope", f"an object without {known}: of another server?")


def _table(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _tables(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    value = document.get(key)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(document: Mapping[str, Any], key: str, reason: str = "no-device") -> str:
    value = document.get(key)
    if not isinstance(value, str):
        raise UplinkError(reason, f"{key} is {'missing' if value is None else 'not a text'}")
    return value


def _eui_of_v3(text: str) -> str:
    """Return the EUI, which ChirpStack v3 writes in base64 and others like it in hex."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    return raw.hex() if len(raw) == _EUI_BYTES else eui(text)


def _from_base64(data: object, device: str) -> bytes:
    try:
        return base64.b64decode(data if isinstance(data, str) else "?", validate=True)
    except (binascii.Error, ValueError) as error:
        raise UplinkError("no-payload", "the payload is not base64", device) from error


def _from_hex(data: object, device: str) -> bytes:
    if not isinstance(data, str) or not re.fullmatch(r"([0-9A-Fa-f]{2})+", data):
        raise UplinkError("no-payload", "the payload is not hex digits", device)
    return bytes.fromhex(data)


def _first_time(
    values: Iterable[object], read: Callable[[object], datetime | None]
) -> tuple[datetime | None, bool]:
    """Return the first that can be read, else whether there was any."""
    given = [value for value in values if value is not None and value != ""]
    for value in given:
        time = read(value)
        if time is not None:
            return time, False
    return None, bool(given)


def _iso(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
        return time.astimezone(UTC) if time is not None and time.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _from_milliseconds(value: object) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return _EPOCH + value * _MILLISECOND if 0 <= value <= _LATEST_MILLISECONDS else None


def _best(
    heard: Iterable[Mapping[str, Any]], snr_keys: Iterable[str]
) -> tuple[float | None, float | None]:
    """Return RSSI and SNR as the gateway heard it that heard it loudest."""
    loudest: tuple[float | None, float | None] = (None, None)
    for one in heard:
        rssi = _number(one.get("rssi"))
        snr = next((_number(one[key]) for key in snr_keys if key in one), None)
        if rssi is not None and (loudest[0] is None or rssi > loudest[0]):
            loudest = (rssi, snr)
    return loudest


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _MOST_COUNT:
        return None
    return float(value)
