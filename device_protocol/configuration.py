"""Message C: settings that a council changes on one of its gateways (envelope, sections 6 and 7).

Signed by a certificate under the council's own root, with a key usage that neither a device nor
the signer of key sets has. Which settings may be changed from afar, and to what, is told here in
one table, so that the centre asks for nothing that a gateway would refuse. Trying a configuration
and going back is the gateway's business, publishing one the centre's.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cryptography import x509

from device_protocol import associated_data, cbor, identity, signed_by_council
from device_protocol.errors import (
    ConfigurationExpiredError,
    ConfigurationRollbackError,
    ConfigurationSettingsError,
    StructureError,
)
from device_protocol.keys import SigningKey
from device_protocol.signed_by_council import certificate_chain

__all__ = [
    "MAX_SETTINGS",
    "REMOTE_SETTINGS",
    "BadSetting",
    "Configuration",
    "RemoteSetting",
    "Scalar",
    "certificate_chain",
    "check_settings",
    "find_setting",
    "open_configuration",
    "sensor_of",
    "sign_configuration",
    "validate",
]

MAX_SETTINGS = 64
"""In one configuration."""

Scalar: TypeAlias = bool | int | float | str
"""What a setting may hold."""

_VERSION_OF_FORM = 1
_FORM, _VERSION, _ISSUED_AT, _EXPIRES_AT, _SETTINGS = 1, 2, 4, 5, 6
_HIGHEST_VERSION = (1 << 53) - 1  # a gateway reports it as a number, which is exact up to here
_SENSOR_KEY = re.compile(r"sensor\.(urn:[a-z0-9][a-z0-9-]{1,31}:[A-Za-z0-9:._/-]+)\.(\w+)")
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSetting:
    """One setting that may be changed from afar.

    name: its dotted key, as in the gateway's own file; `<urn>` stands for a sensor's URN.
    kind: what its value is; "true" means that it can only be asked for.
    minimum, maximum: inclusive, of a number. pattern: full match required of a text.
    unit: UCUM code, "" for none. help: one sentence for people.
    """

    name: str
    kind: Literal["whole number", "number", "text", "true"]
    minimum: float | None = None
    maximum: float | None = None
    pattern: str = ""
    unit: str = ""
    help: str

    @property
    def allowed(self) -> str:
        """What it may be, in words."""
        if self.kind == "true":
            return "true"
        if self.kind == "text":
            return f"text of the form {self.pattern}"
        unit = f" {self.unit}" if self.unit else ""
        return f"a {self.kind} from {self.minimum:g} to {self.maximum:g}{unit}"

    def allows(self, value: object) -> bool:
        """Tell whether it may be set to `value`."""
        if self.kind == "true":
            return value is True
        if self.kind == "text":
            return isinstance(value, str) and re.fullmatch(self.pattern, value) is not None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if self.kind == "whole number" and not isinstance(value, int):
            return False
        return (
            (isinstance(value, int) or math.isfinite(value))  # isfinite takes no huge integer
            and (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
        )


REMOTE_SETTINGS: tuple[RemoteSetting, ...] = (
    RemoteSetting(
        name="uplink.batch_seconds",
        kind="number",
        minimum=0,
        maximum=900,
        unit="s",
        help="Longest time a reading waits for others before it is sent.",
    ),
    RemoteSetting(
        name="uplink.batch_readings",
        kind="whole number",
        minimum=1,
        maximum=1000,
        help="Readings in one message, at most.",
    ),
    RemoteSetting(
        name="uplink.heartbeat_seconds",
        kind="number",
        minimum=1,
        maximum=900,
        unit="s",
        help="Silence after which an empty message is sent.",
    ),
    RemoteSetting(
        name="uplink.epoch_seconds",
        kind="whole number",
        minimum=60,
        maximum=86_400,
        unit="s",
        help="How long one epoch key is used.",
    ),
    RemoteSetting(
        name="uplink.retry_seconds",
        kind="number",
        minimum=0.1,
        maximum=3600,
        unit="s",
        help="Longest wait before connecting again.",
    ),
    RemoteSetting(
        name="health.interval_seconds",
        kind="number",
        minimum=1,
        maximum=3600,
        unit="s",
        help="Time between two reports of the gateway's own health.",
    ),
    RemoteSetting(
        name="spool.commit_seconds",
        kind="number",
        minimum=0,
        maximum=60,
        unit="s",
        help="Longest time a reading is only in memory.",
    ),
    RemoteSetting(
        name="sensor.<urn>.interval_seconds",
        kind="number",
        minimum=0.1,
        maximum=86_400,
        unit="s",
        help="Time between two measurements of the sensor with this URN, if it is asked at "
        "intervals.",
    ),
    RemoteSetting(
        name="broker.host",
        kind="text",
        pattern=r"[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}",
        help="Name of the broker as in its certificate, when the network moves to another.",
    ),
    RemoteSetting(
        name="broker.port",
        kind="whole number",
        minimum=1,
        maximum=65_535,
        help="TCP port of the council's listener there.",
    ),
    RemoteSetting(
        name="rekey",
        kind="true",
        help="Begin a new epoch key at once; beside it, name again whatever is to stay changed.",
    ),
)
"""Every setting that a configuration may name; all others are refused."""

_BY_NAME = {setting.name: setting for setting in REMOTE_SETTINGS}


@dataclass(frozen=True, slots=True)
class BadSetting:
    """A setting that cannot be followed; `str()` is the line shown to a person."""

    key: str
    value: object
    allowed: str

    def __str__(self) -> str:
        return f"{self.key} = {_shown(self.value)}: {self.allowed}"


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings of one gateway that its council wants other than in the gateway's own file.

    version: rises with every configuration; the newest alone counts, what it does not name is
        as in the file.
    issued_at, expires_at: Unix seconds; past the latter no gateway begins to follow it.
    settings: values by dotted key. Whether they can be followed, `validate` tells: a gateway
        may meet one that only later releases know, and has to say which version that was.

    Raises:
        StructureError: no version, one too high to be reported exactly, or an expiry that is
            not after the issue.
    """

    version: int
    issued_at: int
    expires_at: int
    settings: Mapping[str, Scalar]

    def __post_init__(self) -> None:
        if not 1 <= self.version <= _HIGHEST_VERSION:
            raise StructureError(f"version {self.version}, from 1 to {_HIGHEST_VERSION}")
        if self.expires_at <= self.issued_at:
            raise StructureError(f"issued at {self.issued_at}, expires at {self.expires_at}")


def find_setting(key: str) -> RemoteSetting | None:
    """Return the row of the table that `key` falls under, None if it may not be changed."""
    match = _SENSOR_KEY.fullmatch(key)
    if match:
        return _BY_NAME.get(f"sensor.<urn>.{match[2]}")
    return None if "<" in key else _BY_NAME.get(key)


def sensor_of(key: str) -> str | None:
    """Return the URN of the sensor that `key` is about, None if it is about none."""
    match = _SENSOR_KEY.fullmatch(key)
    return match[1] if match else None


def validate(settings: Mapping[str, object]) -> tuple[BadSetting, ...]:
    """Return every setting that no gateway would follow; none if all are good.

    Whether the gateway has the sensor that a key names, and lets it be asked that rarely or at
    all, is for the gateway to say.
    """
    bad = []
    if not settings:
        bad.append(BadSetting("settings", "", "name at least one"))
    if len(settings) > MAX_SETTINGS:
        bad.append(BadSetting("settings", len(settings), f"at most {MAX_SETTINGS} of them"))
    for key, value in settings.items():
        setting = find_setting(key)
        if setting is None:
            known = ", ".join(_BY_NAME)
            bad.append(BadSetting(key, value, f"cannot be changed from afar; these can: {known}"))
        elif not setting.allows(value):
            bad.append(BadSetting(key, value, f"must be {setting.allowed}"))
    return tuple(bad)


def check_settings(settings: Mapping[str, object]) -> None:
    """Return if `validate` finds no fault.

    Raises:
        ConfigurationSettingsError: it does; the message names every key and value.
    """
    bad = validate(settings)
    if bad:
        raise ConfigurationSettingsError("; ".join(map(str, bad)))


def sign_configuration(
    configuration: Configuration,
    *,
    tenant: str,
    device: str,
    signer: SigningKey,
    chain: Sequence[bytes],
) -> bytes:
    """Return message C; `chain` holds DER certificates, that of `signer` first.

    Raises:
        ConfigurationSettingsError: settings that no gateway would follow; all are named.
        SizeError: it would be over 16 384 bytes.
    """
    check_settings(configuration.settings)
    return signed_by_council.sign(
        _encode(configuration),
        external_aad=associated_data.configuration(tenant, device),
        signer=signer,
        chain=chain,
    )


def open_configuration(
    message: bytes,
    *,
    tenant: str,
    device: str,
    anchor: x509.Certificate,
    now: int,
    newer_than: int = 0,
) -> Configuration:
    """Open message C of the topic's `tenant` and `device` at `now` (Unix seconds).

    Raises:
        SizeError, EncodingError, StructureError: not a message C.
        SignerError, SignerTimeError: its certificates do not lead to `anchor`, or the leaf has
            no right to sign configurations.
        AlgorithmError, SignatureError: its signature is not the leaf's.
        ConfigurationRollbackError: its version is not above `newer_than`.
        ConfigurationExpiredError: past its expiry.
    """
    payload = signed_by_council.open_signed(
        message,
        external_aad=associated_data.configuration(tenant, device),
        anchor=anchor,
        now=now,
        usage=identity.CONFIGURATION_SIGNING_OID,
    )
    configuration = _decode(payload)
    if configuration.version <= newer_than:
        raise ConfigurationRollbackError(f"version {configuration.version}, seen: {newer_than}")
    if now > configuration.expires_at:
        raise ConfigurationExpiredError(f"expired at {configuration.expires_at}, now {now}")
    return configuration


def _encode(configuration: Configuration) -> bytes:
    return cbor.encode(
        {
            _FORM: _VERSION_OF_FORM,
            _VERSION: configuration.version,
            _ISSUED_AT: configuration.issued_at,
            _EXPIRES_AT: configuration.expires_at,
            _SETTINGS: dict(configuration.settings),
        }
    )


def _decode(payload: bytes) -> Configuration:
    found = cbor.fields(
        cbor.decode(payload, floats=True), (_FORM, _VERSION, _ISSUED_AT, _EXPIRES_AT, _SETTINGS)
    )
    if cbor.unsigned(found[_FORM]) != _VERSION_OF_FORM:
        raise StructureError(f"configuration of form {found[_FORM]}, known: {_VERSION_OF_FORM}")
    settings = found[_SETTINGS]
    if type(settings) is not dict:
        raise StructureError("settings are no map")
    return Configuration(
        version=cbor.unsigned(found[_VERSION]),
        issued_at=cbor.unsigned(found[_ISSUED_AT]),
        expires_at=cbor.unsigned(found[_EXPIRES_AT]),
        settings={cbor.text(key): _scalar(value) for key, value in settings.items()},
    )


def _scalar(value: object) -> Scalar:
    if isinstance(value, bool | int | float | str):
        return value
    raise StructureError(f"{type(value).__name__} where a setting's value belongs")


def _shown(value: object) -> str:
    """Return a value for a person, cut where somebody has put a novel in."""
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"
