"""What the analytics process is told in its TOML file. How a setting acts is told in `runner`."""

from dataclasses import dataclass

from runtime.metrics import MetricsSettings
from runtime.settings import setting
from storage.settings import DatabaseSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyticsSettings(DatabaseSettings):
    """Settings of `kerbstone analytics run`."""

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
