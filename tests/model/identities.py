"""Whose a device's anonymous events are, and silver.identities."""

from __future__ import annotations

from collections import defaultdict

from .sessions import Row, first_known, in_order


def _identified(events: list[Row]) -> dict[tuple[str, str], list[Row]]:
    """By device: its events that name a user, in order. An alias is one device with whom it is an alias of."""
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for event in in_order(events):
        if event["anonymous_id"] is not None and event["user_id"] is not None:
            found[event["site_id"], event["visitor_id"]].append(event)
    return found


def link(events: list[Row]) -> None:
    """Give every event its person: its user; else its device's, nearest before, else first after; else its visitor."""
    identified = _identified(events)
    for event in events:
        linked = None
        if event["user_id"] is None and event["anonymous_id"] is not None:
            seen = identified.get((event["site_id"], event["visitor_id"]), [])
            ranked = in_order([*seen, event])
            place = next(number for number, other in enumerate(ranked) if other is event)
            nearest = first_known([*reversed(ranked[:place]), *ranked[place + 1 :]])
            linked = nearest and nearest["user_id"]
        event["person_id"] = first_known([event["user_id"], linked, event["visitor_id"]])


def identities(events: list[Row]) -> list[Row]:
    """One row for each stretch of a device's identified events that name the same user."""
    rows = []
    for (site_id, anonymous_id), seen in _identified(events).items():
        starts = [event for before, event in zip([None, *seen], seen, strict=False) if not _same_user(before, event)]
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            rows.append(
                {
                    "site_id": site_id,
                    "anonymous_id": anonymous_id,
                    "valid_from": start["event_time"],
                    "valid_to": end and end["event_time"],
                    "user_id": start["user_id"],
                    "sequence": start["sequence"],
                    "event_id": start["event_id"],
                }
            )
    return rows


def _same_user(before: Row | None, event: Row) -> bool:
    return before is not None and bool(before["user_id"] == event["user_id"])
