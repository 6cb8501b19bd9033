"""How unlikely the ways of sessions were, by what others of the same site and date did."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipelines.gold.flows import flows, steps

MICRO = 1_000_000


def path_scores(sessions: DataFrame, transitions: DataFrame) -> DataFrame:
    """(site_id, session_id, path_score, path_steps) of countable sessions with a page view.

    path_score is the mean of -ln P(to | from) over the session's steps, those from (entry) and to (exit) among them.
    P is of the date's first-order chain in `transitions` (gold.flow_transitions_daily) with Laplace's α = 1:
    (n(from, to) + 1) / (n(from) + states). Logarithms are rounded to 0.000001 and added as whole numbers, so that no
    order of rows changes a sum.
    """
    taken = flows(sessions).select("site_id", "date", "session_id", F.inline(steps()))
    return (
        taken.join(_surprises(transitions), on=["site_id", "date", "from_page", "to_page"], how="inner")
        .groupBy("site_id", "session_id")
        .agg(
            (F.sum("surprise") / (F.count(F.lit(1)) * MICRO)).alias("path_score"),
            F.count(F.lit(1)).alias("path_steps"),
        )
    )


def _surprises(transitions: DataFrame) -> DataFrame:
    """(site_id, date, from_page, to_page, surprise): -ln P in millionths."""
    day = Window.partitionBy("site_id", "date")
    of_day = day.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    of_page = Window.partitionBy("site_id", "date", "from_page").rowsBetween(
        Window.unboundedPreceding, Window.unboundedFollowing
    )
    # What is left is also come to, (entry) and (exit) making up for each other: as many states are left as reached.
    numbered = transitions.withColumn("state", F.dense_rank().over(day.orderBy("from_page")))
    probability = (F.col("transitions") + 1) / (F.sum("transitions").over(of_page) + F.max("state").over(of_day))
    surprise = F.floor(-F.log(probability) * MICRO + F.lit(0.5)).cast("bigint")
    return numbered.select("site_id", "date", "from_page", "to_page", surprise.alias("surprise"))


def longest_loop(path: str) -> Column:
    """(repeats, pair: (from_page, to_page)) of the pair of different pages that follow each other most often in an
    array of pages; of equally frequent ones the first by name. Null pair and 0 where there is none."""
    steps_within = F.greatest(F.size(path) - 1, F.lit(0))
    pairs = F.arrays_zip(
        F.slice(path, 1, steps_within).alias("from_page"), F.slice(path, 2, steps_within).alias("to_page")
    )
    moves = F.filter(pairs, lambda pair: pair["from_page"] != pair["to_page"])
    nothing = F.lit(None).cast("struct<from_page: string, to_page: string>")
    start = F.struct(nothing.alias("last"), F.lit(0).alias("run"), F.lit(0).alias("repeats"), nothing.alias("pair"))

    def count(state: Column, pair: Column) -> Column:
        run = F.when(state["last"].eqNullSafe(pair), state["run"] + 1).otherwise(F.lit(1))
        is_longer = run > state["repeats"]
        return F.struct(
            pair.alias("last"),
            run.alias("run"),
            F.greatest(run, state["repeats"]).alias("repeats"),
            F.when(is_longer, pair).otherwise(state["pair"]).alias("pair"),
        )

    # In order, equal pairs stand together and need no table of counts.
    return F.aggregate(F.array_sort(moves), start, count)
