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
from pipelines.silver.addresses import (
    host_of,
    link_parameters,
    linked_visitor,
    path_of,
    query_parameter,
    with_linked_visitor,
)
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

    Each function below ends in one select. They are few, since Spark copies all columns from one to the next, and an
    expression that is costly and asked in several places has a select before that, where it is computed once.
    """
    mapped = _map(_parse(records, source, context), source, context)
    named = _named(mapped, source, context)
    return _judged(_identified(named, source, context), source, context)


def _parse(records: DataFrame, source: Source, context: RunContext) -> DataFrame:
    """The known fields as a struct `_record`, null for a malformed one, and what only the line itself tells: `_unknown`
    (fields that the mapping does not name, of a record), `_record_hash`, `_holds_nul`; and META as `_meta_<name>`."""
    # A byte order mark, or a \r before the line's end, is no part of a record.
    line = F.when(F.startswith("raw", F.lit(_MARK)), F.substring("raw", 2, 1 << 30)).otherwise(F.col("raw"))
    rows = records.select(*[F.col(name).alias(f"_meta_{name}") for name in META], line.alias("_line"))
    if source.format == "json_lines":
        # As the first of two elements the whole line must be one object: a second object, an array or trailing text is
        # malformed, where parsing the bare line would take the first object and drop the rest without a word. The
        # element after it must be found, so that no bracket in the line can end the array early; a null, since of
        # an object Spark asks what each field of the schema is where it is missing.
        schema = ",".join(f"`{name}`:string" for name in source.fields)
        parsed = F.from_json(F.concat(F.lit("["), "_line", F.lit(",null]")), f"array<struct<{schema}>>")
        # Asked by a filter over one value, since Spark would parse the line once for each mention of `parsed`.
        whole = F.filter(F.array(parsed), lambda elements: F.size(elements) == 2)
        record = F.get(F.get(whole, F.lit(0)), F.lit(0))
        unknown = _unknown(source)
    else:
        assert source.pattern is not None
        # One pass for all groups: replace the line by its groups, separated, and split. Java's names know no `_`.
        text = F.expr(r"trim(trailing ' \t\r' from _line)")
        pattern = re.sub(r"\(\?P<\w+>", "(", source.pattern)
        position = re.compile(source.pattern).groupindex
        groups = SEPARATOR.join(f"${position[name]}" for name in source.fields)
        values = F.split(F.regexp_replace(text, F.lit(pattern), F.lit(groups)), SEPARATOR)
        rows = rows.withColumns({"_line": text, "_values": values})
        parts = F.struct(*[F.get("_values", F.lit(place)).alias(name) for place, name in enumerate(source.fields)])
        is_record = F.rlike("_line", F.lit(pattern)) & (F.size("_values") == len(source.fields))
        record = F.when(is_record, parts)
        unknown = F.lit(None).cast("map<string,string>")
    # Databases and C programs end a text at a NUL. JSON spells it as an escape, behind an even number of backslashes.
    raw = F.col("_meta_raw")
    holds_nul = F.contains(raw, F.lit("\x00")) | (
        F.contains(raw, F.lit("\\u0000")) & raw.rlike(r"(?<!\\)(?:\\\\)*\\u0000")
    )
    return rows.select(
        *[f"_meta_{name}" for name in META],
        record.alias("_record"),
        unknown.alias("_unknown"),
        record_hash(raw, context).alias("_record_hash"),
        holds_nul.alias("_holds_nul"),
    )


def _unknown(source: Source) -> Column:
    """The entries of a JSON record that the mapping does not know; null where there are none, as in most records."""
    known = (*source.fields, *source.ignored_fields)
    entries = F.map_filter(F.from_json("_line", "map<string,string>"), lambda name, _: ~name.isin(*known))
    return F.when(F.exists(F.json_object_keys("_line"), lambda name: ~name.isin(*known)), entries)


def _map(parsed: DataFrame, source: Source, context: RunContext) -> DataFrame:
    """Evaluate the mapping: every canonical column as text (null where not mapped). Its expressions see the fields, and
    META but for the line as `_meta`."""
    meta = F.struct(*[F.col(f"_meta_{name}").alias(name) for name in META if name != "raw"])
    fields = [F.col("_record")[name].alias(name) for name in source.fields]
    rows = parsed.select(*parsed.columns, meta.alias("_meta"), *fields)
    try:
        return _evaluated(
            rows, [name for name in parsed.columns if name not in ("_record", "_unknown")], source, context
        )
    except AnalysisException as error:
        raise ConfigurationError(_mistake(rows, source)) from error


def _evaluated(rows: DataFrame, carried: list[str], source: Source, context: RunContext) -> DataFrame:
    columns = []
    for name, type_ in CANONICAL_TYPES.items():
        rule = source.columns.get(name)
        if name == "properties":
            value = (F.expr(rule) if isinstance(rule, str) else F.lit(None)).cast(type_)
        elif isinstance(rule, KeyedHash):
            value = keyed_hash([F.expr(part) for part in rule.keyed_hash], context.settings.privacy.key())
        elif rule is None:
            value = F.lit(None).cast("string")
        else:
            value = F.trim(F.expr(rule).cast("string"))
            if name != "user_agent":  # an empty agent is a finding, not an absence
                value = F.when(F.octet_length(value) > 0, value)
        columns.append(value.alias(name))
    is_record = F.col("_record").isNotNull()
    unknown = F.when(is_record, F.col("_unknown"))
    return rows.select(*carried, unknown.alias("_unknown"), (~is_record).alias("_malformed"), *columns)


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


def _typed(source: Source) -> tuple[dict[str, Column], Column]:
    """The values of the columns that are cast, and a map of those texts that cannot be cast or break their column's
    range, which are set aside; null where none is."""
    casts = {}
    for name, type_ in _CASTS.items():
        text = F.col(name)
        if type_ in ("bigint", "int"):  # whole numbers are read at once; others have a fraction or an exponent
            value = F.coalesce(text.try_cast(type_), F.round(text.try_cast("decimal(38,6)")).try_cast(type_))
        else:
            value = text.try_cast(type_)
        casts[name] = _within_range(name, value)
    casts["received_at"] = instants.parse(F.col("received_at"), source.time_format, source.time_zone)
    uncast = [
        F.when(F.col(name).isNotNull() & value.isNull(), F.struct(F.lit(name).alias("key"), F.col(name).alias("value")))
        for name, value in casts.items()
    ]
    set_aside = F.when(
        F.coalesce(*uncast).isNotNull(),
        F.map_from_entries(F.filter(F.array(*uncast), lambda entry: entry.isNotNull())),
    )
    return casts, set_aside


def _within_range(name: str, value: Column) -> Column:
    """Null where the contract's limits of the column are broken; such a value is as good as unreadable."""
    column = _TYPED_COLUMNS.get(name)
    if column is None or (column.min is None and column.max is None):
        return value
    limits = [value >= column.min] if column.min is not None else []
    limits += [value <= column.max] if column.max is not None else []
    return F.when(reduce(lambda left, right: left & right, limits), value)


def _named(mapped: DataFrame, source: Source, context: RunContext) -> DataFrame:
    """Whether the id is a test user's, as it was sent; from here on ids are what the site stores.

    An id that the mapping itself hashes is not hashed again: it may be the same person's as another source's.
    """
    pattern = context.by_site(lambda site: site.test_users.user_id_pattern)
    as_sent = [name for name in IDENTIFIERS if not isinstance(source.columns.get(name), KeyedHash)]
    ids = {name: pseudonym(F.col(name), context) for name in as_sent}
    if pseudonyms_are_wanted(context) and link_parameters(context):  # an address may name a visitor too
        for name in ("page_url", "referrer_url"):
            visitor = pseudonym(linked_visitor(F.col(name), context), context)
            ids[name] = with_linked_visitor(F.col(name), visitor, context)
    return mapped.withColumns({"_is_test_id": F.regexp_like("user_id", pattern), **ids})


def _identified(named: DataFrame, source: Source, context: RunContext) -> DataFrame:
    """Types, time, page, identity, and everything else that texts say."""
    if source.event_time == "ingested":
        event_time, said_time = F.col("_meta_ingested_at"), F.lit("ingested")
    else:
        event_time, said_time = (
            instants.parse(F.col("event_time"), source.time_format, source.time_zone),
            F.col("event_time"),
        )
    type_ = F.lower("event_type")
    is_known = type_.isin(*EVENT_TYPES)
    path = F.coalesce(F.nullif(F.regexp_replace("page_path", "[?#].*$", ""), F.lit("")), path_of(F.col("page_url")))
    casts, uncast = _typed(source)
    utm = {
        name: F.coalesce(F.col(name), query_parameter(F.col("page_url"), name))
        for name in named.columns
        if name.startswith("utm_")
    }
    replaced = {
        **casts,
        **utm,
        "is_test_user": F.coalesce(casts["is_test_user"], F.lit(False)) | F.coalesce("_is_test_id", F.lit(False)),
        "event_time": event_time,
        "event_name": F.when(is_known, F.col("event_name")).otherwise(F.coalesce("event_name", "event_type")),
        "event_type": F.when(is_known, type_).when(type_.isNotNull(), F.lit("custom_event")),
        "page_path": path,
    }
    kept = [name for name in named.columns if name not in ("properties", "_is_test_id", "_unknown")]
    return named.select(
        # First, since Spark takes a name within a lambda for the column that stands before it in the same select.
        _merged_maps(F.col("properties"), uncast, F.col("_unknown")).alias("properties"),
        uncast.alias("uncast"),
        *[replaced.get(name, F.col(name)).alias(name) for name in kept],
        F.map_keys("_unknown").alias("new_fields"),
        said_time.alias("_said_time"),
        host_of(F.col("page_url")).alias("page_host"),
        F.coalesce("anonymous_id", "user_id", "client_session_id").alias("visitor_id"),
        click_id(F.col("page_url")).alias("click_id"),
    )


def _event_id(source: Source, context: RunContext) -> Column:
    if source.event_id == "position":
        # A file that was taken again, grown, is in another batch, and its lines count anew.
        same_line = Window.partitionBy("_meta_batch_id", "_meta_origin", "_meta_raw").orderBy("_meta_position")
        occurrence = F.row_number().over(same_line)
        line = F.md5(F.concat_ws(SEPARATOR, F.lit(source.source), "_meta_raw", occurrence.cast("string")))
        return pseudonym(line, context)  # see `record_hash`
    if source.event_id == "content":
        return _content_id()
    return F.coalesce("event_id", _content_id())


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
    """All entries; where two maps hold a key the earlier one's value stands. No entries where all are null."""
    nothing = F.create_map().cast("map<string,string>")
    merged = F.map_concat(F.coalesce(first, nothing), nothing)  # the second: as names held twice the last one counts
    for other in others:
        extended = F.map_concat(merged, _without_keys_of(merged, other))
        merged = F.when(other.isNull(), merged).otherwise(extended)
    return F.when(F.coalesce(first, *others).isNull(), nothing).otherwise(merged)


def _without_keys_of(taken: Column, other: Column) -> Column:
    return F.map_filter(other, lambda key, _: ~F.map_contains_key(taken, key))


def _judged(rows: DataFrame, source: Source, context: RunContext) -> DataFrame:
    """Reason and detail of refusal, event id, and what follows for accepted records."""
    event_time, said_time = F.col("event_time"), F.substring("_said_time", 1, 100)
    # A source without received_at is judged only where its mapping sets the tolerance.
    reference, tolerance = F.col("received_at"), 86_400
    if source.future_tolerance_seconds is not None:
        reference, tolerance = F.coalesce("received_at", "_meta_ingested_at"), source.future_tolerance_seconds
    in_future = F.unix_micros(event_time) - F.unix_micros(reference) > tolerance * 1_000_000
    defect = F.col("_meta_defect")
    unlike = "not one " + ("JSON object" if source.format == "json_lines" else "line of the declared pattern")
    rules: list[tuple[Column, str, Column | str]] = [
        (defect.startswith("too_large"), "record_too_large", defect),
        (defect.isNotNull(), "malformed", defect),
        (F.col("_holds_nul"), "malformed", "holds a NUL character"),
        (F.col("_malformed"), "malformed", unlike),
        (F.col("site_id").isNull(), "bad_required_field", "site_id is missing"),
        (F.col("event_type").isNull(), "bad_required_field", "event_type is missing"),
        (F.col("visitor_id").isNull(), "missing_identity", "no anonymous_id, user_id or client session id"),
        (F.col("_said_time").isNull(), "missing_timestamp", "event_time is missing"),
        (event_time.isNull(), "bad_timestamp", F.concat(F.lit("cannot be read: "), said_time)),
        (
            event_time < F.lit(context.settings.earliest_time),
            "bad_timestamp",
            F.concat(F.lit("before the earliest time: "), said_time),
        ),
        (in_future, "future_timestamp", F.concat(F.lit("after it was received: "), said_time)),
        (F.length("site_id") > 200, "contract_violation", "site_id_short_enough"),
    ]
    verdict = F.lit(None).cast("struct<reason:string,detail:string>")
    for holds, reason, detail in reversed(rules):
        words = F.lit(detail) if isinstance(detail, str) else detail
        verdict = F.when(holds, F.struct(F.lit(reason).alias("reason"), words.alias("detail"))).otherwise(verdict)
    zone = context.by_site(lambda site: site.timezone)
    spent = ("_malformed", "_said_time", "_record_hash", "_holds_nul", "event_id", *[f"_meta_{name}" for name in META])
    return rows.select(
        *[name for name in rows.columns if name not in spent],
        *[F.col(f"_meta_{name}").alias(name) for name in META],
        _event_id(source, context).alias("event_id"),
        foreign_referrer(F.col("referrer_url"), F.col("page_host")).alias("foreign_referrer"),
        F.col("_record_hash").alias("record_hash"),
        F.to_date(F.from_utc_timestamp("event_time", zone)).alias("event_date"),
        F.to_date("event_time").alias("event_utc_date"),
        F.coalesce("user_id", "visitor_id").alias("person_id"),
        verdict["reason"].alias("reason"),
        verdict["detail"].alias("detail"),
    )
