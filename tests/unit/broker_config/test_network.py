import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config.network import (
    Council,
    Gateway,
    Network,
    NetworkError,
    Service,
    dump,
    parse,
    service_user,
)
from broker_config.nodes import Node

CAMDEN = Council(tenant="camden", gss="E09000007", name="Camden", port=8884)
LEEDS = Council(tenant="leeds", gss="E08000035", name="Leeds", port=8885)
NETWORK = Network(
    name="London",
    host="broker.example.org",
    bind="0.0.0.0",  # noqa: S104 - a description, nothing listens
    service_port=8883,
    keeper_port=8882,
    councils=(CAMDEN, LEEDS),
    gateways=(Gateway("camden", "k7q2m9xd4t"), Gateway("leeds", "z9f4j2tv7p")),
    services=(Service("ingest", ("camden", "leeds")),),
)
TEXT = """\
name = "London"
host = "broker.example.org"
service_port = 8883
keeper_port = 8882

[[council]]
tenant = "camden"
gss = "E09000007"
name = "Camden"
port = 8884

[[council]]
tenant = "leeds"
gss = "E08000035"
name = "Leeds"
port = 8885

[[gateway]]
tenant = "camden"
device = "k7q2m9xd4t"

[[gateway]]
tenant = "leeds"
device = "z9f4j2tv7p"

[[service]]
name = "ingest"
tenants = ["camden", "leeds"]
"""

CLUSTER = replace(
    NETWORK,
    nodes=tuple(
        Node(
            name=f"n{number}",
            host=f"n{number}.example.org",
            mqtt_port=8883,
            native_port=4222,
            route_port=6222,
        )
        for number in (1, 2, 3)
    ),
    council_store_bytes=1 << 29,
)


def test_description_is_read() -> None:
    assert parse(TEXT) == NETWORK


names = st.text(st.characters(codec="utf-8"), min_size=1).filter(
    lambda text: text.isprintable() and bool(text.strip())
)


@given(name=names, council=names, port=st.integers(0, 65535))
def test_what_is_written_is_read_back_equal(name: str, council: str, port: int) -> None:
    network = (
        replace(
            NETWORK, name=name, councils=(replace(CAMDEN, name=council), LEEDS), service_port=port
        )
        if port not in {8882, 8884, 8885}
        else NETWORK
    )
    assert parse(dump(network)) == network


@pytest.mark.parametrize(
    ("before", "after", "named", "remedy"),
    [
        ('"London"', '" "', "name = ' '", "printable"),
        ("broker.example.org", "no host", "host = 'no host'", "DNS name nor an IP address"),
        ("8883", "70000", "service_port = 70000", "1 to 65535"),
        ("8884", "8883", "port '8883'", "unique"),
        ("8882", "8883", "port '8883'", "unique"),
        ("8882", "-1", "keeper_port = -1", "1 to 65535"),
        ('"camden"\ngss', '"Camden"\ngss', "'Camden' cannot be a tenant", "[a-z0-9]"),
        ("E09000007", "E0900", "gss = 'E0900'", "E09000007"),
        ("E09000007", "E08000035", "gss 'E08000035' stands 2 times", "unique"),
        ("k7q2m9xd4t", "K7/#", "'K7/#' cannot be a device", "[a-z0-9]"),
        ("k7q2m9xd4t", "z9f4j2tv7p", "device 'z9f4j2tv7p' stands 2 times", "unique"),
        ('"camden"\ndevice', '"bath"\ndevice', "tenant = 'bath'", "described are: camden, leeds"),
        ('"ingest"', '"in gest"', "service name = 'in gest'", "[a-z0-9]"),
        ('"ingest"', '"keeper"', "service name = 'keeper' is taken", "live sessions"),
        ('["camden", "leeds"]', "[]", "tenants is empty", "name the councils"),
        ('["camden", "leeds"]', '["bath"]', "tenant = 'bath'", "described are: camden, leeds"),
        ('["camden", "leeds"]', "[7]", "tenant = '7'", "described are: camden, leeds"),
        ("service_port = 8883", 'service_port = "x"', "service_port = 'x'", "integer"),
        ("service_port = 8883", "service_port = true", "service_port = True", "integer"),
        ("service_port", "servce_port", "unknown key 'servce_port'", "service_port"),
        ('name = "Leeds"\n', "", "[[council]] 2: 'name' is missing", "name"),
        ("[[council]]", "[[town]]", "unknown key 'town'", "council"),
        ('name = "London"', "name", "not TOML", "line 1"),
    ],
)
def test_mistake_is_named_with_its_remedy(before: str, after: str, named: str, remedy: str) -> None:
    assert before in TEXT
    with pytest.raises(NetworkError, match=re.escape(named)) as raised:
        parse(TEXT.replace(before, after, 1))
    assert remedy in str(raised.value)


def test_every_mistake_is_listed_at_once() -> None:
    with pytest.raises(NetworkError) as raised:
        Network(name="", host="", bind="here", councils=())
    assert len(str(raised.value).splitlines()) == 4


@pytest.mark.parametrize("text", ["council = 7\n", "council = [7]\n"])
def test_table_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(NetworkError):
        parse('name = "x"\nhost = "x"\n' + text)


def test_gateway_is_added_and_taken_away() -> None:
    grown = NETWORK.with_gateway("leeds", "n3wc0m3r")
    assert grown.gateways_of("leeds") == (
        Gateway("leeds", "z9f4j2tv7p"),
        Gateway("leeds", "n3wc0m3r"),
    )
    assert grown.without_gateway("n3wc0m3r") == NETWORK
    assert NETWORK.without_gateway("unheard-of") == NETWORK


def test_device_is_unique_in_the_whole_network_not_only_in_its_council() -> None:
    with pytest.raises(NetworkError, match="unique"):
        NETWORK.with_gateway("leeds", "k7q2m9xd4t")


def test_no_gateway_can_have_the_name_of_a_service() -> None:
    """The underscore is in no tenant, so the last label tells them apart."""
    assert service_user("ingest", "camden") == "ingest.camden._services"
    with pytest.raises(NetworkError):
        replace(NETWORK, councils=(replace(CAMDEN, tenant="_services"),), gateways=(), services=())


def test_cluster_is_read_back_equal() -> None:
    assert parse(dump(CLUSTER)) == CLUSTER
    assert "node" not in dump(NETWORK)
    assert CLUSTER.node("n2").host == "n2.example.org"
    with pytest.raises(NetworkError, match="described are: n1, n2, n3"):
        CLUSTER.node("n4")


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ('"n1"', '"N 1"', "node name = 'N 1' is not of the form"),
        ('"n1"', '"n2"', "node name 'n2' stands 2 times"),
        ('"n1.example.org"', '"192.0.2.7"', "host = '192.0.2.7' is not a DNS name"),
        ("mqtt_port = 8883", "mqtt_port = 70000", "mqtt_port = 70000 is not a port"),
        ("native_port = 4222", "native_port = 6222", "'n1.example.org:6222' stands 2 times"),
        ("native_port", "nativ_port", "[[node]] 1: unknown key 'nativ_port'"),
        ("536870912", "4096", "council_store_bytes = 4096 is below"),
    ],
)
def test_mistake_in_a_cluster_is_named(before: str, after: str, named: str) -> None:
    text = dump(CLUSTER)
    assert before in text
    with pytest.raises(NetworkError, match=re.escape(named)):
        parse(text.replace(before, after, 1))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_cluster_that_bears_no_more_losses_for_its_size_is_refused(count: int) -> None:
    nodes = tuple(Node(name=f"n{number}", host="localhost") for number in range(count))
    with pytest.raises(NetworkError, match=f"there are {count}.*describe 3 or 5"):
        replace(NETWORK, nodes=nodes)
