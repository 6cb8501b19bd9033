"""What the address of a page says: its path and its query's parameters."""

from __future__ import annotations

import re

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.context import RunContext


def path_of(url: Column) -> Column:
    """Path of a URL; `/` where it has none."""
    found = F.regexp_extract(url, r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?([^?#]*)", 1)
    return F.when(url.isNotNull(), F.when(found == "", F.lit("/")).otherwise(found))


def host_of(url: Column) -> Column:
    """Host of a URL, lower case; null where it has none."""
    found = F.regexp_extract(url, r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?:[^@/?#]*@)?([^/:?#]+)", 1)
    return F.when(F.octet_length(found) > 0, F.lower(found))


def query_parameter(url: Column, name: str) -> Column:
    """Decoded value of a query parameter; null where absent or empty."""
    raw = F.regexp_replace(F.regexp_extract(url, rf"[?&]{re.escape(name)}=([^&#]*)", 1), r"\+", " ")
    value = F.coalesce(F.try_url_decode(raw), raw)
    return F.when(F.contains(url, F.lit(f"{name}=")), F.nullif(value, F.lit("")))


def link_parameters(context: RunContext) -> list[str]:
    """The names of the parameters by which sites hand a visitor over between their domains."""
    return sorted({site.link_parameter for site in context.sites.rules if site.link_parameter is not None})


def linked_visitor(url: Column, context: RunContext) -> Column:
    """The visitor that a landing page's address names by its site's `link_parameter`; null where it names none."""
    found = F.lit(None).cast("string")
    for name in link_parameters(context):
        named = F.nullif(F.trim(query_parameter(url, name)), F.lit(""))
        found = F.when(_is_linked_by(name, context), named).otherwise(found)
    return found


def with_linked_visitor(url: Column, value: Column, context: RunContext) -> Column:
    """The address naming `value` where it names a visitor."""
    told = url
    for name in link_parameters(context):
        named = F.regexp_replace(
            url, F.lit(rf"([?&]{re.escape(name)}=)[^&#]*"), F.concat(F.lit("$1"), F.coalesce(value, F.lit("")))
        )
        told = F.when(_is_linked_by(name, context), named).otherwise(told)
    return told


def _is_linked_by(name: str, context: RunContext) -> Column:
    return F.coalesce(context.by_site(lambda site: site.link_parameter) == name, F.lit(False))
