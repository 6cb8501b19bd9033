"""silver.aliases: visitors who came from another domain of their site, by what their first page view's address names.

A visitor's *own* id is that of an event's ids alone: anonymous_id, else user_id, else client_session_id. Visitor B is
an alias of A where B's first page view carries `link_parameter=A` no more than two minutes before or after an event of
A; B's events then have the visitor A. Own ids decide on both sides: an alias of an alias goes one step only.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.context import RunContext
from pipelines.silver.addresses import link_parameters, linked_visitor

VISITOR = ["site_id", "visitor_id"]
OWN = ("anonymous_id", "user_id", "client_session_id")
"""The columns of an event that its visitor's own id is made of."""
_PLACE = ("event_time", "sequence", "event_id")
SEEN = ("site_id", *OWN, *_PLACE, "event_type", "page_url")
"""All that `build` reads of an event."""

_NEAR_US = 120_000_000


def are_wanted(context: RunContext) -> bool:
    """Whether a site hands visitors over between its domains."""
    return bool(link_parameters(context))


def own_visitor(of: str = "") -> Column:
    """The visitor by the event's own ids; `of`: where these stand (`_old.`)."""
    return F.coalesce(*[F.col(of + name) for name in OWN])


def build(page_views: DataFrame, events: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per visitor whose first page view names another visitor.

    `page_views` must hold the first one of each visitor in it, and `events` all within two minutes of these. Grain:
    (site_id, visitor_id).
    """
    view = F.struct(*_PLACE, linked_visitor(F.col("page_url"), context).alias("alias_of"))
    landings = (
        page_views.where("event_type = 'page_view'")
        .groupBy("site_id", own_visitor().alias("visitor_id"))
        .agg(F.min(view).alias("_view"))  # structs compare nulls first, as events are ordered
        .select(*VISITOR, "_view.alias_of", F.col("_view.event_time").alias("landed_at"), "_view.event_id")
        .where("alias_of <> visitor_id")
    )
    theirs = events.select("site_id", own_visitor().alias("alias_of"), "event_time")
    confirmed = (
        landings.join(theirs, on=["site_id", "alias_of"], how="inner")
        .where(_is_near())
        .select(*VISITOR, F.lit(True).alias("_is_near"))
        .distinct()
    )
    return landings.join(confirmed, on=VISITOR, how="left").select(
        *VISITOR,
        "alias_of",
        "landed_at",
        "event_id",
        F.coalesce("_is_near", F.lit(False)).alias("is_alias"),
    )


def _is_near() -> Column:
    """Whether the event is within two minutes of the landing."""
    return F.abs(F.unix_micros("event_time") - F.unix_micros("landed_at")) <= _NEAR_US


def apply(events: DataFrame, aliases: DataFrame, *, few: bool = True) -> DataFrame:
    """Set each event's visitor_id: whom its own visitor is an alias of, else that. `few`: `aliases` fit in memory."""
    known = aliases.where("is_alias").select("site_id", F.col("visitor_id").alias("_own"), "alias_of")
    return (
        events.withColumn("_own", own_visitor())
        .join(F.broadcast(known) if few else known, on=["site_id", "_own"], how="left")
        .withColumn("visitor_id", F.coalesce("alias_of", "_own"))
        .select(*events.columns)
    )


def concerned(inserts: DataFrame, aliases: DataFrame, *, context: RunContext) -> DataFrame:
    """Visitors whose row of silver.aliases may come, go or change: (site_id, visitor_id).

    Those of whom a page view comes that names somebody, or any where they have a row already; those of whom an event
    goes; those who name a visitor of whom an event comes or goes within two minutes of their landing.
    """
    named = linked_visitor(F.col("page_url"), context)
    views = inserts.where("event_type = 'page_view'").select(
        "site_id", own_visitor().alias("visitor_id"), named.isNotNull().alias("_names")
    )
    is_replaced = F.col("_old").isNotNull()
    gone = inserts.where(is_replaced).select("site_id", own_visitor("_old.").alias("visitor_id"))
    comes = inserts.select("site_id", own_visitor().alias("alias_of"), "event_time")
    goes = inserts.where(is_replaced).select("site_id", own_visitor("_old.").alias("alias_of"), "_old.event_time")
    landed = aliases.select(*VISITOR, "alias_of", "landed_at", "is_alias")
    waiting = landed.where("not is_alias").join(comes, on=["site_id", "alias_of"], how="inner").where(_is_near())
    unsure = landed.where("is_alias").join(goes, on=["site_id", "alias_of"], how="inner").where(_is_near())
    return (
        views.where("_names")
        .select(*VISITOR)
        .unionByName(views.select(*VISITOR).join(aliases.select(*VISITOR), on=VISITOR, how="left_semi"))
        .unionByName(gone)
        .unionByName(waiting.select(*VISITOR))
        .unionByName(unsure.select(*VISITOR))
        .where(context.by_site(lambda site: site.link_parameter).isNotNull())
        .distinct()
    )


def first_views(events: DataFrame) -> DataFrame:
    """Which events are their visitors' first page views: the columns of silver.events' key, and event_date.

    `events` needs no page_url, so that all history can be asked by few columns.
    """
    view = F.struct(*_PLACE, "event_utc_date", "event_date")
    return (
        events.where("event_type = 'page_view'")
        .groupBy("site_id", own_visitor().alias("visitor_id"))
        .agg(F.min(view).alias("_view"))
        .select("site_id", "_view.event_id", "_view.event_utc_date", "_view.event_date")
    )
