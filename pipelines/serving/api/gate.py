"""Which SQL may be asked: one query, of known tables, with known functions, of bounded size. All else is refused.

The gate is the outer of three walls. Behind it the query runs in a process of its own on a locked DuckDB connection
without access to files (sandbox.py), to which only the files of the caller's own sites are attached (build.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from functools import cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from pipelines.serving.api.settings import QuerySettings

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # what it only warns of is refused here


class RefusedError(Exception):
    """The query is not allowed; the message says why, for who asked."""


# Functions of values, by DuckDB's names. None of them reads a setting, a file, a clock or a random number.
FUNCTIONS = frozenset(
    """
    abs any_value approx_count_distinct arg_max arg_min array_agg array_contains array_extract array_length avg bool_and
    bool_or cardinality cbrt ceil ceiling coalesce concat concat_ws contains corr count count_if covar_pop covar_samp
    cume_dist date_add date_diff date_part date_sub date_trunc datediff datepart datetrunc day dayname dayofmonth
    dayofweek dayofyear dense_rank ends_with entropy epoch epoch_ms exp first first_value floor greatest hour if ifnull
    isfinite isinf isnan isodow isoyear kurtosis lag last last_day last_value lcase lead least left len length
    list_contains list_distinct list_extract list_position list_slice list_sort list_unique ln log log10 log2 lower
    ltrim mad make_date map_extract map_keys map_values max max_by mean median min min_by minute mod mode month
    monthname nth_value ntile nullif percent_rank percentile_cont percentile_disc position pow power product quantile
    quantile_cont quantile_disc quarter rank regexp_extract regexp_matches replace reverse right round row_number rtrim
    second sign skewness split_part sqrt starts_with stddev stddev_pop stddev_samp strftime string_agg strlen strpos
    strptime substr substring sum time_bucket trim trunc try_strptime ucase upper var_pop var_samp variance week weekday
    weekofyear year yearweek
    """.split()  # noqa: SIM905 (a hundred short strings)
)

# What a query is made of, beside functions.
_PARTS = (
    exp.Query, exp.With, exp.CTE, exp.From, exp.Join, exp.Table, exp.TableAlias, exp.Where, exp.Group, exp.Having,
    exp.Order, exp.Ordered, exp.Limit, exp.Offset, exp.Fetch, exp.Qualify, exp.Window, exp.WindowSpec, exp.Filter,
    exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls, exp.Distinct, exp.Column, exp.Identifier, exp.Star, exp.Literal,
    exp.Boolean, exp.Null, exp.Alias, exp.Aliases, exp.Paren, exp.Tuple, exp.Binary, exp.Unary, exp.Predicate,
    exp.Between, exp.In, exp.Cast, exp.TryCast, exp.DataType, exp.DataTypeParam, exp.Case, exp.If, exp.Interval,
    exp.Var, exp.Array, exp.Bracket, exp.Slice, exp.Unnest, exp.Cube, exp.Rollup, exp.GroupingSets, exp.Lambda,
    exp.Subquery, exp.Values, exp.Lateral, exp.IntervalSpan, exp.Extract, exp.AtTimeZone,
)  # fmt: skip
_NEVER = (exp.Into, exp.Lock, exp.Hint, exp.Parameter, exp.Placeholder, exp.Command, exp.DDL, exp.DML)
_OPENING = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE}
_CLOSING = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END}
_PREFIX = {TokenType.NOT, TokenType.DASH, TokenType.PLUS, TokenType.TILDE, TokenType.EXISTS}


def check(sql: str, tables: Iterable[str], limits: QuerySettings) -> list[str]:
    """The tables that `sql` asks, all among `tables` (layer.table); raises RefusedError for what is not allowed."""
    if len(sql) > limits.max_characters:
        raise RefusedError(f"the query has {len(sql)} characters; at most {limits.max_characters} are allowed")
    if any(ord(character) < 32 and character not in "\n\r\t" for character in sql):
        raise RefusedError("the query holds control characters")
    try:
        _check_size(sqlglot.tokenize(sql, read="duckdb"), limits)
        statements = sqlglot.parse(sql, read="duckdb")
    except RecursionError as error:
        raise RefusedError("the query is nested too deeply") from error
    except SqlglotError as error:
        words = str(error).splitlines()
        raise RefusedError(f"not understood: {words[0] if words else 'not SQL'}") from error
    found = [statement for statement in statements if statement is not None]
    if len(found) != 1:
        raise RefusedError(f"expected one query, found {len(found)}")
    query = found[0]
    if not isinstance(query, (exp.Select, exp.SetOperation, exp.Subquery)):
        raise RefusedError("only a query (SELECT, WITH … SELECT, UNION …) may be asked")
    return _check_parts(query, frozenset(tables))


def _check_size(tokens: list[Token], limits: QuerySettings) -> None:
    """Before parsing, which is recursive: how long, and how deep brackets and prefixes go."""
    if len(tokens) > limits.max_tokens:
        raise RefusedError(f"the query has {len(tokens)} words; at most {limits.max_tokens} are allowed")
    depth = prefixes = 0
    for token in tokens:
        depth += (token.token_type in _OPENING) - (token.token_type in _CLOSING)
        prefixes = prefixes + 1 if token.token_type in _PREFIX else 0
        if depth + prefixes > limits.max_depth:
            raise RefusedError(f"the query is nested too deeply; {limits.max_depth} levels are allowed")


def _check_parts(query: exp.Expr, tables: frozenset[str]) -> list[str]:
    own = {cte.alias.lower() for cte in query.find_all(exp.CTE)}
    hidden = sorted(name for name in own if name.startswith(("duckdb_", "pg_", "sqlite_", "pragma_", "information_")))
    if hidden:
        raise RefusedError(f"{hidden[0]}: no name for a part of a query")
    asked: set[str] = set()
    for node in query.walk():
        if isinstance(node, _NEVER):
            raise RefusedError(f"{type(node).__name__.upper()} is not allowed")
        if isinstance(node, exp.Table):
            name = _table(node, own, tables)
            if name:
                asked.add(name)
        elif isinstance(node, exp.Func) and not isinstance(node, _PARTS):
            _check_function(node)
        elif not isinstance(node, (*_PARTS, exp.Func)):
            raise RefusedError(f"{type(node).__name__} is not allowed")
    return sorted(asked)


def _table(node: exp.Table, own: set[str], tables: frozenset[str]) -> str | None:
    """The table that is asked, None for a part of the query itself."""
    if not isinstance(node.this, exp.Identifier):
        name = node.this.name or type(node.this).__name__
        raise RefusedError(f"{name}: a function in place of a table is not allowed")
    if any(node.args.get(part) for part in ("version", "when", "pattern", "rows_from", "changes", "partition")):
        raise RefusedError(f"{node.name}: only its rows may be asked")
    if node.catalog:
        raise RefusedError(f"{node.sql(dialect='duckdb')}: name it as layer.table")
    if not node.db and node.name.lower() in own:
        return None
    name = f"{node.db}.{node.name}".lower()
    if name not in tables:
        shown = node.name if not node.db else f"{node.db}.{node.name}"
        raise RefusedError(f"{shown}: no such table; there are {', '.join(sorted(tables))}")
    return name


def _check_function(node: exp.Func) -> None:
    if isinstance(node, (exp.Anonymous, exp.AnonymousAggFunc)):
        name, allowed = node.name.lower(), node.name.lower() in FUNCTIONS
    else:
        name, allowed = node.sql_name().lower(), type(node) in _known_functions()
    if not allowed:
        raise RefusedError(f"{name}: not one of the functions that may be used")


@cache
def _known_functions() -> frozenset[type[exp.Expr]]:
    """The classes that sqlglot makes of FUNCTIONS, which it calls by names of its own."""
    known: set[type[exp.Expr]] = set()
    for name in FUNCTIONS:
        for arguments in ("", "x", "x, y", "x, y, z"):
            with suppress(SqlglotError):
                parsed = sqlglot.parse_one(f"select {name}({arguments})", read="duckdb")
                known.update(type(node) for node in parsed.find_all(exp.Func))
    return frozenset(known - {exp.Anonymous, exp.AnonymousAggFunc})
