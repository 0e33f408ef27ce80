import math
from dataclasses import replace
from typing import Any, get_type_hints

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_protocol import associated_data, cbor, cose
from device_protocol.configuration import (
    REMOTE_SETTINGS,
    Configuration,
    RemoteSetting,
    certificate_chain,
    open_configuration,
    sensor_of,
    sign_configuration,
    validate,
)
from device_protocol.errors import (
    ConfigurationExpiredError,
    ConfigurationRollbackError,
    ConfigurationSettingsError,
    RejectionError,
    SignatureError,
    SignerError,
    SizeError,
    StructureError,
)
from device_protocol.identity import CONFIGURATION_SIGNING_OID, KEY_SET_SIGNING_OID
from device_protocol.key_set import KeySet, Recipient, open_key_set, sign_key_set
from device_protocol.keys import RecipientKey, SigningKey
from edge_agent.sensors import adapter_names, settings_class
from edge_agent.sensors.host import HostSettings
from edge_agent.settings import AgentSettings

NOW = 1_795_000_000
DAY = 86_400
TENANT, DEVICE = "bristol", "k7q2m9xd4t"
SENSOR_KEY = "sensor.urn:dev:example:computer.interval_seconds"
GOOD: dict[str, bool | int | float | str] = {
    "uplink.batch_seconds": 2.5,
    "uplink.epoch_seconds": 600,
    SENSOR_KEY: 30,
    "broker.host": "broker.example.org",
    "rekey": True,
}
CONFIGURATION = Configuration(7, NOW, NOW + DAY, GOOD)


@pytest.fixture(scope="module", params=["ed25519", "p256"])
def signer(request: pytest.FixtureRequest, council: Any) -> Any:
    key = (
        Ed25519PrivateKey.generate()
        if request.param == "ed25519"
        else ec.generate_private_key(ec.SECP256R1())
    )
    return council.issue("configurations", key=key, eku=(CONFIGURATION_SIGNING_OID,))


def _sign(
    configuration: Configuration, signer: Any, *, tenant: str = TENANT, device: str = DEVICE
) -> bytes:
    return sign_configuration(
        configuration,
        tenant=tenant,
        device=device,
        signer=SigningKey(signer.key),
        chain=certificate_chain([signer.certificate]),
    )


def _open(message: bytes, council: Any, *, now: int = NOW, newer_than: int = 0) -> Configuration:
    return open_configuration(
        message,
        tenant=TENANT,
        device=DEVICE,
        anchor=council.certificate,
        now=now,
        newer_than=newer_than,
    )


def _forge(signer: Any, payload: object) -> bytes:
    """Sign a payload that `sign_configuration` would not write."""
    key = SigningKey(signer.key)
    headers = {1: key.algorithm, 33: certificate_chain([signer.certificate])[0]}
    protected, encoded = cbor.encode(headers), cbor.encode(payload)
    covered = cose.to_be_signed(protected, associated_data.configuration(TENANT, DEVICE), encoded)
    return cose.Sign1(protected, {}, encoded, key.sign(covered)).encode()


def test_what_is_signed_is_what_is_opened(signer: Any, council: Any) -> None:
    opened = _open(_sign(CONFIGURATION, signer), council)
    assert opened == CONFIGURATION
    assert [type(value) for value in opened.settings.values()] == [
        type(GOOD[key]) for key in opened.settings
    ]


def _values(setting: RemoteSetting) -> st.SearchStrategy[Any]:
    if setting.kind == "true":
        return st.just(value=True)
    if setting.kind == "text":
        return st.from_regex(setting.pattern, fullmatch=True)
    low, high = setting.minimum or 0, setting.maximum or 0
    if setting.kind == "whole number":
        return st.integers(int(low), int(high))
    return st.floats(low, high) | st.integers(math.ceil(low), int(high))


@given(data=st.data())
def test_every_setting_of_the_table_can_be_sent(data: st.DataObject, council: Any) -> None:
    chosen = data.draw(st.sets(st.sampled_from(REMOTE_SETTINGS), min_size=1))
    wanted = {
        setting.name.replace("<urn>", "urn:dev:x:y"): data.draw(_values(setting))
        for setting in chosen
    }
    signer = council.issue("configurations", eku=(CONFIGURATION_SIGNING_OID,))
    assert validate(wanted) == ()
    message = _sign(replace(CONFIGURATION, settings=wanted), signer)
    assert _open(message, council).settings == wanted


# cryptography only warns, as yet, of what RFC 5280 forbids in a damaged certificate.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_any_flipped_bit_is_refused(signer: Any, council: Any) -> None:
    message = _sign(CONFIGURATION, signer)

    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 8 * len(message) - 1))
    def check(bit: int) -> None:
        flipped = bytearray(message)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RejectionError) as refusal:
            _open(bytes(flipped), council)
        assert refusal.value.code in {101, 102, 203, 204, 400, 402}

    check()


@settings(max_examples=60)
@given(message=st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_a_refusal(message: bytes, council: Any) -> None:
    with pytest.raises(RejectionError):
        _open(message, council)


@pytest.mark.parametrize("place", [{"tenant": "bath"}, {"device": "w3n8b5rc6h"}])
def test_a_configuration_for_somebody_else_is_refused(
    place: dict[str, str], signer: Any, council: Any
) -> None:
    with pytest.raises(SignatureError):
        _open(_sign(CONFIGURATION, signer, **place), council)


@pytest.mark.parametrize("usage", [ExtendedKeyUsageOID.CLIENT_AUTH, KEY_SET_SIGNING_OID])
def test_neither_a_device_nor_the_signer_of_key_sets_may_sign_one(usage: Any, council: Any) -> None:
    other = council.issue("k7q2m9xd4t", eku=(usage,))
    with pytest.raises(SignerError, match="usage"):
        _open(_sign(CONFIGURATION, other), council)


def test_the_signer_of_configurations_may_not_sign_key_sets(signer: Any, council: Any) -> None:
    recipient = RecipientKey(X25519PrivateKey.generate()).public()
    main = (Recipient(recipient, "region", NOW - DAY, NOW + DAY),)
    key_set = KeySet(1, NOW, NOW + DAY, NOW + DAY, (1,), {"main": main})
    chain = certificate_chain([signer.certificate])
    message = sign_key_set(key_set, tenant=TENANT, signer=SigningKey(signer.key), chain=chain)
    with pytest.raises(SignerError, match="usage"):
        open_key_set(message, tenant=TENANT, anchor=council.certificate, now=NOW)


def test_another_councils_signer_is_refused(signer: Any, council: Any) -> None:
    foreign_root = council.issue("Bath IoT root", authority=True)
    foreign = foreign_root.issue("configurations", eku=(CONFIGURATION_SIGNING_OID,))
    with pytest.raises(SignerError, match="not issued by"):
        _open(_sign(CONFIGURATION, foreign), council)
    assert _open(_sign(CONFIGURATION, signer), council) == CONFIGURATION


def test_version_must_be_above_the_highest_seen(signer: Any, council: Any) -> None:
    message = _sign(CONFIGURATION, signer)
    assert _open(message, council, newer_than=6).version == 7
    for seen in (7, 8):
        with pytest.raises(ConfigurationRollbackError):
            _open(message, council, newer_than=seen)


def test_past_its_expiry_it_is_refused(signer: Any, council: Any) -> None:
    message = _sign(CONFIGURATION, signer)
    assert _open(message, council, now=NOW + DAY) == CONFIGURATION
    with pytest.raises(ConfigurationExpiredError):
        _open(message, council, now=NOW + DAY + 1)


def test_settings_that_no_gateway_follows_are_not_signed(signer: Any) -> None:
    bad: dict[str, bool | int | float | str] = {
        "uplink.batch_seconds": 901,
        "trust.council_root_file": "/tmp/x",  # noqa: S108
    }
    with pytest.raises(ConfigurationSettingsError) as refusal:
        _sign(replace(CONFIGURATION, settings=GOOD | bad), signer)
    assert "uplink.batch_seconds = 901: must be a number from 0 to 900 s" in str(refusal.value)
    assert "trust.council_root_file = '/tmp/x': cannot be changed" in str(refusal.value)


def test_a_setting_of_a_later_release_can_be_read_so_that_it_can_be_refused_by_version(
    signer: Any, council: Any
) -> None:
    message = _forge(signer, {1: 1, 2: 9, 4: NOW, 5: NOW + DAY, 6: {"uplink.colour": "red"}})
    opened = _open(message, council)
    assert opened.version == 9
    assert [bad.key for bad in validate(opened.settings)] == ["uplink.colour"]


@pytest.mark.parametrize(
    "change",
    [
        {1: 2},
        {2: 0},
        {2: 1 << 53},
        {2: True},
        {4: -1},
        {5: NOW},
        {6: []},
        {6: {1: 1}},
        {6: {"rekey": [True]}},
        {6: {"rekey": None}},
        {7: 1},
    ],
    ids=str,
)
def test_a_payload_of_another_form_is_refused(
    change: dict[int, object], signer: Any, council: Any
) -> None:
    payload = {1: 1, 2: 9, 4: NOW, 5: NOW + DAY, 6: dict(GOOD)} | change
    with pytest.raises(StructureError):
        _open(_forge(signer, payload), council)


def test_one_that_is_too_large_is_not_signed(signer: Any) -> None:
    wanted = {f"sensor.urn:dev:x:{'y' * 300}{number}.interval_seconds": 1 for number in range(64)}
    with pytest.raises(SizeError):
        _sign(replace(CONFIGURATION, settings=wanted), signer)


# The table


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("uplink.batch_seconds", "2"),
        ("uplink.batch_seconds", True),
        ("uplink.batch_seconds", math.nan),
        ("uplink.batch_seconds", math.inf),
        ("uplink.batch_seconds", 10**400),  # more than a float can say
        ("uplink.epoch_seconds", 600.0),
        ("uplink.epoch_seconds", 59),
        ("rekey", False),
        ("rekey", 1),
        ("broker.host", ""),
        ("broker.host", "a b"),
        ("sensor.urn:dev:example:computer.disk_path", 1),
        ("sensor.interval_seconds", 1),
        ("sensor.<urn>.interval_seconds", 1),
        ("", 1),
    ],
)
def test_bad_settings_are_named_with_their_value(key: str, value: object) -> None:
    (bad,) = validate({"uplink.batch_readings": 5, key: value})
    assert bad.key == key
    assert str(bad).startswith(f"{key} = ")


def test_no_settings_and_too_many_are_refused() -> None:
    assert [bad.allowed for bad in validate({})] == ["name at least one"]
    many = {f"sensor.urn:dev:x:{number}.interval_seconds": 1 for number in range(65)}
    assert [str(bad) for bad in validate(many)] == ["settings = 65: at most 64 of them"]


def test_a_long_value_is_cut_in_the_message() -> None:
    (bad,) = validate({"broker.host": " " * 10_000})
    assert len(str(bad)) < 200


def test_keys_of_sensors_name_their_sensor() -> None:
    assert sensor_of(SENSOR_KEY) == "urn:dev:example:computer"
    assert sensor_of("uplink.batch_seconds") is None


def _limits(name: str) -> Any:
    """Return the limits and hint of the agent's own setting of this dotted name."""
    *tables, last = name.replace("sensor.<urn>", "sensor").split(".")
    cls: Any = AgentSettings
    for table in tables:
        cls = HostSettings if table == "sensor" else get_type_hints(cls)[table]
    field = cls.__dataclass_fields__[last]
    return field.metadata["limits"], get_type_hints(cls)[last]


IN_THE_FILE = [setting for setting in REMOTE_SETTINGS if setting.kind != "true"]


@pytest.mark.parametrize("setting", IN_THE_FILE, ids=lambda setting: setting.name)
def test_what_may_be_changed_from_afar_is_what_the_gateways_file_allows(
    setting: RemoteSetting,
) -> None:
    limits, hint = _limits(setting.name)
    kinds = {"whole number": int, "number": float, "text": str}
    assert kinds[setting.kind] is hint
    assert setting.help
    if not setting.name.startswith("sensor."):
        assert (setting.minimum, setting.maximum) == (limits.minimum, limits.maximum)


def test_an_interval_may_be_what_any_adapter_allows_and_no_more() -> None:
    found = [
        settings_class(name).__dataclass_fields__.get("interval_seconds")
        for name in adapter_names()
    ]
    limits = [field.metadata["limits"] for field in found if field is not None]
    assert len(limits) >= 7
    (interval,) = (each for each in REMOTE_SETTINGS if each.name == "sensor.<urn>.interval_seconds")
    assert interval.minimum == min(each.minimum for each in limits)
    assert interval.maximum == max(each.maximum for each in limits)
