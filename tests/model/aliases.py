"""Who came from another domain of a site, and silver.aliases."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

from pipelines.settings import Sites

from .sessions import Row, in_order

NEAR = timedelta(minutes=2)


def named_visitor(event: Row, sites: Sites) -> str | None:
    """Whom the address of an event names by its site's parameter."""
    site = sites.of(event["site_id"])
    if site.link_parameter is None or event["page_url"] is None:
        return None
    values = parse_qs(urlsplit(event["page_url"]).query).get(site.link_parameter)
    return values[0] if values else None


def aliases(events: list[Row], sites: Sites) -> list[Row]:
    """One row for each visitor whose first page view names another; the events carry their own visitors still."""
    landings: dict[tuple[str, str], Row] = {}
    for event in in_order(events):
        if event["event_type"] == "page_view":
            landings.setdefault((event["site_id"], event["visitor_id"]), event)
    rows = []
    for (site_id, visitor_id), landing in landings.items():
        named = named_visitor(landing, sites)
        if named is not None and named != visitor_id:
            theirs = [event for event in events if (event["site_id"], event["visitor_id"]) == (site_id, named)]
            rows.append(
                {
                    "site_id": site_id,
                    "visitor_id": visitor_id,
                    "alias_of": named,
                    "landed_at": landing["event_time"],
                    "event_id": landing["event_id"],
                    "is_alias": any(abs(event["event_time"] - landing["event_time"]) <= NEAR for event in theirs),
                }
            )
    return rows


def apply(events: list[Row], rows: list[Row]) -> None:
    """Give the events of an alias the visitor whom they are an alias of; one step, whatever that one is."""
    known = {(row["site_id"], row["visitor_id"]): row["alias_of"] for row in rows if row["is_alias"]}
    for event in events:
        event["visitor_id"] = known.get((event["site_id"], event["visitor_id"]), event["visitor_id"])
