"""NMEA 0183 sentences of real receivers, as their makers and users published them.

Where each is from:
- U-BLOX: u-blox "Receiver Description Including Protocol Specification", RMC and GGA examples.
- TRIMBLE: Trimble receiver help, "NMEA-0183 message: GNS".
- LEICA: ABTech knowledge base, "GNS - GNSS Fix Data" (NMEA 4.1).
- ORDNANCE: MicroNMEA, extras/test/nmea_sentences.txt: recorded at Lancaster in 2015, and a
  receiver that had time but no fix in 2017.
- GARMIN: University of Washington CSE 466, recorded from a Garmin GPS 12XL in simulator mode.
- PHONE: Linux kernel mailing list, a Droid 4's /dev/gnss0 without a fix.
- DEPRIEST: gpsinformation.org/dale/nmea.htm.
"""

from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import xor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.adapter import Surroundings
from edge_agent.clock import Clock, ClockQuality
from edge_agent.sensors.nmea import NmeaSettings, Told, _Offering, datastreams, read, take
from tests.simulators.serial_sensor import sentence
from tests.unit.edge_agent.conftest import NOW, FakeTime

UBLOX_RMC = b"$GPRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,A*57"
UBLOX_GGA = b"$GPGGA,092725.00,4717.11399,N,00833.91590,E,1,08,1.01,499.6,M,48.0,M,,*5B"
TRIMBLE_GNS = b"$GNGNS,014035.00,4332.69262,S,17235.48549,E,RR,13,0.9,25.63,11.24,,*70"
TRIMBLE_GPS_ONLY = b"$GPGNS,014035.00,,,,,,8,,,,1.0,23*76"
TRIMBLE_GLONASS_ONLY = b"$GLGNS,014035.00,,,,,,5,,,,1.0,23*67"
LEICA_GNS = b"$GNGNS,145339.00,4724.5292786,N,00937.0838968,E,AANA,22,0.5,367.334,100.143,,,V*19"
ORDNANCE_RMC = b"$GPRMC,111309.00,A,5400.6000,N,00247.1000,W,00.00,302.5,140915,,,A*4C"
ORDNANCE_GGA = b"$GPGGA,111309.00,5400.6000,N,00247.1000,W,1,16,00.7,042.2,M,49.1,M,,*4A"
NO_FIX_RMC = b"$GPRMC,194812.00,V,,,,,,,290317,,,N*74"
GARMIN_RMC = b"$GPRMC,175741,A,4751.698,N,12209.774,W,000.0,360.0,191100,019.5,E*69"
PHONE = [b"$GPGGA,,,,,,0,,,,,,,,*66", b"$GNGNS,,,,,,NN,,,,,,*53", b"$GPRMC,,V,,,,,,,,,,N*53"]
DEPRIEST_GGA = b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47"
OF_NO_USE = [
    b"$GPGSA,A,3,01,04,,13,19,20,22,24,27,28,,,3.3,2.0,3.0*37",
    b"$PGRMM,WGS 84*06",
    b"$PORZD,A,004.4*3C",
    b"$GPVTG,,T,,M,,N,,K,N*2C",
]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            UBLOX_RMC,
            Told(
                time=datetime(2002, 12, 9, 8, 35, 59, tzinfo=UTC),
                position=(47.2852395, 8.5652537),
            ),
        ),
        (UBLOX_GGA, Told(position=(47.2852332, 8.565265), satellites=8, hdop=1.01)),
        (TRIMBLE_GNS, Told(position=(-43.544877, 172.5914248), satellites=13, hdop=0.9)),
        (TRIMBLE_GPS_ONLY, Told()),
        (TRIMBLE_GLONASS_ONLY, Told()),
        (LEICA_GNS, Told(position=(47.4088213, 9.6180649), satellites=22, hdop=0.5)),
        (
            ORDNANCE_RMC,
            Told(time=datetime(2015, 9, 14, 11, 13, 9, tzinfo=UTC), position=(54.01, -2.785)),
        ),
        (ORDNANCE_GGA, Told(position=(54.01, -2.785), satellites=16, hdop=0.7)),
        (NO_FIX_RMC, Told()),
        (
            GARMIN_RMC,
            Told(
                time=datetime(2000, 11, 19, 17, 57, 41, tzinfo=UTC),
                position=(47.8616333, -122.1629),
            ),
        ),
        (PHONE[0], Told(satellites=0)),
        (PHONE[1], Told(satellites=0)),
        (PHONE[2], Told()),
        (DEPRIEST_GGA, Told(position=(48.1173, 11.5166667), satellites=8, hdop=0.9)),
    ],
)
def test_published_sentences_are_read(line: bytes, told: Told) -> None:
    assert read(line) == told
    assert read(line + b"\r") == told


@pytest.mark.parametrize("line", OF_NO_USE)
def test_other_sentences_are_passed_over(line: bytes) -> None:
    assert read(line) is None


@pytest.mark.parametrize("talker", ["GP", "GN", "GL", "GA", "GB", "BD", "GQ", "II"])
def test_any_talker_may_tell(talker: str) -> None:
    line = sentence(f"{talker}GGA,092725.00,4717.11399,N,00833.91590,E,1,08,1.01,499.6,M,48.0,M,,")
    assert read(line) == read(UBLOX_GGA)


@pytest.mark.parametrize(
    "body",
    [
        "GNRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,A,V",
        "GNRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,D,S",
        "GNRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,R,U",
    ],
)
def test_the_navigational_status_of_newer_receivers_is_not_asked(body: str) -> None:
    assert read(sentence(body)) == read(UBLOX_RMC)


@pytest.mark.parametrize(
    "body",
    [
        "GNRMC,083559.00,V,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,A",
        "GNRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,N",
        "GNRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,E",
        "GNRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,M",
        "GNRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,S",
        "GPGGA,092725.00,4717.11399,N,00833.91590,E,0,08,1.01,499.6,M,48.0,M,,",
        "GPGGA,092725.00,4717.11399,N,00833.91590,E,6,08,1.01,499.6,M,48.0,M,,",
        "GPGGA,092725.00,4717.11399,N,00833.91590,E,8,08,1.01,499.6,M,48.0,M,,",
        "GPGGA,092725.00,4717.11399,N,00833.91590,E,x,08,1.01,499.6,M,48.0,M,,",
        "GNGNS,014035.00,4332.69262,S,17235.48549,E,NN,13,0.9,25.63,11.24,,",
        "GNGNS,014035.00,4332.69262,S,17235.48549,E,EE,13,0.9,25.63,11.24,,",
        "GPGGA,092725.00,9717.11399,N,00833.91590,E,1,,,499.6,M,48.0,M,,",
        "GPGGA,092725.00,4717.11399,X,00833.91590,E,1,,,499.6,M,48.0,M,,",
        "GPGGA,092725.00,4717,N,00833.91590,E,1,,,499.6,M,48.0,M,,",
    ],
)
def test_what_the_receiver_did_not_measure_is_not_told(body: str) -> None:
    told = read(sentence(body))
    assert told is not None
    assert (told.time, told.position, told.hdop) == (None, None, None)
    assert not told.satellites


@pytest.mark.parametrize(
    "body",
    [
        "GNRMC,235960.00,A,4717.11437,N,00833.91522,E,0.004,77.52,311226,,,A",  # a leap second
        "GNRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,310226,,,A",  # 31 February
        "GNRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,,,,A",
        "GNRMC,,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,A",
    ],
)
def test_a_time_that_is_none_leaves_the_position(body: str) -> None:
    assert read(sentence(body)) == Told(position=(47.2852395, 8.5652537))


def test_without_a_right_checksum_there_is_no_sentence() -> None:
    assert read(UBLOX_RMC[:-3]) is None
    assert read(UBLOX_RMC[:-1] + b"8") is None
    assert read(UBLOX_RMC.replace(b"4717", b"4817")) is None


@given(st.integers(1, len(UBLOX_RMC) - 1), st.integers(0, 7))
def test_a_flipped_bit_never_tells_anything_else(at: int, bit: int) -> None:
    damaged = bytearray(UBLOX_RMC)
    damaged[at] ^= 1 << bit
    assert read(bytes(damaged)) in (None, read(UBLOX_RMC))


@given(st.lists(st.binary(max_size=100), max_size=20))
def test_anything_may_come(pieces: list[bytes]) -> None:
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while take(buffer) is not None:
            pass
        assert len(buffer) <= 256


@pytest.mark.parametrize("cut", range(len(UBLOX_RMC) + 2))
def test_it_does_not_matter_where_the_line_pauses(cut: int) -> None:
    stream = UBLOX_RMC + b"\r\n" + UBLOX_GGA + b"\r\n"
    buffer = bytearray(stream[:cut])
    found = [take(buffer)]
    buffer += stream[cut:]
    found += [take(buffer), take(buffer)]
    assert [told for told in found if told] == [read(UBLOX_RMC), read(UBLOX_GGA)]


def test_a_sentence_whose_line_end_was_lost_does_not_take_the_next_with_it() -> None:
    assert take(bytearray(b"$GPGSV,3,1,10,01" + UBLOX_RMC + b"\r\n")) == read(UBLOX_RMC)


class TestTheClock:
    """What of the time reaches a gateway whose clock nobody has set."""

    @pytest.fixture
    def unset(self, fake_time: FakeTime, tmp_path: Path) -> Clock:
        fake_time.wall, fake_time.quality = 0.0, ClockQuality.NONE
        return Clock(
            tmp_path / "clock",
            wall=lambda: fake_time.wall,
            monotonic=lambda: fake_time.monotonic,
            source=lambda: fake_time.quality,
        )

    @pytest.fixture
    def surroundings(self, unset: Clock, tmp_path: Path) -> Surroundings:
        return Surroundings(unset, tmp_path)

    def test_time_and_place_are_offered_to_the_gateway(self, surroundings: Surroundings) -> None:
        now = datetime.fromtimestamp(NOW, UTC)
        body = f"GNRMC,{now:%H%M%S}.00,A,5131.0000,N,00007.0000,W,0,0,{now:%d%m%y},,,A"
        told = read(sentence(body))
        assert told is not None
        _Offering("urn:dev:example:gps", surroundings).offer(told)
        assert surroundings.clock.quality() is ClockQuality.HARDWARE
        assert surroundings.clock.unix() == pytest.approx(NOW)
        newest = surroundings.whereabouts.newest
        assert newest is not None
        assert (newest.latitude, newest.longitude) == (51.5166667, -0.1166667)

    @pytest.mark.parametrize(
        "date",
        ["060180", (datetime.fromtimestamp(NOW, UTC) - timedelta(weeks=1024)).strftime("%d%m%y")],
    )
    def test_a_date_of_a_receiver_that_lost_count_is_refused_and_said_once(
        self, date: str, surroundings: Surroundings, caplog: pytest.LogCaptureFixture
    ) -> None:
        told = read(sentence(f"GNRMC,120000.00,A,5131.0,N,00007.0,W,0,0,{date},,,A"))
        assert told is not None
        assert told.time is not None
        offering = _Offering("urn:dev:example:gps", surroundings)
        offering.offer(told)
        offering.offer(told)
        assert surroundings.clock.quality() is ClockQuality.NONE
        assert [record.message for record in caplog.records] == [
            "satellite receiver tells an impossible date"
        ]
        assert surroundings.whereabouts.newest is not None

    def test_without_a_fix_nothing_is_offered(self, surroundings: Surroundings) -> None:
        told = read(NO_FIX_RMC)
        assert told is not None
        _Offering("urn:dev:example:gps", surroundings).offer(told)
        assert surroundings.clock.quality() is ClockQuality.NONE
        assert surroundings.whereabouts.newest is None


@pytest.mark.parametrize(
    ("position", "names"),
    [
        (False, ["satellites_used", "hdop"]),
        (True, ["satellites_used", "hdop", "latitude", "longitude"]),
    ],
)
def test_the_place_is_reported_only_if_asked_for(position: bool, names: list[str]) -> None:  # noqa: FBT001  # a parameter of the test
    settings = NmeaSettings(
        urn="urn:dev:example:gps",
        thing="urn:dev:example:lamp-1",
        name="Receiver",
        description="On the roof.",
        device=Path("/dev/ttyACM0"),
        position=position,
    )
    assert [each.name for each in datastreams(settings)] == names


def test_a_line_longer_than_any_sentence_is_passed_over() -> None:
    """Numbers of thousands of digits in it would not even be numbers to Python."""
    body = b"GPGGA,123519,4807.038,N,01131.000,E,1," + b"8" * 5000 + b",0.9,545.4,M,46.9,M,,"
    assert read(b"$%b*%02X" % (body, reduce(xor, body, 0))) is None
