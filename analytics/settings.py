"""What the analytics process is told in its TOML file. How a setting acts is told in `runner`."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from runtime.metrics import MetricsSettings
from runtime.settings import setting
from standards_mapping.properties import PROPERTIES
from storage.settings import DatabaseSettings, KeyPath
from storage.thinning import RetentionClass


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """Datastreams that are kept for a shorter time than the rest."""

    name: str = setting("What the class is called in logs and previews.")
    observed_properties: tuple[str, ...] = setting(
        "Keys of the observed properties it means. Absent: all.", default=()
    )
    councils: tuple[str, ...] = setting("Tenants it means. Absent: all.", default=())
    keep_days: int = setting(
        "Days that observations of these datastreams are kept; hourly summaries stay for good. "
        "Of a datastream in several classes the shortest counts.",
        minimum=8,
    )

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse a class that means everything, and properties that nobody can observe."""
        if not self.observed_properties and not self.councils:
            yield ("keep_days",), "means every datastream: set keep_days above the tables instead"
        for index, key in enumerate(self.observed_properties):
            if key not in PROPERTIES:
                yield ("observed_properties", index), "no such observed property"

    def before(self, now: datetime) -> RetentionClass:
        """Return what this comes to at a moment."""
        return RetentionClass(
            name=self.name,
            observed_properties=frozenset(self.observed_properties),
            councils=frozenset(self.councils),
            before=now - timedelta(days=self.keep_days),
        )


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
    retention: tuple[RetentionSettings, ...] = ()
    metrics: MetricsSettings = MetricsSettings()

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Refuse what the database settings refuse, and classes that say nothing."""
        yield from DatabaseSettings.contradictions(self)
        names = [each.name for each in self.retention]
        for index, each in enumerate(self.retention):
            if each.name in names[:index]:
                yield ("retention", index, "name"), "is the name of another class"
            if self.keep_days is not None and each.keep_days >= self.keep_days:
                yield (
                    ("retention", index, "keep_days"),
                    f"everything goes after keep_days = {self.keep_days} already",
                )
