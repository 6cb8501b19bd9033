"""What a transform may know besides its inputs: configuration and the run's own instant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

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
    as_of: date

    def by_site(self, value: Callable[[Site], str | int | bool | None], site_id: str = "site_id") -> Column:
        """A site's setting as a column: sites that agree share one branch, the rest follow the defaults."""
        branches: dict[str | int | bool | None, list[str]] = {}
        default = value(self.sites.defaults)
        for name, site in self.sites.sites.items():
            if value(site) != default:
                branches.setdefault(value(site), []).append(name)
        result = None
        for setting, names in branches.items():
            condition = F.col(site_id).isin(names)
            result = F.when(condition, F.lit(setting)) if result is None else result.when(condition, F.lit(setting))
        return F.lit(default) if result is None else result.otherwise(F.lit(default))
