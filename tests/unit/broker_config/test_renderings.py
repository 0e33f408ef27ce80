"""What both renderings grant, compared with the topics of the envelope, section 2.

The texts are taken apart by the few lines below, each broker's rules applied, and the result
must be the same on both: whether a user may publish to, or read from, a topic. That the brokers
themselves read the texts so is the business of tests/integration/test_broker_isolation.py.
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from broker_config import mosquitto, nats
from broker_config.network import (
    MAX_PACKET_BYTES,
    BrokerCertificates,
    BrokerPaths,
    Council,
    Gateway,
    Network,
    NetworkError,
    Service,
    service_user,
)
from broker_config.nodes import Node
from device_protocol import topics

MINE, NEIGHBOUR = Gateway("camden", "k7q2m9xd4t"), Gateway("camden", "w3n8b5rc6h")
FOREIGN = Gateway("leeds", "z9f4j2tv7p")
NETWORK = Network(
    name="London",
    host="broker.example.org",
    bind="192.0.2.1",
    service_port=8883,
    keeper_port=8882,
    councils=(
        Council(tenant="camden", gss="E09000007", name="Camden", port=8884),
        Council(tenant="leeds", gss="E08000035", name="Leeds", port=8885),
    ),
    gateways=(MINE, NEIGHBOUR, FOREIGN),
    services=(Service("ingest", ("camden", "leeds")), Service("local", ("leeds",))),
)
PATHS = BrokerPaths(
    configuration=Path("/etc/broker"),
    data=Path('/var/lib/"the" data'),
    certificates=BrokerCertificates(
        service_root=Path("/pki/service-root.pem"),
        server_certificate=Path("/pki/server.pem"),
        server_key=Path("/pki/server.key"),
        council_roots={"camden": Path("/pki/camden.pem"), "leeds": Path("/pki/leeds.pem")},
        revocation_lists={"camden": Path("/lists/camden.crl")},
    ),
)
CLUSTER = replace(
    NETWORK,
    nodes=tuple(
        Node(
            name=name, host=f"{name}.example.org", mqtt_port=8883, native_port=4222, route_port=6222
        )
        for name in ("n1", "n2", "n3")
    ),
)


@dataclass(frozen=True)
class Rights:
    """What one user may do; filters in MQTT's form."""

    publish: tuple[str, ...]
    read: tuple[str, ...]

    def may_publish(self, topic: str) -> bool:
        return any(matches(topic, each) for each in self.publish)

    def may_read(self, topic: str) -> bool:
        return any(matches(topic, each) for each in self.read)


def matches(topic: str, topic_filter: str) -> bool:
    """Whether a filter covers a topic (MQTT 3.1.1, section 4.7)."""
    levels, wanted = topic.split("/"), topic_filter.split("/")
    if wanted[-1] == "#":
        wanted = wanted[:-1]
        levels = levels[: len(wanted)] if len(levels) >= len(wanted) else levels
    return len(levels) == len(wanted) and all(
        want in ("+", level) for level, want in zip(levels, wanted, strict=True)
    )


def mosquitto_rights(network: Network = NETWORK) -> dict[str, Rights]:
    rights: dict[str, Rights] = {}
    user = ""
    for line in mosquitto.render(network, PATHS)["access.acl"].splitlines():
        word, _, rest = line.partition(" ")
        if word == "user":
            user = rest
            rights[user] = Rights((), ())
        elif word == "topic":
            assert user, "a right before the first user would be everybody's"
            access, _, topic = rest.partition(" ")
            old = rights[user]
            if access == "write":
                rights[user] = replace(old, publish=(*old.publish, topic))
            else:
                assert access == "read"
                rights[user] = replace(old, read=(*old.read, topic))
        else:
            assert line == "" or line.startswith("#")
    return rights


def nats_accounts(network: Network = NETWORK, node: str = "") -> dict[str, dict[str, Rights]]:
    """By account, then by user; a right outside the user's account does not exist."""
    text = nats.render(network, PATHS, node)[nats.MAIN_FILE]
    accounts: dict[str, dict[str, Rights]] = {}
    for account, body in re.findall(
        r"^  council-(\S+): \{\n(.*?)^  \}\n", text, re.MULTILINE | re.DOTALL
    ):
        accounts[account] = {}
        for user, permissions in re.findall(r'\{ user: "(\S+)", (.*?) \} \}', body, re.DOTALL):
            natively = bool(node) and user.endswith("._services")
            ways = '["MQTT", "STANDARD"]' if natively else '["MQTT"]'
            assert f"allowed_connection_types: {ways}" in permissions
            publish, subscribe = (
                tuple(as_filter(subject) for subject in json.loads(listed))
                for listed in re.findall(r"(?:publish|subscribe): (\[.*?\])", permissions)
            )
            accounts[account][user] = Rights(publish, subscribe)
    return accounts


def as_filter(subject: str) -> str:
    return subject.replace(".", "/").replace("*", "+").replace(">", "#")


def every_topic() -> list[str]:
    listed = [topics.key_set(tenant) for tenant in ("camden", "leeds")]
    for each in (MINE, NEIGHBOUR, FOREIGN):
        names = (each.tenant, each.device, "main")
        listed += [topics.announcement(*names), topics.data(*names), topics.acknowledgement(*names)]
        listed.append(topics.configuration(each.tenant, each.device))
    return listed


def gateway_rights() -> list[tuple[Gateway, Rights]]:
    on_mosquitto, on_nats = mosquitto_rights(), nats_accounts()
    return [
        pair
        for each in NETWORK.gateways
        for pair in (
            (each, on_mosquitto[each.subject]),
            (each, on_nats[each.tenant][each.user]),
        )
    ]


def test_gateway_publishes_its_own_announcements_and_data_and_nothing_else() -> None:
    for each, rights in gateway_rights():
        names = (each.tenant, each.device, "main")
        allowed = {topic for topic in every_topic() if rights.may_publish(topic)}
        assert allowed == {topics.announcement(*names), topics.data(*names)}


def test_gateway_reads_its_own_answers_and_its_councils_keys_and_nothing_else() -> None:
    for each, rights in gateway_rights():
        allowed = {topic for topic in every_topic() if rights.may_read(topic)}
        assert allowed == {
            topics.acknowledgement(each.tenant, each.device, "main"),
            topics.configuration(each.tenant, each.device),
            topics.key_set(each.tenant),
        }


def test_service_reads_what_gateways_send_and_writes_what_they_read() -> None:
    on_mosquitto, on_nats = mosquitto_rights()["ingest"], nats_accounts()
    for topic in every_topic():
        kind = topics.parse(topic).kind
        from_gateways = kind in {topics.Kind.ANNOUNCEMENT, topics.Kind.DATA}
        rights = on_nats[topics.parse(topic).tenant][
            service_user("ingest", topics.parse(topic).tenant)
        ]
        assert on_mosquitto.may_read(topic) == rights.may_read(topic) == from_gateways
        assert on_mosquitto.may_publish(topic) == rights.may_publish(topic) == (not from_gateways)


def test_service_has_no_rights_in_a_council_it_does_not_take_in() -> None:
    rights = mosquitto_rights()["local"]
    for topic in every_topic():
        if topics.parse(topic).tenant == "camden":
            assert not rights.may_read(topic)
            assert not rights.may_publish(topic)
    assert service_user("local", "camden") not in nats_accounts()["camden"]
    assert service_user("local", "leeds") in nats_accounts()["leeds"]


def test_gateway_is_a_user_of_its_own_account_only() -> None:
    for tenant, users in nats_accounts().items():
        assert (MINE.user in users) == (tenant == "camden")


def test_gateway_left_out_has_no_rights() -> None:
    less = NETWORK.without_gateway(MINE.device)
    assert mosquitto_rights().keys() - mosquitto_rights(less).keys() == {MINE.subject}
    assert MINE.user not in nats_accounts(less)["camden"]


def listeners() -> dict[int, dict[str, str]]:
    _, *blocks = mosquitto.render(NETWORK, PATHS)[mosquitto.MAIN_FILE].split("\nlistener ")
    parsed = {}
    for block in blocks:
        port, _, rest = block.partition(" ")
        address, *lines = rest.splitlines()
        settings = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
        parsed[int(port)] = settings | {"address": address}
    return parsed


def test_each_council_has_a_listener_that_trusts_its_root_alone() -> None:
    roots = {port: settings["cafile"] for port, settings in listeners().items()}
    assert roots == {
        8882: "/etc/broker/keeper.pem",
        8883: "/pki/service-root.pem",
        8884: "/pki/camden.pem",
        8885: "/pki/leeds.pem",
    }


def test_every_mosquitto_listener_demands_a_certificate_over_tls_1_3() -> None:
    for port, settings in listeners().items():
        assert settings["tls_version"] == "tlsv1.3"
        assert settings["require_certificate"] == "true"
        assert settings["certfile"] == "/pki/server.pem"
        by_name, by_subject = "use_identity_as_username", "use_subject_as_username"
        services = port in {8882, 8883}
        assert (by_name in settings, by_subject in settings) == (services, not services)


def test_client_ids_are_free_for_the_keeper_alone_and_on_loopback_alone() -> None:
    free = {
        port: settings["address"]
        for port, settings in listeners().items()
        if settings.get("use_username_as_clientid") != "true"
    }
    assert free == {8882: "127.0.0.1"}
    assert {settings["address"] for settings in listeners().values()} == {"127.0.0.1", "192.0.2.1"}


def test_keeper_has_no_rights() -> None:
    assert mosquitto_rights()["keeper"] == Rights((), ())


def test_listener_checks_the_list_of_its_council_where_there_is_one() -> None:
    lists = {port: settings.get("crlfile") for port, settings in listeners().items()}
    assert lists == {8882: None, 8883: None, 8884: "/lists/camden.crl", 8885: None}


def test_mosquitto_becomes_the_user_it_is_told() -> None:
    assert "\nuser mosquitto\n" in mosquitto.render(NETWORK, PATHS)[mosquitto.MAIN_FILE]
    assert "\nuser kim\n" in mosquitto.render(NETWORK, PATHS, run_as="kim")[mosquitto.MAIN_FILE]


def test_mosquitto_keeps_messages_for_those_who_are_away() -> None:
    text = mosquitto.render(NETWORK, PATHS)[mosquitto.MAIN_FILE]
    assert "per_listener_settings" not in text
    assert 'persistence_location /var/lib/"the" data/\n' in text
    assert "\nallow_anonymous false\n" in text


def test_nats_demands_a_certificate_over_tls_1_3_on_both_of_its_ports() -> None:
    text = nats.render(NETWORK, PATHS)[nats.MAIN_FILE]
    blocks = re.findall(r"tls \{\n(.*?)\}", text, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        assert "verify_and_map: true" in block
        assert 'min_version: "1.3"' in block
        assert 'ca_file: "/etc/broker/roots.pem"' in block
    assert 'listen: "127.0.0.1:-1"' in text
    assert 'listen: "192.0.2.1:8883"' in text


def test_nats_strings_are_quoted() -> None:
    text = nats.render(NETWORK, PATHS)[nats.MAIN_FILE]
    assert r'store_dir: "/var/lib/\"the\" data"' in text
    assert (
        'listen: "[::1]:8883"' in nats.render(replace(NETWORK, bind="::1"), PATHS)[nats.MAIN_FILE]
    )


def test_both_take_the_largest_message_and_not_much_more() -> None:
    assert 65_536 + 100 < MAX_PACKET_BYTES < 65_536 + 2048
    settings = mosquitto.render(NETWORK, PATHS)[mosquitto.MAIN_FILE]
    assert f"\nmax_packet_size {MAX_PACKET_BYTES}\n" in settings
    assert f"\nmax_payload: {MAX_PACKET_BYTES}\n" in nats.render(NETWORK, PATHS)[nats.MAIN_FILE]


def test_port_left_open_cannot_be_rendered() -> None:
    with pytest.raises(NetworkError, match="service_port = 0"):
        nats.render(replace(NETWORK, service_port=0), PATHS)
    with pytest.raises(NetworkError, match="The services: port = 0"):
        mosquitto.render(replace(NETWORK, service_port=0), PATHS)
    with pytest.raises(NetworkError, match="The keeper: port = 0"):
        mosquitto.render(replace(NETWORK, keeper_port=0), PATHS)
    assert nats.render(replace(NETWORK, keeper_port=0), PATHS)
    first, second = NETWORK.councils
    with pytest.raises(NetworkError, match="Camden: port = 0"):
        mosquitto.render(replace(NETWORK, councils=(replace(first, port=0), second)), PATHS)


def test_node_of_a_cluster_demands_a_certificate_on_each_of_its_ports() -> None:
    text = nats.render(CLUSTER, PATHS, "n2")[nats.MAIN_FILE]
    blocks = re.findall(r"tls \{\n(.*?)\}", text, re.DOTALL)
    native, everyones, route = blocks
    for block in blocks:
        assert 'min_version: "1.3"' in block
    assert 'ca_file: "/pki/service-root.pem"' in native
    assert "verify_and_map: true" in native
    assert 'ca_file: "/etc/broker/roots.pem"' in everyones
    assert "verify_and_map: true" in everyones
    assert 'ca_file: "/pki/service-root.pem"' in route
    assert "verify_cert_and_check_known_urls: true" in route
    assert "\nserver_name: n2\n" in text
    assert '["nats://n1.example.org:6222", "nats://n2.example.org:6222"' in text


def test_node_tells_nobody_before_the_message_is_on_its_disk_and_anothers() -> None:
    text = nats.render(CLUSTER, PATHS, "n1")[nats.MAIN_FILE]
    assert "\n  sync_interval: always\n" in text
    assert "\n  stream_replicas: 3\n" in text


def test_rights_over_topics_are_the_same_in_a_cluster() -> None:
    on_one, on_three = nats_accounts(), nats_accounts(CLUSTER, "n1")
    for tenant, users in on_one.items():
        for user, rights in users.items():
            for topic in every_topic():
                there = on_three[tenant][user]
                assert rights.may_publish(topic) == there.may_publish(topic)
                assert rights.may_read(topic) == there.may_read(topic)


def test_service_takes_from_its_own_consumer_and_makes_none() -> None:
    rights = nats_accounts(CLUSTER, "n1")["camden"][service_user("ingest", "camden")]
    own = "$JS/API/CONSUMER/MSG/NEXT/$MQTT_msgs/ingest"
    assert rights.may_publish(own)
    assert not rights.may_publish(own.replace("ingest", "observer"))
    assert not rights.may_publish("$JS/API/STREAM/DELETE/$MQTT_msgs")
    assert not rights.may_publish("$JS/API/CONSUMER/CREATE/$MQTT_msgs/ingest")
    assert not rights.may_publish("$JS/ACK/$MQTT_msgs/observer/1/1/1/1/1")
    assert rights.may_read("_INBOX/ingest/x")
    assert not rights.may_read("_INBOX/observer/x")


def test_keeper_of_a_cluster_makes_streams_and_publishes_and_reads_no_topic() -> None:
    rights = nats_accounts(CLUSTER, "n1")["camden"][service_user("keeper", "camden")]
    assert rights.may_publish("$JS/API/STREAM/CREATE/$MQTT_msgs")
    assert not rights.may_publish("$JS/API/STREAM/DELETE/$MQTT_msgs")
    assert not any(rights.may_publish(topic) or rights.may_read(topic) for topic in every_topic())


def test_council_has_its_share_of_a_clusters_disk() -> None:
    text = nats.render(replace(CLUSTER, council_store_bytes=1 << 30), PATHS, "n1")[nats.MAIN_FILE]
    share = (1 << 30) + nats.OTHER_STORE_BYTES
    assert f"\n  max_file_store: {2 * share}\n" in text
    assert text.count(f"jetstream: {{ max_file: {3 * share}, max_memory: 0 }}") == 2


def test_cluster_is_rendered_node_by_node_and_with_every_port() -> None:
    with pytest.raises(NetworkError, match="for which of its nodes, n1, n2, n3"):
        nats.render(CLUSTER, PATHS)
    with pytest.raises(NetworkError, match="'n4' is no node"):
        nats.render(CLUSTER, PATHS, "n4")
    open_port = replace(
        CLUSTER, nodes=(replace(CLUSTER.nodes[0], route_port=0), *CLUSTER.nodes[1:])
    )
    with pytest.raises(NetworkError, match="'n1': route_port = 0"):
        nats.render(open_port, PATHS, "n2")
