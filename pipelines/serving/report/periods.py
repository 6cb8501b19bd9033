"""The periods that a report can show: days, weeks and months that end on a site's last complete date or before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

# Kind → its days and how many of it can be chosen. The lengths are those of dau, wau and mau, so that a period's users
# are exact numbers of gold.active_users_daily.
KINDS = {"day": (1, 7), "week": (7, 4), "month": (30, 2)}

# A day counts as complete when something happened in its last hour.
GRACE = timedelta(hours=1)


@dataclass(frozen=True)
class Period:
    """Dates from `start` to `end`, both inclusive, of one site."""

    site_id: str
    kind: str
    start: date
    end: date

    @property
    def key(self) -> str:
        return f"{self.kind}-{self.end:%Y%m%d}"

    @property
    def before(self) -> Period:
        """The period to compare with: the same weekday a week earlier, else the one that ends the day before."""
        days = timedelta(7 if self.kind == "day" else KINDS[self.kind][0])
        return Period(self.site_id, self.kind, self.start - days, self.end - days)

    @property
    def label(self) -> str:
        """The dates in words, shortened where both ends share a month or a year."""
        if self.start == self.end:
            return f"{self.end:%a} {_day(self.end)}"
        if self.start.year != self.end.year:
            return f"{_day(self.start)} – {_day(self.end)}"
        first = f"{self.start.day}" if self.start.month == self.end.month else f"{self.start.day} {self.start:%b}"
        return f"{first} – {_day(self.end)}"


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def periods_of(site_id: str, first: date, last: date) -> Iterator[Period]:
    """The periods to choose from, newest first of each kind: those that hold a date of the site's data."""
    for kind, (days, shown) in KINDS.items():
        for back in range(shown):
            end = last - timedelta(days * back)
            if end < first:
                break
            yield Period(site_id, kind, end - timedelta(days - 1), end)


def last_complete_date(newest: datetime, timezone: ZoneInfo, as_of: date) -> date:
    """The last date, not after `as_of`, that was over in `timezone` at `newest`, the instant of the newest event."""
    reached = (newest + GRACE).astimezone(timezone).date() - timedelta(1)
    return min(reached, as_of)
