"""silver.identities: which user a device's anonymous events belong to, and since when."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from pipelines.context import RunContext
from pipelines.silver.sessionize import event_order

DEVICE = ["site_id", "anonymous_id"]
_PLACE = ("event_time", "sequence", "event_id")
SEEN = (*DEVICE, *_PLACE, "user_id", "visitor_id")
"""All that `build` reads of an event."""


def of_devices(events: DataFrame) -> DataFrame:
    """The events that have a device; `anonymous_id` is its visitor, so that an alias (aliases.py) is one device with
    whom it is an alias of."""
    return events.where(F.col("anonymous_id").isNotNull()).withColumn("anonymous_id", F.col("visitor_id"))


def is_identified() -> Column:
    """Whether the event says which user its device is used by."""
    return F.col("anonymous_id").isNotNull() & F.col("user_id").isNotNull()


def build(events: DataFrame, *, context: RunContext) -> DataFrame:
    """One row per device and stretch of its identified events, in order, that name the same user.

    `events` must hold all identified events of each device in it. Grain: (site_id, anonymous_id, valid_from, event_id);
    the event is the first of the stretch: `valid_from` alone repeats where a device changes hands within an instant.
    """
    device = Window.partitionBy(*DEVICE).orderBy(*event_order())
    seen = of_devices(events.where(is_identified()).select(*SEEN))
    changes_hands = ~F.col("user_id").eqNullSafe(F.col("_before"))
    starts = seen.withColumn("_before", F.lag("user_id").over(device)).where(changes_hands)
    return starts.select(
        *DEVICE,
        F.col("event_time").alias("valid_from"),
        F.lead("event_time").over(device).alias("valid_to"),
        "user_id",
        "sequence",
        "event_id",
    )


def link(events: DataFrame, identities: DataFrame, *, few: bool = True) -> DataFrame:
    """Set each event's person_id: its user, else its device's, else its visitor.

    A device's anonymous event belongs to the user nearest before it in order, else to the first after it. `identities`
    must hold all rows of the devices in `events`; `few`: they fit in memory, and `events` need not be moved to them.
    """
    start = F.struct(F.col("valid_from").alias("event_time"), "sequence", "event_id", F.col("user_id").alias("user"))
    # Most devices are one user's: only in others each event's place is looked up, by what Spark interprets row by row.
    links = (
        identities.groupBy("site_id", F.col("anonymous_id").alias("_device"))
        .agg(F.sort_array(F.collect_list(start)).alias("_links"))  # nulls first, as events are ordered
        .withColumn("_first", F.get("_links", F.lit(0))["user"])
        .withColumn("_links", F.when(F.size("_links") > 1, F.col("_links")))
    )
    is_anonymous = F.col("user_id").isNull() & F.col("anonymous_id").isNotNull()
    # An event that has nothing to look up gets a key of its own: nulls would all be joined in one task.
    device = F.when(is_anonymous, F.col("visitor_id")).otherwise(F.concat(F.lit("\x00"), "event_id"))
    place = F.struct(*_PLACE)
    before = F.filter("_links", lambda found: F.struct(*[found[name] for name in _PLACE]) <= place)
    linked = F.coalesce(F.when(F.col("_links").isNotNull(), F.array_max(before)["user"]), "_first")
    return (
        events.withColumn("_device", device)
        .join(F.broadcast(links) if few else links, on=["site_id", "_device"], how="left")
        .withColumn("person_id", F.coalesce("user_id", linked, "visitor_id"))
        .select(*events.columns)
    )


def changed_devices(inserts: DataFrame, identities: DataFrame) -> DataFrame:
    """Devices whose rows of silver.identities may change: (site_id, anonymous_id).

    Those of which an event that comes (`inserts` of silver/events.py) names another user than the stored row that holds
    there, or of which an identified event goes. All others' stored events keep their person. `identities`: the rows of
    the devices in `inserts`.
    """
    known = identities.select(
        *DEVICE,
        F.col("valid_from").alias("event_time"),
        "sequence",
        "event_id",
        "user_id",
        F.lit(True).alias("_is_known"),
    )
    said = of_devices(inserts.where(is_identified())).select(*known.columns[:-1], F.lit(False).alias("_is_known"))
    device = Window.partitionBy(*DEVICE).orderBy(*event_order(), F.desc("_is_known"))
    holds = F.last(F.when(F.col("_is_known"), F.col("user_id")), ignorenulls=True).over(
        device.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    )
    otherwise = (
        known.unionByName(said)
        .withColumn("_holds", holds)
        .where(~F.col("_is_known") & ~F.col("user_id").eqNullSafe(F.col("_holds")))
        .select(*DEVICE)
    )
    told = ("anonymous_id", "visitor_id", "user_id", "event_time", "sequence")
    was, now = (F.struct(*[F.col(place + name).alias(name) for name in told]) for place in ("_old.", ""))
    was_identified = F.col("_old.anonymous_id").isNotNull() & F.col("_old.user_id").isNotNull()
    goes = inserts.where(was_identified & (was != now))
    return otherwise.unionByName(goes.select("site_id", F.col("_old.visitor_id").alias("anonymous_id"))).distinct()
