"""What a gateway is told in its TOML file, and the check of such a file.

How a setting acts is told where it is used. Secrets are paths to files.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from device_protocol.first_boot import FirstBootError, check_url
from edge_agent.adapter import URN
from edge_agent.input_settings import ListenerSettings, LocalBrokerSettings
from edge_agent.sensors import ADAPTERS, SensorSettings, adapter_names, settings_class
from runtime.metrics import MetricsSettings
from runtime.settings import Choice, Mistake, SettingsError, load, setting

KeyPath = tuple[str | int, ...]

DEVICE = r"[a-z0-9][a-z0-9-]{0,47}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """Where messages go, and who this gateway is to the broker."""

    host: str = setting("Name of the broker as in its certificate.", pattern=r"\S+")
    port: int = setting("TCP port of the council's listener.", minimum=1, maximum=65535)
    mqtt_version: Literal["5", "3.1.1"] = setting(
        "MQTT version; NATS speaks 3.1.1 only.", default="5"
    )
    ca_file: Path = setting("Root certificate of the region's services, PEM.")
    certificate_file: Path = setting("This gateway's certificate, PEM; its CN is `device`.")
    key_file: Path = setting("Its private key, PEM: Ed25519 or P-256. It also signs readings.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSettings:
    """Whom this gateway believes."""

    council_root_file: Path = setting(
        "Root certificate of the council, PEM; anchor of the list of recipients (message R)."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentSettings:
    """How this gateway's certificate is renewed; see `edge_agent.credentials.renewal`."""

    url: str = setting(
        "The council's certificate service, https://host:port/.well-known/est/council; empty: "
        "certificates are not renewed here.",
        default="",
        pattern=r"(https://\S+)?",
    )
    directory: Path | None = setting(
        "The directory that `kerbstone agent enrol` made; the files above are those in its "
        "`current`.",
        default=None,
    )

    key: Literal["ed25519", "p-256"] = setting(
        "Kind of the keys it makes; where hardware holds the key for readings, only TLS's.",
        default="ed25519",
    )

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse a service that is none, or one without a directory."""
        if not self.url:
            return
        try:
            check_url(self.url)
        except FirstBootError as error:
            yield ("url",), str(error).removeprefix("url: ")
        if self.directory is None:
            yield ("directory",), "must be set where there is a url"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerSettings:
    """A PKCS #11 token for the key that signs readings; see `edge_agent.credentials.signer`."""

    module: Path = setting("The token's PKCS #11 library.", must_exist=True)
    label: str = setting("The token's label.", pattern=r".+")
    pin_file: Path = setting("File that holds the user PIN.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolSettings:
    """How readings wait on this machine."""

    quota_bytes: int = setting(
        "Size of the spool past which the oldest readings of the lowest priority go. A reading "
        "takes about 110 bytes, with long names 200: the default holds three days of ten a second.",
        default=512 * 1024 * 1024,
        minimum=64 * 1024,
    )
    commit_seconds: float = setting(
        "Longest time a reading is only in memory.", default=10.0, minimum=0.0, maximum=60.0
    )
    commit_readings: int = setting(
        "Readings after which a commit does not wait.", default=50, minimum=1, maximum=10_000
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinkSettings:
    """How readings leave this machine."""

    window_messages: int = setting(
        "Messages sent and not yet acknowledged by the centre, at most.",
        default=64,
        minimum=1,
        maximum=512,
    )
    batch_readings: int = setting(
        "Readings in one message, at most.", default=100, minimum=1, maximum=1000
    )
    batch_bytes: int = setting(
        "Bytes of readings in one message, about.", default=4096, minimum=256, maximum=32_768
    )
    batch_seconds: float = setting(
        "Longest time a reading waits for others.", default=10.0, minimum=0.0, maximum=900.0
    )
    heartbeat_seconds: float = setting(
        "Silence after which an empty message is sent.", default=900.0, minimum=1.0, maximum=900.0
    )
    reannounce_seconds: float = setting(
        "Time without an acknowledgement after which everything outstanding is sent again; "
        "doubles up to 15 minutes.",
        default=60.0,
        minimum=1.0,
        maximum=900.0,
    )
    epoch_seconds: int = setting(
        "How long one epoch key is used.", default=3600, minimum=60, maximum=86_400
    )
    first_retry_seconds: float = setting(
        "Bound of the first wait after a connection was lost: over so long a region's gateways "
        "come back when its broker does.",
        default=30.0,
        minimum=0.1,
        maximum=3600.0,
    )
    retry_seconds: float = setting(
        "Longest wait before connecting again; each wait is drawn at random up to a bound that "
        "doubles to this: from `first_retry_seconds`, or from 1 s before there ever was a "
        "connection.",
        default=120.0,
        minimum=0.1,
        maximum=3600.0,
    )
    drain_readings_per_second: float = setting(
        "Pace of what has gathered during an outage, so that a region of gateways does not storm "
        "the centre; live readings and alarms do not wait for it. 0: as fast as it goes.",
        default=500.0,
        minimum=0.0,
    )
    suite_3: bool = setting(
        "Deliver epoch keys by X-Wing, which withstands quantum computers (suite 3, "
        "experimental), where the council's list of recipients allows it.",
        default=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings:
    """What the gateway reports about itself, as readings."""

    interval_seconds: float = setting(
        "Time between two reports.", default=60.0, minimum=1.0, maximum=3600.0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSettings:
    """What is done about a clock that nobody has set yet; see `edge_agent.clock`."""

    hold_seconds: float = setting(
        "How long after the first connection readings of unsure time wait for the clock to be "
        "set; 0: not at all. Nothing waits where no service would set it (no systemd).",
        default=120.0,
        minimum=0.0,
        maximum=86_400.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSettings:
    """How settings that the council changes from afar are tried."""

    trial_seconds: float = setting(
        "Time within which the centre must acknowledge a message under new settings; else they "
        "are taken back.",
        default=600.0,
        minimum=1.0,
        maximum=86_400.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSettings:
    """The file that `kerbstone agent status` shows."""

    file: Path | None = setting(
        "Where it is written; by default status.json in the state directory. A path in memory "
        "(/run) spares a flash card.",
        default=None,
    )
    interval_seconds: float = setting(
        "Time between two writings.", default=5.0, minimum=0.1, maximum=60.0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ThingSettings:
    """A thing in the street (OGC 18-088): what stands where."""

    urn: str = setting("Its lasting name.", pattern=URN)
    name: str = setting("What people call it.")
    description: str = setting("One sentence for people.")
    longitude: float = setting("Degrees east, WGS 84.", minimum=-180, maximum=180)
    latitude: float = setting("Degrees north, WGS 84.", minimum=-90, maximum=90)
    place_name: str = setting("What people call the place.")
    properties: Mapping[str, str] = setting("Further facts about it.", default_factory=dict)


def _sensor_contradictions(sensor: SensorSettings) -> Iterator[tuple[KeyPath, str]]:
    from edge_agent.processing import consistency  # noqa: PLC0415  # only to check settings

    return consistency.contradictions(sensor, ADAPTERS[sensor.adapter])


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Everything one gateway is told."""

    tenant: str = setting("Short name of the council.", pattern=r"[a-z0-9][a-z0-9-]{0,31}")
    device: str = setting("Name of this gateway, unique in the region.", pattern=DEVICE)
    group: str = setting(
        "Recipients that may read its messages, a group of the council's list.",
        default="main",
        pattern=r"[a-z0-9][a-z0-9-]{0,15}",
    )
    state_directory: Path = setting("Where spool and counters are kept; made if missing.")
    broker: BrokerSettings
    trust: TrustSettings
    enrolment: EnrolmentSettings = EnrolmentSettings()
    signer: SignerSettings | None = None
    spool: SpoolSettings = SpoolSettings()
    uplink: UplinkSettings = UplinkSettings()
    clock: ClockSettings = ClockSettings()
    health: HealthSettings = HealthSettings()
    remote: RemoteSettings = RemoteSettings()
    status: StatusSettings = StatusSettings()
    metrics: MetricsSettings = MetricsSettings()
    local_broker: tuple[LocalBrokerSettings, ...] = ()
    listener: ListenerSettings | None = None
    thing: tuple[ThingSettings, ...]
    sensor: tuple[SensorSettings, ...] = setting(
        "The sensors that hang on this gateway.",
        default=(),
        choice=Choice("adapter", adapter_names, settings_class, _sensor_contradictions),
    )

    @property
    def status_file(self) -> Path:
        """Where the status is really written."""
        return self.status.file or self.state_directory / "status.json"

    @property
    def health_urn(self) -> str:
        """Name of the thing, and sensor, that the gateway itself is."""
        return _health_urn(self.device)

    @staticmethod
    def loose_ends(table: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
        """Refuse names used twice, and sensors that hang on nothing or are read through nothing."""
        if table.get("thing") == []:
            yield ("thing",), "must name at least one: the gateway stands where the first does"
        for kind, key, what in _NAMED_ONCE:
            yield from _names_twice(table, kind, key, what)
        own = _health_urn(str(table.get("device")))
        for kind in ("thing", "sensor"):
            for index, urn in _named(table, kind, "urn").items():
                if urn == own:
                    yield (kind, index, "urn"), "is kept for the gateway's own health"
        things, brokers = _named(table, "thing", "urn"), _named(table, "local_broker", "name")
        yield from _names_nothing(table, "thing", things, "must be the urn of a thing here")
        allowed = "must be the name of a [[local_broker]]"
        yield from _names_nothing(table, "local_broker", brokers, allowed)
        for index, path in _named(table, "sensor", "push_path").items():
            if path and "listener" not in table:
                yield ("sensor", index, "push_path"), "needs a [listener] in this file"


_NAMED_ONCE: Final = (
    ("thing", "urn", "the urn of a thing"),
    ("sensor", "urn", "the urn of a sensor"),
    ("local_broker", "name", "the name of a local broker"),
)


def _names_twice(
    table: Mapping[str, Any], kind: str, key: str, what: str
) -> Iterator[tuple[KeyPath, str]]:
    seen: set[str] = set()
    for index, name in _named(table, kind, key).items():
        if name in seen:
            yield (kind, index, key), f"stands twice as {what}"
        seen.add(name)


def _names_nothing(
    table: Mapping[str, Any], key: str, known: Mapping[int, str], allowed: str
) -> Iterator[tuple[KeyPath, str]]:
    """Yield the sensors that say under `key` what is not known; an empty text names nothing."""
    for index, name in _named(table, "sensor", key).items():
        if name and name not in known.values():
            near = difflib.get_close_matches(name, known.values(), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield ("sensor", index, key), f"{allowed}{hint}"


def _health_urn(device: str) -> str:
    return f"urn:dev:kerbstone:{device}:health"


def _named(table: Mapping[str, Any], kind: str, key: str) -> dict[int, str]:
    """Return what the tables of a kind say under a key, by index; only those that say a text."""
    tables = table.get(kind)
    return {
        index: each[key]
        for index, each in enumerate(tables if isinstance(tables, list) else [])
        if isinstance(each, dict) and isinstance(each.get(key), str)
    }


def check(path: Path) -> list[str]:
    """Return what is wrong with the settings file at `path`, a line each; see `mistakes_in`."""
    return [str(mistake) for mistake in mistakes_in(path)]


def mistakes_in(path: Path) -> tuple[Mistake, ...]:
    """Return what is wrong with the settings file at `path`.

    An observed property that this release does not know is among it, though a gateway starts with
    it: the centre would most likely refuse the datastream.
    """
    try:
        load(AgentSettings, path, also=_unknown_properties)
    except SettingsError as error:
        return error.mistakes
    return ()


def _unknown_properties(settings: AgentSettings) -> Iterator[tuple[KeyPath, str]]:
    from edge_agent.processing import consistency  # noqa: PLC0415  # only to check settings

    for index, sensor in enumerate(settings.sensor):
        for path, allowed in consistency.unknown_properties(sensor, ADAPTERS[sensor.adapter]):
            yield ("sensor", index, *path), allowed
