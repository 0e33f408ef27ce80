"""Every threat the network withstands, what stops it, and the test that shows it.

`test_threats.py` holds this table against the tests there are, in both directions; the table of
docs/explanation/security.md is held against this one.
"""

from dataclasses import dataclass
from enum import StrEnum


class Where(StrEnum):
    """Who stops a threat."""

    BROKER = "broker"
    INGEST = "ingest"
    GATEWAY = "gateway"
    SERVICE = "certificate service"
    PAGES = "pages"
    COMMANDS = "commands"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threat:
    """One row.

    threat: what somebody does. stopped_by: where it ends; the first of several is where it ends
    if everybody but the attacker behaves. check: what catches it; with its code of the
    envelope's section 8 or its reason. alarm: where a person sees it. tests: file and name.
    """

    threat: str
    stopped_by: tuple[Where, ...]
    check: str
    alarm: str
    tests: tuple[str, ...]


REFUSALS = "refusals on the status page and in ingest_envelopes_total; security log"
COUNTED = "ingest_envelopes_total"
AGENT = "the agent's log and status"
BROKERS = "the broker's log"
ENROLMENT = "enrolment_refusals_total; the service's log"
AUDIT = "the other council's audit trail"
MISSING = "ingest_missing_messages; gaps on the status page"

_OPERATOR = "test_broker_operator.py::"
_FLOOD = "test_broker_flood.py::"
_KEY = "test_genuine_key.py::"
_DECEIVED = "test_gateway_deceived.py::"
_DOOR = "test_door.py::"
_CERTIFICATES = "test_certificate_service.py::"
_COUNCILS = "test_councils.py::"
_FALSE = "test_false_service.py::"
_STREET = "test_street.py::"
_STREAM = "test_broker_stream.py::"
_DESK = "test_operators_desk.py::"
_CLUSTER = "test_cluster_rights.py::"
_READERS = "test_readers.py::"
_OPEN = "test_open_data.py::"
_RESTRICTED = "test_newly_restricted.py::"


def _ingest(threat: str, check: str, *tests: str, alarm: str = REFUSALS) -> Threat:
    return Threat(threat=threat, stopped_by=(Where.INGEST,), check=check, alarm=alarm, tests=tests)


THREATS: tuple[Threat, ...] = (
    # The broker's operator, or whoever holds its machine
    _ingest(
        "read",
        "encryption to the council's recipients: 305 and 306 for any other key",
        _OPERATOR + "test_read",
        alarm="none: nothing legible passes",
    ),
    _ingest(
        "forge",
        "203 signer, 401 aead, 402 signature; 401 at the gateway for acknowledgements",
        _OPERATOR + "test_forge_an_announcement",
        _OPERATOR + "test_forge_a_message",
        _OPERATOR + "test_forge_as_a_recipient",
        _OPERATOR + "test_forge_an_acknowledgement",
        _DECEIVED + "test_forge_an_acknowledgement_for_the_agent",
        _DECEIVED + "test_forge_a_configuration",
    ),
    _ingest(
        "alter",
        "401 aead, 402 signature",
        _OPERATOR + "test_alter_a_message",
        _OPERATOR + "test_alter_an_announcement",
    ),
    _ingest(
        "replay",
        "500 duplicate, 501 too-old",
        _OPERATOR + "test_replay",
        _OPERATOR + "test_replay_behind_the_window",
        alarm=COUNTED,
    ),
    _ingest(
        "reorder",
        "harmless: readings carry their time; the window of 1 024 takes any order",
        _OPERATOR + "test_reorder",
        alarm="none needed",
    ),
    Threat(
        threat="drop",
        stopped_by=(Where.INGEST, Where.GATEWAY),
        check="gaps in the sequence, and the end that the next announcement tells; "
        "the gateway keeps what is not acknowledged",
        alarm=MISSING,
        tests=(
            _OPERATOR + "test_drop",
            _OPERATOR + "test_drop_the_end_of_an_epoch",
            _DECEIVED + "test_drop_everything_an_agent_sends",
        ),
    ),
    _ingest("truncate", "101 encoding, 401 aead", _OPERATOR + "test_truncate"),
    _ingest("append", "101 encoding, 401 aead", _OPERATOR + "test_append"),
    _ingest(
        "move to another topic",
        "102 structure, 104 topic",
        _OPERATOR + "test_move_to_another_topic",
    ),
    _ingest(
        "move to another device",
        "203 signer, 300 unknown-epoch",
        _OPERATOR + "test_move_to_another_device",
    ),
    _ingest(
        "move to another council",
        "200 unknown-device, 203 signer",
        _OPERATOR + "test_move_to_another_council",
    ),
    _ingest(
        "move to another group",
        "402 signature, 300 unknown-epoch",
        _OPERATOR + "test_move_to_another_group",
    ),
    _ingest(
        "roll an epoch back",
        "301 epoch-rollback",
        _KEY + "test_roll_an_epoch_back",
        _KEY + "test_gateway_learns_that_its_counter_was_rolled_back",
        _DECEIVED + "test_restore_an_old_disk",
    ),
    _ingest(
        "reuse an epoch id",
        "302 epoch-conflict",
        _KEY + "test_reuse_an_epoch_id",
        _KEY + "test_reuse_another_gateways_epoch_id",
    ),
    _ingest(
        "clone a gateway's disk",
        "302 epoch-conflict, 502 seq-conflict",
        _KEY + "test_clone_the_disk",
        _KEY + "test_clone_the_memory",
    ),
    _ingest(
        "replay stale K",
        "301 epoch-rollback, 500 duplicate",
        _OPERATOR + "test_replay_a_stale_announcement",
    ),
    Threat(
        threat="replay stale R",
        stopped_by=(Where.GATEWAY,),
        check="key-set-rollback: versions rise",
        alarm=AGENT,
        tests=(_DECEIVED + "test_replay_a_stale_key_set",),
    ),
    Threat(
        threat="replay stale C",
        stopped_by=(Where.GATEWAY,),
        check="configuration-rollback: versions rise",
        alarm=AGENT,
        tests=(_DECEIVED + "test_replay_a_stale_configuration",),
    ),
    Threat(
        threat="swap recipient keys",
        stopped_by=(Where.GATEWAY, Where.INGEST),
        check="203 signer, 402 signature: only the council's signer of key sets; 305 not-recipient",
        alarm=AGENT,
        tests=(
            _DECEIVED + "test_swap_the_recipient_keys",
            _KEY + "test_announce_for_somebody_else",
        ),
    ),
    _ingest(
        "downgrade algorithms",
        "400 algorithm",
        _OPERATOR + "test_downgrade_the_algorithms",
        _KEY + "test_announce_weak_algorithms",
    ),
    _ingest(
        "send retained D",
        "105 retained",
        _OPERATOR + "test_send_retained_data",
        _KEY + "test_send_retained_data_as_a_gateway",
    ),
    Threat(
        threat="flood (size)",
        stopped_by=(Where.BROKER, Where.INGEST),
        check="the broker's largest packet; 100 size before anything is parsed",
        alarm=f"{BROKERS}; {REFUSALS}",
        tests=(
            _KEY + "test_flood_with_messages_over_the_brokers_limit",
            _FLOOD + "test_flood_with_size",
        ),
    ),
    _ingest(
        "flood (rate)",
        "401 aead, the cheapest check of a secret; reading pauses; 601 payload, 1 000 an hour kept",
        _FLOOD + "test_flood_with_a_high_rate",
        _KEY + "test_flood_with_genuine_rubbish",
    ),
    _ingest(
        "flood (unknown epochs)",
        "300 unknown-epoch: 1 000 messages of a device wait, for five minutes",
        _FLOOD + "test_flood_with_unknown_epochs",
    ),
    _ingest(
        "flood (expensive forgeries)",
        "402 signature: one check each, and others are served between",
        _FLOOD + "test_flood_with_expensive_forgeries",
    ),
    _ingest(
        "break MQTT itself",
        "lengths and forms before anything is kept; at most 2 MiB of a packet and 1 MiB of "
        "confirmations; reading pauses; the connection is given up",
        _STREAM + "test_break_the_form_of_packets",
        _STREAM + "test_trickle_a_large_packet",
        _STREAM + "test_flood_with_empty_packets",
        _STREAM + "test_send_and_never_listen",
        _STREAM + "test_flood_while_reading_pauses",
        alarm="ingest_broker_connected, ingest_pauses_total; ingest's log",
    ),
    _ingest(
        "flood (a cluster's stream)",
        "what comes unasked to a full inbox is not taken; the connection is given up",
        _CLUSTER + "test_send_more_than_was_asked_for",
        alarm="ingest_stream_connected; ingest's log",
    ),
    Threat(
        threat="read another's stream on a cluster",
        stopped_by=(Where.BROKER,),
        check="an account for each council; gateways by MQTT alone; a service reads and confirms "
        "by the consumer of its name",
        alarm=BROKERS,
        tests=(
            _CLUSTER + "test_reach_another_councils_stream",
            _CLUSTER + "test_ask_for_more_of_a_stream_than_ones_own",
        ),
    ),
    Threat(
        threat="become a node of a cluster",
        stopped_by=(Where.BROKER,),
        check="TLS 1.3 on every listener; routes take a certificate that names a node's host",
        alarm=BROKERS,
        tests=(_CLUSTER + "test_come_in_by_the_back_door",),
    ),
    # Coming in
    Threat(
        threat="spoof CN across councils",
        stopped_by=(Where.BROKER, Where.INGEST),
        check="name constraints of a council's root, rights by whole name; 203 signer",
        alarm=f"{BROKERS}; {REFUSALS}",
        tests=(
            _DOOR + "test_spoof_a_name_of_another_council",
            _DOOR + "test_spoof_a_common_name_of_another_council",
            _CERTIFICATES + "test_request_for_another_name",
        ),
    ),
    Threat(
        threat="connect with an expired certificate",
        stopped_by=(Where.BROKER, Where.INGEST),
        check="TLS alert certificate_expired; 203 signer",
        alarm=f"{BROKERS}; {REFUSALS}",
        tests=(_DOOR + "test_connect_with_an_expired_certificate",),
    ),
    Threat(
        threat="connect with a revoked certificate",
        stopped_by=(Where.INGEST, Where.BROKER),
        check="201 revoked within a second; revocation list (Mosquitto), list of users (NATS)",
        alarm=f"{REFUSALS}; the quarantine; {BROKERS}",
        tests=(
            _DOOR + "test_connect_with_a_revoked_certificate",
            _CERTIFICATES + "test_renewal_by_a_stolen_gateway",
        ),
    ),
    Threat(
        threat="connect with a foreign certificate",
        stopped_by=(Where.BROKER, Where.INGEST),
        check="TLS alert unknown_ca; 203 signer",
        alarm=f"{BROKERS}; {REFUSALS}",
        tests=(_DOOR + "test_connect_with_a_foreign_certificate",),
    ),
    Threat(
        threat="connect with a self-signed certificate",
        stopped_by=(Where.BROKER, Where.INGEST),
        check="TLS alert unknown_ca; 203 signer",
        alarm=f"{BROKERS}; {REFUSALS}",
        tests=(_DOOR + "test_connect_with_a_self_signed_certificate",),
    ),
    Threat(
        threat="steal a client id",
        stopped_by=(Where.BROKER,),
        check="the id is the certificate's (Mosquitto); rights are the certificate's (both)",
        alarm=BROKERS,
        tests=(
            _DOOR + "test_steal_a_client_id",
            _DOOR + "test_take_over_a_session_as_the_keeper",
        ),
    ),
    Threat(
        threat="TLS 1.2 on MQTT",
        stopped_by=(Where.BROKER,),
        check="TLS alert protocol_version",
        alarm=BROKERS,
        tests=(_DOOR + "test_speak_tls_1_2",),
    ),
    Threat(
        threat="oversized CSR",
        stopped_by=(Where.SERVICE,),
        check="request-too-large, 413",
        alarm=ENROLMENT,
        tests=(_CERTIFICATES + "test_oversized_request",),
    ),
    Threat(
        threat="malformed CSR",
        stopped_by=(Where.SERVICE,),
        check="request-encoding, request-malformed, request-key, request-signature",
        alarm=ENROLMENT,
        tests=(_CERTIFICATES + "test_malformed_request",),
    ),
    Threat(
        threat="token reuse",
        stopped_by=(Where.SERVICE,),
        check="token-spent, token-expired, token-withdrawn",
        alarm=ENROLMENT,
        tests=(
            _CERTIFICATES + "test_token_used_again",
            _CERTIFICATES + "test_token_found_too_late",
        ),
    ),
    Threat(
        threat="token guessing",
        stopped_by=(Where.SERVICE,),
        check="128 random bits; 429 guessing after ten wrong ones",
        alarm=ENROLMENT,
        tests=(_CERTIFICATES + "test_token_guessed",),
    ),
    Threat(
        threat="token of another council or device",
        stopped_by=(Where.SERVICE,),
        check="token-wrong-council, token-wrong-device",
        alarm=ENROLMENT,
        tests=(
            _CERTIFICATES + "test_token_of_another_council",
            _CERTIFICATES + "test_token_of_another_device",
        ),
    ),
    Threat(
        threat="pose as the certificate service",
        stopped_by=(Where.GATEWAY,),
        check="the region root's digest in the invitation, and the name in the certificate",
        alarm=AGENT,
        tests=(
            _FALSE + "test_pose_as_the_certificate_service_with_another_root",
            _FALSE + "test_pose_as_the_certificate_service_with_the_brokers_certificate",
        ),
    ),
    Threat(
        threat="enrolment of a duplicate key",
        stopped_by=(Where.SERVICE,),
        check="key-taken",
        alarm=ENROLMENT,
        tests=(_CERTIFICATES + "test_duplicate_key",),
    ),
    Threat(
        threat="council A administering council B",
        stopped_by=(Where.PAGES, Where.SERVICE),
        check="forbidden, and written down as administration.refuse; certificate-foreign",
        alarm=f"{AUDIT}; {ENROLMENT}",
        tests=(
            _COUNCILS + "test_administer_another_councils_gateway",
            _COUNCILS + "test_invite_gateways_for_another_council",
            _COUNCILS + "test_administer_without_a_pass",
            _CERTIFICATES + "test_renewal_at_another_council",
        ),
    ),
    # In the street: the gateway's own network, and what sensors send
    Threat(
        threat="shut sensors out of a gateway",
        stopped_by=(Where.GATEWAY,),
        check="half the listener's connections for one address, each ended when it dawdles; "
        "room kept for what a local broker delivers until it is stored",
        alarm=AGENT,
        tests=(
            _STREET + "test_take_every_place_at_the_listener",
            _STREET + "test_flood_the_local_broker",
        ),
    ),
    Threat(
        threat="send a gateway what is no reading",
        stopped_by=(Where.GATEWAY,),
        check="sizes, depth and form, before anything is believed; 4xx",
        alarm=AGENT,
        tests=(_STREET + "test_push_what_is_no_reading",),
    ),
    # At the operator's desk: what is looked at, restored and verified there
    Threat(
        threat="write to an operator's terminal",
        stopped_by=(Where.COMMANDS,),
        check="what shows nothing, or moves what is shown, is printed as its number; files are new "
        "and their owner's",
        alarm="the quarantine",
        tests=(
            _DESK + "test_write_to_an_operators_terminal",
            _DESK + "test_have_a_message_written_over_a_file",
        ),
    ),
    Threat(
        threat="tamper with a backup or an export",
        stopped_by=(Where.COMMANDS,),
        check="sizes, forms and SHA-256 before anything is given up for it; tables and columns as "
        "the migrations have them; file names as we would give them",
        alarm="the command's answer",
        tests=(
            _DESK + "test_restore_what_a_stranger_wrote",
            _DESK + "test_restore_a_bomb",
            _DESK + "test_restore_into_a_table_of_somebody_else",
            _DESK + "test_lead_an_export_out_of_its_directory",
        ),
    ),
    # At the readers' broker, where everybody may subscribe to open data
    Threat(
        threat="publish to readers as a stranger",
        stopped_by=(Where.BROKER,),
        check="no right to publish for whoever gives no name, and of names that of the publisher "
        "alone, with a secret of 256 random bits",
        alarm=BROKERS,
        tests=(
            _READERS + "test_publish_to_readers_as_a_stranger",
            _READERS + "test_come_as_the_publisher_by_name",
        ),
    ),
    Threat(
        threat="listen beyond open data as a reader",
        stopped_by=(Where.BROKER,),
        check="a broker of its own, to which nothing else is sent; rights to read open topics "
        "alone; a certificate asked for at the broker of the councils",
        alarm=BROKERS,
        tests=(
            _READERS + "test_listen_beyond_open_data",
            _READERS + "test_come_to_the_councils_broker_without_a_certificate",
            _READERS + "test_wait_for_what_is_kept",
            _READERS + "test_show_an_api_key_to_read_more",
        ),
    ),
    Threat(
        threat="take from other readers what is theirs",
        stopped_by=(Where.BROKER,),
        check="a session tells only what it subscribed to itself, and ends with its connection; "
        "the publisher comes under an id drawn at random",
        alarm=BROKERS,
        tests=(
            _READERS + "test_take_over_the_session_of_a_reader",
            _READERS + "test_have_observations_sent_to_one_of_many",
        ),
    ),
    Threat(
        threat="exhaust the broker of readers",
        stopped_by=(Where.BROKER,),
        check="bounds on connections, sizes, what is kept for a reader, and memory; ingest has "
        "no part in it",
        alarm="publish_connected; the broker's log",
        tests=(
            _READERS + "test_take_every_connection_of_readers",
            _READERS + "test_send_readers_broker_a_huge_message",
            _READERS + "test_stay_away_and_have_messages_kept",
            _READERS + "test_subscribe_thousands_of_times",
            _READERS + "test_read_as_slowly_as_can_be",
        ),
    ),
    # Over HTTP, where everybody may read open data and a council's key may write for it
    Threat(
        threat="learn what is restricted",
        stopped_by=(Where.PAGES,),
        check="every question is put to views of what the reader may see; a condition that may "
        "fail is computed of nothing else",
        alarm="none: nothing restricted is told",
        tests=(_OPEN + "test_learn_what_is_restricted_from_an_error",),
    ),
    Threat(
        threat="go on listening to what becomes restricted",
        stopped_by=(Where.PAGES,),
        check="each page that is published, and each look for the live stream, is read anew as a "
        "stranger sees it; restricting waits for the page on its way, and what waits in a live "
        "stream is dropped; nothing is retained",
        alarm="none: nothing restricted is told",
        tests=(
            _RESTRICTED + "test_go_on_listening_by_mqtt_to_what_becomes_restricted",
            _RESTRICTED + "test_hear_what_was_left_to_publish_before_it_was_restricted",
            _RESTRICTED + "test_hear_what_is_on_its_way_while_it_is_restricted",
            _RESTRICTED + "test_keep_it_open_by_a_publisher_that_hangs",
            _RESTRICTED + "test_go_on_listening_live_to_what_becomes_restricted",
            _RESTRICTED + "test_come_back_for_what_was_missed_and_is_restricted_by_now",
            _RESTRICTED + "test_leave_live_values_waiting_until_they_are_restricted",
        ),
    ),
    Threat(
        threat="write to another council's entities",
        stopped_by=(Where.PAGES,),
        check="whose each entity is that a request makes, changes or links, however deep",
        alarm="the status of the answer in api_requests_total",
        tests=(
            _OPEN + "test_hang_a_datastream_on_another_councils_thing",
            _OPEN + "test_show_another_councils_restricted_place_with_open_data",
            "test_writing_for_others.py::test_write_to_another_councils_entities",
        ),
    ),
    Threat(
        threat="take the name of a device or of another council",
        stopped_by=(Where.PAGES,),
        check="names that begin with urn:dev:, name another council, or are a gateway's, are given "
        "to nothing that is kept by hand; a name is given once",
        alarm="the status of the answer in api_requests_total",
        tests=(_OPEN + "test_take_a_name_that_is_somebody_elses",),
    ),
    Threat(
        threat="read by writing",
        stopped_by=(Where.PAGES,),
        check="answers to writes tell what a GET with the same key would; patches that read need "
        "the right to read",
        alarm="the status of the answer in api_requests_total",
        tests=(_OPEN + "test_read_by_writing",),
    ),
    Threat(
        threat="guess an API key",
        stopped_by=(Where.PAGES,),
        check="more random bits than can be guessed; beyond so many a minute from one address none "
        "is looked up, not even one that counts",
        alarm="api_refused_keys_total; api_rate_limited_total",
        tests=(_OPEN + "test_guess_a_key",),
    ),
    Threat(
        threat="exhaust the pages by questions",
        stopped_by=(Where.PAGES,),
        check="requests a minute; seconds for each statement; bytes of an answer, counted while it "
        "is put together; seconds, bytes and parts of a batch; "
        "geometries compared beside all else, one request at a time, for seconds",
        alarm="api_rate_limited_total",
        tests=(
            _OPEN + "test_keep_everybody_waiting_with_geometries",
            _OPEN + "test_have_geometries_compared_for_too_long",
            _OPEN + "test_have_one_page_take_all_memory",
            _OPEN + "test_ask_for_everything_in_one_batch",
            _OPEN + "test_send_a_batch_in_too_many_pieces",
        ),
    ),
)
