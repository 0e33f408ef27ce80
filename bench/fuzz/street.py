"""What comes to a gateway from around it: sensors, network servers, whoever is on the air.

Targets as in `targets`. Nothing of it is signed or sealed, so that anything may come.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import reduce
from operator import xor
from pathlib import Path
from random import Random
from typing import Final, TypeAlias

from bench.fuzz.mutation import mutate
from edge_agent.inputs.fields import FieldError, FieldSettings, read_json, readings, time_of
from edge_agent.inputs.payload import FrameError, decoder_names, load_decoder
from edge_agent.inputs.radio_packets import read_packet
from edge_agent.inputs.uplinks import UplinkError, read_uplink
from edge_agent.sensors import nmea, pmsx003, sds011

Feed: TypeAlias = Callable[[Random], tuple[bytes, Callable[[], str]]]

ACCEPTED: Final = "accepted"
NOTHING: Final = "nothing"
"""Nothing for us, and passed over."""

STREET_REASONS: Final = frozenset(
    {NOTHING, "field", "not-an-envelope", "no-device", "encrypted", "no-payload", "simulated"}
    | {"unknown-port", "unknown-type", "unknown-value", "wrong-length", "not-finite"}
    | {"repeated-value"}
)

_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
_PAYLOAD: Final = "AXVkBVsFPwLaAWoC"  # of a sound level meter
_UPLINKS: Final = (
    (
        "chirpstack",
        {
            "time": "2025-05-22T07:47:05.404859+00:00",
            "deviceInfo": {"devEui": "1000000000000001", "deviceName": "meter"},
            "fCnt": 4,
            "fPort": 85,
            "data": _PAYLOAD,
            "rxInfo": [{"rssi": -35, "snr": 11.5}],
        },
    ),
    (
        "the-things-stack",
        {
            "end_device_ids": {"device_id": "meter", "dev_eui": "1000000000000001"},
            "uplink_message": {"f_port": 85, "f_cnt": 4, "frm_payload": _PAYLOAD},
            "received_at": "2025-05-22T07:47:05.404859Z",
        },
    ),
    (
        "loriot",
        {"cmd": "rx", "EUI": "1000000000000001", "ts": 1747900025404, "fcnt": 4, "port": 85}
        | {"data": "017564055b053f02da016a02"},
    ),
)
_BODIES: Final = tuple(
    json.dumps(document).encode()
    for document in (
        {"time": "2025-12-31T23:59:00Z", "value": "12.5", "list": [{"of": "x", "value": 1}]},
        {"time": 1767225000, "value": -1.5e3, "list": []},
        {"value": None, "list": [{"of": "x", "value": "ON"}, {"of": "x", "value": "ON"}]},
    )
)
_FIELDS: Final = tuple(
    FieldSettings(
        name=f"value{number}",
        title="Value",
        description="A value.",
        observed_property="air_temperature",
        unit="Cel",
        path=path,
        values={"ON": 1.0},
    )
    for number, path in enumerate(("value", "list[of=x].value", "list[0].value"))
)
_PACKETS: Final = (
    b'{"time": "2025-12-31T23:59:00Z", "model": "Fineoffset-WS80", "id": 7, "wind_avg_m_s": 1.5}',
    b'{"time": "@1.5s", "model": "Acurite-Tower", "id": "a", "channel": "A", "temperature_C": 3}',
)
_SENTENCES: Final = (
    b"GPRMC,225446,A,4916.45,N,12311.12,W,000.5,054.7,191194,020.3,E",
    b"GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,",
    b"GNGNS,112257.00,3844.24011,N,00908.43828,W,AN,03,10.5,,,,",
)
_SDS011: Final = bytes.fromhex("aac0d4043a0aa1601dab")
_PMS5003: Final = bytes.fromhex("424d001c") + bytes(26) + bytes.fromhex("00ab")


def street_feeds() -> Sequence[tuple[str, Feed, int]]:
    """Return name, feed and share of every target."""
    return (
        ("uplink", _uplinks, 2),
        ("payload", _Payloads(), 2),
        ("sensor's JSON", _bodies, 2),
        ("radio packet", _packets, 1),
        ("NMEA", _sentences, 1),
        ("serial frames", _frames, 1),
    )


def _uplinks(random: Random) -> tuple[bytes, Callable[[], str]]:
    server, document = random.choice(_UPLINKS)
    whole = json.dumps(document).encode()
    others = [json.dumps(each).encode() for _, each in _UPLINKS]
    bent = mutate(random, whole, others)

    def feed() -> str:
        try:
            found = read_uplink(server, read_json(bent))  # type: ignore[arg-type]  # one of three
        except UplinkError as error:
            return error.reason
        except FieldError:
            return "field"
        return ACCEPTED if found is not None else NOTHING

    return bent, feed


class _Payloads:
    """Payloads, bent, decoded by any table that comes with the agent."""

    def __init__(self) -> None:
        self._decoders = [load_decoder(Path(name)) for name in decoder_names()]

    def __call__(self, random: Random) -> tuple[bytes, Callable[[], str]]:
        decoder = random.choice(self._decoders)
        message = random.choice(decoder.table.message)
        port = random.choice((*message.f_port, 85))
        start = bytes.fromhex(message.starts)
        length = message.length or random.randrange(40)
        whole = (start + random.randbytes(64))[:length]
        bent = whole if random.random() < 0.5 else mutate(random, whole, (whole,))  # noqa: PLR2004

        def feed() -> str:
            try:
                decoder.decode(port, bent)
            except FrameError as error:
                return error.reason
            return ACCEPTED

        return bent, feed


def _bodies(random: Random) -> tuple[bytes, Callable[[], str]]:
    bent = mutate(random, random.choice(_BODIES), _BODIES)

    def feed() -> str:
        try:
            document = read_json(bent)
            time = time_of(document, "time", "unix" if b"17672" in bent else "iso8601", _NOW)
            readings(document, sensor="urn:dev:x", fields=_FIELDS, time=time)
        except FieldError:
            return "field"
        return ACCEPTED

    return bent, feed


def _packets(random: Random) -> tuple[bytes, Callable[[], str]]:
    bent = mutate(random, random.choice(_PACKETS), _PACKETS)

    def feed() -> str:
        try:
            packet = read_packet(bent, _NOW)
        except FieldError:
            return "field"
        if packet is None:
            return NOTHING
        packet.content()
        return ACCEPTED

    return bent, feed


def _sentences(random: Random) -> tuple[bytes, Callable[[], str]]:
    body = mutate(random, random.choice(_SENTENCES), _SENTENCES)
    line = b"$%b*%02X" % (body, reduce(xor, body, 0))
    return line, lambda: NOTHING if nmea.read(line) is None else ACCEPTED


def _frames(random: Random) -> tuple[bytes, Callable[[], str]]:
    frames = (_SDS011, _PMS5003)
    take = random.choice((sds011.take, pmsx003.take))
    line = mutate(random, _SDS011 + _PMS5003 + _SDS011, frames)

    def feed() -> str:
        buffer, found = bytearray(line), NOTHING
        while take(buffer) is not None:
            found = ACCEPTED
        return found

    return line, feed
