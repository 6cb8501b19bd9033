"""Sets of (site, date): the unit in which tables say what changed and are recomputed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from pipelines.contracts import sql_string

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Slices:
    """Dates by site; `everything` stands for all dates of all sites, whatever they are."""

    dates: dict[str, frozenset[date]]
    everything: bool = False

    @staticmethod
    def of(pairs: Iterable[tuple[str, date]]) -> Slices:
        found: dict[str, set[date]] = {}
        for site_id, day in pairs:
            found.setdefault(site_id, set()).add(day)
        return Slices({site_id: frozenset(days) for site_id, days in found.items()})

    def __bool__(self) -> bool:
        return self.everything or bool(self.dates)

    def __or__(self, other: Slices) -> Slices:
        if self.everything or other.everything:
            return EVERYTHING
        sites = self.dates.keys() | other.dates.keys()
        return Slices({s: self.dates.get(s, frozenset()) | other.dates.get(s, frozenset()) for s in sites})

    def __sub__(self, other: Slices) -> Slices:
        """Those that are not in `other`; of everything, everything, unless `other` is."""
        if other.everything:
            return NOTHING
        if self.everything:
            return EVERYTHING
        rest = {site_id: days - other.dates.get(site_id, frozenset()) for site_id, days in self.dates.items()}
        return Slices({site_id: days for site_id, days in rest.items() if days})

    def widened(self, *, back: int = 0, forward: int = 0) -> Slices:
        """Each date with the `back` days before and the `forward` days after it."""
        steps = range(-back, forward + 1)
        return Slices(
            {
                site_id: frozenset(day + step * _DAY for day in days for step in steps)
                for site_id, days in self.dates.items()
            },
            self.everything,
        )

    def predicate(self, column: str, literal: Callable[[str], str] = sql_string) -> str:
        """SQL that holds for the rows of these slices; `literal` quotes a string for the engine that reads it.

        Runs of dates become ranges, without `between`, which replaceWhere cannot read.
        """
        if self.everything:
            return "true"
        parts = []
        for site_id in sorted(self.dates):
            ranges = [
                f"{column} = date'{first}'"
                if first == last
                else f"({column} >= date'{first}' and {column} <= date'{last}')"
                for first, last in _ranges(self.dates[site_id])
            ]
            parts.append(f"(site_id = {literal(site_id)} and ({' or '.join(ranges)}))")
        return " or ".join(parts) or "false"

    def all_dates(self) -> list[date]:
        """The dates of any site, in order."""
        return sorted({day for days in self.dates.values() for day in days})

    def count(self) -> int:
        return sum(len(days) for days in self.dates.values())

    def to_json(self) -> Any:
        """`"everything"`, or site → list of [first, last] date ranges."""
        if self.everything:
            return "everything"
        return {site: [[str(a), str(b)] for a, b in _ranges(days)] for site, days in sorted(self.dates.items())}

    @staticmethod
    def from_json(note: Any) -> Slices:
        if note == "everything":
            return EVERYTHING
        return Slices.of(
            (site_id, day)
            for site_id, ranges in note.items()
            for first, last in ranges
            for day in _days(date.fromisoformat(first), date.fromisoformat(last))
        )


EVERYTHING = Slices({}, everything=True)
NOTHING = Slices({})


def besides_persons(column: str) -> str:
    """By this a commit says in which slices, by dates of `column`, more changed than to whom rows belong.

    A device that names its user hands over what it did on all days before: most tables do not read that.
    """
    return f"{column}, besides persons"


def _ranges(days: Iterable[date]) -> list[tuple[date, date]]:
    """Consecutive dates as (first, last), in order."""
    ranges: list[tuple[date, date]] = []
    for day in sorted(days):
        if ranges and day - ranges[-1][1] == _DAY:
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=step) for step in range((last - first).days + 1)]
