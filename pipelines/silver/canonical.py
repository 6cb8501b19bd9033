"""Raw record → canonical event, with a verdict: what is missing or wrong becomes a reason, never an exception."""

from __future__ import annotations

import re
from functools import reduce

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from pipelines.context import RunContext
from pipelines.contracts import contract
from pipelines.errors import ConfigurationError
from pipelines.silver import instants
from pipelines.silver.addresses import link_parameters, linked_visitor, path_of, query_parameter, with_linked_visitor
from pipelines.silver.enrich import click_id, foreign_referrer
from pipelines.silver.pseudonyms import IDENTIFIERS, SEPARATOR, keyed_hash, pseudonym, record_hash
from pipelines.silver.pseudonyms import are_wanted as pseudonyms_are_wanted
from pipelines.sources import CANONICAL_TYPES, KeyedHash, Source

EVENT_TYPES = next(column.accepted for column in contract("silver.events").columns if column.name == "event_type")

# What rides along from bronze, apart from the record's own fields so that no field name can clash with it.
META = ("source", "raw", "origin", "position", "ingested_at", "batch_id", "defect")

# What bronze says of a line that it could not keep as it was, and a dead letter's detail repeats.
DEFECT = "^(not_utf8|too_large)"

_MARK = "\ufeff"
_INSTANTS = ("event_time", "received_at")
_TEXTS = tuple(name for name, type_ in CANONICAL_TYPES.items() if type_ == "string" and name not in _INSTANTS)
_CASTS = {name: type_ for name, type_ in CANONICAL_TYPES.items() if name not in (*_TEXTS, *_INSTANTS, "properties")}
_TYPED_COLUMNS = {column.name: column for column in contract("silver.events").columns}


def build(records: DataFrame, source: Source, *, context: RunContext) -> DataFrame:
    """Read bronze rows of one source through its mapping.

    Returns one row per record: the canonical columns of silver.events that depend on the record alone and need no
    lookup (silver/enrich.py), what lookups ask (`user_agent`, `ip`, `click_id`, `foreign_referrer`), those of META,
    `record_hash`, `uncast` (optional field → raw value that had to be nulled), `new_fields` (names that the mapping
    does not know), and `reason` with `detail`: null for an accepted record, else from the list of ops.dead_letters.
    """
    mapped = _map(_parse(records, source), source, context)
    named = _named(_typed(mapped, source), source, context)
    identified = _identified(named, source, context)
    return _judged(identified, source, context)


def _parse(records: DataFrame, source: Source) -> DataFrame:
    """META as a struct `_meta`, `_malformed`, the known fields, and `_unknown`: those that no mapping names.

    What is costly and asked more than once stands in a select of its own, where Spark computes it once.
    """
    # A byte order mark, or a \r before the line's end, is no part of a record.
    raw = F.when(F.startswith("raw", F.lit(_MARK)), F.substring("raw", 2, 1 << 30)).otherwise(F.col("raw"))
    rows = records.select(F.struct(*META).alias("_meta"), raw.alias("_raw"))
    if source.format == "json_lines":
        # As the first of two elements the whole line must be one object: a second object, an array or trailing text is
        # malformed, where parsing the bare line would take the first object and drop the rest without a word. The
        # element after it must be found, so that no bracket in the line can end the array early.
        schema = ",".join(f"`{name}`:string" for name in source.fields)
        parsed = F.from_json(F.concat(F.lit("["), "_raw", F.lit(",{}]")), f"array<struct<{schema}>>")
        rows = rows.select("_meta", "_raw", parsed.alias("_parsed"))
        is_record = F.size("_parsed") == 2
        record = F.when(is_record, F.get("_parsed", F.lit(0)))
        rows = rows.select(
            "_meta", "_raw", record.alias("_record"), F.when(is_record, F.json_object_keys("_raw")).alias("_names")
        )
        unknown = _unknown(source)
    else:
        assert source.pattern is not None
        # One pass for all groups: replace the line by its groups, separated, and split. Java's names know no `_`.
        line = F.expr(r"trim(trailing ' \t\r' from _raw)")
        pattern = re.sub(r"\(\?P<\w+>", "(", source.pattern)
        position = re.compile(source.pattern).groupindex
        groups = SEPARATOR.join(f"${position[name]}" for name in source.fields)
        values = F.split(F.regexp_replace(line, F.lit(pattern), F.lit(groups)), SEPARATOR)
        rows = rows.select("_meta", line.alias("_line"), values.alias("_values"))
        parts = F.struct(*[F.get("_values", F.lit(place)).alias(name) for place, name in enumerate(source.fields)])
        is_record = F.rlike("_line", F.lit(pattern)) & (F.size("_values") == len(source.fields))
        rows = rows.select("_meta", F.when(is_record, parts).alias("_record"))
        unknown = F.lit(None).cast("map<string,string>")
    fields = [F.col("_record")[name].alias(name) for name in source.fields]
    return rows.select("_meta", F.col("_record").isNull().alias("_malformed"), unknown.alias("_unknown"), *fields)


def _unknown(source: Source) -> Column:
    """The entries of a JSON record that the mapping does not know; null where there are none, as in most records."""
    known = (*source.fields, *source.ignored_fields)
    entries = F.map_filter(F.from_json("_raw", "map<string,string>"), lambda name, _: ~name.isin(*known))
    return F.when(F.exists("_names", lambda name: ~name.isin(*known)), entries)


def _map(parsed: DataFrame, source: Source, context: RunContext) -> DataFrame:
    """Evaluate the mapping: every canonical column as text (null where not mapped)."""
    try:
        return _evaluated(parsed, source, context)
    except AnalysisException as error:
        raise ConfigurationError(_mistake(parsed, source)) from error


def _evaluated(parsed: DataFrame, source: Source, context: RunContext) -> DataFrame:
    columns = []
    for name, type_ in CANONICAL_TYPES.items():
        rule = source.columns.get(name)
        if name == "properties":
            value = (F.expr(rule) if isinstance(rule, str) else F.lit(None)).cast(type_)
        elif isinstance(rule, KeyedHash):
            value = keyed_hash([F.expr(part) for part in rule.keyed_hash], context.settings.privacy.key())
        elif rule is None:
            value = F.lit(None).cast("string")
        elif name == "user_agent":
            value = F.trim(F.expr(rule).cast("string"))  # an empty agent is a finding, not an absence
        else:
            value = F.nullif(F.trim(F.expr(rule).cast("string")), F.lit(""))
        columns.append(value.alias(name))
    return parsed.select("_meta", "_malformed", "_unknown", *columns)


def _mistake(parsed: DataFrame, source: Source) -> str:
    """Which expression of the mapping Spark does not accept, and why."""
    for column, rule in source.columns.items():
        for expression in rule.keyed_hash if isinstance(rule, KeyedHash) else [rule]:
            try:
                parsed.select(F.expr(expression).cast(CANONICAL_TYPES[column] if column == "properties" else "string"))
            except AnalysisException as error:  # a ParseException is one
                problem = " ".join((error.getMessage() or str(error)).split("SQLSTATE")[0].split())
                return f"source {source.source}: columns.{column}: {problem}"
    return f"source {source.source}: columns: the expressions cannot be read together"


def _typed(mapped: DataFrame, source: Source) -> DataFrame:
    """Cast what is typed; an optional value that cannot be cast, or breaks its column's range, is set aside."""
    casts = {}
    for name, type_ in _CASTS.items():
        text = F.col(name)
        if type_ in ("bigint", "int"):
            value = F.round(text.try_cast("decimal(38,6)")).try_cast(type_)
        else:
            value = text.try_cast(type_)
        casts[name] = _within_range(name, value)
    received = instants.parse(F.col("received_at"), source.time_format, source.time_zone)
    casts["received_at"] = received
    uncast = [
        F.when(F.col(name).isNotNull() & value.isNull(), F.struct(F.lit(name).alias("key"), F.col(name).alias("value")))
        for name, value in casts.items()
    ]
    set_aside = F.when(
        F.coalesce(*uncast).isNotNull(),
        F.map_from_entries(F.filter(F.array(*uncast), lambda entry: entry.isNotNull())),
    )
    keep = [name for name in mapped.columns if name not in casts]
    return mapped.select(*keep, set_aside.alias("uncast"), *[value.alias(name) for name, value in casts.items()])


def _within_range(name: str, value: Column) -> Column:
    """Null where the contract's limits of the column are broken; such a value is as good as unreadable."""
    column = _TYPED_COLUMNS.get(name)
    if column is None or (column.min is None and column.max is None):
        return value
    limits = [value >= column.min] if column.min is not None else []
    limits += [value <= column.max] if column.max is not None else []
    return F.when(reduce(lambda left, right: left & right, limits), value)


def _named(typed: DataFrame, source: Source, context: RunContext) -> DataFrame:
    """Whether it is a test user, by the id as it was sent; from here on ids are what the site stores.

    An id that the mapping itself hashes is not hashed again: it may be the same person's as another source's.
    """
    pattern = context.by_site(lambda site: site.test_users.user_id_pattern)
    is_test = F.coalesce("is_test_user", F.lit(False)) | F.coalesce(F.regexp_like("user_id", pattern), F.lit(False))
    as_sent = [name for name in IDENTIFIERS if not isinstance(source.columns.get(name), KeyedHash)]
    ids = {name: pseudonym(F.col(name), context) for name in as_sent}
    if pseudonyms_are_wanted(context) and link_parameters(context):  # an address may name a visitor too
        for name in ("page_url", "referrer_url"):
            visitor = pseudonym(linked_visitor(F.col(name), context), context)
            ids[name] = with_linked_visitor(F.col(name), visitor, context)
    return typed.withColumns({"is_test_user": is_test, **ids})


def _identified(typed: DataFrame, source: Source, context: RunContext) -> DataFrame:
    """Time, page, identity, type and event id."""
    if source.event_time == "ingested":
        event_time, said_time = F.col("_meta.ingested_at"), F.lit("ingested")
    else:
        event_time, said_time = (
            instants.parse(F.col("event_time"), source.time_format, source.time_zone),
            F.col("event_time"),
        )
    type_ = F.lower("event_type")
    is_known = type_.isin(*EVENT_TYPES)
    path = F.coalesce(F.nullif(F.regexp_replace("page_path", "[?#].*$", ""), F.lit("")), path_of(F.col("page_url")))
    properties = _merged_maps(F.col("properties"), F.col("uncast"), F.col("_unknown"))
    utm = {
        name: F.coalesce(F.col(name), query_parameter(F.col("page_url"), name))
        for name in typed.columns
        if name.startswith("utm_")
    }
    replaced = {
        **utm,
        "event_time": event_time,
        "event_name": F.when(is_known, F.col("event_name")).otherwise(F.coalesce("event_name", "event_type")),
        "event_type": F.when(is_known, type_).when(type_.isNotNull(), F.lit("custom_event")),
        "page_path": path,
        "properties": properties,
    }
    rows = typed.select(
        *[replaced.get(name, F.col(name)).alias(name) for name in typed.columns],
        said_time.alias("_said_time"),
        F.map_keys("_unknown").alias("new_fields"),
        F.lower(F.regexp_extract("page_url", r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?:[^@/?#]*@)?([^/:?#]+)", 1)).alias(
            "_host"
        ),
        F.coalesce("anonymous_id", "user_id", "client_session_id").alias("visitor_id"),
        click_id(F.col("page_url")).alias("click_id"),
    )
    event_id = F.col("event_id")
    if source.event_id == "position":
        # A file that was taken again, grown, is in another batch, and its lines count anew.
        same_line = Window.partitionBy("_meta.batch_id", "_meta.origin", "_meta.raw").orderBy("_meta.position")
        occurrence = F.row_number().over(same_line)
        line = F.md5(F.concat_ws(SEPARATOR, F.lit(source.source), "_meta.raw", occurrence.cast("string")))
        event_id = pseudonym(line, context)  # see `record_hash`
    elif source.event_id == "content":
        event_id = _content_id()
    else:
        event_id = F.coalesce(event_id, _content_id())
    kept = [name for name in rows.columns if name not in ("event_id", "_host", "_unknown")]
    host = F.nullif(F.col("_host"), F.lit(""))
    return rows.select(
        *kept,
        event_id.alias("event_id"),
        host.alias("page_host"),
        foreign_referrer(F.col("referrer_url"), host).alias("foreign_referrer"),
    )


def _content_id() -> Column:
    """Hash of the canonical values, so that the same event sent twice is the same event."""
    entries = F.to_json(F.array_sort(F.map_entries("properties")))
    parts: list[Column | str] = [
        *["site_id", "visitor_id", "user_id", "client_session_id"],
        F.unix_micros("event_time").cast("string"),
        *["event_type", "event_name", "page_path", "element_selector", "element_text"],
        F.col("value").cast("string"),
        entries,
    ]
    columns = [F.col(part) if isinstance(part, str) else part for part in parts]
    return F.md5(F.concat_ws(SEPARATOR, *[F.coalesce(column, F.lit("\x00")) for column in columns]))


def _merged_maps(first: Column, *others: Column) -> Column:
    """All entries; where two maps hold a key the earlier one's value stands."""
    merged = F.map_concat(
        F.coalesce(first, _no_entries()), _no_entries()
    )  # the second: see `_parse` on names held twice
    for other in others:
        extended = F.map_concat(merged, _without_keys_of(merged, other))
        merged = F.when(other.isNull(), merged).otherwise(extended)
    return merged


def _no_entries() -> Column:
    return F.create_map().cast("map<string,string>")


def _without_keys_of(taken: Column, other: Column) -> Column:
    return F.map_filter(other, lambda key, _: ~F.map_contains_key(taken, key))


def _judged(rows: DataFrame, source: Source, context: RunContext) -> DataFrame:
    """Reason and detail of refusal, then the derived columns of accepted records."""
    event_time = F.col("event_time")
    # A source without received_at is judged only where its mapping sets the tolerance.
    reference, tolerance = F.col("received_at"), 86_400
    if source.future_tolerance_seconds is not None:
        reference, tolerance = F.coalesce("received_at", "_meta.ingested_at"), source.future_tolerance_seconds
    in_future = F.unix_micros(event_time) - F.unix_micros(reference) > tolerance * 1_000_000
    earliest = F.lit(context.settings.earliest_time)
    too_long = F.length("site_id") > 200
    defect = F.col("_meta.defect")
    raw = F.col("_meta.raw")
    # Databases and C programs end a text at a NUL. JSON spells it as an escape, behind an even number of backslashes.
    holds_nul = F.contains(raw, F.lit("\x00")) | (
        F.contains(raw, F.lit("\\u0000")) & raw.rlike(r"(?<!\\)(?:\\\\)*\\u0000")
    )
    rules: list[tuple[Column, str, Column]] = [
        (defect.startswith("too_large"), "record_too_large", defect),
        (defect.isNotNull(), "malformed", defect),
        (holds_nul, "malformed", F.lit("holds a NUL character")),
        (
            F.col("_malformed"),
            "malformed",
            F.lit("not one " + ("JSON object" if source.format == "json_lines" else "line of the declared pattern")),
        ),
        (F.col("site_id").isNull(), "bad_required_field", F.lit("site_id is missing")),
        (F.col("event_type").isNull(), "bad_required_field", F.lit("event_type is missing")),
        (F.col("visitor_id").isNull(), "missing_identity", F.lit("no anonymous_id, user_id or client session id")),
        (F.col("_said_time").isNull(), "missing_timestamp", F.lit("event_time is missing")),
        (event_time.isNull(), "bad_timestamp", F.concat(F.lit("cannot be read: "), F.substring("_said_time", 1, 100))),
        (
            event_time < earliest,
            "bad_timestamp",
            F.concat(F.lit("before the earliest time: "), F.substring("_said_time", 1, 100)),
        ),
        (in_future, "future_timestamp", F.concat(F.lit("after it was received: "), F.substring("_said_time", 1, 100))),
        (too_long, "contract_violation", F.lit("site_id_short_enough")),
    ]
    reason, detail = F.lit(None).cast("string"), F.lit(None).cast("string")
    for condition, name, words in reversed(rules):
        holds = F.coalesce(condition, F.lit(False))
        reason = F.when(holds, F.lit(name)).otherwise(reason)
        detail = F.when(holds, words).otherwise(detail)
    zone = context.by_site(lambda site: site.timezone)
    derived = ("_meta", "_malformed", "_said_time")
    return rows.select(
        *[name for name in rows.columns if name not in derived],
        *[F.col(f"_meta.{name}").alias(name) for name in META],
        record_hash(raw, context).alias("record_hash"),
        F.to_date(F.from_utc_timestamp("event_time", zone)).alias("event_date"),
        F.to_date("event_time").alias("event_utc_date"),
        F.coalesce("user_id", "visitor_id").alias("person_id"),
        reason.alias("reason"),
        detail.alias("detail"),
    )
