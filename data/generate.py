"""Make up life-like events of a shop and a blog, as the `web` tracker would have sent them.

Same seed, same bytes. One file for each UTC day of **arrival**: lines are in the order in which a collector got them,
so events are slightly out of order within a file, and late ones lie in the files of later days, also of days after
the period. Every event's own time lies within the period.

    python -m data.generate --out DIR --days 7 --start 2026-01-05 --users 400 --seed 7
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import IO

import numpy as np

from data import behaviour, catalogue, population, render
from data.behaviour import DAY_MS, Events, Sessions
from data.catalogue import Catalogue, Ints
from data.population import Population
from data.sites import sites

LATE_MS = 300_000  # an event that took longer than this to arrive counts as late
PILOT_USERS = 1000


@dataclass(frozen=True)
class Shares:
    """How much of what is wrong with real data is in the output, as shares of the lines."""

    late: float = 0.02
    duplicates: float = 0.005
    malformed: float = 0.001


@dataclass
class Written:
    """What was written; `events` are distinct valid ones, so lines = events + duplicates + malformed."""

    files: list[Path] = field(default_factory=list)
    lines: int = 0
    events: int = 0
    duplicates: int = 0
    malformed: int = 0
    late: int = 0
    bot_events: int = 0
    test_events: int = 0
    sessions: int = 0
    users: int = 0


def write_events(
    out: Path,
    *,
    start: date,
    days: int = 7,
    users: int = 400,
    seed: int = 7,
    events: int | None = None,
    site_count: int = 2,
    files_per_day: int = 1,
    compress: bool = False,
    shares: Shares | None = None,
) -> Written:
    """Write the events of `days` UTC days from `start` under `out`; existing files of the same names are replaced.

    `users` is the number of people of all sites together; with `events` it is chosen so that about that many come out.
    Memory grows with the events of the largest day (about 200 bytes each), not with the period.
    Raises ValueError for a period, a number of people or of files below one.
    """
    if min(days, users, files_per_day, 1 if events is None else events) < 1:
        raise ValueError("days, users, events and files per day must be at least 1")
    pieces = catalogue.build(sites(site_count))
    if events is not None:
        users = max(1, round(events / _events_per_user(pieces, start, days, seed)))
    world = _World(pieces, start, days, max(users, site_count), seed, shares or Shares())
    out.mkdir(parents=True, exist_ok=True)
    written = Written(users=max(users, site_count))
    clock = render.Clock.of(start, days)
    late: dict[int, list[tuple[Ints, list[bytes]]]] = {}
    for number in range(days + 4):
        if number < days:
            day, order = world.day(number, written)
            arrived = order // DAY_MS
            for later in np.unique(arrived[arrived != number]).tolist():
                rows = np.flatnonzero(arrived == later)
                table = render.lines(day, rows, pieces, clock, world.user_texts)
                late.setdefault(int(later), []).append((order[rows], render.split_lines(table)))
            rows = np.flatnonzero(arrived == number)
        elif number not in late:
            continue
        else:
            rows = np.zeros(0, dtype=np.int64)
        carried = late.pop(number, [])
        texts = np.empty(sum(len(found) for _, found in carried), dtype=object)
        texts[:] = [line for _, found in carried for line in found]
        when = np.concatenate([order[rows], *[times for times, _ in carried]])
        rows = np.concatenate([rows, -1 - np.arange(len(texts))])
        rows = rows[np.argsort(when, kind="stable")]
        name = (start + timedelta(days=number)).isoformat()
        for part, chosen in enumerate(np.array_split(rows, files_per_day)):
            suffix = f"-{part:02d}" if files_per_day > 1 else ""
            path = out / f"{name}{suffix}.jsonl{'.gz' if compress else ''}"
            with _opened(path, compress) as file:
                for text in render.text_of(day, chosen, texts, pieces, clock, world.user_texts):
                    file.write(text)
            written.files.append(path)
            written.lines += len(chosen)
    return written


class _World:
    """The people of all sites, and what they do on a day."""

    def __init__(self, pieces: Catalogue, start: date, days: int, users: int, seed: int, shares: Shares) -> None:
        self.pieces, self.start, self.days, self.seed, self.shares = pieces, start, days, seed, shares
        self.people: list[Population] = []
        first = 0
        for index, table in enumerate(pieces.sites):
            size = users // len(pieces.sites) + (index < users % len(pieces.sites))
            self.people.append(population.build(table, pieces, size=size, days=days, first_id=first, seed=seed))
            first += size
        self.user_texts = render.user_pieces([test for people in self.people for test in people.is_test.tolist()])

    def day(self, number: int, written: Written | None = None) -> tuple[render.Day, Ints]:
        """The rows of one day, duplicates included, and when each line was delivered; counts them in `written`."""
        made = [
            behaviour.generate_day(table, self.pieces, people, start=self.start, day=number, seed=self.seed)
            for table, people in zip(self.pieces.sites, self.people, strict=True)
        ]
        sessions, events, site = _together(made)
        inside = (events.time >= 0) & (events.time < self.days * DAY_MS)
        events = events.take(inside)
        rng = np.random.default_rng([self.seed, 1 << 22, number])
        count = len(events.time)
        received = events.time + behaviour.delays(
            events, self.shares.late, day=number, seed=self.seed, stream=len(self.pieces.sites)
        )
        luck = rng.random(count)
        twice = np.flatnonzero(luck < self.shares.duplicates)
        # The fate is drawn from the other end of the same number: no duplicate is ever a line that is refused.
        broken = luck >= 1 - self.shares.malformed
        fate = np.where(broken, 1 + (rng.random(count) * 5).astype(np.int64), render.VALID)
        again = rng.random(len(twice))
        retry = received[twice] + 1_000 + (again * again * again * 3_600_000).astype(np.int64)
        rows = np.concatenate([np.arange(count), twice])
        day = render.Day(
            number=number,
            sessions=sessions,
            events=events.take(rows),
            site=site,
            received=received[rows],
            serial=rows,
            fate=fate[rows],
            session_texts=render.session_pieces(sessions, number) if written is not None else np.empty(0, dtype=object),
        )
        if written is not None:
            valid = ~broken
            written.events += int(valid.sum())
            written.duplicates += len(twice)
            written.malformed += int(broken.sum())
            written.late += int((valid & (received - events.time > LATE_MS)).sum())
            written.bot_events += int((valid & sessions.is_bot[events.session]).sum())
            written.test_events += int((valid & sessions.is_test[events.session]).sum())
            written.sessions += len(sessions.start)
        return day, np.concatenate([received, retry])


def _together(made: list[tuple[Sessions, Events]]) -> tuple[Sessions, Events, Ints]:
    """Sessions and events of all sites in one numbering, and the site of each session."""
    site = np.repeat(np.arange(len(made)), [len(sessions.start) for sessions, _ in made])
    first = 0
    for sessions, events in made:
        events.session += first
        first += len(sessions.start)
    all_sessions = Sessions(
        *(np.concatenate(columns) for columns in zip(*(vars(one).values() for one, _ in made), strict=True))
    )
    all_events = Events(
        *(np.concatenate(columns) for columns in zip(*(vars(one).values() for _, one in made), strict=True))
    )
    return all_sessions, all_events, site


def _events_per_user(pieces: Catalogue, start: date, days: int, seed: int) -> float:
    """Events that a person makes in the period, from a small population over at most a month's worth of its days."""
    world = _World(pieces, start, days, PILOT_USERS, seed, Shares())
    chosen = range(0, days, max(1, days // 28))
    found = sum(len(world.day(number)[0].serial) for number in chosen)
    return found / len(chosen) * days / PILOT_USERS


@contextmanager
def _opened(path: Path, compress: bool) -> Iterator[IO[bytes]]:
    """A file to write; compressed without name and time, which would make equal contents differ."""
    with path.open("wb") as file:
        if not compress:
            yield file
            return
        with gzip.GzipFile(filename="", mode="wb", compresslevel=4, fileobj=file, mtime=0) as packed:
            yield packed  # type: ignore[misc]


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m data.generate", description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--start", type=date.fromisoformat, default=date(2026, 1, 5), help="first UTC day (2026-01-05)")
    parser.add_argument("--days", type=int, default=7, help="number of days (7)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--users", type=int, default=400, help="people of all sites together (400)")
    size.add_argument("--events", type=int, help="about how many events; chooses the number of people")
    parser.add_argument("--seed", type=int, default=7, help="same seed, same bytes (7)")
    parser.add_argument("--sites", type=int, default=2, help="shop, blog, shop-2, blog-2, … (2)")
    parser.add_argument("--files-per-day", type=int, default=1, help="cut each day into so many files (1)")
    parser.add_argument("--format", choices=["web"], default="web", help="format of the records (web)")
    parser.add_argument("--gz", action="store_true", help="compress the files")
    options = parser.parse_args(arguments)
    try:
        written = write_events(
            options.out,
            start=options.start,
            days=options.days,
            users=options.users,
            seed=options.seed,
            events=options.events,
            site_count=options.sites,
            files_per_day=options.files_per_day,
            compress=options.gz,
        )
    except (ValueError, OSError) as error:
        print(f"data.generate: {error}", file=sys.stderr)
        return 2
    print(
        f"{written.lines:,} lines in {len(written.files)} files under {options.out}: {written.events:,} events"
        f" ({written.late:,} late, {written.bot_events:,} by bots, {written.test_events:,} by test users),"
        f" {written.duplicates:,} duplicates, {written.malformed:,} malformed;"
        f" {written.sessions:,} sessions, {written.users:,} people"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
