"""What a transform may know besides its inputs: configuration and the run's own instant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.funnels import Funnels
from pipelines.settings import Settings, Site, Sites


@dataclass(frozen=True)
class RunContext:
    """Configuration of one run; transforms read no clock and no file, they read this."""

    settings: Settings
    sites: Sites
    funnels: Funnels
    started_at: datetime
    as_of: date | None = None
    """The last complete date, where one was given for all sites; null: by each site's own clock at `started_at`."""
    closing_sources: frozenset[str] = frozenset()
    """Sources whose sessions are complete only with a session_end."""

    def last_date(self, site: Site) -> date:
        """The site's last complete date."""
        return self.as_of or site.last_complete_date(self.started_at)

    @property
    def last_dates(self) -> dict[str, str]:
        """The last complete date of sites that are not listed, under `""`, and of every listed site that differs."""
        usual = self.last_date(self.sites.defaults)
        own = {name: self.last_date(site) for name, site in sorted(self.sites.sites.items())}
        return {"": str(usual)} | {name: str(last) for name, last in own.items() if last != usual}

    def days_ago(self, column: str) -> Column:
        """Days from a date column to the site's last complete date; negative for dates after it."""
        return F.date_diff(self.by_site(self.last_date), column)

    def within(self, column: str, days: int) -> Column:
        """Whether a date column lies in the `days` days that end on the site's last complete date."""
        last = sorted(date.fromisoformat(day) for day in self.last_dates.values())
        # Bounds that hold for every site, so that files and partitions outside are not read.
        bounds = F.col(column).between(F.lit(last[0] - timedelta(days=days - 1)), F.lit(last[-1]))
        return bounds & self.days_ago(column).between(0, days - 1)

    def by_site(self, value: Callable[[Site], str | int | bool | date | None], site_id: str = "site_id") -> Column:
        """A site's setting as a column: sites that agree share one branch, the rest follow the defaults."""
        branches: dict[str | int | bool | date | None, list[str]] = {}
        default = value(self.sites.defaults)
        for name, site in self.sites.sites.items():
            if value(site) != default:
                branches.setdefault(value(site), []).append(name)
        result = None
        for setting, names in branches.items():
            condition = F.col(site_id).isin(names)
            result = F.when(condition, F.lit(setting)) if result is None else result.when(condition, F.lit(setting))
        return F.lit(default) if result is None else result.otherwise(F.lit(default))
