"""A machine that does not know the time lets TLS leave it alone, and only such a machine."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_agent.clock import Clock, ClockQuality
from edge_agent.credentials.tls import (
    PeerCertificateError,
    check_peer,
    server_context,
    unverified_context,
)
from enrolment.authority import Authority
from tests.unit.edge_agent.conftest import FakeTime

NO_CHECK_TIME = 0x200000


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority", "Test")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Shake hands in memory and return the client's side."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    ours = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ours


def serving(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    credential = authority.enrolment_server()
    context.load_cert_chain(credential.certificate, credential.key)
    return context


def test_the_time_is_left_to_openssl_where_the_clock_is_known_to_be_right(
    authority: Authority, clock: Clock, fake_time: FakeTime, tmp_path: Path
) -> None:
    context = server_context(authority.region_root(), clock)
    assert not context.verify_flags & NO_CHECK_TIME
    check_peer(handshake(serving(authority), context), clock)
    before = clock.unix()
    never_set = Clock(
        tmp_path / "another",
        wall=lambda: fake_time.wall,
        monotonic=lambda: fake_time.monotonic,
        source=lambda: ClockQuality.NONE,
    )
    unsure = server_context(authority.region_root(), never_set)
    assert unsure.verify_flags & NO_CHECK_TIME
    assert unsure.check_hostname
    assert unsure.verify_mode is ssl.CERT_REQUIRED
    assert clock.unix() == before


@pytest.mark.parametrize("quality", [ClockQuality.NETWORK, ClockQuality.HARDWARE])
def test_tls_is_1_3_and_believes_one_root(
    authority: Authority, clock: Clock, fake_time: FakeTime, quality: ClockQuality
) -> None:
    fake_time.quality = quality
    context = server_context(authority.region_root(), clock)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert [each["subject"] for each in context.get_ca_certs()]
    assert len(context.get_ca_certs()) == 1
    assert unverified_context().minimum_version is ssl.TLSVersion.TLSv1_3


def test_an_unsure_clock_learns_from_a_certificate_of_its_future(
    authority: Authority, tmp_path: Path
) -> None:
    past = datetime.now(UTC) - timedelta(hours=20)
    clock = Clock(tmp_path / "clock", wall=past.timestamp, source=lambda: ClockQuality.NONE)
    peer = handshake(serving(authority), server_context(authority.region_root(), clock))
    check_peer(peer, clock)
    assert clock.now() > datetime.now(UTC) - timedelta(hours=1)


def test_an_unsure_clock_knows_what_has_ended(authority: Authority, tmp_path: Path) -> None:
    future = datetime.now(UTC) + timedelta(days=100)
    clock = Clock(tmp_path / "clock", wall=future.timestamp, source=lambda: ClockQuality.NONE)
    peer = handshake(serving(authority), server_context(authority.region_root(), clock))
    with pytest.raises(PeerCertificateError, match=r"certificate ended .* it is at least"):
        check_peer(peer, clock)


def satellite_clock(directory: Path, time: datetime) -> Clock:
    clock = Clock(directory / "clock", wall=lambda: 0.0, source=lambda: ClockQuality.NONE)
    clock.hint(time.timestamp(), clock.monotonic())
    return clock


def test_a_time_from_a_satellite_judges_certificates(authority: Authority, tmp_path: Path) -> None:
    clock = satellite_clock(tmp_path, datetime.now(UTC))
    context = server_context(authority.region_root(), clock)
    assert context.verify_flags & NO_CHECK_TIME
    check_peer(handshake(serving(authority), context), clock)


@pytest.mark.parametrize(
    ("days", "words"), [(-1, "certificate begins "), (100, "certificate ended ")]
)
def test_a_certificate_of_another_time_than_the_satellites_is_refused(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, words: str
) -> None:
    monkeypatch.setattr("edge_agent.clock._DOUBT_SECONDS", 10 * 365 * 86_400)
    clock = satellite_clock(tmp_path, datetime.now(UTC) + timedelta(days=days))
    peer = handshake(serving(authority), server_context(authority.region_root(), clock))
    with pytest.raises(PeerCertificateError, match=words):
        check_peer(peer, clock)
