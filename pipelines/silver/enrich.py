"""What an event's user agent, referrer, campaign and address say, joined from lookups of their distinct values."""

from __future__ import annotations

from collections.abc import Collection

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.enrichment import agents, channels, geo

# Lookup → the columns of a record whose distinct values it is asked, and what it calls them.
ASKED = {
    "agents": {"user_agent": "user_agent"},
    "touches": {"foreign_referrer" if name == "referrer_url" else name: name for name in channels.INPUTS},
    "places": {"ip": "ip"},
}
_ANSWERS = {"agents": agents.SCHEMA, "touches": channels.SCHEMA, "places": geo.SCHEMA}

HASH = "asked_hash"

# Columns that only serve the lookups and are not stored.
_SPENT = ("user_agent", "ip", "click_id", "foreign_referrer")


def is_asked(lookup: str) -> Column:
    """Whether a record holds anything that the lookup could answer."""
    told = [name for name in ASKED[lookup] if name not in ("site_id", "page_host")]
    return F.col("reason").isNull() & F.coalesce(*told).isNotNull()


def asked_hash(lookup: str) -> Column:
    """Hash of what a record asks the lookup; null where it asks nothing, as most do, which joins pass over at once."""
    told = [F.coalesce(F.col(name), F.lit("\x00")) for name in ASKED[lookup]]  # a hash passes over nulls
    return F.when(is_asked(lookup), F.xxhash64(*told))


def foreign_referrer(referrer: Column, page_host: Column) -> Column:
    """The referrer where it may be another site: most are the page before, on the same host, and need no lookup."""
    own = [F.startswith(referrer, F.concat(F.lit(scheme), page_host, F.lit("/"))) for scheme in ("https://", "http://")]
    return F.when(~F.coalesce(own[0] | own[1], F.lit(False)), referrer)


def click_id(url: Column) -> Column:
    """Name of the ad network's click id in a URL's query; null where there is none."""
    pattern = f"[?&]({'|'.join(channels.CLICK_IDS)})="
    found = F.nullif(F.regexp_extract(url, pattern, 1), F.lit(""))
    return F.when(F.contains(url, F.lit("clid=")) | F.contains(url, F.lit("braid=")), found)


def build(records: DataFrame, answers: dict[str, DataFrame], ambiguous: Collection[str] = ()) -> DataFrame:
    """Records of silver/canonical.py with device, browser, system, bot, channel and place.

    `answers`: a frame for each lookup that was asked (columns of its SCHEMA and HASH, a row for each distinct value);
    one that nothing asked may be missing. `ambiguous`: lookups of which two values have one hash. What a source maps
    itself stands before what a lookup says.
    """
    joined = records
    found: set[str] = set()
    for name, answer in answers.items():
        keys = ASKED[name]
        told = answer.withColumnsRenamed({column: f"_{column}" for column in answer.columns} | {HASH: f"_{name}"})
        same = [asked_hash(name) == F.col(f"_{name}")]
        if name in ambiguous:
            same += [F.col(mine).eqNullSafe(F.col(f"_{theirs}")) for mine, theirs in keys.items()]
        joined = joined.join(F.broadcast(told), on=same, how="left")
        found |= set(_ANSWERS[name].names) - set(keys.values())

    def answered(name: str) -> Column:
        return F.col(f"_{name}") if name in found else F.lit(None).cast("string")

    own = ("device_type", "browser", "os", "country", "region", "city")
    kept = [name for name in records.columns if name not in (*_SPENT, *own, "utm_term")]
    return joined.select(
        *kept,
        *[F.coalesce(F.col(name), answered(name)).alias(name) for name in own],
        F.coalesce("utm_term", answered("term")).alias("utm_term"),
        answered("bot_reason").alias("bot_reason"),
        answered("bot_reason").isNotNull().alias("is_bot"),
        *[answered(name).alias(name) for name in ("channel", "traffic_source", "traffic_medium")],
    )
