"""Buckets of tokens, and whose they are."""

import ipaddress

import pytest

from api.layers.rate_limit import Buckets, bucket_of, client_of, networks

LOCAL = networks(["127.0.0.0/8", "::1/128"])
PROXIES = networks(["10.0.0.0/8", "2001:db8::/32"])


def test_a_minutes_worth_may_come_at_once_and_then_one_by_one() -> None:
    buckets = Buckets()
    verdicts = [buckets.take("a", 60, 0.0) for _ in range(61)]
    assert [verdict.allowed for verdict in verdicts] == [True] * 60 + [False]
    assert verdicts[0].remaining == 59
    assert verdicts[-1].retry_seconds == 1
    assert not buckets.take("a", 60, 0.5).allowed
    assert buckets.take("a", 60, 1.0).allowed
    assert not buckets.take("a", 60, 1.0).allowed


def test_whoever_waits_as_long_as_told_may_pass() -> None:
    buckets = Buckets()
    for per_minute in (1, 7, 600):
        now = 0.0
        while (verdict := buckets.take(str(per_minute), per_minute, now)).allowed:
            pass
        assert buckets.take(str(per_minute), per_minute, now + verdict.retry_seconds).allowed


def test_a_bucket_never_holds_more_than_a_minute() -> None:
    buckets = Buckets()
    buckets.take("a", 10, 0.0)
    taken = [buckets.take("a", 10, 86_400.0).allowed for _ in range(11)]
    assert taken == [True] * 10 + [False]


def test_clients_have_a_bucket_each_and_only_so_many_are_remembered() -> None:
    buckets = Buckets(most=3)
    assert buckets.take("a", 1, 0.0).allowed
    assert buckets.take("b", 1, 0.0).allowed
    assert not buckets.take("a", 1, 0.0).allowed
    for number in range(100):
        buckets.take(str(number), 1, 0.0)
    assert len(buckets) == 3


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "client"),
    [
        ("192.0.2.1", "", LOCAL, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.9", LOCAL, "192.0.2.1"),
        ("127.0.0.1", "198.51.100.9", LOCAL, "198.51.100.9"),
        ("::1", "198.51.100.9", LOCAL, "198.51.100.9"),
        ("10.0.0.1", "203.0.113.5, 198.51.100.9", PROXIES, "198.51.100.9"),
        ("10.0.0.1", "198.51.100.9, 10.0.0.7", PROXIES, "198.51.100.9"),
        ("10.0.0.1", "203.0.113.5, 10.0.0.8, 10.0.0.7", PROXIES, "203.0.113.5"),
        ("10.0.0.1", "", PROXIES, "10.0.0.1"),
        ("10.0.0.1", "nonsense", PROXIES, "10.0.0.1"),
        ("::ffff:10.0.0.1", "198.51.100.9", PROXIES, "198.51.100.9"),
        ("", "198.51.100.9", PROXIES, ""),
    ],
)
def test_forwarded_addresses_are_believed_as_far_as_proxies_are_trusted(
    peer: str, forwarded: str, trusted: list[ipaddress.IPv4Network], client: str
) -> None:
    assert client_of(peer, forwarded, trusted) == client


def test_ipv6_sites_have_one_bucket() -> None:
    assert bucket_of("2001:db8:1:2::9") == bucket_of("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert bucket_of("2001:db8:1:3::9") != bucket_of("2001:db8:1:2::9")
    assert bucket_of("192.0.2.1") == "192.0.2.1"


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        networks(["10.0.0.1/8"])
