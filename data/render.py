"""Columns of numbers → JSON Lines of the `web` format, in slices, so that a day's text is never held at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from data.behaviour import DAY_MS, Events, Sessions
from data.catalogue import EVENT_TYPES, Catalogue, Ints, Pieces, pieces

SLICE = 50_000
NO_MEMBERS = b""
# What becomes of a line that is meant to be refused.
VALID, BLANK, EMPTY_ARRAY, TRUNCATED, BAD_TIME, NO_IDENTITY = range(6)

# Pieces of a line, in order.
_PREFIX, _ID_DAY, _ID_HIGH, _ID_LOW, _TYPE, _DATE, _SECOND, _MILLI = range(8)
_RECEIVED_DATE, _RECEIVED_SECOND, _RECEIVED_MILLI, _SESSION, _USER, _PAGE, _REFERRER, _EXTRA = range(8, 16)
_AGENT, _ADDRESS, _PLACE, _COUNT = range(16, 20)


@dataclass(frozen=True)
class Clock:
    """Pieces of instants: `dates` counts from the day before the first one."""

    dates: Pieces
    seconds: Pieces
    event_millis: Pieces
    received_millis: Pieces
    thousands: Pieces
    units: Pieces
    types: Pieces

    @classmethod
    def of(cls, start: date, days: int) -> Clock:
        """Pieces for a period that starts on `start`, with a week of room for what arrives late."""
        seconds = [f"T{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in range(86_400)]
        return cls(
            dates=pieces([(start + timedelta(days=day - 1)).isoformat() for day in range(days + 8)]),
            seconds=pieces(seconds),
            event_millis=pieces([f'.{ms:03d}Z","received_at":"' for ms in range(1000)]),
            received_millis=pieces([f'.{ms:03d}Z"' for ms in range(1000)]),
            thousands=pieces([f"{n:x}" for n in range(65_536)]),
            units=pieces([f"{n:03x}" for n in range(4096)]),
            types=pieces([f'","event_type":"{name}","event_time":"' for name in EVENT_TYPES]),
        )


def session_pieces(sessions: Sessions, day: int) -> Pieces:
    """Device id and session id of each session."""
    return pieces(
        [
            f',"anonymous_id":"a{visitor * 2654435761 % 4294967296:08x}","session_id":"s{day:x}-{number:x}"'
            for number, visitor in enumerate(sessions.visitor.tolist())
        ]
    )


def user_pieces(is_test: list[bool]) -> Pieces:
    """User ids by person + 1; none at 0."""
    names = [f"{'test' if test else 'user'}-{number:06d}" for number, test in enumerate(is_test)]
    return pieces(["", *[f',"user_id":"{name}"' for name in names]])


@dataclass
class Day:
    """Everything of one day that can be turned into lines. Rows of `events` beyond the first copy are duplicates."""

    number: int
    sessions: Sessions
    events: Events
    site: Ints  # by session
    received: Ints
    serial: Ints
    fate: Ints  # VALID, …
    session_texts: Pieces


def lines(day: Day, rows: Ints, catalogue: Catalogue, clock: Clock, users: Pieces) -> Pieces:
    """The chosen rows as a table of pieces, [row, piece]; joined along a row they make one line with its newline."""
    events = day.events.take(rows)
    session = events.session
    received = day.received[rows]
    serial = day.serial[rows]
    person = day.sessions.person[session]
    user = np.where(events.time >= day.sessions.login[session], person + 1, 0)
    address = day.sessions.address[session]
    table = np.empty((len(rows), _COUNT), dtype=object)
    table[:, _PREFIX] = catalogue.prefixes[day.site[session]]
    table[:, _ID_DAY] = f"{day.number:x}-".encode()
    table[:, _ID_HIGH] = clock.thousands[serial >> 12]
    table[:, _ID_LOW] = clock.units[serial & 4095]
    table[:, _TYPE] = clock.types[events.type]
    table[:, _DATE] = clock.dates[events.time // DAY_MS + 1]
    table[:, _SECOND] = clock.seconds[events.time % DAY_MS // 1000]
    table[:, _MILLI] = clock.event_millis[events.time % 1000]
    table[:, _RECEIVED_DATE] = clock.dates[received // DAY_MS + 1]
    table[:, _RECEIVED_SECOND] = clock.seconds[received % DAY_MS // 1000]
    table[:, _RECEIVED_MILLI] = clock.received_millis[received % 1000]
    table[:, _SESSION] = day.session_texts[session]
    table[:, _USER] = users[user]
    table[:, _PAGE] = catalogue.pages[events.page]
    table[:, _REFERRER] = catalogue.referrers[events.referrer]
    table[:, _EXTRA] = catalogue.extras[events.extra]
    table[:, _AGENT] = catalogue.agents[day.sessions.agent[session]]
    table[:, _ADDRESS] = _ADDRESSES[address]
    table[:, _PLACE] = catalogue.places[day.sessions.place[session]]
    _spoil(table, day.fate[rows])
    return table


# 198.18.0.0/15 is set aside for tests (RFC 2544): no address here is anybody's.
_ADDRESSES = pieces([f"18.{low >> 8}.{low & 255}" for low in range(65_536)])


def _spoil(table: Pieces, fate: Ints) -> None:
    """Break the lines that are meant to be refused."""
    for kind, instead in ((BLANK, b"\n"), (EMPTY_ARRAY, b"[]\n")):
        rows = np.flatnonzero(fate == kind)
        table[rows, :] = NO_MEMBERS
        table[rows, _PLACE] = instead
    rows = np.flatnonzero(fate == TRUNCATED)
    table[rows, _PAGE:] = NO_MEMBERS
    table[rows, _PLACE] = b',"page_url":"htt\n'
    rows = np.flatnonzero(fate == BAD_TIME)
    table[rows, _DATE] = b"31/12/once"
    rows = np.flatnonzero(fate == NO_IDENTITY)
    table[rows, _SESSION] = NO_MEMBERS
    table[rows, _USER] = NO_MEMBERS


def split_lines(table: Pieces) -> list[bytes]:
    """One bytes object a row."""
    return [b"".join(row) for row in table.tolist()]


def text_of(
    day: Day, rows: Ints, carried: Pieces, catalogue: Catalogue, clock: Clock, users: Pieces
) -> Iterator[bytes]:
    """The rows as text, slice by slice; a row n below 0 stands for the line `carried[-n - 1]` of an earlier day."""
    for begin in range(0, len(rows), SLICE):
        part = rows[begin : begin + SLICE]
        own = part >= 0
        if own.all():
            table = lines(day, part, catalogue, clock, users)
        else:
            table = np.full((len(part), _COUNT), NO_MEMBERS, dtype=object)
            table[own] = lines(day, part[own], catalogue, clock, users)
            table[~own, 0] = carried[-part[~own] - 1]
        yield b"".join(table.ravel().tolist())
