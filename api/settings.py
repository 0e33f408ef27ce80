"""What the web process is told in its TOML file. Secrets are paths to files."""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from api.layers.security import is_loopback
from runtime.metrics import MetricsSettings
from runtime.settings import setting
from runtime.toml_lines import KeyPath
from storage.settings import DatabaseSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """Who runs this network, for the pages that must say so."""

    name: str = setting("Name of the body that runs it.", default="")
    email: str = setting("Where to report a problem.", default="", pattern=r"|\S+@\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentSettings:
    """Where gateways enrol, for the invitations that the pages make; none can be made without."""

    url_base: str = setting(
        "How gateways reach the enrolment service, e.g. https://enrol.example.org:8445.",
        default="",
        pattern=r"|https://[^\s/]+",
    )
    region_root_file: Path | None = setting(
        "The region root's certificate (PEM), by which gateways recognise that service.",
        default=None,
        must_exist=True,
    )

    def contradictions(self) -> Iterable[tuple[KeyPath, str]]:
        """Yield what is missing: address and root come together or not at all."""
        if bool(self.url_base) != (self.region_root_file is not None):
            yield ("url_base",), "give url_base and region_root_file together, or neither"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitSettings:
    """How many requests a minute are answered, each process for itself; 0: without limit."""

    pages_per_minute: int = setting(
        "Pages, charts and what they load, for each address.", default=1200, minimum=0
    )
    anonymous_per_minute: int = setting(
        "SensorThings, NGSI-LD, catalogue and files without a key, for each address (IPv6: /64).",
        default=600,
        minimum=0,
    )
    standard_key_per_minute: int = setting(
        "For each API key of the class standard.", default=3000, minimum=0
    )
    bulk_key_per_minute: int = setting(
        "For each API key of the class bulk.", default=30_000, minimum=0
    )
    bad_keys_per_minute: int = setting(
        "API keys that do not count, from each address (IPv6: /64); beyond it none is looked up.",
        default=60,
        minimum=0,
    )
    trusted_proxies: tuple[str, ...] = setting(
        "Proxies whose X-Forwarded-For is believed: addresses, or networks such as 10.0.0.0/8.",
        default=("127.0.0.0/8", "::1/128"),
    )

    def contradictions(self) -> Iterable[tuple[KeyPath, str]]:
        """Yield proxies that are no networks."""
        for number, one in enumerate(self.trusted_proxies):
            try:
                ipaddress.ip_network(one)
            except ValueError as error:
                yield ("trusted_proxies", number), f"{error}: give e.g. 192.0.2.7 or 10.0.0.0/8"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings(DatabaseSettings):
    """Everything the web process is told."""

    host: str = setting("Address to listen on.", default="127.0.0.1")
    port: int = setting("TCP port; 0 takes a free one.", default=8080, minimum=0, maximum=65535)
    base_url: str = setting(
        "How people reach it, without a slash at the end; links begin with it. Empty, where only "
        "this machine reaches it: as each request says.",
        default="",
        pattern=r"|https?://[^\s/]+",
    )
    mqtt_endpoints: tuple[str, ...] = setting(
        "Where people subscribe to what `kerbstone publish` publishes, as the landing page of "
        "SensorThings says, e.g. mqtts://mqtt.example.org:8893.",
        default=(),
        pattern=r"mqtts?://[^\s/]+",
    )
    replica_dsn: str = setting(
        "A streaming replica that pages, charts and SensorThings read from, likewise; none.",
        default="",
        secret=True,
    )
    replica_dsn_file: Path | None = setting(
        "Instead: a file that holds it.", default=None, must_exist=True
    )
    replica_max_lag_seconds: float = setting(
        "A replica further behind is not read from until it has caught up.",
        default=2.0,
        minimum=0.1,
        maximum=5.0,
    )
    metrics: MetricsSettings = MetricsSettings()
    operator: OperatorSettings = OperatorSettings()
    enrolment: EnrolmentSettings = EnrolmentSettings()
    rate_limits: RateLimitSettings = RateLimitSettings()

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse two ways to the replica, and links that begin with what a stranger says."""
        yield from DatabaseSettings.contradictions(self)
        if not self.base_url and not is_loopback(self.host):
            text = (
                f"missing, but host = {self.host!r} listens to other machines, and every link would"
                " begin with whatever name a request gives: say how people reach the service, e.g."
                ' base_url = "https://data.example.org", or listen on 127.0.0.1'
            )
            yield ("base_url",), text
        if self.replica_dsn and self.replica_dsn_file is not None:
            yield ("replica_dsn",), "give either replica_dsn or replica_dsn_file"

    @property
    def replica(self) -> str:
        """How to reach the replica; empty where there is none.

        Raises:
            OSError: `replica_dsn_file` cannot be read.
        """
        if self.replica_dsn_file is None:
            return self.replica_dsn
        return self.replica_dsn_file.read_text(encoding="utf-8").strip()
