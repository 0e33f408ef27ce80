"""What the web process is told in its TOML file. Secrets are paths to files."""

from dataclasses import dataclass

from runtime.metrics import MetricsSettings
from runtime.settings import setting
from storage.settings import DatabaseSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """Who runs this network, for the pages that must say so."""

    name: str = setting("Name of the body that runs it.", default="")
    email: str = setting("Where to report a problem.", default="", pattern=r"|\S+@\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings(DatabaseSettings):
    """Everything the web process is told."""

    host: str = setting("Address to listen on.", default="127.0.0.1")
    port: int = setting("TCP port; 0 takes a free one.", default=8080, minimum=0, maximum=65535)
    base_url: str = setting(
        "How people reach it, without a slash at the end; empty: as each request says.",
        default="",
        pattern=r"|https?://[^\s/]+",
    )
    metrics: MetricsSettings = MetricsSettings()
    operator: OperatorSettings = OperatorSettings()
