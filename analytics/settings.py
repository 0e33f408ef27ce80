"""What the analytics process is told in its TOML file. How a setting acts is told in `runner`."""

from dataclasses import dataclass

from runtime.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """The Prometheus endpoint, on the loopback interface."""

    port: int = setting("TCP port; 0 for none.", default=0, minimum=0, maximum=65535)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyticsSettings:
    """Settings of `kerbstone analytics run`."""

    database: str = setting(
        "Connection string or URL of the database; name a passfile in it, not a password.",
        secret=True,
    )
    refresh_seconds: float = setting(
        "Pause between two looks for hours to summarise.", default=1.0, minimum=0.05, maximum=60.0
    )
    keep_days: int | None = setting(
        "Days that observations, evidence, refusals and quarantine are kept; hourly summaries stay "
        "for good. Absent: all is kept.",
        default=None,
        minimum=8,
    )
    metrics: MetricsSettings = MetricsSettings()
